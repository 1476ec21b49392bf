/** What a reply is made of, before it is octets. */

import { IPV4_UNSPECIFIED, type Ipv4Address } from "../model/ipv4-address.ts";
import type { ReplyOptions } from "./reply-options.ts";
import type { DhcpRequest } from "./request.ts";
import type { ReplyDecision } from "./rules.ts";

/** The part of a {@link ReplyDecision} that is answered. */
export type Reply = Extract<ReplyDecision, { kind: "reply" }>;

/** What encodeReply() counts. */
export interface EncodeCounters {
  /** Options that did not fit and were left out whole. */
  optionsOmitted: number;
  /** The same by option code. */
  readonly omittedByCode: Uint32Array;
}

/** Counts an option that did not fit. */
export function countOmitted(counters: EncodeCounters, code: number): void {
  counters.optionsOmitted++;
  counters.omittedByCode[code] = counters.omittedByCode[code]! + 1;
}

/** What encodeReply() encodes. */
export interface ReplyParts {
  readonly request: DhcpRequest;
  readonly reply: Reply;
  /** Option 54. */
  readonly serverIdentifier: Ipv4Address;
  /** What plugins add and take out. */
  readonly changes: ReplyOptions;
  /** Bytes of IP that the interface carries; absent: as many as the network's options say. */
  readonly mtu?: number | undefined;
  readonly counters: EncodeCounters;
}

/** The address that a reply gives: none in a DHCPNAK and in the answer to DHCPINFORM. */
export function yiaddrOf(reply: Reply): Ipv4Address {
  if (reply.type === "DHCPNAK" || !reply.hasLease) return IPV4_UNSPECIFIED;
  return reply.assignment.address;
}
