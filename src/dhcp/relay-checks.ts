/** What the server asks of a relayed request before it is answered. Pure. */

import { anySubnetContains, type Ipv4Subnet, subnetContains } from "../model/ipv4-address.ts";
import { MAC_BROADCAST } from "../model/mac-address.ts";
import type { UdpFrame } from "../net/frame.ts";
import type { ServerDropReason } from "./counters.ts";
import type { Assignment } from "./decision.ts";
import type { DhcpRequest } from "./request.ts";

/**
 * Checks that a request is from the client itself, from a relay agent that we trust, or passed on by a router.
 *
 * @param relays - where relay agents have their giaddr, or send from (the two may differ, RFC 1542 section 4.1); absent:
 *   there are none
 */
export function checkRelay(
  request: DhcpRequest,
  udp: UdpFrame,
  relays: readonly Ipv4Subnet[] | undefined,
): ServerDropReason | undefined {
  const { giaddr, chaddr } = request;
  if (giaddr === 0) {
    const isClients = chaddr === udp.sourceMac;
    return isClients || (relays !== undefined && isRouted(request, udp)) ? undefined : "port.spoof";
  }
  const isTrusted =
    relays !== undefined &&
    (anySubnetContains(relays, giaddr) || anySubnetContains(relays, udp.sourceIp));
  if (!isTrusted) return "relay.untrusted";
  // Only a guest's own frame may have lost what the kernel knew of its checksum; a relay's has crossed a wire.
  return udp.hasPartialChecksum ? "udp.csum" : undefined;
}

/** A client behind a relay agent renews and releases by unicast: through its router, and from its own address. */
function isRouted({ ciaddr }: DhcpRequest, { sourceIp, destinationMac }: UdpFrame): boolean {
  return ciaddr !== 0 && ciaddr === sourceIp && destinationMac !== MAC_BROADCAST;
}

/**
 * True if the client gets an address of the network that it is on. A relay (RFC 3527), or else the client (RFC 3011), may
 * name that network; if neither does, giaddr tells it (RFC 2131 section 4.3.1).
 */
export function isOnSelectedNetwork(request: DhcpRequest, { profile }: Assignment): boolean {
  const { linkSelection, subnetSelection, giaddr } = request;
  const selected = linkSelection || subnetSelection || giaddr;
  return selected === 0 || subnetContains(profile.subnet, selected);
}
