/** The role's program: what the app folder says of it, and what the goal state adds. Pure but for one file read. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorText, FabricError } from "../model/errors.ts";
import type { HostingEnvironment, RoleEndpoint } from "./documents.ts";

/** `app.json` of an app folder. */
export interface AppManifest {
  /** Program and arguments; `node` is the agent's own Node, so that an app needs none installed. */
  readonly command: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
}

/** A program ready to be started. */
export interface RoleProgram {
  readonly command: readonly [string, ...string[]];
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Of the goal state with which it is started; the program finds it in GOALSTATE_INCARNATION. */
  readonly incarnation: string;
}

/** What a role's program is made of, apart from its folder. */
export interface RoleConfiguration {
  readonly incarnation: string;
  readonly hostingEnvironment: HostingEnvironment;
  readonly endpoints: readonly RoleEndpoint[];
}

/**
 * Reads `app.json` of a folder.
 *
 * @returns undefined if there is none: the container then runs no role
 * @throws FabricError ERR_AGENT_APP_MALFORMED
 */
export async function readAppManifest(folder: string): Promise<AppManifest | undefined> {
  const path = join(folder, "app.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new FabricError("ERR_AGENT_APP_MALFORMED", `cannot read ${path}`, { cause });
  }
  return parseAppManifest(text, path);
}

/** @throws FabricError ERR_AGENT_APP_MALFORMED, naming `path` and the fix */
export function parseAppManifest(text: string, path: string): AppManifest {
  const parsed = parseJson(text, path);
  const { command, environment = {} } = isRecord(parsed) ? parsed : {};
  if (!isCommand(command)) {
    throw malformed(path, 'needs "command", a list like ["node", "server.mjs"]');
  }
  if (!isTextRecord(environment)) throw malformed(path, '"environment" may hold only texts');
  return { command, environment };
}

/**
 * Joins manifest and goal state. A setting `greeting` becomes `SETTING_GREETING`, an endpoint `http`
 * `ENDPOINT_HTTP_PORT`; what no variable name can hold becomes an underscore.
 *
 * @param base - variables of the agent that the program inherits
 */
export function roleProgramOf(
  manifest: AppManifest,
  folder: string,
  configuration: RoleConfiguration,
  base: Readonly<Record<string, string>>,
): RoleProgram {
  const { roleInstance, roleName, settings } = configuration.hostingEnvironment;
  const fromSettings = [...settings].map(([name, value]) => [`SETTING_${variable(name)}`, value]);
  const fromEndpoints = configuration.endpoints.map(({ name, port }) => [
    `ENDPOINT_${variable(name)}_PORT`,
    String(port),
  ]);
  const [program, ...args] = manifest.command;
  return {
    incarnation: configuration.incarnation,
    command: [program === "node" ? process.execPath : program, ...args],
    folder,
    environment: {
      ...base,
      ...manifest.environment,
      ...Object.fromEntries([...fromSettings, ...fromEndpoints]),
      ROLE_INSTANCE: roleInstance,
      ROLE_NAME: roleName,
    },
  };
}

/**
 * True if a running program need not be started again. A new incarnation alone is no reason: most change something
 * else than this role's settings.
 */
export function isSameProgram(a: RoleProgram, b: RoleProgram): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted({ command, folder, environment }: RoleProgram): unknown {
  const pairs = Object.entries(environment).sort(([a], [b]) => (a < b ? -1 : 1));
  return [command, folder, pairs];
}

function variable(name: string): string {
  return name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, "_");
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw malformed(path, `is not JSON: ${errorText(cause)}`);
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCommand(value: unknown): value is [string, ...string[]] {
  return (
    Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string")
  );
}

function isTextRecord(value: unknown): value is Readonly<Record<string, string>> {
  return isRecord(value) && Object.values(value).every((each) => typeof each === "string");
}

function malformed(path: string, problem: string): FabricError {
  return new FabricError("ERR_AGENT_APP_MALFORMED", `${path} ${problem}`);
}
