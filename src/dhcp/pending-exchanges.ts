/** The requests that asynchronous plugins are deciding: bounded, each once. */

import type { DhcpRequest } from "./request.ts";

/** Most requests that wait at once; then the one that waited longest is given up, for its client asks again soonest. */
export const PENDING_MAX = 4_096;

/** What tells one message from another: its client's retransmissions are equal, its next attempt is not. */
function keyOf(request: DhcpRequest, ifindex: number): string {
  const { chaddr, xid, messageType, ciaddr, requestedAddress, serverIdentifier, flags } = request;
  return [
    ifindex,
    chaddr,
    xid,
    messageType,
    ciaddr,
    requestedAddress,
    serverIdentifier,
    flags,
  ].join();
}

/** A set of waiting requests, oldest first. */
export class PendingExchanges {
  readonly #giveUps = new Map<string, () => void>();

  get size(): number {
    return this.#giveUps.size;
  }

  /** True if the same message waits already. */
  has(request: DhcpRequest, ifindex: number): boolean {
    return this.#giveUps.size > 0 && this.#giveUps.has(keyOf(request, ifindex));
  }

  /**
   * Adds a request.
   *
   * @param giveUp - called if it has to make room
   * @returns takes it out again; false if it was given up before
   */
  add(request: DhcpRequest, ifindex: number, giveUp: () => void): () => boolean {
    if (this.#giveUps.size >= PENDING_MAX) this.#giveUpOldest();
    const key = keyOf(request, ifindex);
    this.#giveUps.set(key, giveUp);
    return () => this.#giveUps.get(key) === giveUp && this.#giveUps.delete(key);
  }

  /** Gives all of them up. */
  clear(): void {
    while (this.#giveUps.size > 0) this.#giveUpOldest();
  }

  #giveUpOldest(): void {
    for (const [key, giveUp] of this.#giveUps) {
      this.#giveUps.delete(key);
      giveUp();
      return;
    }
  }
}
