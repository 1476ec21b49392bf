/**
 * What a relay agent does with messages: its rules, from octets to octets. Pure: no socket and no clock. The edge is
 * relay-agent-service.ts.
 *
 * @see RFC 1542 section 4.1 (relaying), RFC 3046 section 2.1 (option 82)
 */

import {
  IPV4_BROADCAST,
  IPV4_UNSPECIFIED,
  type Ipv4Address,
  type Ipv4Subnet,
  subnetContains,
  writeIpv4,
} from "../model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress } from "../model/mac-address.ts";
import type { UdpFrame } from "../net/frame.ts";
import { HEADER } from "./header.ts";
import type { OptionIndex } from "./option-index.ts";
import { OPTION } from "./options.ts";
import {
  encodeRelayInformation,
  endMessage,
  type OptionsFault,
  readMessageOption,
  readMessageOptions,
  removeRelayInformation,
} from "./relay-agent-options.ts";
import type { DhcpRequest, DropReason } from "./request.ts";

/** Most relay agents on the way to a server, unless the operator says otherwise (RFC 1542 section 4.1.1). */
export const RELAY_HOPS_DEFAULT = 4;
/** The most that an operator may allow (RFC 1542 section 4.1.1). */
export const RELAY_HOPS_MAX = 16;
/** A datagram of this many octets passes every host (RFC 2131 section 2). */
const DATAGRAM_BYTES_MIN = 576;
/** IPv4 and UDP headers, which option 57 and an MTU include. */
const IP_UDP_BYTES = 28;

/** What an operator decides about relaying. */
export interface RelayPolicy {
  /** A request that this many agents relayed already goes no further. */
  readonly hopsMax: number;
  /** Relay only clients that have been trying for so long: for an agent that is another one's understudy. */
  readonly secsMin: number;
  /** What becomes of a client's own option 82: the message is dropped, or the option is replaced by ours. */
  readonly clientInformation: "drop" | "replace";
  /** Agents further down, by giaddr. */
  readonly trustedRelays: readonly Ipv4Subnet[];
  /** Identifies this host to the server (RFC 3046 section 3.2). */
  readonly remoteId: Uint8Array;
  /** Have clients renew with the agent, so that the server sees option 82 again (RFC 5107). */
  readonly overridesServer: boolean;
}

/** A network of clients, as its relay agent sees it. */
export interface RelayedNetwork {
  /** Where servers send their replies; tells them which network this is. */
  readonly giaddr: Ipv4Address;
  /** giaddr, and our other addresses on this network, broadcast addresses included. */
  readonly addresses: readonly Ipv4Address[];
  readonly hardwareAddress: MacAddress;
  /** An address of the network, if giaddr is of another one (RFC 3527). */
  readonly linkSelection?: Ipv4Address;
  /** Octets of IP that fit into one datagram. */
  readonly mtu: number;
}

/** The port that a client is behind. */
export interface ClientPort {
  readonly ifindex: number;
  /** Identifies the port to the server (RFC 3046 section 3.1). */
  readonly circuitId: Uint8Array;
  /** Something behind it adds option 82 itself, as a switch does, and takes it out of replies. */
  readonly isTrusted: boolean;
}

/** What is remembered of a client's last request, so that its reply finds the way back. */
export interface RelayedClient {
  /** The port that the request came from. */
  readonly ifindex: number;
  /** Data of the option 82 that went to the servers; undefined: there was none. */
  readonly information: Uint8Array | undefined;
  /** True if we added it, and take it out again. */
  readonly isOurs: boolean;
  /** The address that the client renews by unicast, or 0.0.0.0. */
  readonly unicastAddress: Ipv4Address;
}

/** Why a request is not relayed. */
export type RelayRequestReason =
  | DropReason
  | OptionsFault
  /** To another station: a promiscuous interface sees it. */
  | "l2.dst"
  /** To a server's own address: the kernel routes it, or does not. */
  | "ip.dst"
  /** From our own address. */
  | "ip.spoof"
  /** chaddr is not the sender's. */
  | "port.spoof"
  /** Relayed too often already. */
  | "relay.hops"
  /** The client has not tried for long enough. */
  | "relay.secs"
  /** From an agent that we do not trust: most likely a client that plays one. */
  | "relay.untrusted"
  /** giaddr is our own: a loop, or a client that plays us. */
  | "relay.self"
  /** A client that sends option 82 itself. */
  | "relay.information"
  /** The bridge does not know which port the client is behind; the reply would have to be flooded. */
  | "relay.noport";

/** What becomes of a request. */
export type RequestVerdict =
  | {
      readonly kind: "forward";
      /** Octets of the message, in the `out` that was given. */
      readonly length: number;
      /** Whom the servers will answer through us; undefined: an agent further down gets the answer. */
      readonly client: RelayedClient | undefined;
      /** True if there was no room for option 82: the server cannot tell the port. */
      readonly hasNoRoom: boolean;
    }
  | { readonly kind: "drop"; readonly reason: RelayRequestReason };

/** A request, read and checked by readUdpFrame() and readRequest(). */
export interface RelayedRequest {
  readonly udp: UdpFrame;
  readonly request: DhcpRequest;
  /** The port of the client; asked only if the message came from a client itself. */
  readonly findPort: (client: MacAddress) => ClientPort | undefined;
  /** Working memory. */
  readonly index: OptionIndex;
}

/** Broadcasts, and what is sent to the agent itself; unicast to a server is the kernel's to route. */
export function checkRelayAddresses(
  udp: UdpFrame,
  network: RelayedNetwork,
): RelayRequestReason | undefined {
  const isBroadcast = udp.destinationMac === MAC_BROADCAST;
  if (!isBroadcast && udp.destinationMac !== network.hardwareAddress) return "l2.dst";
  if (network.addresses.includes(udp.sourceIp)) return "ip.spoof";
  if (udp.destinationIp === IPV4_BROADCAST) return undefined;
  return network.addresses.includes(udp.destinationIp) ? undefined : "ip.dst";
}

/**
 * Relays one request: writes the message for the servers into `out`. Everything but hops, giaddr and option 82 stays as
 * it was, all sixteen flags included.
 *
 * @param out - zero-filled memory with room for the message and 300 octets more
 */
export function relayRequest(
  relayed: RelayedRequest,
  network: RelayedNetwork,
  policy: RelayPolicy,
  out: Uint8Array,
): RequestVerdict {
  const { request } = relayed;
  const reason = checkCounts(request, policy);
  if (reason !== undefined) return drop(reason);
  out.set(request.bytes.subarray(request.offset, request.end));
  out[HEADER.hops] = request.hops + 1;
  if (request.giaddr !== 0) return relayFromAgent(request, network, policy);
  writeIpv4(out, HEADER.giaddr, network.giaddr);
  return relayFromClient(relayed, network, policy, out);
}

function drop(reason: RelayRequestReason): RequestVerdict {
  return { kind: "drop", reason };
}

function checkCounts(request: DhcpRequest, policy: RelayPolicy): RelayRequestReason | undefined {
  if (request.hops >= policy.hopsMax) return "relay.hops";
  return request.secs < policy.secsMin ? "relay.secs" : undefined;
}

/** An agent further down has said all there is to say: giaddr and option 82 stay its own. */
function relayFromAgent(
  { giaddr, offset, end }: DhcpRequest,
  network: RelayedNetwork,
  policy: RelayPolicy,
): RequestVerdict {
  if (network.addresses.includes(giaddr)) return drop("relay.self");
  const isTrusted = policy.trustedRelays.some((subnet) => subnetContains(subnet, giaddr));
  if (!isTrusted) return drop("relay.untrusted");
  return { kind: "forward", length: end - offset, client: undefined, hasNoRoom: false };
}

function relayFromClient(
  { request, udp, findPort, index }: RelayedRequest,
  network: RelayedNetwork,
  policy: RelayPolicy,
  out: Uint8Array,
): RequestVerdict {
  if (request.chaddr !== udp.sourceMac) return drop("port.spoof");
  const port = findPort(request.chaddr);
  if (port === undefined) return drop("relay.noport");
  const length = request.end - request.offset;
  const isUnicast = udp.destinationMac !== MAC_BROADCAST;
  const unicastAddress = isUnicast ? request.ciaddr : IPV4_UNSPECIFIED;
  const client = { ifindex: port.ifindex, information: undefined, isOurs: false, unicastAddress };
  // A BOOTP client without the cookie has no options, and no room for one of ours.
  if (!request.hasCookie) return { kind: "forward", length, client, hasNoRoom: false };
  const message = out.subarray(0, length);
  const fault = readMessageOptions(message, index);
  if (fault !== undefined) return drop(fault);
  const preset = readMessageOption(message, index, OPTION.relayInformation);
  if (preset !== undefined) {
    if (port.isTrusted) {
      return {
        kind: "forward",
        length,
        client: { ...client, information: preset },
        hasNoRoom: false,
      };
    }
    if (policy.clientInformation === "drop") return drop("relay.information");
  }
  const information = encodeRelayInformation({
    circuitId: port.circuitId,
    remoteId: policy.remoteId,
    linkSelection: network.linkSelection,
    isUnicast,
    serverIdentifier: policy.overridesServer ? network.giaddr : undefined,
  });
  const end = removeRelayInformation(message, index);
  const datagramMax = Math.min(Math.max(request.maxMessageSize, DATAGRAM_BYTES_MIN), network.mtu);
  const hasRoom = end + 2 + information.length + 1 + IP_UDP_BYTES <= datagramMax;
  if (!hasRoom) return { kind: "forward", length: endMessage(out, end), client, hasNoRoom: true };
  return {
    kind: "forward",
    length: endMessage(out, end, information),
    client: { ...client, information, isOurs: true },
    hasNoRoom: false,
  };
}
