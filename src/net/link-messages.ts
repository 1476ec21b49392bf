/**
 * What the kernel says about links on a routing netlink socket, read from octets. Numbers are in host byte order, which is
 * little-endian on every machine that we run on.
 *
 * ```text
 *  0      4      6      8     12    16              32
 *  | len  | type | flags| seq | pid | ifinfomsg (16) | attributes: len (2) type (2) data, each padded to 4 ...
 * ```
 *
 * @see Linux include/uapi/linux/netlink.h, rtnetlink.h, if_link.h; RFC 3549
 */
import { type MacAddress, readMac } from "../model/mac-address.ts";

/** A link as the kernel describes it. */
export interface Link {
  /** Stays when the link is renamed, and is not used again when it is gone. */
  readonly ifindex: number;
  readonly name: string;
  /** True for links whose frames are Ethernet frames; false for loopback, tunnels of IP and the like. */
  readonly isEthernet: boolean;
  /** Administratively up. */
  readonly isUp: boolean;
  /** A cable is plugged in; a tap has none until a program opens it. */
  readonly hasCarrier: boolean;
  /** Bytes. */
  readonly mtu: number;
  /** 0 for links without one. */
  readonly mac: MacAddress;
  /** The index of the bridge, bond or VRF that it belongs to; absent: none. */
  readonly master?: number;
  /** `bridge`, `veth`, `tun`, ...; absent for hardware. */
  readonly kind?: string;
  /** True if an XDP program is attached: it may take frames before a packet socket sees them. */
  readonly hasXdp: boolean;
}

/** One message of a datagram. */
export type LinkMessage =
  | { readonly kind: "link"; readonly link: Link }
  /** The link was destroyed, or moved to another namespace. */
  | { readonly kind: "gone"; readonly ifindex: number }
  /** The last link of a dump was said; `sequence` is its request's. */
  | { readonly kind: "done"; readonly sequence: number }
  /** The kernel refused a request: a positive errno. */
  | { readonly kind: "error"; readonly errno: number }
  /** A length is wrong, and nothing after it can be trusted. */
  | { readonly kind: "malformed" };

const NLMSG_HEADER_BYTES = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST_DUMP = 0x301;
const NLM_F_REQUEST_ACK = 0x5;
const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const IFINFOMSG_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
/** The two high bits of an attribute's type are flags. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;
const IFLA = { address: 1, name: 3, mtu: 4, master: 10, linkInfo: 18, xdp: 43 };
const IFLA_INFO_KIND = 1;
const IFLA_XDP_ATTACHED = 2;
const AF_UNSPEC = 0;
const ARPHRD_ETHER = 1;
const IFF_UP = 0x1;
const IFF_LOWER_UP = 0x1_0000;

/** The request for a description of every link; `sequence` is in the answers. */
export function encodeLinkDump(sequence: number): Buffer {
  const bytes = Buffer.alloc(NLMSG_HEADER_BYTES + IFINFOMSG_BYTES);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(RTM_GETLINK, 4);
  bytes.writeUInt16LE(NLM_F_REQUEST_DUMP, 6);
  bytes.writeUInt32LE(sequence, 8);
  return bytes;
}

/** What to change about a link; what is absent stays as it is. */
export interface LinkChange {
  readonly ifindex: number;
  /** The index of the bridge that it shall belong to; 0: none. */
  readonly master?: number;
  readonly isUp?: boolean;
}

/** The request for a change, which the kernel answers with `sequence`. */
export function encodeLinkChange(change: LinkChange, sequence: number): Buffer {
  const { ifindex, master, isUp } = change;
  const attributeBytes = master === undefined ? 0 : ATTRIBUTE_HEADER_BYTES + 4;
  const bytes = Buffer.alloc(NLMSG_HEADER_BYTES + IFINFOMSG_BYTES + attributeBytes);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(RTM_NEWLINK, 4);
  bytes.writeUInt16LE(NLM_F_REQUEST_ACK, 6);
  bytes.writeUInt32LE(sequence, 8);
  bytes.writeInt32LE(ifindex, NLMSG_HEADER_BYTES + 4);
  if (isUp !== undefined) {
    bytes.writeUInt32LE(isUp ? IFF_UP : 0, NLMSG_HEADER_BYTES + 8);
    bytes.writeUInt32LE(IFF_UP, NLMSG_HEADER_BYTES + 12);
  }
  if (master === undefined) return bytes;
  const attribute = NLMSG_HEADER_BYTES + IFINFOMSG_BYTES;
  bytes.writeUInt16LE(attributeBytes, attribute);
  bytes.writeUInt16LE(IFLA.master, attribute + 2);
  bytes.writeUInt32LE(master, attribute + ATTRIBUTE_HEADER_BYTES);
  return bytes;
}

/** The kernel's answer to a request: 0, or a positive errno. */
export interface RequestAnswer {
  readonly sequence: number;
  readonly errno: number;
}

/** The answers in a datagram; anything else in it is passed over, and what is cut ends it. */
export function readAnswers(bytes: Uint8Array): RequestAnswer[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const answers: RequestAnswer[] = [];
  let cursor = 0;
  while (cursor + NLMSG_HEADER_BYTES <= bytes.length) {
    const length = view.getUint32(cursor, true);
    if (length < NLMSG_HEADER_BYTES || cursor + length > bytes.length) break;
    const isAnswer = view.getUint16(cursor + 4, true) === NLMSG_ERROR;
    if (isAnswer && length >= NLMSG_HEADER_BYTES + 4) {
      const errno = -view.getInt32(cursor + NLMSG_HEADER_BYTES, true);
      answers.push({ sequence: view.getUint32(cursor + 8, true), errno: Math.abs(errno) });
    }
    cursor += aligned(length);
  }
  return answers;
}

/**
 * Reads one datagram. Never throws and never reads outside `bytes`; keeps no reference to it. Messages about anything
 * but links, and those that tell only a part of a link, are left out.
 */
export function readLinkMessages(bytes: Uint8Array): LinkMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: LinkMessage[] = [];
  let cursor = 0;
  while (cursor < bytes.length) {
    const length = cursor + NLMSG_HEADER_BYTES <= bytes.length ? view.getUint32(cursor, true) : 0;
    if (length < NLMSG_HEADER_BYTES || cursor + length > bytes.length) {
      messages.push({ kind: "malformed" });
      break;
    }
    const message = readMessage(bytes, view, cursor, cursor + length);
    if (message !== undefined) messages.push(message);
    cursor += aligned(length);
  }
  return messages;
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}

function readMessage(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
): LinkMessage | undefined {
  const body = start + NLMSG_HEADER_BYTES;
  const type = view.getUint16(start + 4, true);
  if (type === NLMSG_DONE) return { kind: "done", sequence: view.getUint32(start + 8, true) };
  if (type === NLMSG_ERROR) return readError(view, body, end);
  if (type !== RTM_NEWLINK && type !== RTM_DELLINK) return undefined;
  if (body + IFINFOMSG_BYTES > end) return { kind: "malformed" };
  // A bridge tells of its ports with messages of its own family: "gone" then means only "left the bridge".
  if (bytes[body] !== AF_UNSPEC) return undefined;
  const ifindex = view.getInt32(body + 4, true);
  if (type === RTM_DELLINK) return { kind: "gone", ifindex };
  return readLink(bytes, view, body, end);
}

/** An errno of 0 acknowledges; we ask for no acknowledgements. */
function readError(view: DataView, body: number, end: number): LinkMessage | undefined {
  if (body + 4 > end) return { kind: "malformed" };
  const errno = -view.getInt32(body, true);
  return errno === 0 ? undefined : { kind: "error", errno };
}

interface LinkAttributes {
  name: string | undefined;
  mtu: number | undefined;
  mac: MacAddress;
  master: number | undefined;
  kind: string | undefined;
  hasXdp: boolean;
}

const NO_MAC = readMac(new Uint8Array(6), 0);

function readLink(
  bytes: Uint8Array,
  view: DataView,
  body: number,
  end: number,
): LinkMessage | undefined {
  const found: LinkAttributes = {
    name: undefined,
    mtu: undefined,
    mac: NO_MAC,
    master: undefined,
    kind: undefined,
    hasXdp: false,
  };
  const isWhole = walkAttributes(view, body + IFINFOMSG_BYTES, end, (type, start, stop) =>
    takeAttribute(found, bytes, view, { type, start, stop }),
  );
  if (!isWhole) return { kind: "malformed" };
  const { name, mtu, mac, master, kind, hasXdp } = found;
  // A wireless event names no link; what we know of it already holds.
  if (name === undefined || mtu === undefined) return undefined;
  const flags = view.getUint32(body + 8, true);
  return {
    kind: "link",
    link: {
      ifindex: view.getInt32(body + 4, true),
      name,
      isEthernet: view.getUint16(body + 2, true) === ARPHRD_ETHER,
      isUp: (flags & IFF_UP) !== 0,
      hasCarrier: (flags & IFF_LOWER_UP) !== 0,
      mtu,
      mac,
      hasXdp,
      ...(master !== undefined && { master }),
      ...(kind !== undefined && { kind }),
    },
  };
}

function takeAttribute(
  found: LinkAttributes,
  bytes: Uint8Array,
  view: DataView,
  { type, start, stop }: { readonly type: number; readonly start: number; readonly stop: number },
): void {
  const length = stop - start;
  if (type === IFLA.name) found.name = readText(bytes, start, stop);
  else if (type === IFLA.mtu && length === 4) found.mtu = view.getUint32(start, true);
  else if (type === IFLA.master && length === 4) found.master = view.getUint32(start, true);
  else if (type === IFLA.address && length === 6) found.mac = readMac(bytes, start);
  else if (type === IFLA.linkInfo) {
    walkAttributes(view, start, stop, (inner, innerStart, innerStop) => {
      if (inner === IFLA_INFO_KIND) found.kind = readText(bytes, innerStart, innerStop);
    });
  } else if (type === IFLA.xdp) {
    walkAttributes(view, start, stop, (inner, innerStart) => {
      if (inner === IFLA_XDP_ATTACHED) found.hasXdp = bytes[innerStart] !== 0;
    });
  }
}

/** @returns false if an attribute runs past `end` */
function walkAttributes(
  view: DataView,
  start: number,
  end: number,
  onAttribute: (type: number, start: number, stop: number) => void,
): boolean {
  let cursor = start;
  while (cursor + ATTRIBUTE_HEADER_BYTES <= end) {
    const length = view.getUint16(cursor, true);
    if (length < ATTRIBUTE_HEADER_BYTES || cursor + length > end) return false;
    const type = view.getUint16(cursor + 2, true) & ATTRIBUTE_TYPE_MASK;
    onAttribute(type, cursor + ATTRIBUTE_HEADER_BYTES, cursor + length);
    cursor += aligned(length);
  }
  return true;
}

/** Up to the first NUL. */
function readText(bytes: Uint8Array, start: number, stop: number): string {
  const nul = bytes.indexOf(0, start);
  const end = nul < 0 || nul > stop ? stop : nul;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1");
}
