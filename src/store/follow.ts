/** Learning by watching: the present first, then every change, as one stream of documents. */
import { setTimeout as sleep } from "node:timers/promises";
import { FabricError } from "../model/errors.ts";
import type { FabricStore, StoreEvent } from "./fabric-store.ts";

/** Wait before a store that is away is asked again; the call itself has waited already. */
const RETRY_MS = 100;

/** Called with each document and the revision that wrote it; `undefined` means that it was deleted. Must not throw. */
export type DocumentHandler = (key: string, value: unknown, modRev: number) => void;

/** A follower that has seen the present when {@link Follower.caughtUp} resolves. */
export interface Follower {
  /** Rejects with the signal's reason if that aborts before, or as {@link Follower.ended}. */
  readonly caughtUp: Promise<void>;
  /** Resolves when the signal aborts; rejects when the store fails or is closed. */
  readonly ended: Promise<void>;
}

/**
 * Hands all documents under `prefix` to `handler`, and from then on each change, in order, until `signal` aborts.
 *
 * A follower outlives a store that is away for a while. One that was overtaken by a compaction lists again and hands on
 * the differences, deletions first: the handler then sees only the last of several changes of a key.
 */
export function follow(
  store: FabricStore,
  prefix: string,
  handler: DocumentHandler,
  signal: AbortSignal,
): Follower {
  const { promise: caughtUp, resolve, reject } = Promise.withResolvers<void>();
  caughtUp.catch(() => undefined); // whoever does not wait for it learns the same from `ended`
  const ended = new Following({ store, prefix, handler, signal }).run(resolve);
  ended.then(() => reject(signal.reason), reject);
  return { caughtUp, ended };
}

interface FollowOptions {
  readonly store: FabricStore;
  readonly prefix: string;
  readonly handler: DocumentHandler;
  readonly signal: AbortSignal;
}

class Following {
  readonly #options: FollowOptions;
  /** The revision of each document that the handler has. */
  readonly #known = new Map<string, number>();

  constructor(options: FollowOptions) {
    this.#options = options;
  }

  async run(onCaughtUp: () => void): Promise<void> {
    const { store, prefix, signal } = this.#options;
    while (!signal.aborted) {
      try {
        const from = (await this.#deliverPresent()) + 1;
        onCaughtUp();
        for await (const item of store.watch(prefix, { from, signal })) {
          if (item.kind === "events") for (const event of item.events) this.#deliver(event);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (hasCode(error, "ERR_STORE_COMPACTED")) continue;
        if (!hasCode(error, "ERR_STORE_UNAVAILABLE")) throw error;
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** Hands on what differs from what the handler has, and returns the revision of it. */
  async #deliverPresent(): Promise<number> {
    const { store, prefix } = this.#options;
    const { rev, kvs } = await store.list(prefix);
    const present = new Set(kvs.map(({ key }) => key));
    for (const key of [...this.#known.keys()]) {
      if (!present.has(key)) this.#deliver({ kind: "delete", key, modRev: rev });
    }
    for (const kv of kvs) {
      if (this.#known.get(kv.key) !== kv.modRev) this.#deliver({ kind: "put", kv });
    }
    return rev;
  }

  #deliver(event: StoreEvent): void {
    const { handler } = this.#options;
    if (event.kind === "put") {
      this.#known.set(event.kv.key, event.kv.modRev);
      handler(event.kv.key, event.kv.value, event.kv.modRev);
    } else {
      this.#known.delete(event.key);
      handler(event.key, undefined, event.modRev);
    }
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof FabricError && error.code === code;
}
