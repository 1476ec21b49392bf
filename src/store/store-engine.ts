/**
 * What an embedded engine keeps: rows of history. Everything that is a rule is in
 * embedded-store.ts.
 */

import type { KeyValue } from "./fabric-store.ts";

/** One write of one key. `text` is JSON, or undefined if the write deleted the key. */
export interface HistoryRow {
  readonly key: string;
  readonly rev: number;
  readonly createRev: number;
  readonly version: number;
  readonly text: string | undefined;
  /** The lease that the key dies with, of a row that is no deletion. */
  readonly lease: string | undefined;
}

/** A lease as it is kept. */
export interface LeaseRow {
  readonly id: string;
  readonly ttlMs: number;
}

/** What a row says of its key; undefined if it deleted it. */
export function keyValueOf(row: HistoryRow | undefined): KeyValue | undefined {
  if (row?.text === undefined) return undefined;
  const { key, createRev, rev, version, text, lease } = row;
  const kv = { key, value: JSON.parse(text), createRev, modRev: rev, version };
  return lease === undefined ? kv : { ...kv, lease };
}

/** Which rows {@link StoreEngine.readRange} returns. */
export interface RangeQuery {
  readonly prefix: string;
  readonly rev: number;
  /** `""` for no lower bound. */
  readonly after: string;
  readonly limit: number;
}

/** Where {@link StoreEngine.readChanges} stops: at so many rows, or behind the row that reaches so many bytes of values. */
export interface ChangesLimit {
  readonly rows: number;
  readonly bytes: number;
}

/** What {@link StoreEngine.readChanges} found. If `more`, it stopped at the limit, maybe inside a revision. */
export interface Changes {
  readonly rows: readonly HistoryRow[];
  readonly more: boolean;
}

/** Takes rows until a limit is reached. */
export function takeChanges(rows: Iterable<HistoryRow>, limit: ChangesLimit): Changes {
  const taken: HistoryRow[] = [];
  let bytes = 0;
  for (const row of rows) {
    taken.push(row);
    bytes += row.text?.length ?? 0;
    if (taken.length >= limit.rows || bytes >= limit.bytes) return { rows: taken, more: true };
  }
  return { rows: taken, more: false };
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
  /** Rows from revision `fromRev` on, ordered by revision, then key. */
  readChanges(prefix: string, fromRev: number, limit: ChangesLimit): Changes;
  countKeys(): number;
  /** Keys that exist now and are in this lease, in byte order. */
  readLeaseKeys(id: string): string[];
  readLeases(): LeaseRow[];
  /** Adds a lease or changes its time to live; only inside {@link StoreEngine.batch}. */
  putLease(lease: LeaseRow): void;
  /** Only inside {@link StoreEngine.batch}. */
  deleteLease(id: string): void;
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
