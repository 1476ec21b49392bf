/**
 * Bounds what one sender costs, before the payload of its frames is read.
 *
 * Each sender has a bucket of its own, so that a flood empties nobody's but the flooder's. Strangers share one bucket on
 * each interface: they get no answer anyway. Behind all stands a bucket for the whole server, of which half is kept for
 * senders that have been quiet: however loud the others are, a client that boots gets through.
 */
import { z } from "zod";
import { type FrameSender, isExchangeEvent, SERVER_PORT } from "../../../dhcp/index.ts";
import { anySubnetContains, type Ipv4Subnet } from "../../../model/ipv4-address.ts";
import type { MacAddress } from "../../../model/mac-address.ts";
import { MacTable } from "../../mac-table.ts";
import type { Plugin } from "../../plugin.ts";
import { type BucketSize, TokenBuckets } from "./token-buckets.ts";

/** Most senders and interfaces whose buckets are kept; who was silent for longest then begins anew with a full one. */
export const RATE_SENDERS_MAX = 65_536;
export const RATE_INTERFACES_MAX = 4096;
export const RATE_RELAYS_MAX = 256;

const RATE_MAX = 10_000_000;

const BucketSchema = z
  .union([
    z.literal("off"),
    z.strictObject({
      /** Packets a second. */
      rate: z.number().min(0.01).max(RATE_MAX),
      /** Packets at once. */
      burst: z.number().min(1).max(RATE_MAX),
    }),
  ])
  .describe("bucket");

/** Settings of the `rate-limit` plugin. */
export const RateLimitSchema = z.strictObject({
  /** Each port that has one client behind it. */
  port: BucketSchema.default({ rate: 20, burst: 40 }),
  /** Each source address, on interfaces that many clients share. */
  mac: BucketSchema.default({ rate: 20, burst: 40 }),
  /** All strangers of one interface. */
  unknown: BucketSchema.default({ rate: 1, burst: 5 }),
  /** The whole server. */
  global: BucketSchema.default({ rate: 200_000, burst: 40_000 }),
});

export type RateLimitSettings = z.infer<typeof RateLimitSchema>;

/** What it needs beside its settings. */
export interface RateLimitSurroundings {
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Any integer that senders do not know; see {@link MacTable}. */
  readonly seed: number;
  /** True if one client alone is behind this interface; absent: many share each. */
  readonly isPort?: (ifindex: number) => boolean;
  /** Relay agents have their address in here: each speaks for many clients. */
  readonly relays?: readonly Ipv4Subnet[];
}

/** A sender is quiet if its own bucket is still this full. */
const QUIET_SHARE = 0.5;
/** The part of the server's bucket that only quiet senders may empty. */
const KEPT_SHARE = 0.5;

/** Makes the `rate-limit` plugin; see its README. */
export function createRateLimitPlugin(
  settings: RateLimitSettings,
  surroundings: RateLimitSurroundings,
): Plugin {
  const limiter = new Limiter(settings, surroundings);
  return {
    name: "rate-limit",
    admit: (ifindex, sender, knows) => limiter.admit(ifindex, sender, knows),
    observe: (event) => {
      const isPassedOn = event.chaddr !== event.sourceMac;
      if (isPassedOn && isExchangeEvent(event)) limiter.learnRelay(event.sourceMac);
    },
  };
}

class Limiter {
  readonly #now: () => number;
  readonly #isPort: (ifindex: number) => boolean;
  readonly #relays: readonly Ipv4Subnet[];
  /** Who passed on a request that was answered: relay agents, and routers of clients that renew. */
  readonly #relayMacs: MacTable;
  readonly #ports: Buckets | undefined;
  readonly #macs: Buckets | undefined;
  readonly #strangers: Buckets | undefined;
  readonly #global: TokenBuckets | undefined;
  readonly #kept: number;
  /** Every sender that was known when it was heard first, so that the chain is not asked again. */
  readonly #known: MacTable;

  constructor(
    { port, mac, unknown, global }: RateLimitSettings,
    { now, seed, isPort, relays }: RateLimitSurroundings,
  ) {
    this.#now = now;
    this.#isPort = isPort ?? (() => false);
    this.#relays = relays ?? [];
    this.#relayMacs = new MacTable(RATE_RELAYS_MAX, seed);
    this.#known = new MacTable(RATE_SENDERS_MAX, seed);
    this.#ports = bucketsOf(port, new MacTable(RATE_INTERFACES_MAX, seed));
    this.#macs = bucketsOf(mac, this.#known);
    this.#strangers = bucketsOf(unknown, new MacTable(RATE_INTERFACES_MAX, seed));
    this.#global = global === "off" ? undefined : new TokenBuckets(1, global);
    this.#kept = global === "off" ? 0 : Math.floor(global.burst * KEPT_SHARE);
    this.#global?.fill(0, now());
  }

  admit(
    ifindex: number,
    sender: FrameSender,
    knows: (mac: MacAddress) => boolean,
  ): string | undefined {
    const nowMs = this.#now();
    const isPort = this.#isPort(ifindex);
    let isQuiet = true;
    if (isPort && this.#ports !== undefined) {
      const left = this.#ports.take(ifindex, nowMs);
      if (left < 0) return "rate.port";
      isQuiet = this.#ports.isQuiet(left);
    }
    if (this.#isRelay(sender)) isQuiet = false;
    else {
      const slot = this.#slotOf(sender.sourceMac, nowMs, knows);
      if (slot < 0) {
        isQuiet = false;
        if (this.#strangers !== undefined && this.#strangers.take(ifindex, nowMs) < 0) {
          return "rate.unknown";
        }
      } else if (!isPort && this.#macs !== undefined) {
        const left = this.#macs.tokens.take(slot, nowMs);
        if (left < 0) return "rate.mac";
        isQuiet = this.#macs.isQuiet(left);
      }
    }
    if (this.#global === undefined) return undefined;
    return this.#global.take(0, nowMs, isQuiet ? 0 : this.#kept) < 0 ? "rate.global" : undefined;
  }

  learnRelay(mac: MacAddress): void {
    this.#relayMacs.touch(mac);
  }

  /** By its address and port, as most are; the others after their first answer (RFC 8357; an uplink's address). */
  #isRelay({ sourceMac, sourcePort, sourceIp }: FrameSender): boolean {
    if (sourceIp === 0) return false;
    if (sourcePort === SERVER_PORT && anySubnetContains(this.#relays, sourceIp)) return true;
    return this.#relayMacs.find(sourceMac) >= 0;
  }

  /** The sender's place in {@link #known}, or -1: strangers get none, or a flood of them would push clients out. */
  #slotOf(mac: MacAddress, nowMs: number, knows: (mac: MacAddress) => boolean): number {
    if (this.#known.find(mac) < 0 && !knows(mac)) return -1;
    const slot = this.#known.touch(mac);
    if (this.#known.wasAdded) this.#macs?.tokens.fill(slot, nowMs);
    return slot;
  }
}

/** Buckets by a number: an address or an interface. */
class Buckets {
  readonly tokens: TokenBuckets;
  readonly #table: MacTable<number>;
  readonly #quiet: number;

  constructor(size: BucketSize, table: MacTable<number>) {
    this.tokens = new TokenBuckets(table.capacity, size);
    this.#table = table;
    this.#quiet = size.burst * QUIET_SHARE - 1;
  }

  take(key: number, nowMs: number): number {
    const slot = this.#table.touch(key);
    if (this.#table.wasAdded) this.tokens.fill(slot, nowMs);
    return this.tokens.take(slot, nowMs);
  }

  isQuiet(left: number): boolean {
    return left >= this.#quiet;
  }
}

function bucketsOf(size: RateLimitSettings["port"], table: MacTable<number>): Buckets | undefined {
  return size === "off" ? undefined : new Buckets(size, table);
}
