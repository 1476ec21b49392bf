/**
 * What the server asks for each request: who is this, and what may it have? The server owns this interface; the
 * provider chain implements it.
 */

import type { Ipv4Address } from "../model/ipv4-address.ts";
import type { MacAddress } from "../model/mac-address.ts";
import type { OptionProfile } from "./option-profile.ts";
import type { DhcpRequest } from "./request.ts";

/** How a request reached us. */
export interface RequestContext {
  /** The interface it was seen on. */
  ifindex: number;
  sourceMac: MacAddress;
  sourceIp: Ipv4Address;
  destinationIp: Ipv4Address;
  /** True if it was sent to one address, not to 255.255.255.255 or a subnet's broadcast address. */
  unicast: boolean;
}

/** What a client gets. */
export interface Assignment {
  readonly address: Ipv4Address;
  /** The options of its network. */
  readonly profile: OptionProfile;
  /** Option 12, ASCII, sent if the client asks for it. */
  readonly hostname?: string;
  /** The interface to answer on; absent means the one where the request arrived. */
  readonly ifindex?: number;
  /** The container that the address belongs to, for observers. */
  readonly container?: string;
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

/** Decides one request, synchronously. Both arguments are reused: copy what must live longer than the call. */
export type DecideRequest = (request: DhcpRequest, context: RequestContext) => ChainVerdict;
