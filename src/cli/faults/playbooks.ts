/** Where playbooks come from: a file, or one of those that are shipped in `playbooks/`. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { FabricError } from "../../model/errors.ts";
import { nearestName } from "../../model/nearest-name.ts";
import { type Playbook, PlaybookSchema } from "../../model/playbook.ts";
import { type Source, validate } from "../../model/schema.ts";
import { readYamlFile } from "../read-yaml.ts";

const FOLDER = join(import.meta.dirname, "../../../playbooks");
const SUFFIX = ".yaml";

/** Names of the playbooks that are shipped, in order. */
export function listPlaybookNames(): string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => basename(file, SUFFIX))
    .sort();
}

/** The playbooks that are shipped. */
export function listPlaybooks(): Playbook[] {
  return listPlaybookNames().map(readShippedPlaybook);
}

/**
 * A playbook that is shipped.
 *
 * @throws FabricError ERR_USAGE_PLAYBOOK_UNKNOWN
 */
export function readShippedPlaybook(name: string): Playbook {
  return readPlaybookFile(shippedPath(name));
}

/**
 * The playbook that a command means: a file if there is one of this name or it looks like a path, else a shipped one.
 *
 * @throws FabricError ERR_USAGE_PLAYBOOK naming the file, and line and column of all that is wrong;
 * ERR_USAGE_PLAYBOOK_UNKNOWN
 */
export function readPlaybook(nameOrFile: string): Playbook {
  return readPlaybookFile(pathOf(nameOrFile));
}

/** The text of a playbook as it was written. */
export function readPlaybookText(nameOrFile: string): string {
  const path = pathOf(nameOrFile);
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new FabricError("ERR_USAGE_FILE", `Cannot read ${path}`, { cause });
  }
}

/**
 * Checks what somebody sent or wrote.
 *
 * @throws FabricError ERR_USAGE_PLAYBOOK
 */
export function parsePlaybook(data: unknown, source: string | Source): Playbook {
  return validate(PlaybookSchema, data, source, "ERR_USAGE_PLAYBOOK");
}

function readPlaybookFile(path: string): Playbook {
  const { data, source } = readYamlFile(path);
  return parsePlaybook(data, source);
}

function pathOf(nameOrFile: string): string {
  const isPath = /[/\\.]/.test(nameOrFile) || existsSync(nameOrFile);
  return isPath ? nameOrFile : shippedPath(nameOrFile);
}

function shippedPath(name: string): string {
  const names = listPlaybookNames();
  if (names.includes(name)) return join(FOLDER, `${name}${SUFFIX}`);
  const near = nearestName(name, names);
  const hint = near === undefined ? "goalstate fault list names them" : `did you mean ${near}?`;
  throw new FabricError("ERR_USAGE_PLAYBOOK_UNKNOWN", `There is no playbook ${name}; ${hint}`);
}
