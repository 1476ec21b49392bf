/**
 * What the server asks for each request: who is this, and what may it have? The server owns this interface; the
 * provider chain implements it.
 */

import { IPV4_UNSPECIFIED, type Ipv4Address } from "../model/ipv4-address.ts";
import { type MacAddress, readMac } from "../model/mac-address.ts";
import type { BootProfile } from "./boot.ts";
import { DecisionTrail } from "./decision-trail.ts";
import type { OptionProfile } from "./option-profile.ts";
import { ReplyOptions } from "./reply-options.ts";
import type { DhcpRequest } from "./request.ts";

/** How a request reached us, and what the chain wants done about its reply. */
export interface RequestContext {
  /** The interface it was seen on. */
  ifindex: number;
  sourceMac: MacAddress;
  sourceIp: Ipv4Address;
  destinationIp: Ipv4Address;
  /** UDP source port. */
  sourcePort: number;
  /** True if it was sent to one address, not to 255.255.255.255 or a subnet's broadcast address. */
  unicast: boolean;
  /** Who decided what, in order; {@link DecideRequest} adds to it. */
  readonly trail: DecisionTrail;
  /** What the chain adds to the reply or takes from it, beside the network's own options. */
  readonly replyOptions: ReplyOptions;
  /**
   * A copy of the request and of this context that outlives the call. A decider that answers with a promise must work
   * on it, and on it alone, from before its first `await`; asked again, it is the same copy.
   */
  detach(): DetachedExchange;
}

/** A request and its context, in memory of their own. */
export interface DetachedExchange {
  readonly request: DhcpRequest;
  readonly context: RequestContext;
}

/** Makes a context of no request: what a server reuses, and what a test fills. */
export function createRequestContext(
  detach: () => DetachedExchange = refuseToDetach,
): RequestContext {
  return {
    ifindex: 0,
    sourceMac: readMac(new Uint8Array(6), 0),
    sourceIp: IPV4_UNSPECIFIED,
    destinationIp: IPV4_UNSPECIFIED,
    sourcePort: 0,
    unicast: false,
    trail: new DecisionTrail(),
    replyOptions: new ReplyOptions(),
    detach,
  };
}

function refuseToDetach(): DetachedExchange {
  throw new Error("this context belongs to no request that could be detached");
}

/** Who sent a frame, as far as is known before its payload is read. */
export interface FrameSender {
  readonly sourceMac: MacAddress;
  readonly sourceIp: Ipv4Address;
  /** UDP source port: 68 of a client, 67 of a relay agent. */
  readonly sourcePort: number;
}

/**
 * Bounds what one sender costs: a reason from a closed set drops the frame before its payload is read. Must be cheap and
 * must not throw; the sender is reused.
 */
export type AdmitFrame = (ifindex: number, sender: FrameSender) => string | undefined;

/** What a client gets. */
export interface Assignment {
  readonly address: Ipv4Address;
  /** The options of its network. */
  readonly profile: OptionProfile;
  /** Option 12, ASCII, sent if the client asks for it. */
  readonly hostname?: string | undefined;
  /** The interface to answer on; absent means the one where the request arrived. */
  readonly ifindex?: number;
  /** The container that the address belongs to, for observers. */
  readonly container?: string | undefined;
  /** What a boot ROM loads; absent: a ROM gets an address and nothing to boot. */
  readonly boot?: BootProfile;
}

/**
 * An assignment that makes its names when they are read, for providers of many thousands: most names are never read, and
 * to make one costs as much as all else that is decided. The class vouches for the names' types, so the chain does not
 * read them to check.
 */
export abstract class LazyAssignment implements Assignment {
  readonly address: Ipv4Address;
  readonly profile: OptionProfile;

  constructor(address: Ipv4Address, profile: OptionProfile) {
    this.address = address;
    this.profile = profile;
  }

  abstract get hostname(): string | undefined;
  abstract get container(): string | undefined;
}

/** The answer of the chain. */
export type ChainVerdict =
  | { readonly kind: "assigned"; readonly assignment: Assignment }
  /** Nobody knows this client: silence, for another server may. */
  | { readonly kind: "unknown" }
  /** The client is known and has no address on this network. */
  | { readonly kind: "wrong-network" }
  /** The request breaks a rule of the chain, for instance `port.mismatch`; the reason is from a closed set. */
  | { readonly kind: "drop"; readonly reason: string }
  /** The chain cannot tell: silence, never a DHCPNAK. */
  | { readonly kind: "error"; readonly reason: string };

/**
 * Decides one request. Both arguments are reused: copy what must live longer than the call. So may be a verdict that is
 * returned at once. A promise holds up nobody else; the decider bounds how long it takes.
 */
export type DecideRequest = (
  request: DhcpRequest,
  context: RequestContext,
) => ChainVerdict | Promise<ChainVerdict>;
