/**
 * The server's view of a request: checked once, read in place, nothing allocated. One {@link DhcpRequest} is filled
 * again and again; it and the octets it points to are valid until the next one is read.
 */

import { type Ipv4Address, readIpv4 } from "../model/ipv4-address.ts";
import { isGroupMac, type MacAddress, readMac } from "../model/mac-address.ts";
import type { FrameDropReason } from "../net/frame.ts";
import { FRAME_BYTES_MAX } from "../net/frame-socket.ts";
import {
  BOOTREPLY,
  BOOTREQUEST,
  FLAG_BROADCAST,
  HEADER,
  HLEN_ETHERNET,
  HTYPE_ETHERNET,
  MAGIC_COOKIE,
  MESSAGE_TYPE,
} from "./header.ts";
import {
  createOptionIndex,
  indexOptions,
  joinOption,
  NOT_TRUNCATED,
  type OptionIndex,
} from "./option-index.ts";
import { OPTION, OPTION_INSTANCES_MAX } from "./options.ts";

/** Why a payload is no request that this server reads. */
export type RequestDropReason =
  | "bootp.short"
  | "bootp.long"
  | "rogue.server"
  | "bootp.op"
  | "bootp.htype"
  | "bootp.hlen"
  | "bootp.hops"
  | "bootp.chaddr"
  | "bootp.ciaddr"
  | "relay.giaddr"
  | "bootp.cookie"
  | "bootp.disabled"
  | "opt.trunc"
  | "opt.flood"
  | "opt.50"
  | "opt.53"
  | "opt.54"
  | "type.unknown"
  | "type.server"
  | "type.unsupported";

/** Every reason for which a frame or its payload is dropped before a protocol rule sees it. */
export type DropReason = FrameDropReason | RequestDropReason;

/** Where the data of an option lies in {@link DhcpRequest.optionBytes}; length 0 if it is absent or empty. */
export interface OptionSpan {
  offset: number;
  length: number;
}

/** A checked request. Addresses are numbers, times are seconds, all options are optional. */
export interface DhcpRequest {
  /** The memory that the message is in; the message starts at `offset`. */
  bytes: Uint8Array;
  offset: number;
  op: number;
  htype: number;
  hlen: number;
  hops: number;
  xid: number;
  secs: number;
  /** All sixteen bits as received; see {@link DhcpRequest.broadcast}. */
  flags: number;
  ciaddr: Ipv4Address;
  yiaddr: Ipv4Address;
  siaddr: Ipv4Address;
  giaddr: Ipv4Address;
  chaddr: MacAddress;
  /** The client cannot receive unicast before it has an address. */
  broadcast: boolean;
  /** Option 53: one of DISCOVER, REQUEST, DECLINE, RELEASE, INFORM. */
  messageType: number;
  hasRequestedAddress: boolean;
  requestedAddress: Ipv4Address;
  hasServerIdentifier: boolean;
  serverIdentifier: Ipv4Address;
  /** Option 51, or 0 if the client does not ask for a lease time. */
  requestedLeaseSeconds: number;
  /** Option 57 in octets of the IP datagram, or 0 if absent or below 576. */
  maxMessageSize: number;
  /** The memory that the option spans point into: `bytes`, or a scratch buffer if options had to be joined. */
  optionBytes: Uint8Array;
  readonly parameterRequestList: OptionSpan;
  readonly clientIdentifier: OptionSpan;
  readonly hostname: OptionSpan;
  readonly vendorClass: OptionSpan;
  readonly userClass: OptionSpan;
  /** Option 82; absent unless the request was relayed, whatever the client sent. */
  readonly relayInformation: OptionSpan;
  /** Server identifier that the relay wants replies to carry (RFC 5107), or 0. */
  serverIdentifierOverride: Ipv4Address;
  /** True if the relay got the message by unicast (RFC 5010). */
  relayedUnicast: boolean;
  /** True if the relay wants the reply at its source port (RFC 8357). */
  relaySourcePort: boolean;
  /** True if option 53 was there; the message may still be malformed. */
  hasMessageType: boolean;
  /** Working memory of {@link readRequest}. */
  readonly scratch: Uint8Array;
  readonly index: OptionIndex;
  readonly faults: OptionFaults;
}

/** Options of a wrong length; whether that matters depends on the message type. */
interface OptionFaults {
  messageType: boolean;
  requestedAddress: boolean;
  serverIdentifier: boolean;
}

const NO_BYTES = new Uint8Array(4);
const NO_ADDRESS = readIpv4(NO_BYTES, 0);
/** RFC 1542 section 4.1.1 bounds hops at 16. */
const HOPS_MAX = 16;
/** Smallest size that every client accepts (RFC 2131 section 2). */
const MESSAGE_SIZE_MIN = 576;
const RELAY_FLAG_UNICAST = 0x80;
const RELAY_FLAGS = 10;
const RELAY_SERVER_IDENTIFIER_OVERRIDE = 11;
const RELAY_SOURCE_PORT = 19;

/** The options that {@link readRequest} keeps. */
const KEPT_OPTIONS: readonly number[] = [
  OPTION.hostname,
  OPTION.requestedAddress,
  OPTION.leaseTime,
  OPTION.overload,
  OPTION.messageType,
  OPTION.serverIdentifier,
  OPTION.parameterRequestList,
  OPTION.maxMessageSize,
  OPTION.vendorClass,
  OPTION.clientIdentifier,
  OPTION.userClass,
  OPTION.relayInformation,
];

/** One bit per kept option, 0 for all others; indexed by code. */
const KEPT_BITS = Uint16Array.from({ length: 256 }, (_, code) => {
  const index = KEPT_OPTIONS.indexOf(code);
  return index < 0 ? 0 : 1 << index;
});

/** Makes the object that {@link readRequest} fills; make one and reuse it. */
export function createDhcpRequest(): DhcpRequest {
  return {
    bytes: NO_BYTES,
    offset: 0,
    op: 0,
    htype: 0,
    hlen: 0,
    hops: 0,
    xid: 0,
    secs: 0,
    flags: 0,
    ciaddr: NO_ADDRESS,
    yiaddr: NO_ADDRESS,
    siaddr: NO_ADDRESS,
    giaddr: NO_ADDRESS,
    chaddr: readMac(new Uint8Array(6), 0),
    broadcast: false,
    messageType: 0,
    hasRequestedAddress: false,
    requestedAddress: NO_ADDRESS,
    hasServerIdentifier: false,
    serverIdentifier: NO_ADDRESS,
    requestedLeaseSeconds: 0,
    maxMessageSize: 0,
    optionBytes: NO_BYTES,
    parameterRequestList: { offset: 0, length: 0 },
    clientIdentifier: { offset: 0, length: 0 },
    hostname: { offset: 0, length: 0 },
    vendorClass: { offset: 0, length: 0 },
    userClass: { offset: 0, length: 0 },
    relayInformation: { offset: 0, length: 0 },
    serverIdentifierOverride: NO_ADDRESS,
    relayedUnicast: false,
    relaySourcePort: false,
    hasMessageType: false,
    scratch: new Uint8Array(FRAME_BYTES_MAX),
    index: createOptionIndex(),
    faults: { messageType: false, requestedAddress: false, serverIdentifier: false },
  };
}

/**
 * Checks the message in `[start, end)` and fills `request`. Never throws, allocates nothing, keeps `bytes` referenced.
 *
 * @param view - a view of the same memory as `bytes`, starting at the same octet
 * @returns undefined if `request` holds a request, else the first rule broken, in header-then-options order
 * @see RFC 2131 section 2 (header), RFC 2132 (options), RFC 3396 (long options)
 */
export function readRequest(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  request: DhcpRequest,
): RequestDropReason | undefined {
  if (end - start < HEADER.options) return "bootp.short";
  if (end - start > FRAME_BYTES_MAX) return "bootp.long";
  const headerDrop = readHeader(bytes, view, start, request);
  if (headerDrop !== undefined) return headerDrop;
  if (view.getUint32(start + HEADER.cookie) !== MAGIC_COOKIE) return "bootp.cookie";
  clearOptions(request);
  const optionsDrop = readOptions(bytes, start, end, request);
  if (optionsDrop !== undefined) return optionsDrop;
  return checkOptions(request);
}

function readHeader(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  request: DhcpRequest,
): RequestDropReason | undefined {
  request.bytes = bytes;
  request.offset = start;
  request.op = bytes[start + HEADER.op]!;
  request.htype = bytes[start + HEADER.htype]!;
  request.hlen = bytes[start + HEADER.hlen]!;
  request.hops = bytes[start + HEADER.hops]!;
  request.xid = view.getUint32(start + HEADER.xid);
  request.secs = view.getUint16(start + HEADER.secs);
  request.flags = view.getUint16(start + HEADER.flags);
  request.broadcast = (request.flags & FLAG_BROADCAST) !== 0;
  request.ciaddr = readIpv4(bytes, start + HEADER.ciaddr);
  request.yiaddr = readIpv4(bytes, start + HEADER.yiaddr);
  request.siaddr = readIpv4(bytes, start + HEADER.siaddr);
  request.giaddr = readIpv4(bytes, start + HEADER.giaddr);
  request.chaddr = readMac(bytes, start + HEADER.chaddr);
  return checkHeader(request);
}

function checkHeader(request: DhcpRequest): RequestDropReason | undefined {
  if (request.op === BOOTREPLY) return "rogue.server";
  if (request.op !== BOOTREQUEST) return "bootp.op";
  if (request.htype !== HTYPE_ETHERNET) return "bootp.htype";
  if (request.hlen !== HLEN_ETHERNET) return "bootp.hlen";
  if (request.hops > HOPS_MAX) return "bootp.hops";
  if (request.chaddr === 0 || isGroupMac(request.chaddr)) return "bootp.chaddr";
  if (request.giaddr !== 0 && !isRelayAddress(request.giaddr)) return "relay.giaddr";
  if (isImpossibleClient(request.ciaddr)) return "bootp.ciaddr";
  return undefined;
}

function isRelayAddress(address: Ipv4Address): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

function isImpossibleClient(address: Ipv4Address): boolean {
  const first = address >>> 24;
  return first === 127 || (first >= 224 && first < 240) || address === 0xffff_ffff;
}

function clearOptions(request: DhcpRequest): void {
  request.optionBytes = request.bytes;
  request.messageType = 0;
  request.hasMessageType = false;
  request.hasRequestedAddress = false;
  request.requestedAddress = NO_ADDRESS;
  request.hasServerIdentifier = false;
  request.serverIdentifier = NO_ADDRESS;
  request.requestedLeaseSeconds = 0;
  request.maxMessageSize = 0;
  request.parameterRequestList.length = 0;
  request.clientIdentifier.length = 0;
  request.hostname.length = 0;
  request.vendorClass.length = 0;
  request.userClass.length = 0;
  request.relayInformation.length = 0;
  request.serverIdentifierOverride = NO_ADDRESS;
  request.relayedUnicast = false;
  request.relaySourcePort = false;
  request.faults.messageType = false;
  request.faults.requestedAddress = false;
  request.faults.serverIdentifier = false;
}

/** One pass over the usual message, in which no kept option repeats; others are read again, joined. */
function readOptions(
  bytes: Uint8Array,
  start: number,
  end: number,
  request: DhcpRequest,
): RequestDropReason | undefined {
  let cursor = start + HEADER.options;
  let seen = 0;
  let instances = 0;
  while (cursor < end) {
    const code = bytes[cursor++]!;
    if (code === OPTION.pad) continue;
    if (code === OPTION.end) return undefined;
    if (cursor === end || cursor + 1 + bytes[cursor]! > end) return truncatedAt(code, request);
    if (++instances > OPTION_INSTANCES_MAX) return "opt.flood";
    const length = bytes[cursor++]!;
    const bit = KEPT_BITS[code]!;
    if ((seen & bit) !== 0 || code === OPTION.overload) {
      return readJoinedOptions(bytes, start, end, request);
    }
    seen |= bit;
    if (bit !== 0) keepOption(request, code, cursor, length);
    cursor += length;
  }
  return undefined;
}

/**
 * What to do about an option that runs past its area: the ones before it hold, unless the message type is not among
 * them or the broken one decides what the client wants. Guessing would be worse than the client's next attempt.
 */
function truncatedAt(code: number, request: DhcpRequest): RequestDropReason | undefined {
  const decisive =
    code === OPTION.requestedAddress ||
    code === OPTION.serverIdentifier ||
    code === OPTION.relayInformation;
  return decisive || !request.hasMessageType ? "opt.trunc" : undefined;
}

/** Takes an option whose data is at `offset` of `request.optionBytes`. */
function keepOption(request: DhcpRequest, code: number, offset: number, length: number): void {
  switch (code) {
    case OPTION.messageType:
      request.hasMessageType = true;
      request.faults.messageType = length !== 1;
      if (length === 1) request.messageType = request.optionBytes[offset]!;
      return;
    case OPTION.requestedAddress:
      request.faults.requestedAddress = length !== 4;
      request.hasRequestedAddress = length === 4;
      if (length === 4) request.requestedAddress = readIpv4(request.optionBytes, offset);
      return;
    case OPTION.serverIdentifier:
      request.faults.serverIdentifier = length !== 4;
      request.hasServerIdentifier = length === 4;
      if (length === 4) request.serverIdentifier = readIpv4(request.optionBytes, offset);
      return;
    case OPTION.leaseTime:
      if (length === 4) request.requestedLeaseSeconds = readIpv4(request.optionBytes, offset);
      return;
    case OPTION.maxMessageSize:
      if (length === 2) request.maxMessageSize = readMessageSize(request.optionBytes, offset);
      return;
    default:
      keepSpan(request, code, offset, length);
  }
}

function readMessageSize(bytes: Uint8Array, offset: number): number {
  const size = (bytes[offset]! << 8) | bytes[offset + 1]!;
  return size < MESSAGE_SIZE_MIN ? 0 : size;
}

function keepSpan(request: DhcpRequest, code: number, offset: number, length: number): void {
  const span = findSpan(request, code);
  if (span === undefined) return;
  span.offset = offset;
  span.length = length;
}

function findSpan(request: DhcpRequest, code: number): OptionSpan | undefined {
  switch (code) {
    case OPTION.parameterRequestList:
      return request.parameterRequestList;
    case OPTION.clientIdentifier:
      return request.clientIdentifier;
    case OPTION.hostname:
      return request.hostname;
    case OPTION.vendorClass:
      return request.vendorClass;
    case OPTION.userClass:
      return request.userClass;
    case OPTION.relayInformation:
      // A client behind no relay has no business with option 82: it is neither believed nor echoed (RFC 3046 2.1).
      return request.giaddr === 0 ? undefined : request.relayInformation;
    default:
      return undefined;
  }
}

/**
 * Reads a message whose options repeat or overflow into `file` and `sname`: each kept option is joined from the
 * three areas, in that order, in the scratch buffer (RFC 3396 section 5).
 */
function readJoinedOptions(
  bytes: Uint8Array,
  start: number,
  end: number,
  request: DhcpRequest,
): RequestDropReason | undefined {
  clearOptions(request);
  const { index, scratch } = request;
  if (!indexOptions(bytes, start, end, index)) return "opt.flood";
  request.optionBytes = scratch;
  let used = 0;
  for (const code of KEPT_OPTIONS) {
    const length = joinOption(bytes, index, code, scratch, used);
    if (length < 0) continue;
    keepOption(request, code, used, length);
    used += length;
  }
  for (let area = 0; area < index.truncatedCodes.length; area++) {
    const code = index.truncatedCodes[area]!;
    if (code !== NOT_TRUNCATED && truncatedAt(code, request) !== undefined) return "opt.trunc";
  }
  return undefined;
}

/** What option 53 makes of the others, after all of them were read. */
function checkOptions(request: DhcpRequest): RequestDropReason | undefined {
  if (!request.hasMessageType) return "bootp.disabled";
  if (request.faults.messageType) return "opt.53";
  readRelayInformation(request);
  const { faults, messageType } = request;
  switch (messageType) {
    case MESSAGE_TYPE.DHCPDISCOVER:
    case MESSAGE_TYPE.DHCPINFORM:
      return undefined;
    case MESSAGE_TYPE.DHCPREQUEST:
      if (faults.requestedAddress) return "opt.50";
      return faults.serverIdentifier ? "opt.54" : undefined;
    case MESSAGE_TYPE.DHCPDECLINE:
    case MESSAGE_TYPE.DHCPRELEASE:
      return faults.serverIdentifier ? "opt.54" : undefined;
    default:
      return typeDrop(messageType);
  }
}

/** Message types that no client sends to a server (RFC 2132, 3203, 4388, 6926, 7724). */
function typeDrop(messageType: number): RequestDropReason {
  switch (messageType) {
    case 10: // DHCPLEASEQUERY
    case 14: // DHCPBULKLEASEQUERY
    case 16: // DHCPACTIVELEASEQUERY
    case 18: // DHCPTLS
      return "type.unsupported";
    default:
      return messageType >= 2 && messageType <= 17 ? "type.server" : "type.unknown";
  }
}

/** Reads the sub-options of option 82 that change how we reply. An overrun ends the walk; the echo stays whole. */
function readRelayInformation(request: DhcpRequest): void {
  const { offset, length } = request.relayInformation;
  const bytes = request.optionBytes;
  const end = offset + length;
  let cursor = offset;
  while (cursor + 2 <= end) {
    const code = bytes[cursor]!;
    const size = bytes[cursor + 1]!;
    cursor += 2;
    if (cursor + size > end) return;
    if (code === RELAY_FLAGS && size === 1) {
      request.relayedUnicast = (bytes[cursor]! & RELAY_FLAG_UNICAST) !== 0;
    } else if (code === RELAY_SERVER_IDENTIFIER_OVERRIDE && size === 4) {
      request.serverIdentifierOverride = readIpv4(bytes, cursor);
    } else if (code === RELAY_SOURCE_PORT) {
      request.relaySourcePort = true;
    }
    cursor += size;
  }
}
