/**
 * Watches that read the history instead of queueing events: a slow reader holds no memory, and each
 * one remembers only the next revision it needs.
 */
import { FabricError } from "../model/errors.ts";
import { type StoreEvent, TXN_BYTES_MAX, TXN_OPS_MAX, type WatchItem } from "./fabric-store.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { type HistoryRow, keyValueOf, type StoreEngine } from "./store-engine.ts";

/** Rows read at once; more than one revision can have, so that a page always holds a whole one. */
const PAGE_ROWS = 10 * TXN_OPS_MAX;

/** Bytes of values after which a page takes no more rows; more than one revision can have, for the same reason. */
const PAGE_BYTES = 2 * TXN_BYTES_MAX;

interface Watcher {
  readonly prefix: string;
  nextRev: number;
  /** Set while the watcher has delivered everything and sleeps; called with the first revision that it has not seen. */
  wake: ((rev: number) => void) | undefined;
}

/** The watches of one store. */
export class WatchHub {
  readonly #engine: StoreEngine;
  readonly #watchers = new PrefixIndex<Watcher>();
  #failure: FabricError | undefined;

  constructor(engine: StoreEngine) {
    this.#engine = engine;
  }

  /** Watches being iterated. */
  get size(): number {
    return this.#watchers.size;
  }

  /** The oldest revision that a watch has yet to read; undefined if all have read everything. */
  get neededRev(): number | undefined {
    let needed: number | undefined;
    for (const { wake, nextRev } of this.#watchers) {
      if (wake !== undefined || nextRev > this.#engine.rev) continue;
      if (needed === undefined || nextRev < needed) needed = nextRev;
    }
    return needed;
  }

  /** The error for a revision that was compacted away. */
  compacted(rev: number): FabricError {
    return new FabricError(
      "ERR_STORE_COMPACTED",
      `Revision ${rev} was compacted away; the oldest is ${this.#engine.compactedRev}: list again`,
    );
  }

  /** Wakes whoever watches one of the written keys; the rows are in the order of their revisions. */
  publish(rows: readonly HistoryRow[]): void {
    for (const row of rows) {
      for (const watcher of this.#watchers.matching(row.key)) watcher.wake?.(row.rev);
    }
  }

  /** Ends every watch, and every later one, with `error`. */
  fail(error: FabricError): void {
    this.#failure = error;
    for (const watcher of this.#watchers) watcher.wake?.(watcher.nextRev);
  }

  /**
   * See FabricStore.watch, with the items that are there at once in one page; the arguments are checked. A page is read
   * when it is asked for.
   */
  async *watch(
    prefix: string,
    from: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly WatchItem[], void, undefined> {
    const watcher: Watcher = { prefix, nextRev: from, wake: undefined };
    this.#watchers.add(prefix, watcher);
    try {
      yield* this.#deliver(watcher, signal);
      if (!signal.aborted) yield [this.#progress(watcher)];
      while (!signal.aborted) {
        await this.#sleep(watcher, signal);
        yield* this.#deliver(watcher, signal);
      }
    } finally {
      this.#watchers.delete(prefix, watcher);
    }
  }

  #progress(watcher: Watcher): WatchItem {
    return { kind: "progress", rev: Math.min(watcher.nextRev - 1, this.#engine.rev) };
  }

  /**
   * Resolves when the hub wakes the watcher or the signal aborts; at once if there is news already.
   */
  async #sleep(watcher: Watcher, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#failure !== undefined) return;
    if (this.#engine.rev >= watcher.nextRev) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    watcher.wake = (rev) => {
      // It has missed nothing before, and so no compaction can have overtaken it while it slept.
      watcher.nextRev = Math.max(watcher.nextRev, rev);
      watcher.wake = undefined;
      resolve();
    };
    const onAbort = () => resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    await promise;
    signal.removeEventListener("abort", onAbort);
    watcher.wake = undefined;
  }

  *#deliver(
    watcher: Watcher,
    signal: AbortSignal,
  ): Generator<readonly WatchItem[], void, undefined> {
    while (!signal.aborted) {
      const page = this.#nextPage(watcher);
      if (page === undefined) return;
      yield page;
    }
  }

  /**
   * Whole revisions only, or undefined (and the watcher moved to the head) if there is nothing to
   * deliver.
   */
  #nextPage(watcher: Watcher): readonly WatchItem[] | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (watcher.nextRev < this.#engine.compactedRev) throw this.compacted(watcher.nextRev);
    const { prefix, nextRev } = watcher;
    const limit = { rows: PAGE_ROWS, bytes: PAGE_BYTES };
    const { rows, more } = this.#engine.readChanges(prefix, nextRev, limit);
    if (rows.length === 0) {
      watcher.nextRev = Math.max(nextRev, this.#engine.rev + 1);
      return undefined;
    }
    const page = Map.groupBy(rows, (row) => row.rev);
    if (more) page.delete(rows.at(-1)!.rev); // may go on in the next page
    const items = Array.from(page, ([rev, rowsOfRev]): WatchItem => {
      return { kind: "events", rev, events: rowsOfRev.map(storeEvent) };
    });
    watcher.nextRev = items.at(-1)!.rev + 1;
    return items;
  }
}

function storeEvent(row: HistoryRow): StoreEvent {
  const kv = keyValueOf(row);
  return kv === undefined ? { kind: "delete", key: row.key, modRev: row.rev } : { kind: "put", kv };
}
