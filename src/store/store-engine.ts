/**
 * What an embedded engine keeps: rows of history. Everything that is a rule is in
 * embedded-store.ts.
 */

/** One write of one key. `text` is JSON, or undefined if the write deleted the key. */
export interface HistoryRow {
  readonly key: string;
  readonly rev: number;
  readonly createRev: number;
  readonly version: number;
  readonly text: string | undefined;
}

/** Which rows {@link StoreEngine.readRange} returns. */
export interface RangeQuery {
  readonly prefix: string;
  readonly rev: number;
  /** `""` for no lower bound. */
  readonly after: string;
  readonly limit: number;
}

/** A synchronous history of writes. Reads see what the running batch has written so far. */
export interface StoreEngine {
  readonly name: string;
  /** Latest revision. */
  readonly rev: number;
  readonly compactedRev: number;
  /** The newest row of `key` that is not newer than `rev`, tombstones included. */
  readKey(key: string, rev: number): HistoryRow | undefined;
  /** Keys that exist at `rev`, in byte order. */
  readRange(query: RangeQuery): HistoryRow[];
  /** Rows from revision `fromRev` on, ordered by revision, then key; at most `limit`. */
  readChanges(prefix: string, fromRev: number, limit: number): HistoryRow[];
  countKeys(): number;
  /** Appends the rows of the next revision; only inside {@link StoreEngine.batch}. */
  append(rows: readonly HistoryRow[]): void;
  /**
   * Runs `work` and makes all it appended durable at once, or nothing of it.
   *
   * @throws FabricError `ERR_STORE_FAILED` if nothing was kept, `ERR_STORE_UNCERTAIN` if it may
   * have been kept
   */
  batch(work: () => void): void;
  /**
   * Deletes rows that no read at or after `upTo` can need; rows of `upTo` itself stay, tombstones
   * included.
   */
  compact(upTo: number): void;
  close(): void;
}
