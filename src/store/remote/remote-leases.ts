/** The leases that a client of a shared store holds. */
import { FabricError } from "../../model/errors.ts";
import type { Lease } from "../fabric-store.ts";
import type { Link } from "./link.ts";
import type { Call } from "./protocol.ts";

/** Tries to revoke a lease when connections end meanwhile. */
const REVOKE_TRIES_MAX = 3;

interface Entry {
  readonly ttlMs: number;
  readonly lose: () => void;
}

/** Takes leases up again after each connection, and tells their holders when they are gone. */
export class RemoteLeases {
  readonly #call: (call: Call) => Promise<unknown>;
  readonly #entries = new Map<string, Entry>();

  constructor(call: (call: Call) => Promise<unknown>) {
    this.#call = call;
  }

  /** Notes a lease that was granted. */
  add(id: string, ttlMs: number, assertOpen: () => void): Lease {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#entries.set(id, { ttlMs, lose: resolve });
    const revoke = async () => {
      if (!this.#entries.has(id)) return;
      assertOpen();
      await this.#revoke(id);
    };
    return { id, lost: promise, revoke };
  }

  onLost(id: string): void {
    this.#entries.get(id)?.lose();
    this.#entries.delete(id);
  }

  /** Asks for every lease again over a new connection; those that are gone are lost. */
  async takeUp(link: Link): Promise<void> {
    const takeUpOne = async (id: string, { ttlMs }: Entry) => {
      link.pingWithin(ttlMs);
      try {
        await link.call({ kind: "lease", ttlMs, lease: id });
      } catch (error) {
        if (!isLeaseLost(error)) throw error;
        this.onLost(id);
      }
    };
    await Promise.all(Array.from(this.#entries, ([id, entry]) => takeUpOne(id, entry)));
  }

  /** The client is closed: nobody takes them up again. */
  close(): void {
    for (const { lose } of this.#entries.values()) lose();
  }

  /** Revoking twice does no harm, so an uncertain revocation is done again. */
  async #revoke(id: string): Promise<void> {
    for (let attempt = 1; this.#entries.has(id); attempt++) {
      try {
        await this.#call({ kind: "revoke", lease: id });
        this.onLost(id);
      } catch (error) {
        if (isLeaseLost(error)) this.onLost(id);
        else if (!isUncertain(error) || attempt === REVOKE_TRIES_MAX) throw error;
      }
    }
  }
}

function isLeaseLost(error: unknown): boolean {
  return error instanceof FabricError && error.code === "ERR_STORE_LEASE_LOST";
}

function isUncertain(error: unknown): boolean {
  return error instanceof FabricError && error.code === "ERR_STORE_UNCERTAIN";
}
