/**
 * A DHCP message as an owned value, for clients, tools and tests. Written for reading; the server's hot path reads
 * requests in place instead (request.ts).
 *
 * @see RFC 2131 section 2, RFC 2132, RFC 3396
 */

import { type Ipv4Address, readIpv4, writeIpv4 } from "../model/ipv4-address.ts";
import { type MacAddress, readMac, writeMac } from "../model/mac-address.ts";
import {
  FILE_BYTES,
  findMessageTypeName,
  HEADER,
  HLEN_ETHERNET,
  HTYPE_ETHERNET,
  MAGIC_COOKIE,
  MESSAGE_BYTES_MIN,
  type MessageTypeName,
  SNAME_BYTES,
} from "./header.ts";
import { createOptionIndex, indexOptions, joinedLengthMax, joinOption } from "./option-index.ts";
import { OPTION, OPTION_DATA_MAX } from "./options.ts";

/** One DHCP message on Ethernet. Field names are those of RFC 2131. */
export interface DhcpMessage {
  readonly op: number;
  readonly hops: number;
  readonly xid: number;
  readonly secs: number;
  readonly flags: number;
  readonly ciaddr: Ipv4Address;
  readonly yiaddr: Ipv4Address;
  readonly siaddr: Ipv4Address;
  readonly giaddr: Ipv4Address;
  readonly chaddr: MacAddress;
  /** At most 64 octets, without trailing NULs; empty if the field held options. */
  readonly sname: Uint8Array;
  /** At most 128 octets, without trailing NULs; empty if the field held options. */
  readonly file: Uint8Array;
  /** Data by option code, joined (RFC 3396), in order of first appearance; neither Pad, End nor overload. */
  readonly options: ReadonlyMap<number, Uint8Array>;
}

/** Why octets are no DHCP message on Ethernet. */
export type MalformedReason =
  | "bootp.short"
  | "bootp.long"
  | "bootp.htype"
  | "bootp.hlen"
  | "bootp.cookie"
  | "opt.flood";

/** What {@link decodeMessage} returns. */
export type DecodeResult =
  | { readonly kind: "message"; readonly message: DhcpMessage }
  | { readonly kind: "malformed"; readonly reason: MalformedReason };

/** Longest message that is decoded: the largest UDP payload. */
const MESSAGE_BYTES_MAX = 65_507;

/**
 * Decodes one DHCP message from a UDP payload. Never throws; keeps no reference to `bytes`. An option that runs past
 * its area is left out, and those before it are kept.
 *
 * @returns the message, or `malformed` with the first rule broken, in header-then-options order
 */
export function decodeMessage(bytes: Uint8Array): DecodeResult {
  if (bytes.length < HEADER.options) return { kind: "malformed", reason: "bootp.short" };
  if (bytes.length > MESSAGE_BYTES_MAX) return { kind: "malformed", reason: "bootp.long" };
  if (bytes[HEADER.htype] !== HTYPE_ETHERNET) return { kind: "malformed", reason: "bootp.htype" };
  if (bytes[HEADER.hlen] !== HLEN_ETHERNET) return { kind: "malformed", reason: "bootp.hlen" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(HEADER.cookie) !== MAGIC_COOKIE) {
    return { kind: "malformed", reason: "bootp.cookie" };
  }
  const index = createOptionIndex();
  if (!indexOptions(bytes, 0, bytes.length, index)) {
    return { kind: "malformed", reason: "opt.flood" };
  }
  const options = new Map<number, Uint8Array>();
  for (const code of index.codes.subarray(0, index.count)) {
    if (code === OPTION.overload || options.has(code)) continue;
    const data = new Uint8Array(joinedLengthMax(index, code));
    const length = joinOption(bytes, index, code, data, 0);
    options.set(code, length === data.length ? data : data.slice(0, length));
  }
  return { kind: "message", message: { ...decodeHeader(bytes, view, index.overload), options } };
}

function decodeHeader(
  bytes: Uint8Array,
  view: DataView,
  overload: number,
): Omit<DhcpMessage, "options"> {
  return {
    op: bytes[HEADER.op]!,
    hops: bytes[HEADER.hops]!,
    xid: view.getUint32(HEADER.xid),
    secs: view.getUint16(HEADER.secs),
    flags: view.getUint16(HEADER.flags),
    ciaddr: readIpv4(bytes, HEADER.ciaddr),
    yiaddr: readIpv4(bytes, HEADER.yiaddr),
    siaddr: readIpv4(bytes, HEADER.siaddr),
    giaddr: readIpv4(bytes, HEADER.giaddr),
    chaddr: readMac(bytes, HEADER.chaddr),
    sname: (overload & 2) !== 0 ? new Uint8Array() : decodeField(bytes, HEADER.sname, SNAME_BYTES),
    file: (overload & 1) !== 0 ? new Uint8Array() : decodeField(bytes, HEADER.file, FILE_BYTES),
  };
}

function decodeField(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  let end = offset + length;
  while (end > offset && bytes[end - 1] === 0) end--;
  return bytes.slice(offset, end);
}

/**
 * Encodes a message, options in the order of the map, long ones split (RFC 3396), End, zeros up to 300 octets.
 *
 * @throws RangeError if `sname` or `file` is longer than its field
 */
export function encodeMessage(message: DhcpMessage): Uint8Array<ArrayBuffer> {
  const options = encodeOptions(message.options);
  const bytes = new Uint8Array(Math.max(HEADER.options + options.length, MESSAGE_BYTES_MIN));
  const view = new DataView(bytes.buffer);
  bytes[HEADER.op] = message.op;
  bytes[HEADER.htype] = HTYPE_ETHERNET;
  bytes[HEADER.hlen] = HLEN_ETHERNET;
  bytes[HEADER.hops] = message.hops;
  view.setUint32(HEADER.xid, message.xid);
  view.setUint16(HEADER.secs, message.secs);
  view.setUint16(HEADER.flags, message.flags);
  writeIpv4(bytes, HEADER.ciaddr, message.ciaddr);
  writeIpv4(bytes, HEADER.yiaddr, message.yiaddr);
  writeIpv4(bytes, HEADER.siaddr, message.siaddr);
  writeIpv4(bytes, HEADER.giaddr, message.giaddr);
  writeMac(bytes, HEADER.chaddr, message.chaddr);
  bytes.subarray(HEADER.sname, HEADER.sname + SNAME_BYTES).set(message.sname);
  bytes.subarray(HEADER.file, HEADER.file + FILE_BYTES).set(message.file);
  view.setUint32(HEADER.cookie, MAGIC_COOKIE);
  bytes.set(options, HEADER.options);
  return bytes;
}

function encodeOptions(options: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const octets: number[] = [];
  for (const [code, data] of options) {
    let offset = 0;
    do {
      const piece = data.subarray(offset, offset + OPTION_DATA_MAX);
      octets.push(code, piece.length, ...piece);
      offset += OPTION_DATA_MAX;
    } while (offset < data.length);
  }
  octets.push(OPTION.end);
  return Uint8Array.from(octets);
}

/** The name of the message type, or undefined if option 53 is absent, malformed or not of RFC 2131. */
export function messageTypeName(message: DhcpMessage): MessageTypeName | undefined {
  const data = message.options.get(OPTION.messageType);
  return data?.length === 1 ? findMessageTypeName(data[0]!) : undefined;
}

/** The data of a four-octet option as an address, or undefined if it is absent or of another length. */
export function addressOption(message: DhcpMessage, code: number): Ipv4Address | undefined {
  const data = message.options.get(code);
  return data?.length === 4 ? readIpv4(data, 0) : undefined;
}

/** The data of an option as a list of addresses, or undefined if it is absent, empty or no multiple of four octets. */
export function addressListOption(message: DhcpMessage, code: number): Ipv4Address[] | undefined {
  const data = message.options.get(code);
  if (data === undefined || data.length === 0 || data.length % 4 !== 0) return undefined;
  return Array.from({ length: data.length / 4 }, (_, index) => readIpv4(data, index * 4));
}
