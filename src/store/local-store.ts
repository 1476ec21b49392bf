/** A store that lives in this process, and what its owner can do with it beyond the contract. */
import type { FabricError } from "../model/errors.ts";
import type { FabricStore, Lease, LeaseOptions, WatchItem } from "./fabric-store.ts";

/** A lease whose holder may be somebody else, for whom it is held here. */
export interface LocalLease extends Lease {
  /**
   * Its holder is gone without a word: its time to live begins to run, and somebody may take it up again. Does nothing
   * once somebody has, or the lease is gone.
   */
  letGo(): void;
}

/** A {@link FabricStore} that can be shared with other processes, and compacted. */
export interface LocalStore extends FabricStore {
  /** The latest revision. */
  readonly rev: number;
  readonly compactedRev: number;
  /** The oldest revision that a running watch has yet to read; undefined if all have read everything. */
  readonly neededRev: number | undefined;
  /** Why the store takes no more calls; undefined while it does. */
  readonly refusal: FabricError | undefined;
  lease(ttlMs: number, options?: LeaseOptions): Promise<LocalLease>;
  /**
   * As {@link FabricStore.watch}, with the items that are there at once together. A page is read from the history when
   * it is asked for; it has at most 1,000 changes and some 2 MiB.
   */
  watchPages(
    prefix: string,
    options: { readonly from: number; readonly signal: AbortSignal },
  ): AsyncIterable<readonly WatchItem[]>;
}
