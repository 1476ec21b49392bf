/** The present of a prefix and then its changes, with their revisions; what a compaction swallowed is listed again. */
import { FabricError } from "../../model/errors.ts";
import type { FabricStore, KeyValue } from "../../store/index.ts";

/** What is told of each key. Must not throw. */
export interface KeyHandler {
  put(kv: KeyValue): void;
  deleted(key: string): void;
}

/** Tells `handler` all keys under `prefix`, then calls `caughtUp`, then tells each change until `signal` aborts. */
export async function followKeys(options: {
  readonly store: FabricStore;
  readonly prefix: string;
  readonly handler: KeyHandler;
  readonly caughtUp: () => void;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { store, prefix, handler, caughtUp, signal } = options;
  const known = new Map<string, number>();
  let rev = await listAnew(store, prefix, handler, known);
  caughtUp();
  while (!signal.aborted) {
    try {
      for await (const item of store.watch(prefix, { from: rev + 1, signal })) {
        rev = item.rev;
        if (item.kind === "progress") continue;
        for (const event of item.events) {
          if (event.kind === "put") {
            known.set(event.kv.key, event.kv.modRev);
            handler.put(event.kv);
          } else {
            known.delete(event.key);
            handler.deleted(event.key);
          }
        }
      }
    } catch (error) {
      if (!(error instanceof FabricError) || error.code !== "ERR_STORE_COMPACTED") throw error;
      rev = await listAnew(store, prefix, handler, known);
    }
  }
}

/** Tells what differs from what is known. */
async function listAnew(
  store: FabricStore,
  prefix: string,
  handler: KeyHandler,
  known: Map<string, number>,
): Promise<number> {
  const { rev, kvs } = await store.list(prefix);
  const present = new Set(kvs.map(({ key }) => key));
  for (const key of [...known.keys()].filter((key) => !present.has(key))) {
    known.delete(key);
    handler.deleted(key);
  }
  for (const kv of kvs.filter(({ key, modRev }) => known.get(key) !== modRev)) {
    known.set(kv.key, kv.modRev);
    handler.put(kv);
  }
  return rev;
}
