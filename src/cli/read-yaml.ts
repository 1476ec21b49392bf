/** Reads the YAML files that people write, and remembers where each value stands. */
import { readFileSync } from "node:fs";
import { type Document, isAlias, isMap, isNode, isScalar, isSeq, parseDocument } from "yaml";
import { errorText, FabricError } from "../model/errors.ts";
import { type Problem, problemsError, type Source } from "../model/schema.ts";
import { placesIn } from "./text-places.ts";

/** A YAML file as plain values. */
export interface YamlFile {
  readonly data: unknown;
  /** Gives what a schema finds in `data` its line and column. */
  readonly source: Source;
}

/**
 * Reads a YAML file into plain values.
 *
 * @throws FabricError ERR_USAGE_FILE naming the file, and line and column of all that is wrong
 */
export function readYaml(path: string): unknown {
  return readYamlFile(path).data;
}

/**
 * Reads a YAML file into plain values, with their places.
 *
 * @throws FabricError ERR_USAGE_FILE naming the file, and line and column of all that is wrong
 */
export function readYamlFile(path: string): YamlFile {
  return parseYaml(readText(path), path);
}

/**
 * Parses YAML.
 *
 * @param name - the file's name, for messages
 * @throws FabricError ERR_USAGE_FILE naming line and column of all that is wrong
 */
export function parseYaml(text: string, name: string): YamlFile {
  const placeAt = placesIn(text);
  try {
    const document = parseDocument(text, { prettyErrors: false, logLevel: "error" });
    const source: Source = {
      name,
      locate: (path, part) => placeAt(findOffset(document, path, part)),
    };
    const problems = document.errors.map(
      ({ message, pos }): Problem => ({ place: placeAt(pos[0]), text: message }),
    );
    if (problems.length > 0) throw problemsError(problems, source, "ERR_USAGE_FILE");
    return { data: document.toJS(), source };
  } catch (error) {
    if (error instanceof FabricError) throw error;
    // Too deep for the parser's recursion, or more aliases than it expands.
    const message = `${name}:1:1: cannot be read as YAML: ${errorText(error)}`;
    throw new FabricError("ERR_USAGE_FILE", message);
  }
}

/** Where the value at `path` begins, or the deepest part of the path that exists. */
function findOffset(
  document: Document.Parsed,
  path: readonly PropertyKey[],
  part: "key" | "value",
): number {
  let node: unknown = document.contents;
  let offset = offsetOf(node) ?? 0;
  for (const [index, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    const isLast = index === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => keyText(key) === String(step));
      if (pair === undefined) return offset;
      const key = offsetOf(pair.key);
      const value = offsetOf(pair.value);
      offset = (isLast && part === "key" ? key : (value ?? key)) ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof step === "number") {
      node = node.items[step];
      offset = offsetOf(node) ?? offset;
    } else {
      return offset;
    }
  }
  return offset;
}

/** As `toJS` writes it. */
function keyText(key: unknown): string {
  return isScalar(key) ? String(key.value ?? "") : String(key);
}

function offsetOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new FabricError("ERR_USAGE_FILE", `Cannot read ${path}`, { cause });
  }
}
