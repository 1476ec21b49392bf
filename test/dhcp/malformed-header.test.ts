import { describe, expect } from "vitest";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import {
  DISCOVER,
  END,
  frame,
  type MalformedRow,
  payload,
  put,
  REQUEST,
  testRows,
  times,
} from "./malformed.ts";
import { CLIENT_IP, frameOf, OTHER_MAC, octets, RELAY_MAC, SUBNET } from "./packets.ts";

const D = [...DISCOVER, END];
const WITH_BOOTP = { policy: { bootp: true, rapidCommit: false } };
const RELAYED = put(24, 10, 0, 0, 9);
const FROM_RELAY = { sourceMac: RELAY_MAC };
const server = { relays: [SUBNET] };

const LENGTH: readonly MalformedRow[] = [
  { name: "M35 no payload", frame: frameOf(new Uint8Array()), drop: "bootp.short" },
  { name: "M35 235 octets", frame: frameOf(payload(D).slice(0, 235)), drop: "bootp.short" },
  { name: "M36 236 octets", frame: frameOf(payload(D).slice(0, 236)), drop: "bootp.short" },
  { name: "M36 239 octets", frame: frameOf(payload(D).slice(0, 239)), drop: "bootp.short" },
  {
    name: "M37 a cookie, and nothing after it",
    frame: frame([]),
    drop: "bootp.disabled",
    ignored: ["opt.noend"],
  },
  {
    name: "M37 a cookie, and nothing after it, where BOOTP is on",
    frame: frame([]),
    server: WITH_BOOTP,
    reply: "BOOTREPLY",
    ignored: ["opt.noend"],
  },
  { name: "M38 244 octets, as Azure's agent sends", frame: frame(D) },
  { name: "M38 299 octets", frame: frame([...D, ...times(55, 0)]) },
];

const FIELDS: readonly MalformedRow[] = [
  { name: "M39 a reply from a guest", frame: frame(D, {}, put(0, 2)), drop: "rogue.server" },
  {
    name: "M39 what a server in a guest says to clients",
    frame: frame(
      D,
      { sourcePort: 67, destinationPort: 68, sourceIp: parseIpv4("10.0.0.66") },
      put(0, 2),
    ),
    drop: "rogue.server",
  },
  { name: "M40 op 0", frame: frame(D, {}, put(0, 0)), drop: "bootp.op" },
  { name: "M40 op 3", frame: frame(D, {}, put(0, 3)), drop: "bootp.op" },
  ...[0, 6, 32, 255].map(
    (htype): MalformedRow => ({
      name: `M41 htype ${htype}`,
      frame: frame(D, {}, put(1, htype)),
      drop: "bootp.htype",
    }),
  ),
  {
    name: "M41 htype 6 through a relay",
    frame: frame(D, FROM_RELAY, RELAYED, put(1, 6)),
    server,
    drop: "bootp.htype",
  },
  ...[1, 7, 16, 17, 255].map(
    (hlen): MalformedRow => ({
      name: `M42 hlen ${hlen}`,
      frame: frame(D, {}, put(2, hlen)),
      drop: "bootp.hlen",
    }),
  ),
  {
    name: "M43 hlen 0 with a client identifier",
    frame: frame([...DISCOVER, 61, 3, 1, 2, 3, END], {}, put(2, 0)),
    drop: "bootp.hlen",
  },
  {
    name: "M44 chaddr of zeros",
    frame: frame(D, {}, put(28, ...times(6, 0))),
    drop: "bootp.chaddr",
  },
  {
    name: "M44 chaddr broadcast",
    frame: frame(D, {}, put(28, ...times(6, 255))),
    drop: "bootp.chaddr",
  },
  { name: "M44 chaddr of a group", frame: frame(D, {}, put(28, 1)), drop: "bootp.chaddr" },
  {
    name: "M45 rubbish after the address in chaddr",
    frame: frame(D, {}, put(34, ...times(10, 0xab))),
    check: ({ payload: reply }) => {
      expect([...reply.slice(34, 44)]).toEqual(times(10, 0xab));
    },
  },
  {
    name: "M46 chaddr of another than the sender",
    frame: frame(D, { sourceMac: OTHER_MAC }),
    drop: "port.spoof",
  },
  {
    name: "M47 a known client on another's port",
    frame: frame(D),
    server: { decide: () => ({ kind: "drop", reason: "port.mismatch" }) },
    drop: "port.mismatch",
  },
  {
    name: "M48 a known address but for the locally administered bit",
    frame: frame(D, { sourceMac: parseMac("02:0d:3a:01:02:03") }, put(28, 2)),
    drop: "nic.unknown",
  },
  { name: "M49 hops 17", frame: frame(D, {}, put(3, 17)), drop: "bootp.hops" },
  { name: "M49 hops 16", frame: frame(D, {}, put(3, 16)) },
  ...["127.0.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "0.0.0.1"].map(
    (giaddr): MalformedRow => ({
      name: `M50 giaddr ${giaddr}`,
      frame: frame(D, FROM_RELAY, put(24, ...octets(giaddr))),
      server,
      drop: "relay.giaddr",
    }),
  ),
  { name: "M51 a guest that plays relay", frame: frame(D, {}, RELAYED), drop: "relay.untrusted" },
  {
    name: "M51 a relay outside our subnet",
    frame: frame(D, FROM_RELAY, put(24, 10, 9, 9, 9)),
    server,
    drop: "relay.untrusted",
  },
  {
    name: "M52 giaddr is the server's",
    frame: frame(D, FROM_RELAY, put(24, ...octets("168.63.129.16"))),
    server,
    drop: "relay.self",
  },
  {
    name: "M52 giaddr is another address of ours",
    frame: frame(D, FROM_RELAY, put(24, ...octets("10.0.0.5"))),
    server: { ...server, localAddresses: [CLIENT_IP] },
    drop: "relay.self",
  },
  ...["127.0.0.1", "224.0.0.1", "255.255.255.255"].map(
    (ciaddr): MalformedRow => ({
      name: `M53 ciaddr ${ciaddr}`,
      frame: frame([...REQUEST, END], {}, put(12, ...octets(ciaddr))),
      drop: "bootp.ciaddr",
    }),
  ),
  {
    name: "M54 rubbish in yiaddr and siaddr",
    frame: frame(D, {}, put(16, ...times(8, 9))),
    check: ({ message }) => {
      expect(message).toMatchObject({ yiaddr: CLIENT_IP, siaddr: 0 });
    },
  },
  ...(
    [
      [0x7fff, 0],
      [0xffff, 0x8000],
    ] as const
  ).map(
    ([flags, want]): MalformedRow => ({
      name: `M55 flags ${flags.toString(16)}`,
      frame: frame(D, {}, put(10, flags >> 8, flags & 255)),
      check: ({ message }) => {
        expect(message.flags).toBe(want);
      },
    }),
  ),
  { name: "M56 secs with octets swapped", frame: frame(D, {}, put(8, 3, 0)) },
  { name: "M56 secs 0xffff", frame: frame(D, {}, put(8, 255, 255)) },
  { name: "M57 sname and file without NUL", frame: frame(D, {}, put(44, ...times(192, 65))) },
];

const COOKIES: readonly [string, number[]][] = [
  ["wrong", [0x63, 0x82, 0x53, 0x64]],
  ["of zeros", [0, 0, 0, 0]],
  ["of CMU", [0x43, 0x4d, 0x55, 0]],
  ["of Stanford", [0x53, 0x54, 0x41, 0x4e]],
];

const COOKIE: readonly MalformedRow[] = COOKIES.flatMap(([name, cookie]): MalformedRow[] => [
  {
    name: `M58 a cookie ${name}`,
    frame: frame([...D, ...times(56, 0)], {}, put(236, ...cookie)),
    drop: "bootp.cookie",
  },
  {
    name: `M58 a cookie ${name} where BOOTP is on: what follows is not read`,
    frame: frame([53, 0, ...times(62, 0)], {}, put(236, ...cookie)),
    server: WITH_BOOTP,
    reply: "BOOTREPLY",
  },
]);

describe("the length of a message", () => testRows(LENGTH));
describe("the fields of a message", () => testRows(FIELDS));
describe("the magic cookie", () => testRows(COOKIE));
