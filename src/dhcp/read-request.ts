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
import { IGNORED } from "./ignored-options.ts";
import { clearOptions, KEPT_BITS, keepOption } from "./kept-options.ts";
import { indexOptions, joinOption, NOT_TRUNCATED } from "./option-index.ts";
import { OPTION, OPTION_INSTANCES_MAX } from "./options.ts";
import { readRelayInformation } from "./relay-information.ts";
import type { DhcpRequest, RequestDropReason } from "./request.ts";

/** RFC 1542 section 4.1.1 bounds hops at 16. */
const HOPS_MAX = 16;

/**
 * Checks the message in `[start, end)` and fills `request`. A message without option 53, or without the magic cookie, is
 * a BOOTP request: it is read, and `messageType` is 0. Never throws, allocates nothing, keeps `bytes` referenced.
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
  request.end = end;
  clearOptions(request);
  request.hasCookie = view.getUint32(start + HEADER.cookie) === MAGIC_COOKIE;
  if (!request.hasCookie) return undefined;
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

/** One pass over the usual message, in which no kept option repeats; others are read again, joined. */
function readOptions(
  bytes: Uint8Array,
  start: number,
  end: number,
  request: DhcpRequest,
): RequestDropReason | undefined {
  let cursor = start + HEADER.options;
  let instances = 0;
  while (cursor < end) {
    const code = bytes[cursor++]!;
    if (code === OPTION.pad) continue;
    if (code === OPTION.end) return undefined;
    if (cursor === end || cursor + 1 + bytes[cursor]! > end) return truncatedAt(code, request);
    if (++instances > OPTION_INSTANCES_MAX) return "opt.flood";
    const length = bytes[cursor++]!;
    const bit = KEPT_BITS[code]!;
    if ((request.seen & bit) !== 0 || code === OPTION.overload) {
      return readJoinedOptions(bytes, start, end, request);
    }
    if (bit !== 0) keepOption(request, code, cursor, length);
    cursor += length;
  }
  request.ignored |= IGNORED["opt.noend"];
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
  if (decisive || !request.hasMessageType) return "opt.trunc";
  request.ignored |= IGNORED["opt.trunc"];
  return undefined;
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
  request.isIndexed = true;
  let used = 0;
  for (let entry = 0; entry < index.count; entry++) {
    const code = index.codes[entry]!;
    const bit = KEPT_BITS[code]!;
    if (bit === 0 || (request.seen & bit) !== 0) continue;
    const length = joinOption(bytes, index, code, scratch, used);
    keepOption(request, code, used, length);
    used += length;
  }
  if (index.lacksEnd) request.ignored |= IGNORED["opt.noend"];
  if (index.hasCopies) request.ignored |= IGNORED["opt.dup"];
  if (index.hasUselessOverload) request.ignored |= IGNORED["opt.52"];
  for (let area = 0; area < index.truncatedCodes.length; area++) {
    const code = index.truncatedCodes[area]!;
    if (code !== NOT_TRUNCATED && truncatedAt(code, request) !== undefined) return "opt.trunc";
  }
  return undefined;
}

/** What option 53 makes of the others, after all of them were read. Without it, the client speaks BOOTP (RFC 1534). */
function checkOptions(request: DhcpRequest): RequestDropReason | undefined {
  if (request.faults.messageType) return "opt.53";
  if (request.relayInformation.length > 0) readRelayInformation(request);
  if (!request.hasMessageType) return undefined;
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
