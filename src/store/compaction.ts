/** How much history a store keeps. */
import { setImmediate as turn } from "node:timers/promises";
import type { StartTimer } from "./lease-book.ts";
import type { LocalStore } from "./local-store.ts";

/** Revisions that are kept, unless the caller says otherwise; some 50 MB of the fabric's documents. */
export const KEEP_REVISIONS = 100_000;

/** A watch that is behind may keep so many times the revisions; then it must list again. */
const KEEP_FOR_WATCHES = 4;

/** Time between two looks at the history. */
const EVERY_MS = 10_000;

/** Revisions that are forgotten with one commit, so that the store's other callers wait for milliseconds only. */
const STEP_REVISIONS = 250;

/** What {@link startCompaction} needs. */
export interface CompactionOptions {
  readonly store: LocalStore;
  /** Revisions that are kept, at least 1. */
  readonly keepRevisions?: number;
  /** Told that a compaction failed; it is tried again at the next look. */
  readonly onFault?: (error: unknown) => void;
  /** For tests; by default a timer that lets the process end. */
  readonly startTimer?: StartTimer;
}

/** Forgets old history from time to time until it is disposed. Only the process that opened the store does this. */
export function startCompaction(options: CompactionOptions): Disposable {
  const { store, keepRevisions = KEEP_REVISIONS, onFault = () => undefined } = options;
  const { startTimer = startUnrefTimer } = options;
  const stop = new AbortController();
  let cancel = startTimer(EVERY_MS, look);
  async function look(): Promise<void> {
    try {
      await compactTo(store, compactionTarget(store, keepRevisions), stop.signal);
    } catch (error) {
      if (!stop.signal.aborted) onFault(error);
    }
    if (!stop.signal.aborted) cancel = startTimer(EVERY_MS, look);
  }
  return {
    [Symbol.dispose]: () => {
      stop.abort();
      cancel();
    },
  };
}

/**
 * The revision to compact to. Watches that have yet to read something hold it up, but not for ever: whoever is too far
 * behind lists again.
 */
export function compactionTarget(
  store: Pick<LocalStore, "rev" | "neededRev">,
  keepRevisions: number,
): number {
  const { rev, neededRev = rev } = store;
  const wanted = Math.min(rev - keepRevisions, neededRev);
  return Math.max(0, wanted, rev - KEEP_FOR_WATCHES * keepRevisions);
}

async function compactTo(store: LocalStore, target: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && store.compactedRev < target) {
    await store.compact(Math.min(target, store.compactedRev + STEP_REVISIONS));
    await turn();
  }
}

function startUnrefTimer(milliseconds: number, callback: () => void): () => void {
  const timer = setTimeout(callback, milliseconds).unref();
  return () => clearTimeout(timer);
}
