/** Reads a request in place: checked once, nothing allocated, nothing thrown. */

import { type Ipv4Address, readIpv4 } from "../model/ipv4-address.ts";
import { isGroupMac, readMac } from "../model/mac-address.ts";
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
import { indexOptions, joinOption, NOT_TRUNCATED } from "./option-index.ts";
import { OPTION, OPTION_INSTANCES_MAX } from "./options.ts";
import { readRelayInformation } from "./relay-information.ts";
import {
  type DhcpRequest,
  NO_ADDRESS,
  type OptionSpan,
  type RequestDropReason,
} from "./request.ts";

/** RFC 1542 section 4.1.1 bounds hops at 16. */
const HOPS_MAX = 16;
/** Smallest size that every client accepts (RFC 2131 section 2). */
const MESSAGE_SIZE_MIN = 576;
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
  OPTION.rapidCommit,
  OPTION.relayInformation,
];

/** One bit per kept option, 0 for all others; indexed by code. */
const KEPT_BITS = Uint16Array.from({ length: 256 }, (_, code) => {
  const index = KEPT_OPTIONS.indexOf(code);
  return index < 0 ? 0 : 1 << index;
});

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
  request.end = end;
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
  request.rapidCommit = false;
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
    case OPTION.rapidCommit:
      request.rapidCommit = length === 0;
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
