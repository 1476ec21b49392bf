/** The rules for what the server writes, E1 to E22, each by its name. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createBootProfile,
  createExtraOption,
  createOptionProfile,
  type DhcpMessage,
  decodeMessage,
  decodeRoutes,
  encodeMessage,
  encodeRoutes,
  messageTypeName,
  platformRoutes,
} from "../../src/dhcp/index.ts";
import { parseIpv4, parseSubnet } from "../../src/model/ipv4-address.ts";
import { readMac } from "../../src/model/mac-address.ts";
import { readCapture } from "../../src/net/capture-file.ts";
import { createMemoryFrameSocket } from "../../src/net/memory-frame-socket.ts";
import { END, frame, times } from "./malformed.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  GATEWAY,
  octets,
  PROFILE_SPEC,
  profileWith,
  RELAY_MAC,
  type RequestSpec,
  SERVER_IP,
  SERVER_MAC,
  SUBNET,
} from "./packets.ts";
import { startServer } from "./test-server.ts";

const DISCOVER: RequestSpec = { type: "DHCPDISCOVER" };
const ALL_CODES = Array.from({ length: 254 }, (_, index) => index + 1);
const SELECT: RequestSpec = {
  type: "DHCPREQUEST",
  options: { 50: octets(CLIENT_IP), 54: octets(SERVER_IP) },
};
const REFUSED: RequestSpec = {
  type: "DHCPREQUEST",
  options: { 50: octets("10.0.0.99"), 54: octets(SERVER_IP) },
};
const RENEW: RequestSpec = { type: "DHCPREQUEST", ciaddr: CLIENT_IP };
const INFORM: RequestSpec = { type: "DHCPINFORM", ciaddr: CLIENT_IP };
const UNICAST = { destinationMac: SERVER_MAC, sourceIp: CLIENT_IP, destinationIp: SERVER_IP };
const RELAY = { sourceMac: RELAY_MAC };
const giaddr = parseIpv4("10.0.0.9");
/** Replies of every type. */
const KINDS: readonly (readonly [string, RequestSpec])[] = [
  ["DHCPOFFER", DISCOVER],
  ["DHCPACK", SELECT],
  ["DHCPACK to a renewal", RENEW],
  ["DHCPACK to DHCPINFORM", INFORM],
  ["DHCPNAK", REFUSED],
];
const routes = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    destination: parseSubnet(`10.${index}.0.0/16`),
    gateway: GATEWAY,
  }));
const codes = (message: DhcpMessage) => [...message.options.keys()];
/** Code and data of each instance, in wire order. */
function instances(payload: Uint8Array): [number, Uint8Array][] {
  const found: [number, Uint8Array][] = [];
  let cursor = 240;
  while (payload[cursor] !== 255) {
    const length = payload[cursor + 1]!;
    found.push([payload[cursor]!, payload.slice(cursor + 2, cursor + 2 + length)]);
    cursor += 2 + length;
  }
  return found;
}
const endOf = (payload: Uint8Array) =>
  instances(payload).reduce((sum, [, data]) => sum + 2 + data.length, 240);

describe("the header of a reply", () => {
  test.each(KINDS)("E1 %s: no octet of an earlier reply shows through", (_name, spec) => {
    const { ask } = startServer();
    ask({ ...DISCOVER, options: { 55: ALL_CODES, 57: [5, 0xdc], 61: Array(200).fill(0xaa) } });
    const { payload } = ask(spec);
    expect(payload).toEqual(startServer().ask(spec).payload);
    expect([...payload.slice(34, 44)]).toEqual(Array(10).fill(0));
    expect([...payload.slice(44, 236)]).toEqual(Array(192).fill(0));
    expect(payload.slice(endOf(payload) + 1).every((octet) => octet === 0)).toBe(true);
  });

  test("E1 a socket's buffer is zero-filled each time", () => {
    const socket = createMemoryFrameSocket({ hardwareAddress: SERVER_MAC, ifindex: 1 });
    socket.reserve()?.bytes.fill(0xaa);
    expect(socket.reserve()?.bytes.every((octet) => octet === 0)).toBe(true);
  });

  test.each(KINDS)("E2 %s: fields are copied, cleared and set as the table says", (name, spec) => {
    const { ask } = startServer({ relays: [SUBNET] });
    const direct = { ...spec, xid: 0xfedc_ba98, secs: 77, broadcast: true };
    const { message } = ask(direct);
    expect(message).toMatchObject({ op: 2, hops: 0, xid: 0xfedc_ba98, secs: 0, siaddr: 0 });
    expect(message).toMatchObject({ flags: 0x8000, giaddr: 0, chaddr: CLIENT_MAC });
    expect(message.ciaddr).toBe(name === "DHCPNAK" ? 0 : (spec.ciaddr ?? 0));
    const hasAddress = name !== "DHCPNAK" && name !== "DHCPACK to DHCPINFORM";
    expect(message.yiaddr).toBe(hasAddress ? CLIENT_IP : 0);
    const relayed = startServer({ relays: [SUBNET] }).ask({ ...spec, giaddr, hops: 3 }, RELAY);
    expect(relayed.message).toMatchObject({ giaddr, hops: 0 });
    expect(relayed.message.flags).toBe(name === "DHCPNAK" ? 0x8000 : 0);
  });
});

describe("the options of a reply", () => {
  test("E3 stand in this order", () => {
    const { ask } = startServer({ relays: [SUBNET] });
    const spec = {
      ...DISCOVER,
      giaddr,
      options: { 82: [1, 1, 7], 61: [1, 2], 55: [15, 28, 12], 57: [5, 0xdc], 81: [0, 0, 0] },
    };
    const { message, payload } = ask(spec, RELAY);
    const want = [53, 54, 51, 58, 59, 1, 3, 6, 121, 249, 245, 15, 28, 12, 81, 61, 82];
    expect(codes(message)).toEqual(want);
    expect(instances(payload).at(-1)).toEqual([82, Uint8Array.of(1, 1, 7)]);
  });

  test.each([...KINDS])(
    "E4 %s: zeros up to 300 octets after End, and no Pad before it",
    (_name, spec) => {
      const { payload } = startServer().ask(spec);
      expect(payload.length).toBeGreaterThanOrEqual(300);
      expect(instances(payload).some(([code]) => code === 0)).toBe(false);
      expect(payload[endOf(payload)]).toBe(255);
    },
  );

  test.each([
    [undefined, 576],
    [300, 576],
    [576, 576],
    [1000, 1000],
    [65_280, 1500],
  ])(
    "E5 option 57 of %s: the datagram is at most %i octets, what does not fit is left out whole",
    (max, limit) => {
      const { ask, counters } = startServer({ profile: profileWith({ routes: routes(50) }) });
      const options = { 55: ALL_CODES, ...(max !== undefined && { 57: [max >> 8, max & 255] }) };
      const { message, payload } = ask({ ...DISCOVER, options });
      expect(payload.length + 28).toBeLessThanOrEqual(limit);
      const omitted = [...counters.omittedByCode.entries()].filter(([, count]) => count > 0);
      expect(omitted.map(([code]) => code)).toEqual(
        [121, 249].filter((code) => !message.options.has(code)),
      );
      for (const code of [121, 249]) {
        const data = message.options.get(code);
        if (data !== undefined) expect(decodeRoutes(data)).toHaveLength(50);
      }
    },
  );

  test("E6 whatever the network's owner writes, a reply of 576 octets has what a client cannot do without", () => {
    const profile = profileWith({
      dns: Array.from({ length: 63 }, (_, index) => parseIpv4(`10.9.0.${index}`)),
      domain: "d".repeat(255),
      routes: routes(60),
      mtu: 1400,
    });
    const { ask } = startServer({ profile, relays: [SUBNET] });
    const options = { 82: [1, 120, ...Array(120).fill(7)], 61: [1, 2, 3], 55: ALL_CODES };
    const { message, payload } = ask({ ...DISCOVER, giaddr, options }, RELAY);
    expect(payload.length).toBeLessThanOrEqual(548);
    expect(codes(message)).toEqual(expect.arrayContaining([53, 54, 51, 1, 3, 245, 61, 82]));
  });

  test.each(KINDS)("E7 %s: nothing is put into sname and file", (_name, spec) => {
    const { ask } = startServer({
      profile: profileWith({ routes: routes(60), domain: "d".repeat(200) }),
    });
    const { message } = ask({ ...spec, options: { ...spec.options, 55: ALL_CODES } });
    expect(message.options.has(52)).toBe(false);
    expect(message.sname.length + message.file.length).toBe(0);
  });

  test("E8 long routes are cut between routes, into pieces that stand together", () => {
    const { ask } = startServer({ profile: profileWith({ routes: routes(60) }) });
    const { payload, message } = ask({ ...DISCOVER, options: { 57: [5, 0xdc], 55: [1] } });
    const found = instances(payload).map(([code]) => code);
    expect(found.filter((code) => code === 121)).toHaveLength(2);
    expect(found.lastIndexOf(121) - found.indexOf(121)).toBe(1);
    for (const [code, data] of instances(payload)) {
      if (code === 121 || code === 249) expect(decodeRoutes(data)).toBeDefined();
    }
    expect(decodeRoutes(message.options.get(121)!)).toHaveLength(60);
    expect(message.options.get(249)).toEqual(message.options.get(121));
  });

  test("E8 an option of a plugin is cut at 255 octets", () => {
    const { ask } = startServer({
      decide: (_request, { replyOptions }) => {
        replyOptions.set(createExtraOption(224, new Uint8Array(300).fill(7)));
        return { kind: "assigned", assignment: { address: CLIENT_IP, profile: profileWith() } };
      },
    });
    const { payload } = ask({ ...DISCOVER, options: { 57: [5, 0xdc] } });
    const lengths = instances(payload)
      .filter(([code]) => code === 224)
      .map(([, data]) => data.length);
    expect(lengths).toEqual([255, 45]);
  });
});

describe("what a network's owner may write", () => {
  test.each<[string, () => unknown]>([
    [
      "E9 a domain of 256 octets",
      () => createOptionProfile({ ...PROFILE_SPEC, domain: "d".repeat(256) }),
    ],
    ["E9 an empty domain", () => createOptionProfile({ ...PROFILE_SPEC, domain: "" })],
    ["E9 a domain with a NUL", () => createOptionProfile({ ...PROFILE_SPEC, domain: "a\u0000" })],
    [
      "E9 64 DNS servers",
      () => createOptionProfile({ ...PROFILE_SPEC, dns: Array(64).fill(GATEWAY) }),
    ],
    ["E9 a boot file of 255 octets", () => createBootProfile({ files: { bios: "f".repeat(255) } })],
    ["E10 an option without data", () => createExtraOption(224, new Uint8Array())],
    ["E13 a lease of 59 s", () => createOptionProfile({ ...PROFILE_SPEC, leaseSeconds: 59 })],
    [
      "E13 a lease of half a second",
      () => createOptionProfile({ ...PROFILE_SPEC, leaseSeconds: 60.5 }),
    ],
    ["E15 an MTU of 575", () => createOptionProfile({ ...PROFILE_SPEC, mtu: 575 })],
    ["E15 an MTU of 65,536", () => createOptionProfile({ ...PROFILE_SPEC, mtu: 65_536 })],
  ])("%s is refused", (_name, create) => {
    expect(create).toThrow(RangeError);
  });

  test.each([
    ["0.0.0.0/0", "00 0a000001"],
    ["10.0.0.0/8", "08 0a 0a000001"],
    ["10.128.0.0/9", "09 0a80 0a000001"],
    ["172.16.0.0/16", "10 ac10 0a000001"],
    ["172.16.128.0/17", "11 ac1080 0a000001"],
    ["192.168.7.0/24", "18 c0a807 0a000001"],
    ["192.168.7.128/25", "19 c0a80780 0a000001"],
    ["168.63.129.16/32", "20 a83f8110 0a000001"],
  ])("E9 a route to %s has as many octets as its prefix needs", (subnet, want) => {
    const data = encodeRoutes([{ destination: parseSubnet(subnet), gateway: GATEWAY }]);
    expect(Buffer.from(data).toString("hex")).toBe(want.replaceAll(" ", ""));
  });

  test("E9 host bits of a route are not sent", () => {
    const destination = { network: parseIpv4("10.1.2.3"), prefixLength: 20 };
    const data = encodeRoutes([{ destination, gateway: GATEWAY }]);
    expect(Buffer.from(data).toString("hex")).toBe("140a01000a000001");
  });
});

describe("single options", () => {
  test.each(KINDS)("E10 %s: none is empty", (_name, spec) => {
    const { payload } = startServer({ profile: profileWith({ dns: [] }) }).ask({
      ...spec,
      options: { ...spec.options, 55: ALL_CODES },
    });
    for (const [, data] of instances(payload)) expect(data.length).toBeGreaterThan(0);
  });

  test("E10 but rapid commit", () => {
    const { ask } = startServer({ policy: { bootp: false, rapidCommit: true } });
    const { payload } = ask({ ...DISCOVER, options: { 80: [] } });
    expect(instances(payload).filter(([, data]) => data.length === 0)).toEqual([
      [80, new Uint8Array()],
    ]);
  });

  test.each([
    ["another address of the subnet", "10.0.0.99"],
    ["an address of another subnet", "192.168.7.4"],
  ])("E11 the text of a refusal of %s is printable ASCII of 1 to 100 octets", (_name, address) => {
    const { message } = startServer().ask({
      type: "DHCPREQUEST",
      options: { 50: octets(address) },
    });
    expect(messageTypeName(message)).toBe("DHCPNAK");
    expect(Buffer.from(message.options.get(56)!).toString("latin1")).toMatch(/^[ -~]{1,100}$/);
  });

  test("E12 names carry no NUL, also if the client's own did", () => {
    const options = { 12: [119, 0], 60: [77, 83, 70, 84, 0], 55: [12, 15] };
    const { message } = startServer().ask({ ...DISCOVER, options });
    expect(Buffer.from(message.options.get(12)!).toString()).toBe("web-0");
    expect(message.options.get(15)).not.toContain(0);
  });

  test("E12 the file name of a PXE ROM does", () => {
    const boot = createBootProfile({ server: GATEWAY, files: { bios: "pxelinux.0" } });
    const { ask } = startServer({
      decide: () => ({
        kind: "assigned",
        assignment: { address: CLIENT_IP, profile: profileWith(), boot },
      }),
    });
    const { message } = ask({
      ...DISCOVER,
      options: { 60: new TextEncoder().encode("PXEClient"), 93: [0, 0] },
    });
    expect(Buffer.from(message.options.get(67)!).toString()).toBe("pxelinux.0\u0000");
  });

  test.each([
    [60, 30, 52],
    [86_400, 43_200, 75_600],
    [0xffff_ffff, 0xffff_ffff, 0xffff_ffff],
  ])("E13 a lease of %i s has T1 %i and T2 %i", (leaseSeconds, t1, t2) => {
    const { message } = startServer({ profile: profileWith({ leaseSeconds }) }).ask(SELECT);
    const number = (code: number) => new DataView(message.options.get(code)!.buffer).getUint32(0);
    expect([number(51), number(58), number(59)]).toEqual([leaseSeconds, t1, t2]);
  });

  test("E13 the answer to DHCPINFORM has no lease", () => {
    const { message } = startServer().ask(INFORM);
    for (const code of [51, 58, 59]) expect(message.options.has(code)).toBe(false);
  });

  test("E14 the wire server stands once, whole, with something behind it", () => {
    const { payload } = startServer().ask(DISCOVER);
    const found = instances(payload).filter(([code]) => code === 245);
    expect(found).toEqual([[245, Uint8Array.of(168, 63, 129, 16)]]);
    expect(endOf(payload)).toBeLessThan(payload.length);
  });

  test.each([
    [1500, false, undefined],
    [1500, true, 1500],
    [1400, false, 1400],
    [9000, false, 9000],
  ])("E15 MTU %i, asked for %s: option 26 is %s", (mtu, isAsked, want) => {
    const { message } = startServer({ profile: profileWith({ mtu }) }).ask({
      ...DISCOVER,
      options: isAsked ? { 55: [26] } : {},
    });
    const data = message.options.get(26);
    expect(data === undefined ? undefined : (data[0]! << 8) | data[1]!).toBe(want);
  });

  test.each([
    ["10.0.0.0/24", "10.0.0.255", "255.255.255.0"],
    ["10.0.0.0/30", "10.0.0.3", "255.255.255.252"],
    ["10.0.0.4/31", undefined, "255.255.255.254"],
    ["10.0.0.5/32", undefined, "255.255.255.255"],
  ])("E16 in %s the broadcast address is %s and the mask %s", (subnet, broadcast, mask) => {
    const profile = profileWith({ subnet: parseSubnet(subnet) });
    const { message } = startServer({ profile }).ask({ ...DISCOVER, options: { 55: [28] } });
    expect(message.options.get(28)).toEqual(
      broadcast === undefined ? undefined : octets(broadcast),
    );
    expect(message.options.get(1)).toEqual(octets(mask));
  });

  test("E16 a /32 reaches its gateway by a route on the link, then the rest through it", () => {
    const subnet = parseSubnet("10.0.0.5/32");
    const profile = profileWith({ subnet, routes: platformRoutes(GATEWAY, subnet) });
    const { message } = startServer({ profile }).ask(DISCOVER);
    expect(decodeRoutes(message.options.get(121)!)?.slice(0, 2)).toEqual([
      { destination: { network: GATEWAY, prefixLength: 32 }, gateway: 0 },
      { destination: { network: 0, prefixLength: 0 }, gateway: GATEWAY },
    ]);
  });

  test("E17 DNS servers stand once each, and no list is empty", () => {
    const dns = ["10.0.0.2", "10.0.0.3", "10.0.0.2"].map(parseIpv4);
    const twice = startServer({ profile: profileWith({ dns }) }).ask(DISCOVER);
    expect(twice.message.options.get(6)).toEqual(Uint8Array.of(10, 0, 0, 2, 10, 0, 0, 3));
    const none = startServer({ profile: profileWith({ dns: [] }) }).ask(DISCOVER);
    expect(none.message.options.has(6)).toBe(false);
  });

  test.each([108, 114, 116])(
    "E18 option %i is sent only to who asks, whatever a plugin says",
    (code) => {
      const { ask } = startServer({
        decide: (_request, { replyOptions }) => {
          replyOptions.set(createExtraOption(code, Uint8Array.of(0, 0, 7, 8), true));
          return { kind: "assigned", assignment: { address: CLIENT_IP, profile: profileWith() } };
        },
      });
      expect(ask(DISCOVER).message.options.has(code)).toBe(false);
      expect(ask({ ...DISCOVER, options: { 55: [code] } }).message.options.has(code)).toBe(true);
    },
  );

  const name = [...new TextEncoder().encode("web-0.tenant.internal")];
  const wireName = [5, ...name.slice(0, 5), 6, ...name.slice(6, 12), 8, ...name.slice(13), 0];
  test.each([
    ["nothing", [0, 0, 0], [8, 255, 255, ...name]],
    ["S", [1, 0, 0], [0x0a, 255, 255, ...name]],
    ["N", [8, 0, 0], [8, 255, 255, ...name]],
    ["E and S", [5, 0, 0], [0x0e, 255, 255, ...wireName]],
    ["N and S", [9, 0, 0], undefined],
  ])("E19 81 with %s is answered without a promise, in its encoding", (_name, sent, want) => {
    const { message } = startServer().ask({ ...DISCOVER, options: { 81: sent } });
    expect(message.options.get(81)).toEqual(want === undefined ? undefined : Uint8Array.from(want));
    expect(message.options.has(12)).toBe(false);
  });

  test("E19 81 is not sent to a client that did not", () => {
    expect(
      startServer()
        .ask({ ...DISCOVER, options: { 55: [81] } })
        .message.options.has(81),
    ).toBe(false);
  });

  test("E20 43 and 60 go to a boot ROM alone, and 43 ends with 255", () => {
    const boot = createBootProfile({ server: GATEWAY, files: { bios: "pxelinux.0" } });
    const { ask } = startServer({
      decide: () => ({
        kind: "assigned",
        assignment: { address: CLIENT_IP, profile: profileWith(), boot },
      }),
    });
    const plain = ask({
      ...DISCOVER,
      options: { 55: [43, 60], 60: new TextEncoder().encode("MSFT 5.0") },
    });
    expect(codes(plain.message)).not.toEqual(expect.arrayContaining([43]));
    expect(codes(plain.message)).not.toEqual(expect.arrayContaining([60]));
    const rom = ask({
      ...DISCOVER,
      options: { 60: new TextEncoder().encode("PXEClient"), 93: [0, 0] },
    });
    expect(rom.message.options.get(43)?.at(-1)).toBe(255);
  });
});

describe("the datagram of a reply", () => {
  test.each(KINDS)(
    "E21 %s: IPv4 without options, not to be fragmented, complete checksums",
    (_name, spec) => {
      const { socket, send } = startServer();
      send(spec, spec.ciaddr === undefined ? undefined : UNICAST);
      const { bytes } = socket.sent[0]!;
      expect(readMac(bytes, 6)).toBe(SERVER_MAC);
      expect([...bytes.slice(12, 16)]).toEqual([8, 0, 0x45, 0x10]);
      expect([bytes[20]! & 0xe0, bytes[22], bytes[23]]).toEqual([0x40, 64, 17]);
      expect(bytes.slice(26, 30)).toEqual(octets(SERVER_IP));
      expect([...bytes.slice(34, 38)]).toEqual([0, 67, 0, 68]);
      // readReply(), which sent this spec's answer through, checks both checksums; 0 would mean none.
      expect((bytes[40]! << 8) | bytes[41]!).not.toBe(0);
    },
  );

  test("E21 to a relay it goes to port 67", () => {
    const { ask } = startServer({ relays: [SUBNET] });
    expect(ask({ ...DISCOVER, giaddr }, RELAY)).toMatchObject({
      sourcePort: 67,
      destinationPort: 67,
    });
  });

  test("E10 to a client that speaks BOOTP it has 300 octets, neither type nor lease, and nothing empty", () => {
    const { sendFrame } = startServer({ policy: { bootp: true, rapidCommit: false } });
    const [reply, ...more] = sendFrame(frame([END, ...times(59, 0)]));
    expect(more).toEqual([]);
    expect(reply?.payload.length).toBe(300);
    expect(reply?.message).toMatchObject({ op: 2, yiaddr: CLIENT_IP });
    expect(codes(reply!.message)).toEqual([1, 3, 12, 6]);
  });
});

const FIXTURES = join(import.meta.dirname, "../fixtures/pcap");
const REPLIES = readdirSync(FIXTURES).filter((name) => name.endsWith(".replies.pcap"));

/** A message with everything in its range, no option empty or repeated. */
const MESSAGES: fc.Arbitrary<DhcpMessage> = fc.record({
  op: fc.constantFrom(1, 2),
  hops: fc.nat({ max: 255 }),
  xid: fc.nat({ max: 0xffff_ffff }),
  secs: fc.nat({ max: 0xffff }),
  flags: fc.nat({ max: 0xffff }),
  ciaddr: addresses(),
  yiaddr: addresses(),
  siaddr: addresses(),
  giaddr: addresses(),
  chaddr: fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => readMac(bytes, 0)),
  sname: fields(64),
  file: fields(128),
  options: fc
    .uniqueArray(fc.integer({ min: 1, max: 254 }), { maxLength: 20 })
    .chain((found) =>
      fc.tuple(
        ...found.map((code) => fc.tuple(fc.constant(code), fc.uint8Array({ maxLength: 600 }))),
      ),
    )
    .map((entries) => new Map(entries.filter(([code]) => code !== 52))),
});

function addresses() {
  return fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => parseIpv4(bytes.join(".")));
}

/** Octets of a field; NULs at its end are padding. */
function fields(maxLength: number) {
  return fc.uint8Array({ maxLength }).map((bytes) => {
    let end = bytes.length;
    while (end > 0 && bytes[end - 1] === 0) end--;
    return bytes.slice(0, end);
  });
}

describe("E22 encodeMessage() and decodeMessage()", () => {
  test("whatever is encoded is decoded to the same", () => {
    const property = fc.property(MESSAGES, (message) => {
      const decoded = decodeMessage(encodeMessage(message));
      expect(decoded).toEqual({ kind: "message", message });
    });
    fc.assert(property, { numRuns: 1000 });
  });

  test("encoding is the same each time", () => {
    const property = fc.property(MESSAGES, (message) => {
      expect(encodeMessage(message)).toEqual(encodeMessage(message));
    });
    fc.assert(property, { numRuns: 100 });
  });

  test.each(REPLIES)("%s is written again octet by octet", async (name) => {
    const { frames } = await readCapture(join(FIXTURES, name));
    for (const { bytes } of frames) {
      const message = bytes.slice(42);
      const decoded = decodeMessage(message);
      if (decoded.kind !== "message") throw new Error(decoded.reason);
      expect(encodeMessage(decoded.message)).toEqual(Uint8Array.from(message));
    }
  });

  test.each(KINDS)("the server's %s is written again octet by octet", (_name, spec) => {
    const { payload, message } = startServer().ask({
      ...spec,
      options: { ...spec.options, 55: [12, 15] },
    });
    expect(encodeMessage(message)).toEqual(payload);
  });
});
