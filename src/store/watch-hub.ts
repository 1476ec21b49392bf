/**
 * Watches that read the history instead of queueing events: a slow reader holds no memory, and each
 * one remembers only the next revision it needs. One that sleeps is handed what woke it.
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
  /** What is before it is delivered, or was never wanted. */
  nextRev: number;
  /** There is something from {@link Watcher.nextRev} on that must be read from the history. */
  isBehind: boolean;
  /** What was written since the watcher fell asleep, if that is all that it needs. */
  fresh: HistoryRow[];
  freshBytes: number;
  /** Set while the watcher has delivered everything and sleeps. */
  wake: (() => void) | undefined;
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
    for (const { isBehind, nextRev } of this.#watchers) {
      if (!isBehind || nextRev > this.#engine.rev) continue;
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

  /** Tells whoever watches one of the written keys; the rows are in the order of their revisions. */
  publish(rows: readonly HistoryRow[]): void {
    for (const row of rows) {
      for (const watcher of this.#watchers.matching(row.key)) tell(watcher, row);
    }
  }

  /** Ends every watch, and every later one, with `error`. */
  fail(error: FabricError): void {
    this.#failure = error;
    for (const watcher of this.#watchers) watcher.wake?.();
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
    const watcher: Watcher = {
      ...{ prefix, nextRev: from, isBehind: true },
      ...{ fresh: [], freshBytes: 0, wake: undefined },
    };
    const onAbort = () => watcher.wake?.();
    signal.addEventListener("abort", onAbort);
    this.#watchers.add(prefix, watcher);
    try {
      yield* this.#deliver(watcher, signal);
      if (!signal.aborted) yield [this.#progress(watcher)];
      while (!signal.aborted) {
        await this.#sleep(watcher, signal);
        yield* this.#deliver(watcher, signal);
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
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
    if (watcher.isBehind || watcher.fresh.length > 0) return;
    await new Promise<void>((resolve) => {
      watcher.wake = resolve;
    });
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

  /** Whole revisions only, or undefined if there is nothing to deliver. */
  #nextPage(watcher: Watcher): readonly WatchItem[] | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (watcher.isBehind) return this.#readPage(watcher);
    const { fresh } = watcher;
    if (fresh.length === 0) return undefined;
    watcher.fresh = [];
    watcher.freshBytes = 0;
    watcher.nextRev = fresh.at(-1)!.rev + 1;
    return watchItems(Map.groupBy(fresh, (row) => row.rev));
  }

  #readPage(watcher: Watcher): readonly WatchItem[] | undefined {
    const { prefix, nextRev } = watcher;
    if (nextRev < this.#engine.compactedRev) throw this.compacted(nextRev);
    const limit = { rows: PAGE_ROWS, bytes: PAGE_BYTES };
    const { rows, more } = this.#engine.readChanges(prefix, nextRev, limit);
    const page = Map.groupBy(rows, (row) => row.rev);
    if (more) {
      const lastRev = rows.at(-1)!.rev;
      page.delete(lastRev); // may go on in the next page
      watcher.nextRev = lastRev;
    } else {
      watcher.isBehind = false;
      watcher.nextRev = Math.max(nextRev, this.#engine.rev + 1);
    }
    return page.size === 0 ? undefined : watchItems(page);
  }
}

/** Notes a change for a watcher: a sleeping one is woken with it, a busy one will read it from the history. */
function tell(watcher: Watcher, row: HistoryRow): void {
  if (watcher.isBehind || row.rev < watcher.nextRev) return;
  const { fresh } = watcher;
  const isAwake = watcher.wake === undefined && fresh.length === 0;
  const isFull = fresh.length >= PAGE_ROWS || watcher.freshBytes >= PAGE_BYTES;
  if (isAwake || isFull) {
    watcher.isBehind = true;
    watcher.nextRev = fresh[0]?.rev ?? row.rev;
    watcher.fresh = [];
    watcher.freshBytes = 0;
    return;
  }
  fresh.push(row);
  watcher.freshBytes += row.text?.length ?? 0;
  watcher.wake?.();
  watcher.wake = undefined;
}

function watchItems(page: ReadonlyMap<number, readonly HistoryRow[]>): readonly WatchItem[] {
  return Array.from(page, ([rev, rows]) => ({ kind: "events", rev, events: rows.map(storeEvent) }));
}

function storeEvent(row: HistoryRow): StoreEvent {
  const kv = keyValueOf(row);
  return kv === undefined ? { kind: "delete", key: row.key, modRev: row.rev } : { kind: "put", kv };
}
