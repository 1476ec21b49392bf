import { EmbeddedStore } from "./embedded-store.ts";
import type { LocalStore } from "./local-store.ts";
import { SqliteEngine } from "./sqlite-engine.ts";

/**
 * Opens (or creates) the store in the file `path`; `":memory:"` for a store that is gone when
 * disposed. Only one process, and in it one store, can have a file open.
 *
 * A commit blocks the event loop while the disk confirms it (milliseconds); all transactions of one
 * turn of the loop share one commit.
 *
 * @throws FabricError `ERR_STORE_LOCKED` if another process has it open, `ERR_STORE_OPEN` if it
 * cannot be read
 * @example
 * await using store = openSqliteStore({ path: "/var/lib/goalstate/fabric.db" });
 */
export function openSqliteStore(options: { readonly path: string }): LocalStore {
  return new EmbeddedStore(new SqliteEngine(options.path));
}
