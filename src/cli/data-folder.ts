/** The data folder: the fabric's identity and store, locked against a second fabric. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { FabricError } from "../model/errors.ts";
import { type LocalStore, openSqliteStore } from "../store/index.ts";

const ID_FILE = "fabric-id";
const ID_BYTES = 3;
const ID_TEXT = /^[0-9a-f]{6}$/;

/** An open data folder. Disposing it closes the store and with it the lock. */
export interface DataFolder extends AsyncDisposable {
  readonly path: string;
  /** Six hexadecimal digits, made once; all that the fabric creates on this machine bears it. */
  readonly fabricId: string;
  /** Opened here, so it can be shared and compacted by this process only. */
  readonly store: LocalStore;
}

/** Where data is kept unless `--data` says otherwise. */
export function defaultDataFolder(name: string, environment: NodeJS.ProcessEnv): string {
  const state = environment["XDG_STATE_HOME"] || join(homedir(), ".local", "state");
  return join(state, "goalstate", name);
}

/** Where everything is kept that can be made or fetched again. */
export function defaultCacheFolder(environment: NodeJS.ProcessEnv): string {
  return join(environment["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "goalstate");
}

/**
 * Opens or makes a data folder (mode 0700).
 *
 * @throws FabricError ERR_STORE_LOCKED if another fabric runs on it, ERR_USAGE_DATA_FOLDER if it cannot be made
 */
export async function openDataFolder(path: string): Promise<DataFolder> {
  const folder = resolve(path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const message = `Cannot make the data folder ${folder}; name another with --data`;
    throw new FabricError("ERR_USAGE_DATA_FOLDER", message, { cause });
  }
  const store = await openSqliteStore({ path: join(folder, "fabric.sqlite") });
  const fabricId = readFabricId(folder);
  return {
    path: folder,
    fabricId,
    store,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

/** The identity of the fabric whose data folder this is; undefined if it is none. */
export function findFabricId(folder: string): string | undefined {
  try {
    const id = readFileSync(join(folder, ID_FILE), "utf8").trim();
    return ID_TEXT.test(id) ? id : undefined;
  } catch {
    return undefined;
  }
}

/** Written before anything is made in its name, so that a later start knows what is its own. */
function readFabricId(folder: string): string {
  const known = findFabricId(folder);
  if (known !== undefined) return known;
  const path = join(folder, ID_FILE);
  const id = randomBytes(ID_BYTES).toString("hex");
  writeFileSync(`${path}.new`, `${id}\n`, { flush: true });
  renameSync(`${path}.new`, path);
  return id;
}
