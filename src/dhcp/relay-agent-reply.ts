/** What a relay agent does with replies of servers: its rules, from octets to octets. Pure, as relay-agent.ts. */

import {
  IPV4_BROADCAST,
  IPV4_UNSPECIFIED,
  type Ipv4Address,
  readIpv4,
} from "../model/ipv4-address.ts";
import { isGroupMac, MAC_BROADCAST, type MacAddress, readMac } from "../model/mac-address.ts";
import {
  BOOTREPLY,
  FLAG_BROADCAST,
  HEADER,
  HLEN_ETHERNET,
  HTYPE_ETHERNET,
  MAGIC_COOKIE,
  MESSAGE_TYPE,
} from "./header.ts";
import type { OptionIndex } from "./option-index.ts";
import { OPTION } from "./options.ts";
import type { RelayedClient, RelayedNetwork } from "./relay-agent.ts";
import {
  endMessage,
  isEchoOf,
  type OptionsFault,
  readMessageOption,
  readMessageOptions,
  removeRelayInformation,
} from "./relay-agent-options.ts";

const IP_UDP_BYTES = 28;

/** Why a reply is not delivered. */
export type RelayReplyReason =
  | OptionsFault
  | "bootp.short"
  | "bootp.op"
  | "bootp.htype"
  | "bootp.hlen"
  | "bootp.chaddr"
  /** From an address that is none of the servers'. */
  | "reply.server"
  /** For another relay agent. */
  | "reply.giaddr"
  /** A message type that no server sends to a client that asked. */
  | "reply.type"
  /** The client did not ask, or too long ago. */
  | "reply.unsolicited"
  /** Option 82 is not the one that we sent. */
  | "reply.information"
  /** The client's link carries no datagram of this length. */
  | "reply.long";

/** Where a copy of a reply goes on the client's own port. */
export interface DeliveryAddress {
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
}

/** What becomes of a reply. */
export type ReplyVerdict =
  | {
      readonly kind: "deliver";
      readonly ifindex: number;
      /** IP source: the server identifier if it is ours, else giaddr. */
      readonly source: Ipv4Address;
      readonly to: DeliveryAddress;
      /** A DHCPNAK goes to a client that renews by unicast twice: its socket may not hear the broadcast. */
      readonly copyTo: DeliveryAddress | undefined;
      /** The message, in the `out` that was given. */
      readonly length: number;
    }
  | { readonly kind: "drop"; readonly reason: RelayReplyReason };

/** A datagram that came to giaddr. */
export interface RelayedReply {
  readonly message: Uint8Array;
  /** IP source. */
  readonly source: Ipv4Address;
  readonly servers: readonly Ipv4Address[];
  /** The client by chaddr; undefined if it did not ask. */
  readonly findClient: (chaddr: MacAddress) => RelayedClient | undefined;
  /** Working memory. */
  readonly index: OptionIndex;
}

/**
 * Decides the way of one reply, and writes the message for the client into `out`: without option 82, if that is ours,
 * and else as it came.
 *
 * @param out - zero-filled memory with room for the message, and for the least message of 300 octets
 */
export function relayReply(
  { message, source, servers, findClient, index }: RelayedReply,
  network: RelayedNetwork,
  out: Uint8Array,
): ReplyVerdict {
  if (!servers.includes(source)) return drop("reply.server");
  const reason = checkReply(message, network);
  if (reason !== undefined) return drop(reason);
  const options = readReplyOptions(message, index);
  if (typeof options === "string") return drop(options);
  const client = findClient(readMac(message, HEADER.chaddr));
  if (client === undefined) return drop("reply.unsolicited");
  if (!isExpectedEcho(client, options.information)) return drop("reply.information");
  const length = writeReply(message, options, client, index, out);
  if (length + IP_UDP_BYTES > network.mtu) return drop("reply.long");
  return {
    kind: "deliver",
    ifindex: client.ifindex,
    source: sourceOf(options.serverIdentifier, network),
    to: deliveryAddress(message, options.messageType),
    copyTo: nakCopy(message, options.messageType, client),
    length,
  };
}

function drop(reason: RelayReplyReason): ReplyVerdict {
  return { kind: "drop", reason };
}

function checkReply(message: Uint8Array, network: RelayedNetwork): RelayReplyReason | undefined {
  if (message.length < HEADER.options) return "bootp.short";
  if (message[HEADER.op] !== BOOTREPLY) return "bootp.op";
  if (readIpv4(message, HEADER.giaddr) !== network.giaddr) return "reply.giaddr";
  if (message[HEADER.htype] !== HTYPE_ETHERNET) return "bootp.htype";
  if (message[HEADER.hlen] !== HLEN_ETHERNET) return "bootp.hlen";
  const chaddr = readMac(message, HEADER.chaddr);
  return chaddr === 0 || isGroupMac(chaddr) ? "bootp.chaddr" : undefined;
}

/** The options of a reply that decide its way; all absent in a reply to a BOOTP client. */
interface ReplyOptions {
  readonly hasCookie: boolean;
  /** 0 if absent. */
  readonly messageType: number;
  readonly serverIdentifier: Ipv4Address | undefined;
  readonly information: Uint8Array | undefined;
}

const NO_OPTIONS: ReplyOptions = {
  hasCookie: false,
  messageType: 0,
  serverIdentifier: undefined,
  information: undefined,
};

function readReplyOptions(
  message: Uint8Array,
  index: OptionIndex,
): ReplyOptions | RelayReplyReason {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  if (view.getUint32(HEADER.cookie) !== MAGIC_COOKIE) return NO_OPTIONS;
  const fault = readMessageOptions(message, index);
  if (fault !== undefined) return fault;
  const type = readMessageOption(message, index, OPTION.messageType);
  if (type !== undefined && !isReplyType(type)) return "reply.type";
  const identifier = readMessageOption(message, index, OPTION.serverIdentifier);
  return {
    hasCookie: true,
    messageType: type?.[0] ?? 0,
    serverIdentifier: identifier?.length === 4 ? readIpv4(identifier, 0) : undefined,
    information: readMessageOption(message, index, OPTION.relayInformation),
  };
}

function isReplyType(data: Uint8Array): boolean {
  const { DHCPOFFER, DHCPACK, DHCPNAK } = MESSAGE_TYPE;
  const types: readonly number[] = [DHCPOFFER, DHCPACK, DHCPNAK];
  return data.length === 1 && types.includes(data[0]!);
}

/** A server that does not know option 82 leaves it out (RFC 3046 section 2.2); the client's port is remembered. */
function isExpectedEcho({ information }: RelayedClient, echo: Uint8Array | undefined): boolean {
  if (echo === undefined) return true;
  return information !== undefined && isEchoOf(information, echo);
}

function writeReply(
  message: Uint8Array,
  { hasCookie, information }: ReplyOptions,
  { isOurs }: RelayedClient,
  index: OptionIndex,
  out: Uint8Array,
): number {
  out.set(message);
  if (!hasCookie || information === undefined || !isOurs) return message.length;
  return endMessage(out, removeRelayInformation(out.subarray(0, message.length), index));
}

/** Clients compare it with option 54 when they renew, and nobody else may send from it. */
function sourceOf(identifier: Ipv4Address | undefined, network: RelayedNetwork): Ipv4Address {
  const isOurs = identifier !== undefined && network.addresses.includes(identifier);
  return isOurs ? identifier : network.giaddr;
}

/** RFC 1542 section 4.1.2; a client whose request was refused has no address to send to (RFC 2131 section 4.1). */
function deliveryAddress(message: Uint8Array, messageType: number): DeliveryAddress {
  const flags = (message[HEADER.flags]! << 8) | message[HEADER.flags + 1]!;
  const yiaddr = readIpv4(message, HEADER.yiaddr);
  // The answer to DHCPINFORM gives no address: the client has one.
  const address = yiaddr === IPV4_UNSPECIFIED ? readIpv4(message, HEADER.ciaddr) : yiaddr;
  const mustBroadcast =
    messageType === MESSAGE_TYPE.DHCPNAK ||
    (flags & FLAG_BROADCAST) !== 0 ||
    address === IPV4_UNSPECIFIED;
  if (mustBroadcast) return { mac: MAC_BROADCAST, address: IPV4_BROADCAST };
  return { mac: readMac(message, HEADER.chaddr), address };
}

function nakCopy(
  message: Uint8Array,
  messageType: number,
  { unicastAddress }: RelayedClient,
): DeliveryAddress | undefined {
  if (messageType !== MESSAGE_TYPE.DHCPNAK || unicastAddress === 0) return undefined;
  return { mac: readMac(message, HEADER.chaddr), address: unicastAddress };
}
