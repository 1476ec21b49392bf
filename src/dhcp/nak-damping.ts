/**
 * Bounds how often one client is refused. A client that does not listen would otherwise be answered as fast as it asks.
 * A refusal is damped only if it repeats the one before: a client that walks through its states (a renewal refused, then
 * a selection of the old address) hears each answer.
 */

import type { Ipv4Address } from "../model/ipv4-address.ts";
import type { MacAddress } from "../model/mac-address.ts";

/** Shortest time between two equal refusals of one client. */
export const NAK_INTERVAL_MS = 1_000;
/** Refusals of one client in a row before the interval starts to double. */
export const NAK_BURST_MAX = 10;
/** Longest interval; no client waits longer between attempts unless it gave up. */
export const NAK_INTERVAL_MAX_MS = 60_000;
/** Most clients that are remembered; the one that was refused first is forgotten first. */
export const NAK_CLIENTS_MAX = 4_096;

interface Refusals {
  attemptMs: number;
  nextMs: number;
  intervalMs: number;
  count: number;
  state: string;
  wanted: Ipv4Address;
}

/** Remembers who was refused lately. */
export class NakDamping {
  readonly #clients = new Map<MacAddress, Refusals>();

  /**
   * True if this refusal may be sent.
   *
   * @param state - of the client, as its message shows it
   * @param wanted - the address that is refused
   * @param nowMs - of a monotonic clock
   */
  admits(client: MacAddress, state: string, wanted: Ipv4Address, nowMs: number): boolean {
    const refusals = this.#refusalsOf(client, nowMs);
    const isRepeated = refusals.state === state && refusals.wanted === wanted;
    refusals.attemptMs = nowMs;
    const isSpent = refusals.count >= NAK_BURST_MAX;
    if (nowMs < refusals.nextMs && (isRepeated || isSpent)) return false;
    refusals.state = state;
    refusals.wanted = wanted;
    refusals.count += 1;
    if (isSpent) refusals.intervalMs = Math.min(refusals.intervalMs * 2, NAK_INTERVAL_MAX_MS);
    refusals.nextMs = nowMs + refusals.intervalMs;
    return true;
  }

  /** A client that was quiet for the longest interval starts afresh. */
  #refusalsOf(client: MacAddress, nowMs: number): Refusals {
    const known = this.#clients.get(client);
    if (known !== undefined && nowMs - known.attemptMs < NAK_INTERVAL_MAX_MS) return known;
    this.#clients.delete(client);
    if (this.#clients.size >= NAK_CLIENTS_MAX) {
      const [oldest] = this.#clients.keys();
      if (oldest !== undefined) this.#clients.delete(oldest);
    }
    const fresh: Refusals = {
      attemptMs: nowMs,
      nextMs: 0,
      intervalMs: NAK_INTERVAL_MS,
      count: 0,
      state: "",
      wanted: 0 as Ipv4Address,
    };
    this.#clients.set(client, fresh);
    return fresh;
  }
}
