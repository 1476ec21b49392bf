/** Requests to feed a server with, and replies read back: the vocabulary of the tests in this folder. */

import {
  BOOTREQUEST,
  createOptionProfile,
  type DhcpMessage,
  decodeMessage,
  encodeMessage,
  MESSAGE_TYPE,
  type MessageTypeName,
  type OptionProfile,
  type OptionProfileSpec,
  platformRoutes,
} from "../../src/dhcp/index.ts";
import {
  IPV4_BROADCAST,
  IPV4_UNSPECIFIED,
  type Ipv4Address,
  parseIpv4,
  parseSubnet,
  WIRE_SERVER_ADDRESS,
  writeIpv4,
} from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress, parseMac } from "../../src/model/mac-address.ts";
import {
  createUdpFrame,
  readUdpFrame,
  UDP_PAYLOAD_OFFSET,
  type UdpFrame,
  writeUdpFrame,
} from "../../src/net/frame.ts";
import { FRAME_BYTES_MAX } from "../../src/net/frame-socket.ts";

export const SERVER_MAC = parseMac("00:0d:3a:00:00:01");
export const CLIENT_MAC = parseMac("00:0d:3a:01:02:03");
export const OTHER_MAC = parseMac("00:0d:3a:01:02:04");
export const UNKNOWN_MAC = parseMac("00:0d:3a:ff:ff:ff");
export const RELAY_MAC = parseMac("00:0d:3a:99:00:01");
export const SUBNET = parseSubnet("10.0.0.0/24");
export const GATEWAY = parseIpv4("10.0.0.1");
export const CLIENT_IP = parseIpv4("10.0.0.5");
export const OTHER_IP = parseIpv4("10.0.0.6");
export const SERVER_IP = WIRE_SERVER_ADDRESS;

export const PROFILE_SPEC: OptionProfileSpec = {
  subnet: SUBNET,
  gateway: GATEWAY,
  dns: [parseIpv4("10.0.0.2"), parseIpv4("10.0.0.3")],
  leaseSeconds: 86_400,
  mtu: 1500,
  domain: "tenant.internal",
  wireServer: WIRE_SERVER_ADDRESS,
  routes: platformRoutes(GATEWAY),
  authoritative: true,
};

export function profileWith(changes: Partial<OptionProfileSpec> = {}): OptionProfile {
  return createOptionProfile({ ...PROFILE_SPEC, ...changes });
}

/** The octets of an address. */
export function octets(address: string | Ipv4Address): Uint8Array {
  const data = new Uint8Array(4);
  writeIpv4(data, 0, typeof address === "string" ? parseIpv4(address) : address);
  return data;
}

export interface RequestSpec {
  type: MessageTypeName;
  mac?: MacAddress;
  xid?: number;
  secs?: number;
  hops?: number;
  broadcast?: boolean;
  ciaddr?: Ipv4Address;
  giaddr?: Ipv4Address;
  /** Options beside 53, by code. */
  options?: Record<number, Uint8Array | readonly number[]>;
}

export function requestMessage(spec: RequestSpec): DhcpMessage {
  const options = new Map<number, Uint8Array>([[53, Uint8Array.of(MESSAGE_TYPE[spec.type])]]);
  for (const [code, data] of Object.entries(spec.options ?? {})) {
    options.set(Number(code), Uint8Array.from(data));
  }
  return {
    op: BOOTREQUEST,
    hops: spec.hops ?? 0,
    xid: spec.xid ?? 0x1234_5678,
    secs: spec.secs ?? 0,
    flags: spec.broadcast === true ? 0x8000 : 0,
    ciaddr: spec.ciaddr ?? IPV4_UNSPECIFIED,
    yiaddr: IPV4_UNSPECIFIED,
    siaddr: IPV4_UNSPECIFIED,
    giaddr: spec.giaddr ?? IPV4_UNSPECIFIED,
    chaddr: spec.mac ?? CLIENT_MAC,
    sname: new Uint8Array(),
    file: new Uint8Array(),
    options,
  };
}

export interface EnvelopeSpec {
  sourceMac?: MacAddress;
  destinationMac?: MacAddress;
  sourceIp?: Ipv4Address;
  destinationIp?: Ipv4Address;
  sourcePort?: number;
  destinationPort?: number;
}

/** Puts a payload into a frame, by default as a client without an address broadcasts it. */
export function frameOf(payload: Uint8Array, envelope: EnvelopeSpec = {}): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES_MAX);
  bytes.set(payload, UDP_PAYLOAD_OFFSET);
  const length = writeUdpFrame(bytes, new DataView(bytes.buffer), {
    sourceMac: CLIENT_MAC,
    destinationMac: MAC_BROADCAST,
    sourceIp: IPV4_UNSPECIFIED,
    destinationIp: IPV4_BROADCAST,
    sourcePort: 68,
    destinationPort: 67,
    payloadLength: payload.length,
    ...envelope,
  });
  return bytes.slice(0, length);
}

export function requestFrame(spec: RequestSpec, envelope: EnvelopeSpec = {}): Uint8Array {
  const message = requestMessage(spec);
  return frameOf(encodeMessage(message), { sourceMac: message.chaddr, ...envelope });
}

export interface ReadReply extends UdpFrame {
  readonly message: DhcpMessage;
  readonly payload: Uint8Array;
}

/** Reads a frame that the server sent, checksums included. */
export function readReply(bytes: Uint8Array): ReadReply {
  const udp = createUdpFrame();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frame = {
    bytes,
    view,
    offset: 0,
    length: bytes.length,
    wireLength: bytes.length,
    ifindex: 1,
    vlanId: 0,
    checksumNotReady: false,
  };
  const drop = readUdpFrame(frame, udp);
  if (drop !== undefined) throw new Error(`reply is malformed: ${drop}`);
  const payload = bytes.slice(udp.payloadStart, udp.payloadEnd);
  const result = decodeMessage(payload);
  if (result.kind !== "message") throw new Error(`reply is malformed: ${result.reason}`);
  return { ...udp, payload, message: result.message };
}
