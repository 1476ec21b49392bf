/**
 * Watches that read the history instead of queueing events: a slow reader holds no memory, and each
 * one remembers only the next revision it needs.
 */
import { FabricError } from "../model/errors.ts";
import { type StoreEvent, TXN_OPS_MAX, type WatchItem } from "./fabric-store.ts";
import { type HistoryRow, keyValueOf, type StoreEngine } from "./store-engine.ts";

/** Rows read at once; more than one revision can have, so that a page always holds a whole one. */
const PAGE_ROWS = 10 * TXN_OPS_MAX;

interface Watcher {
  readonly prefix: string;
  nextRev: number;
  /** Set while the watcher has delivered everything and sleeps. */
  wake: (() => void) | undefined;
}

/** The watches of one store. */
export class WatchHub {
  readonly #engine: StoreEngine;
  readonly #watchers = new Set<Watcher>();
  #failure: FabricError | undefined;

  constructor(engine: StoreEngine) {
    this.#engine = engine;
  }

  /** Watches being iterated. */
  get size(): number {
    return this.#watchers.size;
  }

  /** The error for a revision that was compacted away. */
  compacted(rev: number): FabricError {
    return new FabricError(
      "ERR_STORE_COMPACTED",
      `Revision ${rev} was compacted away; the oldest is ${this.#engine.compactedRev}: list again`,
    );
  }

  /** Wakes whoever watches one of the written keys. */
  publish(rows: readonly HistoryRow[]): void {
    if (rows.length === 0) return;
    for (const watcher of this.#watchers) {
      if (watcher.wake === undefined) continue;
      if (rows.some((row) => row.key.startsWith(watcher.prefix))) watcher.wake();
      // It misses nothing, and so a later compaction cannot overtake it while it sleeps.
      else watcher.nextRev = Math.max(watcher.nextRev, this.#engine.rev + 1);
    }
  }

  /** Ends every watch, and every later one, with `error`. */
  fail(error: FabricError): void {
    this.#failure = error;
    for (const watcher of this.#watchers) watcher.wake?.();
  }

  /** See FabricStore.watch; the arguments are checked. */
  async *watch(
    prefix: string,
    from: number,
    signal: AbortSignal,
  ): AsyncGenerator<WatchItem, void, undefined> {
    const watcher: Watcher = { prefix, nextRev: from, wake: undefined };
    this.#watchers.add(watcher);
    try {
      yield* this.#deliver(watcher, signal);
      if (!signal.aborted) yield this.#progress(watcher);
      while (!signal.aborted) {
        await this.#sleep(watcher, signal);
        yield* this.#deliver(watcher, signal);
      }
    } finally {
      this.#watchers.delete(watcher);
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
    watcher.wake = resolve;
    signal.addEventListener("abort", watcher.wake, { once: true });
    await promise;
    signal.removeEventListener("abort", watcher.wake);
    watcher.wake = undefined;
  }

  *#deliver(watcher: Watcher, signal: AbortSignal): Generator<WatchItem, void, undefined> {
    while (!signal.aborted) {
      const page = this.#nextPage(watcher);
      if (page === undefined) return;
      for (const [rev, rows] of page) {
        yield { kind: "events", rev, events: rows.map(storeEvent) };
        if (signal.aborted) return;
        watcher.nextRev = rev + 1;
      }
    }
  }

  /**
   * Whole revisions only, or undefined (and the watcher moved to the head) if there is nothing to
   * deliver.
   */
  #nextPage(watcher: Watcher): Map<number, HistoryRow[]> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (watcher.nextRev < this.#engine.compactedRev) throw this.compacted(watcher.nextRev);
    const rows = this.#engine.readChanges(watcher.prefix, watcher.nextRev, PAGE_ROWS);
    if (rows.length === 0) {
      watcher.nextRev = Math.max(watcher.nextRev, this.#engine.rev + 1);
      return undefined;
    }
    const page = Map.groupBy(rows, (row) => row.rev);
    if (rows.length === PAGE_ROWS) page.delete(rows.at(-1)!.rev); // may go on in the next page
    return page;
  }
}

function storeEvent(row: HistoryRow): StoreEvent {
  const kv = keyValueOf(row);
  return kv === undefined ? { kind: "delete", key: row.key, modRev: row.rev } : { kind: "put", kv };
}
