/** History in memory: for unit tests and for runs that need not survive. */
import {
  type Changes,
  type ChangesLimit,
  type HistoryRow,
  type LeaseRow,
  type RangeQuery,
  type StoreEngine,
  takeChanges,
} from "./store-engine.ts";

/** A {@link StoreEngine} over a sorted key list and one row list per key. */
export class MemoryEngine implements StoreEngine {
  readonly name = "memory";
  rev = 0;
  compactedRev = 0;
  /** Every key that has rows, in byte order (UTF-16 order is byte order for ASCII). */
  #keys: string[] = [];
  #rowsByKey = new Map<string, HistoryRow[]>();
  /** All rows by revision, then key. */
  #log: HistoryRow[] = [];
  readonly #leases = new Map<string, LeaseRow>();

  readKey(key: string, rev: number): HistoryRow | undefined {
    return this.#rowsByKey.get(key)?.findLast((row) => row.rev <= rev);
  }

  readRange({ prefix, rev, after, limit }: RangeQuery): HistoryRow[] {
    const found: HistoryRow[] = [];
    for (let i = this.#lowerBound(after > prefix ? after : prefix); i < this.#keys.length; i++) {
      const key = this.#keys[i]!;
      if (found.length === limit || !key.startsWith(prefix)) break;
      const row = key === after ? undefined : this.readKey(key, rev);
      if (row?.text !== undefined) found.push(row);
    }
    return found;
  }

  readChanges(prefix: string, fromRev: number, limit: ChangesLimit): Changes {
    return takeChanges(this.#changes(prefix, fromRev), limit);
  }

  *#changes(prefix: string, fromRev: number): Generator<HistoryRow, void, undefined> {
    for (let i = this.#firstOfRevision(fromRev); i < this.#log.length; i++) {
      const row = this.#log[i]!;
      if (row.key.startsWith(prefix)) yield row;
    }
  }

  countKeys(): number {
    return this.#keys.filter((key) => this.readKey(key, this.rev)?.text !== undefined).length;
  }

  readLeaseKeys(id: string): string[] {
    return this.#keys.filter((key) => this.readKey(key, this.rev)?.lease === id);
  }

  readLeases(): LeaseRow[] {
    return [...this.#leases.values()];
  }

  putLease(lease: LeaseRow): void {
    this.#leases.set(lease.id, lease);
  }

  deleteLease(id: string): void {
    this.#leases.delete(id);
  }

  append(rows: readonly HistoryRow[]): void {
    for (const row of [...rows].sort((a, b) => (a.key < b.key ? -1 : 1))) {
      this.rev = row.rev;
      this.#log.push(row);
      this.#rowsOf(row.key).push(row);
    }
  }

  batch(work: () => void): void {
    work();
  }

  compact(upTo: number): void {
    this.compactedRev = upTo;
    const needed = (row: HistoryRow) =>
      row.rev >= upTo || (row.text !== undefined && this.readKey(row.key, upTo) === row);
    this.#log = this.#log.filter(needed);
    this.#rowsByKey = Map.groupBy(this.#log, (row) => row.key);
    this.#keys = [...this.#rowsByKey.keys()].sort((a, b) => (a < b ? -1 : 1));
  }

  close(): void {}

  #rowsOf(key: string): HistoryRow[] {
    const known = this.#rowsByKey.get(key);
    if (known !== undefined) return known;
    const rows: HistoryRow[] = [];
    this.#rowsByKey.set(key, rows);
    this.#keys.splice(this.#lowerBound(key), 0, key);
    return rows;
  }

  #lowerBound(key: string): number {
    return partitionPoint(this.#keys, (other) => other < key);
  }

  #firstOfRevision(rev: number): number {
    return partitionPoint(this.#log, (row) => row.rev < rev);
  }
}

/** Index of the first element for which `before` is false; all such come last. */
function partitionPoint<T>(items: readonly T[], before: (item: T) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (before(items[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}
