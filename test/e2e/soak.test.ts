/** A long run in memory: what a server that is never restarted does with its memory, and whether its counters stay true. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import {
  type Assignment,
  createDhcpCounters,
  createOptionProfile,
  serveDhcp,
} from "../../src/dhcp/index.ts";
import {
  ipv4Plus,
  parseIpv4,
  parseSubnet,
  WIRE_SERVER_ADDRESS,
} from "../../src/model/ipv4-address.ts";
import { type MacAddress, macPlus, parseMac, writeMac } from "../../src/model/mac-address.ts";
import { createMemoryFrameSocket } from "../../src/net/memory-frame-socket.ts";
import { createChain, createNmPlugin } from "../../src/wds/index.ts";
import { PROFILE_SPEC } from "../dhcp/packets.ts";
import {
  discover,
  frameOf,
  inform,
  payloadOf,
  reboot,
  STATIONS,
  select,
} from "../scenarios/vocabulary.ts";

const EXCHANGES = 1_000_000;
const FUZZED = 100_000;
/** Every client has its own address; more of them than any table remembers. */
const CLIENTS = 50_000;
const FIRST_MAC = parseMac("00:0c:01:00:00:00");
const FIRST_ADDRESS = parseIpv4("10.64.0.0");
const MIB = 2 ** 20;
const CHADDR = 42 + 28;
const XID = 42 + 4;
const FLAGS_TO_CHECKSUM = 34 + 6;

/** Same numbers in every run. */
function createNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const WHOLE = [discover(), select("10.64.0.0"), reboot("10.64.255.255"), inform({ ciaddr: ".5" })];

/** A good frame around a message of which some octets, or all options, or the end, are not as they were. */
function brokenFrame(numbers: (below: number) => number): Uint8Array {
  const message = WHOLE[numbers(WHOLE.length)]!;
  const payload = payloadOf(message);
  const mac = macPlus(FIRST_MAC, numbers(2 * CLIENTS));
  writeMac(payload, 28, mac);
  const firstBroken = numbers(4) === 0 ? 0 : 240;
  const changes = numbers(4) === 0 ? 60 : 1 + numbers(4);
  for (let change = 0; change < changes; change++) {
    payload[firstBroken + numbers(payload.length - firstBroken)] = numbers(256);
  }
  const length = numbers(3) === 0 ? 240 + numbers(61) : payload.length;
  const frame = frameOf(message, payload.subarray(0, length));
  writeMac(frame, 6, mac);
  return frame;
}

/** A frame of which client and transaction can be changed in place; its UDP checksum is left out, as PXE ROMs do. */
function createTemplate(frame: Uint8Array) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  view.setUint16(FLAGS_TO_CHECKSUM, 0);
  return (mac: MacAddress, xid: number): Uint8Array => {
    writeMac(frame, 6, mac);
    writeMac(frame, CHADDR, mac);
    view.setUint32(XID, xid);
    return frame;
  };
}

test("S108 soak: a million exchanges and a hundred thousand broken messages leave memory flat and counters true", async () => {
  const profile = createOptionProfile({ ...PROFILE_SPEC, subnet: parseSubnet("10.64.0.0/16") });
  const assignments = Array.from({ length: CLIENTS }, (_, index): Assignment => {
    return { address: ipv4Plus(FIRST_ADDRESS, index), profile };
  });
  const findByMac = (mac: MacAddress) => assignments[mac - FIRST_MAC];
  const socket = createMemoryFrameSocket({ hardwareAddress: STATIONS.S, ifindex: 1 });
  const counters = createDhcpCounters();
  const stop = new AbortController();
  let nowMs = 0;
  let sent = 0;
  socket.onSent = () => {
    sent++;
    socket.sent.length = 0;
  };
  const chain = createChain([createNmPlugin({ findByMac })]);
  const done = serveDhcp({
    socket,
    decide: chain.decide,
    now: () => nowMs,
    serverAddress: WIRE_SERVER_ADDRESS,
    counters,
    onExchange: chain.observe,
    onDrop: chain.observe,
    signal: stop.signal,
  });
  try {
    const discovers = createTemplate(frameOf(discover()));
    const selects = createTemplate(frameOf(select("10.64.0.0")));
    const addressOffset = frameOf(select("10.64.0.0")).length - 300 + 240 + 3 + 6 + 2;
    const exchange = (index: number) => {
      const client = index % CLIENTS;
      const mac = macPlus(FIRST_MAC, client);
      nowMs++;
      socket.inject(discovers(mac, index));
      const request = selects(mac, index);
      request[addressOffset + 2] = client >>> 8;
      request[addressOffset + 3] = client;
      socket.inject(request);
    };
    const numbers = createNumbers(108);
    const fuzz = () => socket.inject(brokenFrame(numbers));
    setFlagsFromString("--expose-gc");
    const collectGarbage: () => void = runInNewContext("gc");
    const memory = async () => {
      // Memory of buffers is given back in the background, and counted as in use until then.
      for (let turn = 0; turn < 5; turn++) {
        collectGarbage();
        await new Promise<void>((resolve) => setTimeout(resolve, 20));
      }
      const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage();
      return { heapUsed, external, arrayBuffers, rss };
    };
    // Long enough for every table to be full and all code to be compiled.
    for (let index = 0; index < EXCHANGES / 10; index++) exchange(index);
    for (let index = 0; index < FUZZED / 2; index++) fuzz();
    const before = await memory();
    for (let index = EXCHANGES / 10; index < EXCHANGES; index++) exchange(index);
    for (let index = FUZZED / 2; index < FUZZED; index++) fuzz();
    const after = await memory();
    // The smallest leak, eight octets an exchange, would be 7 MiB.
    expect(after.heapUsed - before.heapUsed).toBeLessThan(6 * MIB);
    expect(after.external - before.external).toBeLessThan(6 * MIB);
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(6 * MIB);
    expect(after.rss - before.rss).toBeLessThan(32 * MIB);
  } finally {
    stop.abort();
    await done;
  }
  const { received, replies, drops, pending } = counters;
  const sum = (counts: Iterable<number>) => [...counts].reduce((total, count) => total + count, 0);
  expect(received).toBe(2 * EXCHANGES + FUZZED);
  expect(received).toBe(sum(Object.values(replies)) + sum(drops.values()) + pending);
  expect(sent).toBe(sum(Object.values(replies)) + counters.nakCopies);
  expect(replies.DHCPOFFER).toBeGreaterThanOrEqual(EXCHANGES);
  expect(replies.DHCPACK).toBeGreaterThanOrEqual(EXCHANGES);
}, 240_000);
