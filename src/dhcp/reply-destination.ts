/** Where a reply goes: RFC 2131 section 4.1, its paragraphs in order. */

import { IPV4_BROADCAST, type Ipv4Address } from "../model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress } from "../model/mac-address.ts";
import type { RequestContext } from "./decision.ts";
import { CLIENT_PORT, SERVER_PORT } from "./header.ts";
import type { DhcpRequest } from "./request.ts";

/** Addresses of a reply. The frame is sent without ARP: every address in it is known from the request. */
export interface ReplyDestination {
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
  readonly port: number;
}

/** Directly to the client's port, for everybody to hear. */
const BROADCAST: ReplyDestination = {
  mac: MAC_BROADCAST,
  address: IPV4_BROADCAST,
  port: CLIENT_PORT,
};

/** A reply as far as its destination depends on it. */
export interface AddressedReply {
  readonly type: "DHCPOFFER" | "DHCPACK" | "DHCPNAK" | "BOOTREPLY";
  /** What the client was given; 0 in a DHCPNAK and in the answer to DHCPINFORM. */
  readonly yiaddr: Ipv4Address;
}

/** Chooses where a reply goes. A relay may ask for it at the port that it sent from (RFC 8357). */
export function replyDestination(
  request: DhcpRequest,
  context: RequestContext,
  reply: AddressedReply,
): ReplyDestination {
  if (request.giaddr !== 0) {
    const port = request.relaySourcePort ? context.sourcePort : SERVER_PORT;
    return { mac: context.sourceMac, address: request.giaddr, port };
  }
  if (reply.type === "DHCPNAK") return BROADCAST;
  // A client that names another address while it asks for one does not use it (RFC 2131 table 5: ciaddr is 0).
  const usesCiaddr =
    request.ciaddr !== 0 && (reply.yiaddr === 0 || reply.yiaddr === request.ciaddr);
  if (reply.type === "DHCPACK" && usesCiaddr) {
    return { mac: context.sourceMac, address: request.ciaddr, port: CLIENT_PORT };
  }
  if (reply.type === "DHCPACK" && reply.yiaddr === 0) {
    // DHCPINFORM without ciaddr: departs from RFC 2131 section 4.3.5 for clients that only set the IP source.
    return { mac: context.sourceMac, address: context.sourceIp, port: CLIENT_PORT };
  }
  if (request.broadcast) return BROADCAST;
  return { mac: request.chaddr, address: reply.yiaddr, port: CLIENT_PORT };
}

/**
 * Where a second copy of a DHCPNAK goes, or undefined. systemd and NetworkManager renew on a socket that is bound to
 * the leased address, and never see the broadcast.
 */
export function nakCopyDestination(
  request: DhcpRequest,
  context: RequestContext,
): ReplyDestination | undefined {
  if (request.giaddr !== 0 || request.ciaddr === 0 || !context.unicast) return undefined;
  return { mac: context.sourceMac, address: request.ciaddr, port: CLIENT_PORT };
}
