/**
 * Writes a reply in place, after the room for Ethernet, IPv4 and UDP headers.
 *
 * Order of options: 53 first, for clients that insist; 54, 51, 58, 59; the network's own; what to boot; what plugins
 * add; what the client asked for, in its order; then 61 and, last as RFC 3046 asks, 82. No Pad before End: Azure's agent
 * reads a length after it.
 *
 * @see RFC 2131 section 4.3.1 table 3, RFC 2132, RFC 6842 (echo of 61), RFC 3046 section 2.2 (echo of 82)
 */

import { type Ipv4Address, writeIpv4 } from "../model/ipv4-address.ts";
import { UDP_PAYLOAD_OFFSET } from "../net/frame.ts";
import { FRAME_BYTES_MAX, type TransmitBuffer } from "../net/frame-socket.ts";
import type { BootImage } from "./boot.ts";
import { findBootImage } from "./boot-client.ts";
import type { Assignment } from "./decision.ts";
import {
  BOOTREPLY,
  CHADDR_BYTES,
  FLAG_BROADCAST,
  HEADER,
  HLEN_ETHERNET,
  HTYPE_ETHERNET,
  MAGIC_COOKIE,
  MESSAGE_BYTES_MIN,
  MESSAGE_TYPE,
} from "./header.ts";
import { type OptionWriter, writeData, writeNumber } from "./option-writer.ts";
import { OPTION, OPTION_DATA_MAX } from "./options.ts";
import { writeBootpOptions, writeConfiguration, writeLeaseTimes } from "./reply-configuration.ts";
import { countOmitted, type EncodeCounters, type Reply, type ReplyParts } from "./reply-parts.ts";
import type { DhcpRequest, OptionSpan } from "./request.ts";
import type { NakReason } from "./rules.ts";

/** IPv4 and UDP headers, which option 57 and the MTU include. */
const IP_UDP_BYTES = 28;
/** What every client accepts (RFC 2131 section 2). */
const DATAGRAM_BYTES_DEFAULT = 576;

/** Options 53, 54 and 51. */
const MANDATORY_BYTES = 15;
/** The mandatory options with the mask, the routers and the wire server, and some more. */
const CRITICAL_BYTES = 64;
/** Mask and routers. */
const BOOTP_CRITICAL_BYTES = 12;

/** Non-empty ASCII: systemd refuses a DHCPNAK with any other text. */
const NAK_TEXT: Readonly<Record<NakReason, Uint8Array>> = {
  "wrong-address": new TextEncoder().encode("requested address is not assigned to this interface"),
  "wrong-network": new TextEncoder().encode("requested address is not on this network"),
};

/**
 * Encodes a reply at {@link UDP_PAYLOAD_OFFSET} of a zero-filled buffer: header, options, End, zeros up to 300.
 *
 * @returns the length of the message in octets
 */
export function encodeReply(target: TransmitBuffer, parts: ReplyParts): number {
  const { request, reply } = parts;
  const start = UDP_PAYLOAD_OFFSET;
  const image = reply.type === "DHCPNAK" ? undefined : findBootImage(request, reply.assignment);
  writeHeader(target, request, reply, image);
  const writer: OptionWriter = {
    bytes: target.bytes,
    cursor: start + HEADER.options,
    limit: start + payloadMax(parts) - 1, // End always fits
  };
  if (reply.type === "BOOTREPLY")
    writeBootpReply(writer, request, reply.assignment, parts.counters);
  else writeDhcpOptions(writer, parts, image);
  target.bytes[writer.cursor++] = OPTION.end;
  return Math.max(writer.cursor - start, MESSAGE_BYTES_MIN);
}

/** A BOOTP client has no identifier to be echoed, but its relay may have added option 82 (RFC 3046 section 2.0). */
function writeBootpReply(
  writer: OptionWriter,
  request: DhcpRequest,
  assignment: Assignment,
  counters: EncodeCounters,
): void {
  const relay = echoLength(request.relayInformation);
  const room = writer.limit - writer.cursor - BOOTP_CRITICAL_BYTES;
  const isEchoed = relay > 0 && relay <= room;
  if (relay > 0 && !isEchoed) countOmitted(counters, OPTION.relayInformation);
  writer.limit -= isEchoed ? relay : 0;
  writeBootpOptions(writer, assignment, counters);
  writer.limit += isEchoed ? relay : 0;
  if (isEchoed) echo(writer, request, OPTION.relayInformation);
}

function writeDhcpOptions(
  writer: OptionWriter,
  parts: ReplyParts,
  image: BootImage | undefined,
): void {
  const { request, reply } = parts;
  const tail = reserveEchoes(writer, parts);
  writeMandatory(writer, request, reply, parts.serverIdentifier);
  if (reply.type !== "DHCPNAK") {
    const { serverIdentifier, changes, mtu, counters } = parts;
    const { assignment } = reply;
    // Field by field: to copy an object whole costs as much as to write the options.
    const common = { request, reply, serverIdentifier, changes, mtu, counters, assignment, image };
    writeConfiguration(writer, common);
  }
  writer.limit += tail.reserved;
  if (tail.clientIdentifier) echo(writer, request, OPTION.clientIdentifier);
  if (tail.relayInformation) echo(writer, request, OPTION.relayInformation);
}

/**
 * Longest message in octets: what the client takes (option 57), the network and the interface carry, and our buffer
 * holds. A BOOTP client takes as much as it sent (RFC 1542 section 2.1). Every IPv4 link carries what every client takes.
 */
function payloadMax({ request, reply, mtu: interfaceMtu }: ReplyParts): number {
  if (reply.type === "BOOTREPLY") {
    const room = DATAGRAM_BYTES_DEFAULT - IP_UDP_BYTES;
    return Math.min(Math.max(request.end - request.offset, MESSAGE_BYTES_MIN), room);
  }
  const client = Math.max(request.maxMessageSize, DATAGRAM_BYTES_DEFAULT);
  const network = reply.type === "DHCPNAK" ? DATAGRAM_BYTES_DEFAULT : reply.assignment.profile.mtu;
  const link = Math.max(interfaceMtu ?? network, DATAGRAM_BYTES_DEFAULT);
  const datagram = Math.min(client, network, link);
  return Math.min(datagram - IP_UDP_BYTES, FRAME_BYTES_MAX - UDP_PAYLOAD_OFFSET);
}

function writeHeader(
  { bytes, view }: TransmitBuffer,
  request: DhcpRequest,
  reply: Reply,
  image: BootImage | undefined,
): void {
  const start = UDP_PAYLOAD_OFFSET;
  bytes[start + HEADER.op] = BOOTREPLY;
  bytes[start + HEADER.htype] = HTYPE_ETHERNET;
  bytes[start + HEADER.hlen] = HLEN_ETHERNET;
  view.setUint32(start + HEADER.xid, request.xid);
  view.setUint16(start + HEADER.flags, replyFlags(request, reply));
  if (reply.type === "BOOTREPLY" || (reply.type === "DHCPACK" && !reply.isRapid)) {
    writeIpv4(bytes, start + HEADER.ciaddr, request.ciaddr);
  }
  if (reply.type !== "DHCPNAK" && reply.hasLease) {
    writeIpv4(bytes, start + HEADER.yiaddr, reply.assignment.address);
  }
  // siaddr and file are a boot server's alone: boot ROMs and the kernel's ip=dhcp believe them.
  if (image !== undefined) {
    writeIpv4(bytes, start + HEADER.siaddr, image.server);
    bytes.set(image.file, start + HEADER.file);
  }
  writeIpv4(bytes, start + HEADER.giaddr, request.giaddr);
  for (let octet = 0; octet < CHADDR_BYTES; octet++) {
    bytes[start + HEADER.chaddr + octet] = request.bytes[request.offset + HEADER.chaddr + octet]!;
  }
  view.setUint32(start + HEADER.cookie, MAGIC_COOKIE);
}

/**
 * Through a relay, a reply that names no address of the client carries the broadcast bit, so that the relay does not try
 * unicast: a DHCPNAK (section 4.1), and the answer to a DHCPINFORM without ciaddr.
 */
function replyFlags(request: DhcpRequest, reply: Reply): number {
  const isNameless =
    reply.type === "DHCPNAK" ||
    (reply.type === "DHCPACK" && !reply.hasLease && request.ciaddr === 0);
  const mustBroadcast = isNameless && request.giaddr !== 0;
  return request.broadcast || mustBroadcast ? FLAG_BROADCAST : 0;
}

/**
 * Keeps room for the echoes: option 82 first, for a relay may discard a reply without it; option 61 only if it does not
 * push out the network's own options, for a guest without routes is worse off than one whose identifier is missing.
 */
function reserveEchoes(
  writer: OptionWriter,
  { request, reply, counters }: ReplyParts,
): { reserved: number; clientIdentifier: boolean; relayInformation: boolean } {
  const relay = echoLength(request.relayInformation);
  const client = echoLength(request.clientIdentifier);
  const room = writer.limit - writer.cursor;
  const relayInformation = relay > 0 && relay <= room - CRITICAL_BYTES;
  const left = room - (relayInformation ? relay : 0);
  const own = reply.type === "DHCPNAK" ? 0 : reply.assignment.profile.fixedOctets.length;
  const all = Math.max(CRITICAL_BYTES, MANDATORY_BYTES + own);
  const clientIdentifier = client > 0 && client <= left - (all <= left ? all : CRITICAL_BYTES);
  if (relay > 0 && !relayInformation) countOmitted(counters, OPTION.relayInformation);
  if (client > 0 && !clientIdentifier) countOmitted(counters, OPTION.clientIdentifier);
  const reserved = (relayInformation ? relay : 0) + (clientIdentifier ? client : 0);
  writer.limit -= reserved;
  return { reserved, clientIdentifier, relayInformation };
}

/** Octets of an echoed option, cut into instances of 255 (RFC 3396); 0 if there is nothing to echo. */
function echoLength(span: OptionSpan): number {
  return span.length + 2 * Math.ceil(span.length / OPTION_DATA_MAX);
}

function echo(writer: OptionWriter, request: DhcpRequest, code: 61 | 82): void {
  const span =
    code === OPTION.relayInformation ? request.relayInformation : request.clientIdentifier;
  for (let done = 0; done < span.length; done += OPTION_DATA_MAX) {
    const length = Math.min(span.length - done, OPTION_DATA_MAX);
    writer.bytes[writer.cursor++] = code;
    writer.bytes[writer.cursor++] = length;
    for (let octet = 0; octet < length; octet++) {
      writer.bytes[writer.cursor++] = request.optionBytes[span.offset + done + octet]!;
    }
  }
}

/** Options 53, 54 and, as the type of reply asks, 56, 51 or 80. */
function writeMandatory(
  writer: OptionWriter,
  request: DhcpRequest,
  reply: Reply,
  serverIdentifier: Ipv4Address,
): void {
  if (reply.type === "BOOTREPLY") return;
  writer.bytes[writer.cursor++] = OPTION.messageType;
  writer.bytes[writer.cursor++] = 1;
  writer.bytes[writer.cursor++] = MESSAGE_TYPE[reply.type];
  writeNumber(writer, OPTION.serverIdentifier, serverIdentifier);
  if (reply.type === "DHCPNAK") {
    writeData(writer, OPTION.message, NAK_TEXT[reply.why]);
    return;
  }
  if (reply.hasLease) writeLeaseTimes(writer, request, reply.assignment.profile);
  if (reply.isRapid) {
    writer.bytes[writer.cursor++] = OPTION.rapidCommit;
    writer.bytes[writer.cursor++] = 0;
  }
}
