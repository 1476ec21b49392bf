/** The leases of one embedded store: who holds one, and whose time runs. */
import { FabricError } from "../model/errors.ts";
import type { LocalLease } from "./local-store.ts";
import type { LeaseRow, StoreEngine } from "./store-engine.ts";

/** Calls back once after some milliseconds; the returned function takes that back. */
export type StartTimer = (milliseconds: number, callback: () => void) => () => void;

interface Entry {
  readonly id: string;
  ttlMs: number;
  /** The latest lease object of it: an earlier one has no say any more. */
  held: LocalLease | undefined;
  /** Ends the wait for a holder to come back; absent while somebody holds the lease. */
  stopTimer: (() => void) | undefined;
  readonly lose: () => void;
  readonly lost: Promise<void>;
}

/**
 * The holder of a lease is in the store's own process, so it lives as long as the store, or until it is let go. Time
 * runs for leases that were let go, and after a restart for all: the leases that are found then have lost their holders.
 */
export class LeaseBook {
  readonly #entries = new Map<string, Entry>();
  readonly #startTimer: StartTimer;
  readonly #expire: (id: string) => void;
  #isClosed = false;

  /** @param expire - called when nobody came back in time */
  constructor(engine: StoreEngine, startTimer: StartTimer, expire: (id: string) => void) {
    this.#startTimer = startTimer;
    this.#expire = expire;
    for (const row of engine.readLeases()) {
      this.#run(this.#add(row));
    }
  }

  get size(): number {
    return this.#entries.size;
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** @throws FabricError `ERR_STORE_LEASE_LOST` if it is gone, or held by somebody */
  assertFree(id: string): void {
    const entry = this.#entries.get(id);
    if (entry?.stopTimer !== undefined) return;
    const why = entry === undefined ? "it is gone" : "somebody holds it";
    throw leaseLost(id, why);
  }

  /** Notes that somebody holds the lease from now on. */
  hold(row: LeaseRow, revoke: () => Promise<void>): LocalLease {
    const entry = this.#entries.get(row.id) ?? this.#add(row);
    entry.stopTimer?.();
    entry.stopTimer = undefined;
    entry.ttlMs = row.ttlMs;
    const held: LocalLease = {
      id: row.id,
      lost: entry.lost,
      revoke,
      letGo: () => this.#letGo(entry, held),
    };
    entry.held = held;
    return held;
  }

  /** Forgets a lease, and tells its holder. */
  end(id: string): void {
    const entry = this.#entries.get(id);
    entry?.stopTimer?.();
    this.#entries.delete(id);
    entry?.lose();
  }

  /** A lease that could not be ended is tried again after its time. */
  postpone(id: string): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#run(entry);
  }

  /** The store is no more: nobody's lease can be kept, and no time runs. */
  close(): void {
    this.#isClosed = true;
    for (const entry of this.#entries.values()) {
      entry.stopTimer?.();
      entry.lose();
    }
  }

  #letGo(entry: Entry, held: LocalLease): void {
    const isOurs = entry.held === held && this.#entries.get(entry.id) === entry;
    if (!isOurs || entry.stopTimer !== undefined || this.#isClosed) return;
    entry.held = undefined;
    this.#run(entry);
  }

  #run(entry: Entry): void {
    entry.stopTimer = this.#startTimer(entry.ttlMs, () => this.#expire(entry.id));
  }

  #add(row: LeaseRow): Entry {
    const { promise, resolve } = Promise.withResolvers<void>();
    const entry: Entry = {
      ...row,
      held: undefined,
      stopTimer: undefined,
      lose: resolve,
      lost: promise,
    };
    this.#entries.set(row.id, entry);
    return entry;
  }
}

/** The error for a lease that cannot be used. */
export function leaseLost(id: string, why: string): FabricError {
  const text = `The lease ${id} cannot be used: ${why}; ask for a new one`;
  return new FabricError("ERR_STORE_LEASE_LOST", text);
}
