/** Leases that a server holds for one client, for as long as the client is heard of. */
import { leaseLost } from "../lease-book.ts";
import type { LocalLease, LocalStore } from "../local-store.ts";

interface Held {
  readonly lease: LocalLease;
  /** Fires when its holder was silent for its time to live. */
  readonly silence: NodeJS.Timeout;
}

/** The leases of one connection. */
export class HeldLeases {
  readonly #store: LocalStore;
  readonly #onLost: (id: string) => void;
  readonly #held = new Map<string, Held>();
  /** Counts what was heard, so that a timer that fires late can see that the client was not silent. */
  #heardCount = 0;
  #isOver = false;

  /** @param onLost - called when a lease is gone, however it went */
  constructor(store: LocalStore, onLost: (id: string) => void) {
    this.#store = store;
    this.#onLost = onLost;
  }

  /**
   * Takes a lease, or takes one up again, for the client. Resolves to its id.
   *
   * @throws FabricError as FabricStore.lease
   */
  async hold(ttlMs: number, id: string | undefined): Promise<string> {
    const lease = await this.#store.lease(ttlMs, id === undefined ? {} : { id });
    if (this.#isOver) {
      lease.letGo();
      return lease.id;
    }
    const silence = setTimeout(() => this.#onSilence(lease), ttlMs).unref();
    this.#held.set(lease.id, { lease, silence });
    void lease.lost.then(() => {
      if (this.#forget(lease)) this.#onLost(lease.id);
    });
    return lease.id;
  }

  /** Revokes a lease of this client. @throws FabricError as Lease.revoke */
  async revoke(id: string): Promise<void> {
    const held = this.#held.get(id);
    if (held === undefined) throw leaseLost(id, "this client does not hold it");
    await held.lease.revoke();
  }

  /** The client lives: the time of its leases begins anew. */
  heard(): void {
    this.#heardCount++;
    for (const { silence } of this.#held.values()) silence.refresh();
  }

  /** The client is gone: the store waits for it to come back, each lease for its time. */
  letGo(): void {
    this.#isOver = true;
    for (const { lease } of [...this.#held.values()]) {
      this.#forget(lease);
      lease.letGo();
    }
  }

  /**
   * If this process stood still, the timer may fire before what the client sent meanwhile was read; sockets are read
   * between timers and immediates.
   */
  #onSilence(lease: LocalLease): void {
    const heardBefore = this.#heardCount;
    setImmediate(() => {
      if (this.#held.get(lease.id)?.lease !== lease || this.#heardCount !== heardBefore) return;
      // A store that cannot write has said so; the lease is tried again after its time.
      lease.revoke().catch(() => this.#held.get(lease.id)?.silence.refresh());
    });
  }

  #forget(lease: LocalLease): boolean {
    const held = this.#held.get(lease.id);
    if (held?.lease !== lease) return false;
    clearTimeout(held.silence);
    this.#held.delete(lease.id);
    return true;
  }
}
