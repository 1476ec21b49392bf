/** Finds DHCP in captured frames: what goes to a server, what servers answered, and what else is in the file. */
import {
  BOOTREPLY,
  CLIENT_PORT,
  type DhcpMessage,
  decodeMessage,
  HEADER,
  OPTION,
  SERVER_PORT,
  walkOptions,
} from "../../dhcp/index.ts";
import { type Ipv4Address, readIpv4 } from "../../model/ipv4-address.ts";
import type { CapturedFrame } from "../../net/capture.ts";

const ADDRESSES_BYTES = 12;
const VLAN_TAG_BYTES = 4;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_QINQ = 0x88a8;
const PROTOCOL_UDP = 17;
const IPV4_BYTES_MIN = 20;
const UDP_BYTES = 8;
const UDP_CHECKSUM = 6;
const FRAGMENT_OFFSET_MASK = 0x1fff;

/** A server's reply that the capture holds. */
export interface CapturedReply {
  /** Position in the capture, from 1, as Wireshark counts. */
  readonly frameNumber: number;
  readonly message: DhcpMessage;
  /** Option 54, else the sender. */
  readonly server: Ipv4Address;
}

/** What a captured frame is to a DHCP server. */
export type CapturedRole =
  | { readonly kind: "request" }
  | { readonly kind: "reply"; readonly reply: CapturedReply }
  | { readonly kind: "other" };

const REQUEST: CapturedRole = { kind: "request" };
const OTHER: CapturedRole = { kind: "other" };

/** Where the UDP datagram of a frame is; lengths are not checked, for the server does that. */
interface Datagram {
  /** Index of the UDP header. */
  readonly udp: number;
  readonly source: Ipv4Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/**
 * Tells the role of a frame. A request is whatever the server would look at: a datagram to port 67 that is no reply, however
 * malformed, a first fragment of one too.
 */
export function roleOf({ bytes }: CapturedFrame, frameNumber: number): CapturedRole {
  const datagram = findDatagram(bytes);
  if (datagram === undefined) return OTHER;
  const { udp, source, sourcePort, destinationPort } = datagram;
  const ports = [sourcePort, destinationPort];
  const isDhcp = ports.includes(SERVER_PORT) || ports.includes(CLIENT_PORT);
  if (isDhcp && bytes[udp + UDP_BYTES + HEADER.op] === BOOTREPLY) {
    const decoded = decodeMessage(bytes.subarray(udp + UDP_BYTES));
    if (decoded.kind === "malformed") return OTHER;
    const { message } = decoded;
    const identifier = message.options.get(OPTION.serverIdentifier);
    const server = identifier?.length === 4 ? readIpv4(identifier, 0) : source;
    return { kind: "reply", reply: { frameNumber, message, server } };
  }
  return destinationPort === SERVER_PORT ? REQUEST : OTHER;
}

/**
 * A copy of a request that names `ours` where it names one of `servers`: what its client would have sent if it had got our
 * reply instead of theirs. The UDP checksum is left out (RFC 768), for it would be wrong.
 *
 * @returns the same frame if it names none of them
 */
export function withOurIdentifier(
  frame: CapturedFrame,
  servers: ReadonlySet<Ipv4Address>,
  ours: Ipv4Address,
): CapturedFrame {
  const datagram = findDatagram(frame.bytes);
  if (datagram === undefined) return frame;
  const { udp } = datagram;
  const at = findServerIdentifier(frame.bytes, udp + UDP_BYTES + HEADER.options);
  if (at === undefined || !servers.has(readIpv4(frame.bytes, at))) return frame;
  const bytes = frame.bytes.slice();
  const view = new DataView(bytes.buffer);
  view.setUint32(at, ours);
  view.setUint16(udp + UDP_CHECKSUM, 0);
  return { ...frame, bytes };
}

function findServerIdentifier(bytes: Uint8Array, start: number): number | undefined {
  let found: number | undefined;
  walkOptions(bytes, start, bytes.length, (code, offset, length) => {
    if (code === OPTION.serverIdentifier && length === 4) found = offset;
    return found === undefined;
  });
  return found;
}

function findDatagram(bytes: Uint8Array): Datagram | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ip = findIpv4(view);
  if (ip === undefined || ip + IPV4_BYTES_MIN > bytes.length) return undefined;
  const udp = ip + (bytes[ip]! & 15) * 4;
  const isFirst = (view.getUint16(ip + 6) & FRAGMENT_OFFSET_MASK) === 0;
  if (bytes[ip + 9] !== PROTOCOL_UDP || !isFirst || udp + UDP_BYTES > bytes.length) {
    return undefined;
  }
  return {
    udp,
    source: readIpv4(bytes, ip + 12),
    sourcePort: view.getUint16(udp),
    destinationPort: view.getUint16(udp + 2),
  };
}

/** Looks behind VLAN tags, for what is tagged is refused with its reason, not overlooked. */
function findIpv4(view: DataView): number | undefined {
  const TAGS_MAX = 2;
  let at = ADDRESSES_BYTES;
  for (let tags = 0; at + 2 <= view.byteLength; tags++) {
    const type = view.getUint16(at);
    if (type === ETHERTYPE_IPV4) return at + 2;
    if (tags === TAGS_MAX || (type !== ETHERTYPE_VLAN && type !== ETHERTYPE_QINQ)) return undefined;
    at += VLAN_TAG_BYTES;
  }
  return undefined;
}
