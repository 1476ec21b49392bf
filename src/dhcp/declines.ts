/**
 * What is remembered of clients that declined their address. There is no other address to give, so the assignment
 * stays; the mark says that something else on the network uses it, or that the client did not like our DHCPACK.
 */

import type { MacAddress } from "../model/mac-address.ts";

/** How long a client is held off after its first DHCPDECLINE; doubles with each further one. */
export const DECLINE_HOLD_MS = 10_000;
/** Longest hold-off, and how long a mark is kept. */
export const DECLINE_HOLD_MAX_MS = 300_000;
/** Most clients that are remembered; the one that declined first is forgotten first. */
export const DECLINE_CLIENTS_MAX = 4_096;
/** A DHCPDECLINE this soon after the DHCPACK is the client's quarrel with the message, not with a neighbour. */
export const DECLINE_AT_ONCE_MS = 1_000;
/** Acknowledgements that are remembered, one per slot; powers of two. A tap has one guest, an uplink a fleet. */
const ACK_SLOTS_MIN = 8;
const ACK_SLOTS_MAX = 4_096;

interface Decline {
  atMs: number;
  holdMs: number;
}

/** Remembers who declined, and who was acknowledged just now. */
export class Declines {
  readonly #declines = new Map<MacAddress, Decline>();
  #ackedMac = new Float64Array(ACK_SLOTS_MIN);
  #ackedMs = new Float64Array(ACK_SLOTS_MIN);

  /** Notes a DHCPACK; a later one of another client may take its place. */
  acknowledged(client: MacAddress, nowMs: number): void {
    let slot = this.#slotOf(client);
    const other = this.#ackedMac[slot]!;
    const isTaken = other !== 0 && other !== client;
    if (isTaken && this.#ackedMac.length < ACK_SLOTS_MAX) {
      this.#grow();
      slot = this.#slotOf(client);
    }
    this.#ackedMac[slot] = client;
    this.#ackedMs[slot] = nowMs;
  }

  /** Notes a DHCPDECLINE. True if it came at once after the DHCPACK. */
  declined(client: MacAddress, nowMs: number): boolean {
    const before = this.#find(client, nowMs);
    const holdMs =
      before === undefined ? DECLINE_HOLD_MS : Math.min(before.holdMs * 2, DECLINE_HOLD_MAX_MS);
    this.#declines.delete(client);
    if (this.#declines.size >= DECLINE_CLIENTS_MAX) {
      const [oldest] = this.#declines.keys();
      if (oldest !== undefined) this.#declines.delete(oldest);
    }
    this.#declines.set(client, { atMs: nowMs, holdMs });
    const slot = this.#slotOf(client);
    return this.#ackedMac[slot] === client && nowMs - this.#ackedMs[slot]! <= DECLINE_AT_ONCE_MS;
  }

  /** True while the client's hold-off lasts. */
  isHeld(client: MacAddress, nowMs: number): boolean {
    if (this.#declines.size === 0) return false;
    const decline = this.#find(client, nowMs);
    return decline !== undefined && nowMs - decline.atMs < decline.holdMs;
  }

  #slotOf(client: number): number {
    return client & (this.#ackedMac.length - 1);
  }

  #grow(): void {
    const [macs, times] = [this.#ackedMac, this.#ackedMs];
    this.#ackedMac = new Float64Array(macs.length * 2);
    this.#ackedMs = new Float64Array(macs.length * 2);
    for (let before = 0; before < macs.length; before += 1) {
      const mac = macs[before]!;
      if (mac === 0) continue;
      const slot = this.#slotOf(mac);
      this.#ackedMac[slot] = mac;
      this.#ackedMs[slot] = times[before]!;
    }
  }

  #find(client: MacAddress, nowMs: number): Decline | undefined {
    const decline = this.#declines.get(client);
    return decline !== undefined && nowMs - decline.atMs < DECLINE_HOLD_MAX_MS
      ? decline
      : undefined;
  }
}
