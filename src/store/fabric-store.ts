/**
 * The fabric's memory: one ordered history of small JSON documents. Managers write goals, agents
 * write status, everybody else watches. The contract is what etcd also gives (ordered revisions,
 * compare-and-swap over several keys, watch from a revision), so that an engine can be replaced
 * without touching a caller.
 */

/** Most entries in each of `compare`, `success` and `failure` of one transaction. */
export const TXN_OPS_MAX = 100;

/** Most bytes of keys and JSON values in one transaction. */
export const TXN_BYTES_MAX = 1024 * 1024;

/** Longest key in bytes. */
export const KEY_BYTES_MAX = 512;

/** Shortest and longest time to live of a lease in milliseconds. */
export const LEASE_TTL_MIN_MS = 100;
export const LEASE_TTL_MAX_MS = 3_600_000;

/** One key as it stood at some revision. */
export interface KeyValue {
  readonly key: string;
  /** A JSON value; a fresh copy, so changing it changes nothing in the store. */
  readonly value: unknown;
  /** Revision that created the key (the last time, if it was deleted in between). */
  readonly createRev: number;
  /** Revision of the last write: what {@link Compare} compares. */
  readonly modRev: number;
  /** Number of writes since the key was created; 1 after the first. */
  readonly version: number;
  /** The lease that the key dies with; absent: it stays until it is deleted. */
  readonly lease?: string;
}

/**
 * The life of whoever holds it, as the store sees it: keys that were put with a lease are deleted with it, all or none
 * of them, at most {@link TXN_OPS_MAX} in one revision. A lease lives as long as its holder, and its time to live longer
 * if the holder dies, falls silent or closes its store without a word. Its keys then go, unless somebody took it up again.
 */
export interface Lease {
  readonly id: string;
  /** Resolves when the lease is gone or can no longer be kept: what was put with it must not be relied on. */
  readonly lost: Promise<void>;
  /** Gives it up at once. Of a lease that is gone, it does nothing. */
  revoke(): Promise<void>;
}

/** Options of {@link FabricStore.lease}. */
export interface LeaseOptions {
  /** Take up this lease of an earlier run instead of a new one. */
  readonly id?: string;
}

/** True if the key was last written by revision `modRev`; 0 means that the key must not exist. */
export interface Compare {
  readonly key: string;
  readonly modRev: number;
}

/** One step of a transaction. A key may be written once per branch. */
export type Operation =
  | {
      readonly kind: "put";
      readonly key: string;
      readonly value: unknown;
      /** Id of a living lease; a put without one takes the key out of the lease that it was in. */
      readonly lease?: string;
    }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "get"; readonly key: string };

/**
 * If every comparison holds, `success` is done, otherwise `failure`; atomically and as one
 * revision. The words are etcd's: a property called `then` would make the object look like a
 * promise.
 */
export interface Transaction {
  readonly compare?: readonly Compare[];
  readonly success: readonly Operation[];
  readonly failure?: readonly Operation[];
}

/** What one {@link Operation} did, at the same index. `get` sees what the steps before it wrote. */
export type OperationResult =
  | { readonly kind: "put" }
  | { readonly kind: "delete"; readonly existed: boolean }
  | { readonly kind: "get"; readonly kv?: KeyValue };

/**
 * `ok` says which branch ran; `rev` is the store's revision after it, unchanged if nothing was
 * written.
 */
export interface TransactionResult {
  readonly ok: boolean;
  readonly rev: number;
  readonly results: readonly OperationResult[];
}

/** The key is absent if `kv` is. `rev` is the revision that was read. */
export interface GetResult {
  readonly rev: number;
  readonly kv?: KeyValue;
}

/** Keys in byte order. If `more`, ask again with this `rev` and `after` set to the last key. */
export interface ListResult {
  readonly rev: number;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
}

/** One change to one key. */
export type StoreEvent =
  | { readonly kind: "put"; readonly kv: KeyValue }
  | { readonly kind: "delete"; readonly key: string; readonly modRev: number };

/**
 * All changes of one revision under the watched prefix, or `progress`: everything up to and
 * including `rev` has been delivered. Progress is sent once, when the watch has caught up with the
 * present.
 */
export type WatchItem =
  | { readonly kind: "events"; readonly rev: number; readonly events: readonly StoreEvent[] }
  | { readonly kind: "progress"; readonly rev: number };

/** Facts for `doctor` and for whoever decides when to compact. */
export interface StoreStatus {
  readonly engine: string;
  readonly rev: number;
  /** Oldest revision that can still be read or watched from; 0 if the whole history is there. */
  readonly compactedRev: number;
  /** Keys that exist now. */
  readonly keyCount: number;
  /** Watches that are being iterated now. */
  readonly watchCount: number;
  /** Leases that live, or whose holder is gone and whose time is not yet over. */
  readonly leaseCount: number;
}

/** Options of {@link FabricStore.list}. */
export interface ListOptions {
  /** Read at this revision instead of the latest. */
  readonly rev?: number;
  /** Most keys to return, at least 1; all of them if absent. */
  readonly limit?: number;
  /** Only keys behind this one in byte order. */
  readonly after?: string;
}

/**
 * The contract; test/store/conformance.ts is its exact meaning. Revisions start at 0 (empty) and
 * grow by one with each transaction that changes something. Keys are printable ASCII without
 * spaces, begin with `/` and are ordered byte-wise. Nothing is acknowledged before it is durable. A
 * rejected transaction with code `ERR_STORE_UNCERTAIN` may have been applied, which is why every
 * mutation should compare a revision.
 *
 * Rejections: `ERR_STORE_BAD_KEY`, `ERR_STORE_BAD_VALUE`, `ERR_STORE_TOO_LARGE`,
 * `ERR_STORE_COMPACTED`, `ERR_STORE_FUTURE_REVISION`, `ERR_STORE_LEASE_LOST`, `ERR_STORE_FAILED`,
 * `ERR_STORE_UNCERTAIN`, `ERR_STORE_CLOSED`; of a store in another process, also `ERR_STORE_UNAVAILABLE`: nothing was
 * done, and it may be tried again.
 */
export interface FabricStore extends AsyncDisposable {
  get(key: string, options?: { readonly rev?: number }): Promise<GetResult>;
  /** `prefix` is a plain string prefix; `""` is everything. */
  list(prefix: string, options?: ListOptions): Promise<ListResult>;
  txn(transaction: Transaction): Promise<TransactionResult>;
  /**
   * Every revision from `from` on that touched the prefix, in order, one item each. Ends when
   * `signal` aborts. Fails with `ERR_STORE_COMPACTED` if `from` was compacted away (or is, before a
   * slow reader gets there): list again and watch from the list's `rev` + 1. A slow reader costs no
   * memory: items are read from the history.
   */
  watch(
    prefix: string,
    options: { readonly from: number; readonly signal: AbortSignal },
  ): AsyncIterable<WatchItem>;
  /**
   * Grants a lease, durably. Rejects with `ERR_STORE_LEASE_LOST` if `options.id` names one that is gone, or that somebody
   * holds.
   *
   * @param ttlMs - how long its keys outlive a holder that died, {@link LEASE_TTL_MIN_MS} to {@link LEASE_TTL_MAX_MS}
   */
  lease(ttlMs: number, options?: LeaseOptions): Promise<Lease>;
  /** Forgets what was overwritten before `upTo`; that revision itself stays readable. */
  compact(upTo: number): Promise<void>;
  status(): Promise<StoreStatus>;
}
