/**
 * The words in which scenarios are written: stations, addresses, options and messages. Messages are built here octet by
 * octet, not with the codec under test, because half of them are such as no codec would write.
 */
import { MESSAGE_TYPE, type MessageTypeName } from "../../src/dhcp/index.ts";
import { type Ipv4Address, parseIpv4, WIRE_SERVER_ADDRESS } from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress, parseMac, writeMac } from "../../src/model/mac-address.ts";
import { UDP_PAYLOAD_OFFSET, writeUdpFrame } from "../../src/net/frame.ts";
import { FRAME_BYTES_MAX } from "../../src/net/frame-socket.ts";
import { octets } from "../dhcp/packets.ts";

/** Everybody on the wire: M1 and M2 are NICs of the inventory, M9 is not, R1 is a relay agent, S and GW are ours. */
export const STATIONS = {
  M1: parseMac("00:0d:3a:01:02:03"),
  M2: parseMac("00:0d:3a:01:02:04"),
  M3: parseMac("00:0d:3a:01:02:05"),
  M9: parseMac("00:0d:3a:ff:ff:ff"),
  R1: parseMac("00:0d:3a:99:00:01"),
  S: parseMac("00:0d:3a:00:00:01"),
  GW: parseMac("00:0d:3a:00:00:fe"),
  all: MAC_BROADCAST,
} as const satisfies Record<string, MacAddress>;

export type Station = keyof typeof STATIONS;

/** The interfaces: one per NIC, and the way to the relays. */
export const PORTS = { tap1: 11, tap2: 12, tap3: 13, uplink: 20 } as const;

export type Port = keyof typeof PORTS;

/** Index of the interface that the socket itself is on, which no frame is seen on. */
export const SOCKET_IFINDEX = 1;

/** An address as scenarios name it: `S` is the server identifier, `.5` is 10.0.0.5, all others are written out. */
export function addressOf(word: string): Ipv4Address {
  if (word === "S") return WIRE_SERVER_ADDRESS;
  return parseIpv4(word.startsWith(".") ? `10.0.0${word}` : word);
}

/** Data of an option: octets, or an address as {@link addressOf} takes it, or any other text as ASCII. */
export type OptionValue = string | Uint8Array | readonly number[];

const ADDRESS_WORD = /^(S|\.\d+|\d+\.\d+\.\d+\.\d+)$/;

export function dataOf(value: OptionValue): Uint8Array {
  if (typeof value !== "string") return Uint8Array.from(value);
  return ADDRESS_WORD.test(value) ? octets(addressOf(value)) : new TextEncoder().encode(value);
}

/** One instance of an option. */
export type OptionWord = readonly [code: number, value: OptionValue];

/** What a client, a relay or somebody worse sends. What is left out is as an honest client without address sends it. */
export interface Message {
  /** Option 53, which comes first; a number is sent as it is; `none` sends no option 53. */
  readonly type: MessageTypeName | number | "none";
  /** chaddr; default M1. */
  readonly client?: Station;
  /** Source of the frame; default the client. */
  readonly from?: Station;
  /** Default: the client's own port, or the uplink if relayed. */
  readonly port?: Port;
  readonly op?: number;
  readonly xid?: number;
  readonly secs?: number;
  readonly hops?: number;
  readonly flags?: number;
  readonly ciaddr?: string;
  readonly giaddr?: string;
  readonly sname?: OptionValue;
  readonly file?: OptionValue;
  /** Behind option 53, in this order, repeated ones included. */
  readonly options?: readonly OptionWord[];
  /** Octets after the options, instead of End. */
  readonly tail?: readonly number[];
  /** The message is padded with zeros to this; default 300. */
  readonly length?: number;
  readonly sourceIp?: string;
  readonly destinationIp?: string;
  /** Destination of the frame; default everybody. */
  readonly to?: Station;
  readonly sourcePort?: number;
  /** A VLAN tag; 0 is a priority tag, which the kernel takes off. */
  readonly vlan?: number;
  /** The kernel said that the UDP checksum is not there yet. */
  readonly checksumNotReady?: boolean;
  /** What becomes of the frame on its way. */
  readonly spoil?: (frame: Uint8Array) => Uint8Array;
}

const COOKIE = [99, 130, 83, 99];
const HEADER_OCTETS = 236;

/** The octets of an option area, without End. */
export function optionOctets(options: readonly OptionWord[]): number[] {
  return options.flatMap(([code, value]) => {
    const data = dataOf(value);
    return [code, data.length, ...data];
  });
}

/** All options of a message, 53 among them. */
export function optionsOf(message: Message): OptionWord[] {
  const { type, options = [] } = message;
  if (type === "none") return [...options];
  return [[53, [typeof type === "number" ? type : MESSAGE_TYPE[type]]], ...options];
}

/** The UDP payload of a message. */
export function payloadOf(message: Message, options = optionsOf(message)): Uint8Array {
  const area = [...optionOctets(options), ...(message.tail ?? [255])];
  const used = HEADER_OCTETS + COOKIE.length + area.length;
  const bytes = new Uint8Array(Math.max(used, message.length ?? 300));
  const view = new DataView(bytes.buffer);
  bytes.set([message.op ?? 1, 1, 6, message.hops ?? 0]);
  view.setUint32(4, message.xid ?? 0x1234_5678);
  view.setUint16(8, message.secs ?? 0);
  view.setUint16(10, message.flags ?? 0);
  bytes.set(octets(addressOf(message.ciaddr ?? "0.0.0.0")), 12);
  bytes.set(octets(addressOf(message.giaddr ?? "0.0.0.0")), 24);
  writeMac(bytes, 28, STATIONS[message.client ?? "M1"]);
  bytes.set(dataOf(message.sname ?? []), 44);
  bytes.set(dataOf(message.file ?? []), 108);
  bytes.set(COOKIE, HEADER_OCTETS);
  bytes.set(area, HEADER_OCTETS + COOKIE.length);
  return bytes;
}

/** The port that a message is seen on. */
export function portOf(message: Message): Port {
  if (message.port !== undefined) return message.port;
  if (message.giaddr !== undefined) return "uplink";
  if (message.client === "M2") return "tap2";
  return message.client === "M3" ? "tap3" : "tap1";
}

/** A message in its frame, as the kernel hands it over: without VLAN tag. */
export function frameOf(message: Message, payload = payloadOf(message)): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES_MAX);
  bytes.set(payload, UDP_PAYLOAD_OFFSET);
  const view = new DataView(bytes.buffer);
  const isRelayed = message.giaddr !== undefined;
  const length = writeUdpFrame(bytes, view, {
    sourceMac: STATIONS[message.from ?? (isRelayed ? "R1" : (message.client ?? "M1"))],
    destinationMac: STATIONS[message.to ?? (isRelayed ? "S" : "all")],
    sourceIp: addressOf(message.sourceIp ?? message.giaddr ?? "0.0.0.0"),
    destinationIp: addressOf(message.destinationIp ?? (isRelayed ? "S" : "255.255.255.255")),
    sourcePort: message.sourcePort ?? (isRelayed ? 67 : 68),
    destinationPort: 67,
    payloadLength: payload.length,
  });
  const frame = bytes.slice(0, length);
  return message.spoil?.(frame) ?? frame;
}

type Words = Partial<Omit<Message, "type">>;

export const discover = (words: Words = {}): Message => ({ type: "DHCPDISCOVER", ...words });
export const request = (words: Words = {}): Message => ({ type: "DHCPREQUEST", ...words });
export const inform = (words: Words = {}): Message => ({ type: "DHCPINFORM", ...words });
export const decline = (words: Words = {}): Message => ({ type: "DHCPDECLINE", ...words });
export const bootp = (words: Words = {}): Message => ({ type: "none", ...words });

/** SELECTING: the client names the server and the address that it was offered. */
export const select = (address: string, words: Words = {}): Message =>
  request({ ...words, options: [[54, "S"], [50, address], ...(words.options ?? [])] });

/** INIT-REBOOT: the client asks if the address that it remembers is still its own. */
export const reboot = (address: string, words: Words = {}): Message =>
  request({ ...words, options: [[50, address], ...(words.options ?? [])] });

/** A message that a client with an address sends to the server alone. */
const unicast = (address: string): Words => ({
  ciaddr: address,
  sourceIp: address,
  destinationIp: "S",
  to: "S",
});

/** RENEWING. */
export const renew = (address: string, words: Words = {}): Message =>
  request({ ...unicast(address), ...words });

/** REBINDING. */
export const rebind = (address: string, words: Words = {}): Message =>
  request({ ciaddr: address, sourceIp: address, ...words });

export const release = (address: string, words: Words = {}): Message => ({
  type: "DHCPRELEASE",
  ...unicast(address),
  ...words,
});
