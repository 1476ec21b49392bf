import { describe } from "vitest";
import { IPV4_BROADCAST, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { foldSum, sumWords } from "../../src/net/checksum.ts";
import { FRAME_BYTES_MAX } from "../../src/net/frame-socket.ts";
import {
  AT,
  DISCOVER,
  END,
  frame,
  type MalformedRow,
  testRows,
  times,
  withHeader,
} from "./malformed.ts";
import { CLIENT_IP, GATEWAY, RELAY_MAC, SERVER_IP, SERVER_MAC, SUBNET } from "./packets.ts";

const GOOD = frame([...DISCOVER, END, ...times(56, 0)]);
const ETHERTYPE = 12;
const IP_LENGTH = AT.ip + 2;
const UDP_LENGTH = AT.udp + 4;
const UDP_CHECKSUM = AT.udp + 6;
const pair = (value: number) => [value >>> 8, value & 255] as const;
const NO_CHECKSUM = withHeader(GOOD, UDP_CHECKSUM, 0, 0);

/** The frame with the sum of the pseudo header alone as its UDP checksum, as transmit offload leaves it. */
function withPartialChecksum(good: Uint8Array): Uint8Array {
  const bytes = good.slice();
  const view = new DataView(bytes.buffer);
  const pseudo = sumWords(view, AT.ip + 12, AT.udp, 17 + view.getUint16(UDP_LENGTH));
  view.setUint16(UDP_CHECKSUM, foldSum(pseudo));
  return bytes;
}

// M01, a frame that the host itself sent, never leaves the kernel: test/net/outgoing.test.ts.
const LINK: readonly MalformedRow[] = [
  { name: "M02 a frame of 13 octets", frame: GOOD.slice(0, 13), drop: "l2.short" },
  {
    name: "M02 a frame that ends inside the IP header",
    frame: GOOD.slice(0, 33),
    drop: "l2.short",
  },
  { name: "M03 ARP", frame: withHeader(GOOD, ETHERTYPE, 0x08, 0x06), drop: "l2.type" },
  { name: "M03 IPv6", frame: withHeader(GOOD, ETHERTYPE, 0x86, 0xdd), drop: "l2.type" },
  { name: "M03 a VLAN tag left in", frame: withHeader(GOOD, ETHERTYPE, 0x81, 0), drop: "l2.type" },
  { name: "M04 VLAN 1", frame: GOOD, inject: { vlanId: 1 }, drop: "l2.vlan" },
  { name: "M04 VLAN 4094", frame: GOOD, inject: { vlanId: 4094 }, drop: "l2.vlan" },
  { name: "M05 a priority tag", frame: GOOD, inject: { vlanId: 0 } },
  {
    name: "M06 a provider's tag taken out, a customer's left in",
    frame: withHeader(GOOD, ETHERTYPE, 0x81, 0),
    inject: { vlanId: 5 },
    drop: "l2.vlan",
  },
  { name: "M07 a multicast source", frame: withHeader(GOOD, 6, 0x01), drop: "l2.src" },
  { name: "M07 a broadcast source", frame: withHeader(GOOD, 6, ...times(6, 255)), drop: "l2.src" },
  { name: "M07 a source of zeros", frame: withHeader(GOOD, 6, ...times(6, 0)), drop: "l2.src" },
  { name: "M08 to another station", frame: withHeader(GOOD, 0, 0, 0x0d, 0x3a, 9), drop: "l2.dst" },
  { name: "M08 to the server", frame: frame([...DISCOVER, END], { destinationMac: SERVER_MAC }) },
  {
    name: "M08 to the gateway that the server answers ARP for",
    frame: frame([...DISCOVER, END], { destinationMac: parseMac("12:34:56:78:9a:bc") }),
    server: { localMacs: [parseMac("12:34:56:78:9a:bc")] },
  },
];

const IP: readonly MalformedRow[] = [
  { name: "M09 version 6", frame: withHeader(GOOD, AT.ip, 0x65), drop: "ip.version" },
  { name: "M10 a header of 4 words", frame: withHeader(GOOD, AT.ip, 0x44), drop: "ip.ihl" },
  {
    name: "M10 a header of 15 words in a frame that is shorter",
    frame: withHeader(GOOD, AT.ip, 0x4f).slice(0, 60),
    drop: "ip.ihl",
  },
  { name: "M11 a header of 6 words", frame: withHeader(GOOD, AT.ip, 0x46), drop: "ip.options" },
  { name: "M11 a header of 15 words", frame: withHeader(GOOD, AT.ip, 0x4f), drop: "ip.options" },
  {
    name: "M12 a total length one above the frame",
    frame: withHeader(GOOD, IP_LENGTH, ...pair(GOOD.length - AT.ip + 1)),
    drop: "ip.len",
  },
  { name: "M13 a total length of 27", frame: withHeader(GOOD, IP_LENGTH, 0, 27), drop: "ip.len" },
  { name: "M14 a trailer", frame: Uint8Array.of(...GOOD, 50, 4, 1, 2, 3, 4) },
  { name: "M15 a wrong checksum", frame: changeAt(GOOD, AT.ip + 10), drop: "ip.csum" },
  { name: "M16 a later fragment", frame: withHeader(GOOD, AT.ip + 6, 0, 1), drop: "ip.frag" },
  { name: "M17 a first fragment", frame: withHeader(GOOD, AT.ip + 6, 0x20, 0), drop: "ip.frag" },
  { name: "M18 TCP", frame: withHeader(GOOD, AT.ip + 9, 6), drop: "ip.proto" },
  { name: "M19 from 0.0.0.0 to all", frame: GOOD },
  {
    name: "M20 from an address, to all",
    frame: frame(DISCOVER, { sourceIp: CLIENT_IP }),
    ignored: ["opt.noend"],
  },
  ...["224.0.0.1", "255.255.255.255", "127.0.0.1"].map(
    (address): MalformedRow => ({
      name: `M21 from ${address}`,
      frame: frame(DISCOVER, { sourceIp: parseIpv4(address) }),
      drop: "ip.src",
    }),
  ),
  {
    name: "M22 from our own address",
    frame: frame(DISCOVER, { sourceIp: SERVER_IP }),
    drop: "ip.spoof",
  },
  {
    name: "M22 from the gateway, which is ours",
    frame: frame(DISCOVER, { sourceIp: GATEWAY }),
    server: { localAddresses: [GATEWAY] },
    drop: "ip.spoof",
  },
  {
    name: "M23 to an address that is not ours",
    frame: frame(DISCOVER, { destinationMac: SERVER_MAC, destinationIp: parseIpv4("10.0.0.77") }),
    server: { localAddresses: [GATEWAY] },
    drop: "ip.dst",
  },
  ...(
    [
      ["the server identifier", SERVER_IP],
      ["a local address", GATEWAY],
      ["the subnet's broadcast address", parseIpv4("10.0.0.255")],
      ["all", IPV4_BROADCAST],
    ] as const
  ).map(
    ([name, destinationIp]): MalformedRow => ({
      name: `M23 to ${name}`,
      frame: frame([...DISCOVER, END], { destinationIp }),
      server: { localAddresses: [GATEWAY, parseIpv4("10.0.0.255")] },
    }),
  ),
  { name: "M24 time to live 0", frame: withHeader(GOOD, AT.ip + 8, 0) },
  { name: "M24 time to live 1", frame: withHeader(GOOD, AT.ip + 8, 1) },
];

const UDP: readonly MalformedRow[] = [
  { name: "M25 to port 69", frame: frame(DISCOVER, { destinationPort: 69 }), drop: "udp.port" },
  {
    name: "M26 from port 1068, answered at 68",
    frame: frame([...DISCOVER, END], { sourcePort: 1068 }),
    notes: ["udp.srcport"],
    check: ({ destinationPort }) => {
      if (destinationPort !== 68) throw new Error(`answered at ${destinationPort}`);
    },
  },
  { name: "M27 length 7", frame: withHeader(NO_CHECKSUM, UDP_LENGTH, 0, 7), drop: "udp.len" },
  {
    name: "M28 a length above the IP payload",
    frame: withHeader(NO_CHECKSUM, UDP_LENGTH, ...pair(GOOD.length - AT.udp + 1)),
    drop: "udp.len",
  },
  {
    name: "M29 a length below the IP payload",
    frame: withHeader(NO_CHECKSUM, UDP_LENGTH, ...pair(GOOD.length - AT.udp - 40)),
  },
  {
    name: "M30 an empty datagram",
    frame: withHeader(NO_CHECKSUM, UDP_LENGTH, 0, 8),
    drop: "bootp.short",
  },
  { name: "M31 no checksum", frame: NO_CHECKSUM },
  { name: "M32 a wrong checksum", frame: changeAt(GOOD, UDP_CHECKSUM), drop: "udp.csum" },
  {
    name: "M33 a wrong checksum that the kernel calls unfinished",
    frame: changeAt(GOOD, UDP_CHECKSUM),
    inject: { checksumNotReady: true },
  },
  {
    name: "M34 the sum of the pseudo header alone, from a guest",
    frame: withPartialChecksum(GOOD),
    notes: ["udp.csum.partial"],
  },
  {
    name: "M34 the sum of the pseudo header alone, from a relay",
    frame: withPartialChecksum(
      frame([...DISCOVER, END], { sourceMac: RELAY_MAC }, (bytes) => bytes.set([10, 0, 0, 9], 24)),
    ),
    server: { relays: [SUBNET] },
    drop: "udp.csum",
  },
  {
    name: "M106 the longest frame that fits",
    frame: frame([...DISCOVER, END, ...times(FRAME_BYTES_MAX - AT.message - 244, 0)]),
  },
  {
    name: "M106 a frame of 9,000 octets, of which the buffer holds the start",
    frame: frame([...DISCOVER, END, ...times(FRAME_BYTES_MAX - AT.message - 244, 0)]),
    inject: { wireLength: 9000 },
    drop: "l2.long",
  },
];

/** Turns two octets over. */
function changeAt(good: Uint8Array, offset: number): Uint8Array {
  const bytes = good.slice();
  bytes[offset] = bytes[offset]! ^ 0xff;
  return bytes;
}

describe("a frame", () => testRows(LINK));
describe("an IPv4 header", () => testRows(IP));
describe("a UDP header", () => testRows(UDP));
