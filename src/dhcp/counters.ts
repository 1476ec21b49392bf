/** What the server counts: every frame once, as a reply or as a drop with its reason. */

import type { DropReason } from "./request.ts";
import type { SilenceReason } from "./rules.ts";

/** Every reason that the server itself counts; the chain adds its own. */
export type ServerDropReason =
  | DropReason
  | SilenceReason
  /** To another station: a promiscuous interface sees it. */
  | "l2.dst"
  /** To an address that is not ours. */
  | "ip.dst"
  /** From our own address. */
  | "ip.spoof"
  /** chaddr is not the sender's. */
  | "port.spoof"
  | "relay.untrusted"
  /** giaddr is our own address. */
  | "relay.self"
  /** The chain threw. */
  | "plugin.error"
  /** The chain assigned 0.0.0.0. */
  | "core.noaddress"
  /** The chain assigned options with another server identifier than ours: the client could never renew. */
  | "core.serverid"
  /** The socket had no buffer for the reply; the client asks again. */
  | "tx.nobuffer"
  /** Reasons beyond {@link DROP_REASONS_MAX}. */
  | "other";

/** Most distinct reasons that are counted by name. */
export const DROP_REASONS_MAX = 128;

/** Counters since they were made. `received` is the sum of the replies and of the drops. */
export interface DhcpCounters {
  received: number;
  readonly replies: { DHCPOFFER: number; DHCPACK: number; DHCPNAK: number };
  /** Frames that were not answered, by reason. */
  readonly drops: Map<string, number>;
  /** Unicast copies of a DHCPNAK; not in `replies`. */
  nakCopies: number;
  /** Options that did not fit into a reply and were left out whole. */
  optionsOmitted: number;
  /** Observers that threw; their request was answered all the same. */
  observerErrors: number;
}

/** Makes counters that are all zero. */
export function createDhcpCounters(): DhcpCounters {
  return {
    received: 0,
    replies: { DHCPOFFER: 0, DHCPACK: 0, DHCPNAK: 0 },
    drops: new Map(),
    nakCopies: 0,
    optionsOmitted: 0,
    observerErrors: 0,
  };
}

/** Counts a drop by name, or as `other` when there are too many names. */
export function countDrop(drops: Map<string, number>, reason: string): void {
  const count = drops.get(reason);
  if (count !== undefined) drops.set(reason, count + 1);
  else if (drops.size < DROP_REASONS_MAX) drops.set(reason, 1);
  else drops.set("other", (drops.get("other") ?? 0) + 1);
}
