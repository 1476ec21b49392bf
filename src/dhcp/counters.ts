/** What the server counts: every frame once, as a reply or as a drop with its reason. */

import { createIgnoredOptionCounts, type IgnoredOptionCounts } from "./ignored-options.ts";
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
  /** The client, or its relay, asked for an address of a network that is not this one (options 82.5 and 118). */
  | "subnet.unknown"
  /** The chain threw, or answered what no reply can be made of. */
  | "plugin.error"
  /** The chain assigned 0.0.0.0. */
  | "core.noaddress"
  /** The chain assigned options with another server identifier than ours: the client could never renew. */
  | "core.serverid"
  /** A BOOTP request (no option 53), and the network answers none. */
  | "bootp.disabled"
  /** A BOOTP request without the magic cookie, and the network answers none. */
  | "bootp.cookie"
  /** A DHCPNAK that would have repeated the one before too soon. */
  | "nak.damped"
  /** The client declined its address a moment ago, and the network wants it to wait. */
  | "decline.held"
  /** The same message is being decided already. */
  | "dup.inflight"
  /** Too many requests waited for asynchronous plugins; the one that waited longest was given up. */
  | "pending.overflow"
  /** The server stopped while a plugin was still deciding. */
  | "server.stopped"
  /** A playbook keeps the server silent towards this client. */
  | "fault.silent"
  /** The socket had no buffer for the reply; the client asks again. */
  | "tx.nobuffer"
  /** Reasons beyond {@link DROP_REASONS_MAX}. */
  | "other";

/** Most distinct reasons that are counted by name. */
export const DROP_REASONS_MAX = 128;

/** Counters since they were made. `received` is the sum of the replies, of the drops and of what is `pending`. */
export interface DhcpCounters {
  received: number;
  readonly replies: { DHCPOFFER: number; DHCPACK: number; DHCPNAK: number; BOOTREPLY: number };
  /** Requests that an asynchronous plugin is deciding now. */
  pending: number;
  /** Frames that were not answered, by reason. */
  readonly drops: Map<string, number>;
  /** Oddities of requests that were answered all the same, by name; see {@link RequestNote}. */
  readonly notes: Map<string, number>;
  /** What of their options was not used, in requests that were well formed; a request counts once for each reason. */
  readonly ignoredOptions: IgnoredOptionCounts;
  /** Unicast copies of a DHCPNAK; not in `replies`. */
  nakCopies: number;
  /** Options that did not fit into a reply and were left out whole. */
  optionsOmitted: number;
  /** The same by option code. */
  readonly omittedByCode: Uint32Array;
  /** Observers that threw; their request was answered all the same. */
  observerErrors: number;
}

/** Makes counters that are all zero. */
export function createDhcpCounters(): DhcpCounters {
  return {
    received: 0,
    replies: { DHCPOFFER: 0, DHCPACK: 0, DHCPNAK: 0, BOOTREPLY: 0 },
    pending: 0,
    drops: new Map(),
    notes: new Map(),
    ignoredOptions: createIgnoredOptionCounts(),
    nakCopies: 0,
    optionsOmitted: 0,
    omittedByCode: new Uint32Array(256),
    observerErrors: 0,
  };
}

/** What is odd about a request and changes nothing. */
export type RequestNote =
  /** Not from port 68; it is answered there all the same. */
  | "udp.srcport"
  /** Its UDP checksum was the sum of the pseudo header alone: a guest's offload, on a hop that lost the note of it. */
  | "udp.csum.partial"
  /** Option 61 is a MAC address, and not the client's; chaddr counts. */
  | "clientid.mismatch"
  /** Option 50 and ciaddr differ; ciaddr counts. */
  | "req.50ne"
  /** Option 54 is 0.0.0.0: the client lost our identifier. */
  | "req.54zero"
  /** DHCPINFORM from another address than the assigned one. */
  | "inform.foreign"
  /** DHCPDECLINE at once after our DHCPACK: more likely the client's own doubt than a neighbour. */
  | "decline.atonce";

/** Counts a drop by name, or as `other` when there are too many names. */
export function countDrop(drops: Map<string, number>, reason: string): void {
  const count = drops.get(reason);
  if (count !== undefined) drops.set(reason, count + 1);
  else if (drops.size < DROP_REASONS_MAX) drops.set(reason, 1);
  else drops.set("other", (drops.get("other") ?? 0) + 1);
}
