/** Reads the YAML files that people write. */
import { readFileSync } from "node:fs";
import { parseDocument } from "yaml";
import { FabricError } from "../model/errors.ts";

/**
 * Reads a YAML file into plain values.
 *
 * @throws FabricError ERR_USAGE_FILE naming the file, and line and column of what is wrong
 */
export function readYaml(path: string): unknown {
  const document = parseDocument(readText(path), { prettyErrors: true });
  const [error] = document.errors;
  if (error !== undefined) {
    const [place] = error.linePos ?? [];
    const at = place === undefined ? "" : `:${place.line}:${place.col}`;
    const what = error.message.split("\n")[0]?.replace(/ at line \d+, column \d+:?$/, "");
    throw new FabricError("ERR_USAGE_FILE", `${path}${at}: ${what}`);
  }
  return document.toJS();
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new FabricError("ERR_USAGE_FILE", `Cannot read ${path}`, { cause });
  }
}
