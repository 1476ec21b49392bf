/** Learning by watching: the present first, then every change, as one stream of documents. */
import type { FabricStore } from "./fabric-store.ts";

/** Called with each document; `undefined` means that it was deleted. Must not throw. */
export type DocumentHandler = (key: string, value: unknown) => void;

/** A follower that has seen the present when {@link Follower.caughtUp} resolves. */
export interface Follower {
  readonly caughtUp: Promise<void>;
  /** Resolves when the signal aborts; rejects when the store fails. */
  readonly ended: Promise<void>;
}

/** Hands all documents under `prefix` to `handler`, and from then on each change, in order, until `signal` aborts. */
export function follow(
  store: FabricStore,
  prefix: string,
  handler: DocumentHandler,
  signal: AbortSignal,
): Follower {
  const present = deliverPresent(store, prefix, handler);
  const ended = present.then((rev) => deliverChanges({ store, prefix, handler, signal, rev }));
  return { caughtUp: present.then(() => undefined), ended };
}

async function deliverPresent(
  store: FabricStore,
  prefix: string,
  handler: DocumentHandler,
): Promise<number> {
  const { rev, kvs } = await store.list(prefix);
  for (const { key, value } of kvs) handler(key, value);
  return rev;
}

async function deliverChanges(options: {
  readonly store: FabricStore;
  readonly prefix: string;
  readonly handler: DocumentHandler;
  readonly signal: AbortSignal;
  readonly rev: number;
}): Promise<void> {
  const { store, prefix, handler, signal, rev } = options;
  for await (const item of store.watch(prefix, { from: rev + 1, signal })) {
    if (item.kind !== "events") continue;
    for (const event of item.events) {
      if (event.kind === "put") handler(event.kv.key, event.kv.value);
      else handler(event.key, undefined);
    }
  }
}
