/**
 * Writes a reply in place, after the room for Ethernet, IPv4 and UDP headers.
 *
 * Order of options: 53 first, for clients that insist; 54, 51, 58, 59; the network's own; what the client asked for,
 * in its order; then 61 and, last as RFC 3046 asks, 82. No Pad before End: Azure's agent reads a length after it.
 *
 * @see RFC 2131 section 4.3.1 table 3, RFC 2132, RFC 6842 (echo of 61), RFC 3046 section 2.2 (echo of 82)
 */

import { type Ipv4Address, writeIpv4 } from "../model/ipv4-address.ts";
import { UDP_PAYLOAD_OFFSET } from "../net/frame.ts";
import { FRAME_BYTES_MAX, type TransmitBuffer } from "../net/frame-socket.ts";
import {
  BOOTREPLY,
  CHADDR_BYTES,
  FLAG_BROADCAST,
  HEADER,
  HLEN_ETHERNET,
  HTYPE_ETHERNET,
  INFINITE_SECONDS,
  MAGIC_COOKIE,
  MESSAGE_BYTES_MIN,
  MESSAGE_TYPE,
} from "./header.ts";
import { LEASE_SECONDS_MIN, type OptionProfile } from "./option-profile.ts";
import { OPTION, OPTION_DATA_MAX } from "./options.ts";
import type { DhcpRequest, OptionSpan } from "./request.ts";
import type { NakReason, ReplyDecision } from "./rules.ts";

/** The part of a {@link ReplyDecision} that is answered. */
export type Reply = Extract<ReplyDecision, { kind: "reply" }>;

/** What {@link encodeReply} counts. */
export interface EncodeCounters {
  /** Options that did not fit and were left out whole. */
  optionsOmitted: number;
}

/** IPv4 and UDP headers, which option 57 and the MTU include. */
const IP_UDP_BYTES = 28;
/** What every client accepts (RFC 2131 section 2). */
const DATAGRAM_BYTES_DEFAULT = 576;
/** An option with four octets of data. */
const NUMBER_OPTION_BYTES = 6;
const RENEWAL_TIMES_BYTES = 12;

/** Non-empty ASCII: systemd refuses a DHCPNAK with any other text. */
const NAK_TEXT: Readonly<Record<NakReason, Uint8Array>> = {
  "wrong-address": new TextEncoder().encode("requested address is not assigned to this interface"),
  "wrong-network": new TextEncoder().encode("requested address is not on this network"),
};

/** Where the next option goes and where the options must end; the reserved tail is subtracted already. */
interface OptionWriter {
  readonly bytes: Uint8Array;
  cursor: number;
  /** Index after the last octet that may be used. */
  limit: number;
}

/**
 * Encodes a reply at {@link UDP_PAYLOAD_OFFSET} of a zero-filled buffer: header, options, End, zeros up to 300.
 *
 * @param serverIdentifier - option 54
 * @returns the length of the message in octets
 */
export function encodeReply(
  target: TransmitBuffer,
  request: DhcpRequest,
  reply: Reply,
  serverIdentifier: Ipv4Address,
  counters: EncodeCounters,
): number {
  const start = UDP_PAYLOAD_OFFSET;
  writeHeader(target, request, reply);
  const writer: OptionWriter = {
    bytes: target.bytes,
    cursor: start + HEADER.options,
    limit: start + payloadMax(request, reply) - 1, // End always fits
  };
  const tail = reserveEchoes(writer, request, counters);
  writeMandatory(writer, request, reply, serverIdentifier);
  if (reply.type !== "DHCPNAK") writeConfiguration(writer, request, reply, counters);
  writer.limit += tail.reserved;
  if (tail.clientIdentifier) echo(writer, request, OPTION.clientIdentifier);
  if (tail.relayInformation) echo(writer, request, OPTION.relayInformation);
  target.bytes[writer.cursor++] = OPTION.end;
  return Math.max(writer.cursor - start, MESSAGE_BYTES_MIN);
}

/** Longest message in octets: what the client takes (option 57), the network carries, and our buffer holds. */
function payloadMax(request: DhcpRequest, reply: Reply): number {
  const client = Math.max(request.maxMessageSize, DATAGRAM_BYTES_DEFAULT);
  const mtu = reply.type === "DHCPNAK" ? DATAGRAM_BYTES_DEFAULT : reply.assignment.profile.mtu;
  return Math.min(Math.min(client, mtu) - IP_UDP_BYTES, FRAME_BYTES_MAX - UDP_PAYLOAD_OFFSET);
}

function writeHeader(target: TransmitBuffer, request: DhcpRequest, reply: Reply): void {
  const { bytes, view } = target;
  const start = UDP_PAYLOAD_OFFSET;
  bytes[start + HEADER.op] = BOOTREPLY;
  bytes[start + HEADER.htype] = HTYPE_ETHERNET;
  bytes[start + HEADER.hlen] = HLEN_ETHERNET;
  view.setUint32(start + HEADER.xid, request.xid);
  view.setUint16(start + HEADER.flags, replyFlags(request, reply));
  if (reply.type === "DHCPACK") writeIpv4(bytes, start + HEADER.ciaddr, request.ciaddr);
  if (reply.type !== "DHCPNAK" && reply.hasLease) {
    writeIpv4(bytes, start + HEADER.yiaddr, reply.assignment.address);
  }
  // siaddr stays 0: boot ROMs and the kernel's ip=dhcp take it for a boot server.
  writeIpv4(bytes, start + HEADER.giaddr, request.giaddr);
  for (let octet = 0; octet < CHADDR_BYTES; octet++) {
    bytes[start + HEADER.chaddr + octet] = request.bytes[request.offset + HEADER.chaddr + octet]!;
  }
  view.setUint32(start + HEADER.cookie, MAGIC_COOKIE);
}

/** Through a relay a DHCPNAK carries the broadcast bit, so that the relay does not try unicast (section 4.1). */
function replyFlags(request: DhcpRequest, reply: Reply): number {
  const mustBroadcast = reply.type === "DHCPNAK" && request.giaddr !== 0;
  return request.broadcast || mustBroadcast ? FLAG_BROADCAST : 0;
}

/** Keeps room for the echoes, option 82 first: a relay may discard a reply without it. */
function reserveEchoes(
  writer: OptionWriter,
  request: DhcpRequest,
  counters: EncodeCounters,
): { reserved: number; clientIdentifier: boolean; relayInformation: boolean } {
  const critical = 64; // the mandatory options with the mask, the routers and the wire server
  const relay = echoLength(request.relayInformation);
  const client = echoLength(request.clientIdentifier);
  const room = writer.limit - writer.cursor - critical;
  const relayInformation = relay > 0 && relay <= room;
  const clientIdentifier = client > 0 && client <= room - (relayInformation ? relay : 0);
  if (relay > 0 && !relayInformation) counters.optionsOmitted++;
  if (client > 0 && !clientIdentifier) counters.optionsOmitted++;
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

/** Options 53, 54 and, as the type of reply asks, 56 or 51. */
function writeMandatory(
  writer: OptionWriter,
  request: DhcpRequest,
  reply: Reply,
  serverIdentifier: Ipv4Address,
): void {
  writer.bytes[writer.cursor++] = OPTION.messageType;
  writer.bytes[writer.cursor++] = 1;
  writer.bytes[writer.cursor++] = MESSAGE_TYPE[reply.type];
  writeNumber(writer, OPTION.serverIdentifier, serverIdentifier);
  if (reply.type === "DHCPNAK") {
    writeData(writer, OPTION.message, NAK_TEXT[reply.why]);
  } else if (reply.hasLease) {
    writeLeaseTimes(writer, request, reply.assignment.profile);
  }
}

/** T1 and T2 are the defaults of RFC 2131 section 4.4.5, which old clients want to see; they give way to the rest. */
function writeLeaseTimes(writer: OptionWriter, request: DhcpRequest, profile: OptionProfile): void {
  const leaseSeconds = grantedSeconds(request.requestedLeaseSeconds, profile.leaseSeconds);
  writeNumber(writer, OPTION.leaseTime, leaseSeconds);
  const fixed = profile.fixedOctets.length;
  if (writer.limit - writer.cursor - RENEWAL_TIMES_BYTES < fixed) return;
  const isInfinite = leaseSeconds === INFINITE_SECONDS;
  writeNumber(writer, OPTION.renewalTime, isInfinite ? leaseSeconds : Math.floor(leaseSeconds / 2));
  const t2 = isInfinite ? leaseSeconds : Math.floor((leaseSeconds * 7) / 8);
  writeNumber(writer, OPTION.rebindingTime, t2);
}

/** A client may ask for less than the network grants, never for more. */
function grantedSeconds(requestedSeconds: number, offeredSeconds: number): number {
  if (requestedSeconds === 0) return offeredSeconds;
  return Math.min(Math.max(requestedSeconds, LEASE_SECONDS_MIN), offeredSeconds);
}

function writeConfiguration(
  writer: OptionWriter,
  request: DhcpRequest,
  reply: Exclude<Reply, { type: "DHCPNAK" }>,
  counters: EncodeCounters,
): void {
  const { profile, hostname } = reply.assignment;
  if (!writeWhole(writer, profile.fixedOctets)) writeFixedThatFit(writer, profile, counters);
  const { offset, length } = request.parameterRequestList;
  for (let index = 0; index < length; index++) {
    const code = request.optionBytes[offset + index]!;
    const option = code === OPTION.hostname ? hostname : profile.onRequest.get(code);
    if (option === undefined || option.length === 0 || isRepeated(request, index)) continue;
    const fits =
      typeof option === "string" ? writeText(writer, code, option) : writeWhole(writer, option);
    if (!fits) counters.optionsOmitted++;
  }
}

/** True if the code at `index` of option 55 stands further ahead as well; the first one decides the order. */
function isRepeated(request: DhcpRequest, index: number): boolean {
  const { offset } = request.parameterRequestList;
  const code = request.optionBytes[offset + index];
  for (let earlier = 0; earlier < index; earlier++) {
    if (request.optionBytes[offset + earlier] === code) return true;
  }
  return false;
}

/** The wire server's option is short and a guest is lost without it, so the long routes must leave room. */
function writeFixedThatFit(
  writer: OptionWriter,
  profile: OptionProfile,
  counters: EncodeCounters,
): void {
  const last = profile.fixed.at(-1);
  const kept = last !== undefined && last[0] === OPTION.wireServer ? last.length : 0;
  for (const option of profile.fixed) {
    writer.limit -= option === last ? 0 : kept;
    if (!writeWhole(writer, option)) counters.optionsOmitted++;
    writer.limit += option === last ? 0 : kept;
  }
}

/** Writes an encoded option if it fits, else nothing: a truncated option is worse than none. */
function writeWhole(writer: OptionWriter, option: Uint8Array): boolean {
  if (writer.cursor + option.length > writer.limit) return false;
  writer.bytes.set(option, writer.cursor);
  writer.cursor += option.length;
  return true;
}

function writeText(writer: OptionWriter, code: number, text: string): boolean {
  const length = Math.min(text.length, OPTION_DATA_MAX);
  if (writer.cursor + 2 + length > writer.limit) return false;
  writer.bytes[writer.cursor++] = code;
  writer.bytes[writer.cursor++] = length;
  for (let index = 0; index < length; index++) {
    writer.bytes[writer.cursor++] = text.charCodeAt(index);
  }
  return true;
}

function writeData(writer: OptionWriter, code: number, data: Uint8Array): void {
  writer.bytes[writer.cursor++] = code;
  writer.bytes[writer.cursor++] = data.length;
  writer.bytes.set(data, writer.cursor);
  writer.cursor += data.length;
}

function writeNumber(writer: OptionWriter, code: number, value: number): void {
  const { bytes, cursor } = writer;
  bytes[cursor] = code;
  bytes[cursor + 1] = 4;
  bytes[cursor + 2] = value >>> 24;
  bytes[cursor + 3] = value >>> 16;
  bytes[cursor + 4] = value >>> 8;
  bytes[cursor + 5] = value;
  writer.cursor += NUMBER_OPTION_BYTES;
}
