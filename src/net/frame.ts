/**
 * UDP in IPv4 in Ethernet, read and written in place. Everything here is checked before a protocol sees an octet,
 * cheapest check first, and nothing is allocated.
 *
 * ```text
 *  0        6        12   14                34       42
 *  | dst    | src    | ty | IPv4 (20, IHL 5)| UDP 8  | payload ...
 * ```
 */

import { IPV4_BROADCAST, type Ipv4Address, readIpv4, writeIpv4 } from "../model/ipv4-address.ts";
import {
  isGroupMac,
  MAC_BROADCAST,
  type MacAddress,
  readMac,
  writeMac,
} from "../model/mac-address.ts";
import { checksumOf, foldSum, sumPseudoHeader, sumWords } from "./checksum.ts";
import { FRAME_BYTES_MAX, type ReceivedFrame } from "./frame-socket.ts";

const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const UDP_BYTES = 8;
const ETHERTYPE_IPV4 = 0x0800;
const PROTOCOL_UDP = 17;
/** Both the more-fragments bit and the offset: a first fragment has offset 0 and would pass a mask of 0x1fff. */
const FRAGMENT_MASK = 0x3fff;
const DO_NOT_FRAGMENT = 0x4000;
const TTL = 64;
/** Low delay, as other DHCP servers mark their replies; no client looks at it. */
const TYPE_OF_SERVICE = 0x10;

/** Where the UDP payload starts in a frame made by {@link writeUdpFrame}. */
export const UDP_PAYLOAD_OFFSET = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES;

/** Pass as port to {@link readUdpFrame} to accept every destination port. */
export const ANY_PORT = -1;

/** Why a frame carries no acceptable UDP datagram. */
export type FrameDropReason =
  | "l2.short"
  | "l2.long"
  | "l2.type"
  | "l2.vlan"
  | "l2.src"
  | "ip.version"
  | "ip.ihl"
  | "ip.options"
  | "ip.len"
  | "ip.csum"
  | "ip.frag"
  | "ip.proto"
  | "ip.src"
  | "udp.port"
  | "udp.len"
  | "udp.csum";

/** A checked UDP datagram inside a received frame; valid as long as the frame's memory is. */
export interface UdpFrame {
  destinationMac: MacAddress;
  sourceMac: MacAddress;
  sourceIp: Ipv4Address;
  destinationIp: Ipv4Address;
  sourcePort: number;
  destinationPort: number;
  /** The checksum field held the sum of the pseudo header alone, and nothing said so beside the frame. */
  hasPartialChecksum: boolean;
  /** Index of the first payload octet in the frame's `bytes`. */
  payloadStart: number;
  /** Index after the last payload octet; Ethernet padding and trailers lie beyond it. */
  payloadEnd: number;
}

/** Makes the object that {@link readUdpFrame} fills; make one and reuse it. */
export function createUdpFrame(): UdpFrame {
  const mac = readMac(new Uint8Array(6), 0);
  const ip = readIpv4(new Uint8Array(4), 0);
  return {
    destinationMac: mac,
    sourceMac: mac,
    sourceIp: ip,
    destinationIp: ip,
    sourcePort: 0,
    destinationPort: 0,
    hasPartialChecksum: false,
    payloadStart: 0,
    payloadEnd: 0,
  };
}

/**
 * Checks Ethernet, IPv4 and UDP of a frame and fills `out`. Never throws, keeps no reference, allocates nothing.
 *
 * @param port - the only UDP destination port that is accepted; {@link ANY_PORT} for all
 * @returns undefined if `out` holds a datagram, else the first rule that was broken; `out` is then filled up to there
 * @see RFC 791, RFC 768, RFC 1122 section 3.2.1
 */
export function readUdpFrame(
  frame: ReceivedFrame,
  out: UdpFrame,
  port: number = ANY_PORT,
): FrameDropReason | undefined {
  const { bytes, view, offset } = frame;
  if (frame.length > FRAME_BYTES_MAX || frame.wireLength > frame.length) return "l2.long";
  const end = offset + frame.length;
  if (frame.length < ETHERNET_BYTES) return "l2.short";
  const ethernetDrop = readEthernet(frame, out);
  if (ethernetDrop !== undefined) return ethernetDrop;
  const ip = offset + ETHERNET_BYTES;
  if (end - ip < IPV4_BYTES) return "l2.short";
  const ipDrop = readIpv4Header(bytes, view, ip, end, out);
  if (ipDrop !== undefined) return ipDrop;
  return readUdp(frame, ip, out, port);
}

function readEthernet(frame: ReceivedFrame, out: UdpFrame): FrameDropReason | undefined {
  const { bytes, view, offset } = frame;
  // A tagged frame on an untagged port would reach another network's addresses. Priority tags (VID 0) are no VLAN.
  if (frame.vlanId !== 0) return "l2.vlan";
  // A second tag, which the kernel leaves in the frame, is no type that we read either.
  if (view.getUint16(offset + 12) !== ETHERTYPE_IPV4) return "l2.type";
  out.destinationMac = readMac(bytes, offset);
  out.sourceMac = readMac(bytes, offset + 6);
  return out.sourceMac === 0 || isGroupMac(out.sourceMac) ? "l2.src" : undefined;
}

function readIpv4Header(
  bytes: Uint8Array,
  view: DataView,
  ip: number,
  end: number,
  out: UdpFrame,
): FrameDropReason | undefined {
  const versionAndLength = bytes[ip]!;
  if (versionAndLength >>> 4 !== 4) return "ip.version";
  const headerWords = versionAndLength & 15;
  if (headerWords < 5 || ip + headerWords * 4 > end) return "ip.ihl";
  // No DHCP client sends IP options; a source route would be an attack.
  if (headerWords !== 5) return "ip.options";
  const totalLength = view.getUint16(ip + 2);
  if (ip + totalLength > end || totalLength < IPV4_BYTES + UDP_BYTES) return "ip.len";
  if ((view.getUint16(ip + 6) & FRAGMENT_MASK) !== 0) return "ip.frag";
  if (bytes[ip + 9] !== PROTOCOL_UDP) return "ip.proto";
  if (foldSum(sumWords(view, ip, ip + IPV4_BYTES, 0)) !== 0xffff) return "ip.csum";
  out.sourceIp = readIpv4(bytes, ip + 12);
  out.destinationIp = readIpv4(bytes, ip + 16);
  out.payloadEnd = ip + totalLength;
  return isImpossibleSource(out.sourceIp) ? "ip.src" : undefined;
}

/** Loopback, multicast and broadcast addresses never send (RFC 1122 section 3.2.1.3). */
function isImpossibleSource(address: Ipv4Address): boolean {
  const first = address >>> 24;
  return first === 127 || (first >= 224 && first < 240) || address === IPV4_BROADCAST;
}

function readUdp(
  frame: ReceivedFrame,
  ip: number,
  out: UdpFrame,
  port: number,
): FrameDropReason | undefined {
  const { view } = frame;
  const udp = ip + IPV4_BYTES;
  out.sourcePort = view.getUint16(udp);
  out.destinationPort = view.getUint16(udp + 2);
  if (port !== ANY_PORT && out.destinationPort !== port) return "udp.port";
  const length = view.getUint16(udp + 4);
  if (length < UDP_BYTES || udp + length > out.payloadEnd) return "udp.len";
  out.payloadStart = udp + UDP_BYTES;
  out.payloadEnd = udp + length;
  return isChecksumAcceptable(frame, udp, length, out) ? undefined : "udp.csum";
}

/**
 * A zero field means that the sender made no checksum (RFC 768). With transmit offload a guest leaves the folded
 * sum of the pseudo header in the field; the kernel says so, but not over every hop, so that value passes as well.
 */
function isChecksumAcceptable(
  frame: ReceivedFrame,
  udp: number,
  length: number,
  out: UdpFrame,
): boolean {
  out.hasPartialChecksum = false;
  if (frame.checksumNotReady) return true;
  const field = frame.view.getUint16(udp + 6);
  if (field === 0) return true;
  const pseudo = sumPseudoHeader(out.sourceIp, out.destinationIp, PROTOCOL_UDP, length);
  if (foldSum(sumWords(frame.view, udp, udp + length, pseudo)) === 0xffff) return true;
  out.hasPartialChecksum = field === foldSum(pseudo);
  return out.hasPartialChecksum;
}

/** What {@link writeUdpFrame} puts around a payload. */
export interface UdpFrameHeader {
  readonly sourceMac: MacAddress;
  readonly destinationMac: MacAddress;
  readonly sourceIp: Ipv4Address;
  readonly destinationIp: Ipv4Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Octets already written at {@link UDP_PAYLOAD_OFFSET}. */
  readonly payloadLength: number;
}

/** A header to fill again and again. */
export type WritableUdpFrameHeader = {
  -readonly [Field in keyof UdpFrameHeader]: UdpFrameHeader[Field];
};

/** Makes a header from one source, with its destination and length still to be set. */
export function createUdpFrameHeader(
  sourceMac: MacAddress,
  sourceIp: Ipv4Address,
  sourcePort: number,
): WritableUdpFrameHeader {
  return {
    ...{ sourceMac, sourceIp, sourcePort },
    ...{ destinationMac: MAC_BROADCAST, destinationIp: IPV4_BROADCAST, destinationPort: 0 },
    payloadLength: 0,
  };
}

/**
 * Writes Ethernet, IPv4 and UDP headers before a payload that is already at {@link UDP_PAYLOAD_OFFSET}, with complete
 * checksums: clients that read raw frames check them, and nothing later would fill them in. The identification is 0,
 * as RFC 6864 section 4.1 allows for datagrams that are never fragmented, so equal replies are equal octets.
 *
 * @returns the length of the frame in bytes, without FCS
 */
export function writeUdpFrame(bytes: Uint8Array, view: DataView, header: UdpFrameHeader): number {
  writeMac(bytes, 0, header.destinationMac);
  writeMac(bytes, 6, header.sourceMac);
  view.setUint16(12, ETHERTYPE_IPV4);
  writeIpv4Header(bytes, view, header);
  writeUdpHeader(view, header);
  return UDP_PAYLOAD_OFFSET + header.payloadLength;
}

function writeIpv4Header(bytes: Uint8Array, view: DataView, header: UdpFrameHeader): void {
  const ip = ETHERNET_BYTES;
  bytes[ip] = 0x45;
  bytes[ip + 1] = TYPE_OF_SERVICE;
  view.setUint16(ip + 2, IPV4_BYTES + UDP_BYTES + header.payloadLength);
  view.setUint16(ip + 4, 0);
  view.setUint16(ip + 6, DO_NOT_FRAGMENT);
  bytes[ip + 8] = TTL;
  bytes[ip + 9] = PROTOCOL_UDP;
  view.setUint16(ip + 10, 0);
  writeIpv4(bytes, ip + 12, header.sourceIp);
  writeIpv4(bytes, ip + 16, header.destinationIp);
  view.setUint16(ip + 10, checksumOf(sumWords(view, ip, ip + IPV4_BYTES, 0)));
}

function writeUdpHeader(view: DataView, header: UdpFrameHeader): void {
  const udp = ETHERNET_BYTES + IPV4_BYTES;
  const length = UDP_BYTES + header.payloadLength;
  view.setUint16(udp, header.sourcePort);
  view.setUint16(udp + 2, header.destinationPort);
  view.setUint16(udp + 4, length);
  view.setUint16(udp + 6, 0);
  const pseudo = sumPseudoHeader(header.sourceIp, header.destinationIp, PROTOCOL_UDP, length);
  const checksum = checksumOf(sumWords(view, udp, udp + length, pseudo));
  // A computed 0 would read as "no checksum"; 0xffff is the same number in ones' complement (RFC 768).
  view.setUint16(udp + 6, checksum === 0 ? 0xffff : checksum);
}
