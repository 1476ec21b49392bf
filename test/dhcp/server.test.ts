import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addressListOption,
  addressOption,
  type ChainVerdict,
  type DhcpServerOptions,
  decodeRoutes,
  type ExchangeEvent,
  encodeRoutes,
  messageTypeName,
  platformRoutes,
  walkOptions,
} from "../../src/dhcp/index.ts";
import {
  formatIpv4,
  IPV4_BROADCAST,
  IPV4_UNSPECIFIED,
  ipv4Plus,
  parseIpv4,
  parseSubnet,
} from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress } from "../../src/model/mac-address.ts";
import { readWithDhcpPackage } from "../dhcp-peer.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  type EnvelopeSpec,
  frameOf,
  GATEWAY,
  OTHER_IP,
  OTHER_MAC,
  octets,
  profileWith,
  RELAY_MAC,
  type RequestSpec,
  requestFrame,
  SERVER_IP,
  SERVER_MAC,
  UNKNOWN_MAC,
} from "./packets.ts";
import { PORT, startServer } from "./test-server.ts";

const RELAY = parseIpv4("10.0.0.254");
const RELAYED: EnvelopeSpec = {
  sourceMac: RELAY_MAC,
  destinationMac: SERVER_MAC,
  sourceIp: RELAY,
  destinationIp: SERVER_IP,
  sourcePort: 67,
};
const UNICAST: EnvelopeSpec = {
  destinationMac: SERVER_MAC,
  sourceIp: CLIENT_IP,
  destinationIp: SERVER_IP,
};

const DISCOVER: RequestSpec = { type: "DHCPDISCOVER" };
const request = (options: Record<number, Uint8Array | number[]>): RequestSpec => ({
  type: "DHCPREQUEST",
  options,
});
const SELECTING = request({ 54: octets(SERVER_IP), 50: octets(CLIENT_IP) });
const codesOf = (payload: Uint8Array) => {
  const codes: number[] = [];
  walkOptions(payload, 240, payload.length, (code) => codes.push(code) > 0);
  return codes;
};

describe("serveDhcp(), the exchange", () => {
  test("offers and acknowledges by unicast to the assigned address", () => {
    const { ask } = startServer();
    for (const [spec, type] of [
      [DISCOVER, "DHCPOFFER"],
      [SELECTING, "DHCPACK"],
    ] as const) {
      const reply = ask(spec);
      expect(messageTypeName(reply.message)).toBe(type);
      expect(reply).toMatchObject({
        sourceMac: SERVER_MAC,
        destinationMac: CLIENT_MAC,
        sourceIp: SERVER_IP,
        destinationIp: CLIENT_IP,
        sourcePort: 67,
        destinationPort: 68,
        ifindex: PORT,
        message: {
          op: 2,
          xid: 0x1234_5678,
          yiaddr: CLIENT_IP,
          ciaddr: IPV4_UNSPECIFIED,
          siaddr: IPV4_UNSPECIFIED,
          chaddr: CLIENT_MAC,
        },
      });
    }
  });

  test("offers what Azure's agent needs although it asks for nothing, without Pad before End", () => {
    const { ask } = startServer();
    const { message, payload } = ask(DISCOVER);
    // No 249: WALinuxAgent 2.7.3 ends with an exception at the first route that it reads there.
    expect(codesOf(payload)).toEqual([53, 54, 51, 58, 59, 1, 3, 6, 121, 245]);
    expect(payload.length).toBeGreaterThanOrEqual(300);
    expect(addressOption(message, 54)).toBe(SERVER_IP);
    expect(addressOption(message, 51)).toBe(86_400);
    expect(addressOption(message, 58)).toBe(43_200);
    expect(addressOption(message, 59)).toBe(75_600);
    expect(addressOption(message, 1)).toBe(parseIpv4("255.255.255.0"));
    expect(addressListOption(message, 3)).toEqual([GATEWAY]);
    expect(addressListOption(message, 6)?.map(formatIpv4)).toEqual(["10.0.0.2", "10.0.0.3"]);
    expect([...(message.options.get(245) ?? [])]).toEqual([0xa8, 0x3f, 0x81, 0x10]);
    expect(decodeRoutes(message.options.get(121) ?? new Uint8Array())).toEqual(
      platformRoutes(GATEWAY),
    );
  });

  test("the npm package dhcp reads the offer", () => {
    const { ask } = startServer();
    const parsed = readWithDhcpPackage(ask({ ...DISCOVER, options: { 55: [12, 15] } }).payload);
    expect(parsed).toMatchObject({ op: 2, yiaddr: "10.0.0.5", chaddr: "00-0D-3A-01-02-03" });
    expect(parsed.options).toEqual({
      53: 2,
      54: "168.63.129.16",
      51: 86_400,
      58: 43_200,
      59: 75_600,
      1: "255.255.255.0",
      3: ["10.0.0.1"],
      6: ["10.0.0.2", "10.0.0.3"],
      12: "web-0",
      15: "tenant.internal",
      245: "168.63.129.16",
      121: [...encodeRoutes(platformRoutes(GATEWAY))],
      249: [...encodeRoutes(platformRoutes(GATEWAY))],
    });
  });

  test("broadcasts if the client asks, each message for itself", () => {
    const { ask } = startServer();
    expect(ask(DISCOVER).destinationMac).toBe(CLIENT_MAC);
    const reply = ask({ ...DISCOVER, broadcast: true });
    expect(reply).toMatchObject({ destinationMac: MAC_BROADCAST, destinationIp: IPV4_BROADCAST });
    expect(reply.message.flags).toBe(0x8000);
  });

  test("answers equal requests with equal octets, and xid 0 as any other", () => {
    const { socket, ask } = startServer();
    ask({ ...DISCOVER, xid: 0 });
    const first = socket.sent[0]?.bytes;
    expect(ask({ ...DISCOVER, xid: 0 }).message.xid).toBe(0);
    expect(socket.sent[0]?.bytes).toEqual(first);
  });

  test.each<[string, RequestSpec]>([
    ["another hint in option 50", { ...DISCOVER, options: { 50: octets("10.0.0.99") } }],
    ["ciaddr", { ...DISCOVER, ciaddr: CLIENT_IP }],
    ["another server's identifier", { ...DISCOVER, options: { 54: octets("10.0.0.77") } }],
  ])("offers the assigned address in spite of %s", (_name, spec) => {
    const { message } = startServer().ask(spec);
    expect(messageTypeName(message)).toBe("DHCPOFFER");
    expect(message).toMatchObject({ yiaddr: CLIENT_IP, ciaddr: IPV4_UNSPECIFIED });
  });

  test("acknowledges what a server before it offered", () => {
    expect(messageTypeName(startServer().ask(SELECTING).message)).toBe("DHCPACK");
  });

  test("refuses an address that changed between offer and request, and offers the new one", () => {
    const { inventory, ask } = startServer();
    ask(DISCOVER);
    inventory.set(CLIENT_MAC, parseIpv4("10.0.0.8"));
    expect(messageTypeName(ask(SELECTING).message)).toBe("DHCPNAK");
    expect(ask(DISCOVER).message.yiaddr).toBe(parseIpv4("10.0.0.8"));
  });

  test("renews by unicast with ciaddr as received", () => {
    const reply = startServer().ask({ type: "DHCPREQUEST", ciaddr: CLIENT_IP }, UNICAST);
    expect(messageTypeName(reply.message)).toBe("DHCPACK");
    expect(reply).toMatchObject({
      destinationIp: CLIENT_IP,
      sourceIp: SERVER_IP,
      message: { ciaddr: CLIENT_IP, yiaddr: CLIENT_IP },
    });
  });

  test("rebinds, also with a conflicting option 50", () => {
    const reply = startServer().ask({
      type: "DHCPREQUEST",
      ciaddr: CLIENT_IP,
      options: { 50: octets("10.0.0.99") },
    });
    expect(reply.message.yiaddr).toBe(CLIENT_IP);
  });

  test("refuses a renewal twice: first to the address the client listens on, then for all", () => {
    const { inventory, counters, send } = startServer();
    inventory.set(CLIENT_MAC, parseIpv4("10.0.0.8"));
    const replies = send({ type: "DHCPREQUEST", ciaddr: CLIENT_IP }, UNICAST);
    expect(replies.map((reply) => messageTypeName(reply.message))).toEqual(["DHCPNAK", "DHCPNAK"]);
    expect(replies.map((reply) => reply.destinationIp)).toEqual([CLIENT_IP, IPV4_BROADCAST]);
    expect(replies.map((reply) => reply.destinationMac)).toEqual([CLIENT_MAC, MAC_BROADCAST]);
    expect(counters).toMatchObject({ nakCopies: 1, replies: { DHCPNAK: 1 } });
  });

  test("a DHCPNAK holds nothing but 53, 54, 56 and the echoed 61", () => {
    const clientIdentifier = [1, 0, 13, 58, 1, 2, 3];
    const { message, payload } = startServer().ask(
      request({ 50: octets("192.168.7.4"), 61: clientIdentifier, 55: [1, 3, 6, 12] }),
    );
    expect(codesOf(payload)).toEqual([53, 54, 56, 61]);
    expect(payload.length).toBeGreaterThanOrEqual(300);
    expect(message).toMatchObject({ ciaddr: 0, yiaddr: 0, siaddr: 0 });
    expect(new TextDecoder().decode(message.options.get(56))).toMatch(/^[ -~]{1,100}$/);
  });

  test("informs without lease", () => {
    const reply = startServer().ask({
      type: "DHCPINFORM",
      ciaddr: CLIENT_IP,
      options: { 55: [252, 15] },
    });
    expect(messageTypeName(reply.message)).toBe("DHCPACK");
    expect(reply).toMatchObject({
      destinationIp: CLIENT_IP,
      message: { yiaddr: 0, ciaddr: CLIENT_IP },
    });
    expect(codesOf(reply.payload)).toEqual([53, 54, 1, 3, 6, 121, 249, 245, 15]);
  });

  test("informs a client that only sets the IP source", () => {
    const reply = startServer().ask({ type: "DHCPINFORM" }, { sourceIp: CLIENT_IP });
    expect(reply).toMatchObject({ destinationIp: CLIENT_IP, destinationMac: CLIENT_MAC });
  });

  test("an endless lease has endless T1 and T2", () => {
    const { ask } = startServer({ profile: profileWith({ leaseSeconds: 0xffff_ffff }) });
    const { message } = ask({ type: "DHCPREQUEST", ciaddr: CLIENT_IP }, UNICAST);
    for (const code of [51, 58, 59]) expect(addressOption(message, code)).toBe(0xffff_ffff);
  });

  test.each([
    [[0, 0, 0, 1], 60],
    [[0, 0, 0x0e, 0x10], 3600],
    [[0xff, 0xff, 0xff, 0xff], 86_400],
    [[0, 0, 0, 0], 86_400],
    [[1, 2], 86_400],
  ])("a client that asks for a lease of %j gets %i s", (value, want) => {
    const { message } = startServer().ask({ ...DISCOVER, options: { 51: value } });
    expect(addressOption(message, 51)).toBe(want);
  });
});

describe("serveDhcp(), options", () => {
  test("follow the client's order after the network's own, unknown ones left out", () => {
    const { ask } = startServer();
    const { payload } = ask({
      ...DISCOVER,
      options: { 55: [28, 12, 252, 6, 1, 26, 15, 12, 28, 53, 255, 0] },
    });
    expect(codesOf(payload).slice(5)).toEqual([1, 3, 6, 121, 249, 245, 28, 12, 26, 15]);
  });

  test.each([
    [1500, [], undefined],
    [1500, [26], [5, 0xdc]],
    [1400, [], [5, 0x78]],
    [1400, [26], [5, 0x78]],
  ])("MTU %i, asked %j: %j", (mtu, asked, want) => {
    const { ask } = startServer({ profile: profileWith({ mtu }) });
    const { message } = ask({ ...DISCOVER, options: { 55: asked } });
    expect(message.options.get(26)).toEqual(want && Uint8Array.from(want));
  });

  test.each([
    ["10.0.0.0/24", "10.0.0.255"],
    ["10.0.0.4/31", undefined],
    ["10.0.0.5/32", undefined],
  ])("broadcast address of %s: %s", (subnet, want) => {
    const { ask } = startServer({ profile: profileWith({ subnet: parseSubnet(subnet) }) });
    const { message } = ask({ ...DISCOVER, options: { 55: [28] } });
    const got = addressOption(message, 28);
    expect(got && formatIpv4(got)).toBe(want);
  });

  test("a /32 reaches its gateway by a route on the link", () => {
    const subnet = parseSubnet("10.0.0.5/32");
    const profile = profileWith({ subnet, routes: platformRoutes(GATEWAY, subnet) });
    const { message } = startServer({ profile }).ask(DISCOVER);
    expect(addressOption(message, 1)).toBe(0xffff_ffff);
    expect(decodeRoutes(message.options.get(121) ?? new Uint8Array())?.slice(0, 2)).toEqual([
      { destination: { network: GATEWAY, prefixLength: 32 }, gateway: IPV4_UNSPECIFIED },
      { destination: { network: IPV4_UNSPECIFIED, prefixLength: 0 }, gateway: GATEWAY },
    ]);
  });

  test.each([[7], [19], [2], [255], [256], [300]])(
    "echo a client identifier of %i octets",
    (length) => {
      const data = Uint8Array.from({ length }, (_, index) => index & 255);
      const options = { 61: data, 57: [5, 0xc0] };
      const { message, payload } = startServer().ask({ ...DISCOVER, options });
      expect(message.options.get(61)).toEqual(data);
      expect(codesOf(payload).at(-1)).toBe(61);
    },
  );

  test("an empty client identifier and a vendor class are not echoed", () => {
    const vendor = new TextEncoder().encode("PXEClient");
    const { message } = startServer().ask({ ...DISCOVER, options: { 61: [], 60: vendor } });
    expect([message.options.has(61), message.options.has(60), message.options.has(43)]).toEqual([
      false,
      false,
      false,
    ]);
  });

  test("the padding of chaddr comes back", () => {
    const { socket, sendFrame } = startServer();
    const frame = requestFrame(DISCOVER);
    frame.set([1, 2, 3], 42 + 34);
    frame.set([0, 0], 40);
    sendFrame(frame);
    expect([...(socket.sent[0]?.bytes.slice(42 + 34, 42 + 38) ?? [])]).toEqual([1, 2, 3, 0]);
  });

  const route = (index: number) => ({
    destination: { network: ipv4Plus(parseIpv4("10.9.0.0"), index), prefixLength: 32 },
    gateway: GATEWAY,
  });
  const routes = (count: number) => Array.from({ length: count }, (_, index) => route(index));

  test("long routes are cut between routes", () => {
    const { ask } = startServer({ profile: profileWith({ routes: routes(60) }) });
    const { message, payload } = ask({ ...DISCOVER, options: { 57: [5, 0xdc] } });
    const lengths: number[] = [];
    walkOptions(payload, 240, payload.length, (code, _offset, length) => {
      if (code === 121) lengths.push(length);
      return true;
    });
    expect(lengths).toEqual([252, 252, 36]);
    expect(decodeRoutes(message.options.get(121) ?? new Uint8Array())).toEqual(routes(60));
  });

  test.each([
    [undefined, 548],
    [300, 548],
    [576, 548],
    [1472, 1444],
    [0xff00, 1472],
  ])("option 57 of %s: a message of at most %i octets", (size, limit) => {
    const { counters, ask } = startServer({ profile: profileWith({ routes: routes(24) }) });
    const options = {
      55: [15, 12, 28],
      61: Array(200).fill(7),
      ...(size === undefined ? {} : { 57: [size >> 8, size & 255] }),
    };
    const { message, payload } = ask({ ...DISCOVER, options });
    expect(payload.length).toBeLessThanOrEqual(limit);
    for (const code of [53, 54, 51, 1, 3, 245]) expect(message.options.has(code)).toBe(true);
    expect(counters.optionsOmitted > 0).toBe(limit === 548);
  });

  test("a reply follows the interface's MTU as it changes, down to what every client takes", () => {
    let mtu = 1500;
    const profile = profileWith({ routes: routes(62) });
    const { ask } = startServer({ profile, mtu: () => mtu });
    const options = { 57: [0x05, 0xdc], 55: [1] };
    const lengthAt = (value: number) => {
      mtu = value;
      return ask({ ...DISCOVER, options }).payload.length + 28;
    };
    expect(lengthAt(1500)).toBeGreaterThan(1400);
    expect(lengthAt(1400)).toBeLessThanOrEqual(1400);
    expect(lengthAt(100)).toBeLessThanOrEqual(576);
    expect(lengthAt(9000)).toBe(lengthAt(1500));
  });

  test("a reply is between 300 octets and the client's limit, whatever the client sends", () => {
    const { counters, send } = startServer({ profile: profileWith({ routes: routes(20) }) });
    const property = fc.property(
      fc.uint8Array({ maxLength: 255 }),
      fc.uint8Array({ maxLength: 255 }),
      fc.nat(0xffff),
      (parameters, identifier, size) => {
        const options = { 55: parameters, 61: identifier, 57: [size >> 8, size & 255] };
        const [reply] = send({ ...DISCOVER, options });
        const limit = Math.min(Math.max(size, 576), 1500) - 28;
        expect(reply?.payload.length).toBeGreaterThanOrEqual(300);
        expect(reply?.payload.length).toBeLessThanOrEqual(limit);
        expect(reply?.message.yiaddr).toBe(CLIENT_IP);
      },
    );
    fc.assert(property);
    expect(counters.drops.size).toBe(0);
  });
});

describe("serveDhcp(), what does not matter", () => {
  test("the order of options and options it does not know", () => {
    const { socket, send } = startServer();
    const known: [number, number[]][] = [
      [53, [1]],
      [12, [65, 66]],
      [55, [15, 1, 12]],
      [57, [5, 0xc0]],
      [61, [1, 2, 3]],
      [60, [77]],
    ];
    send({ ...DISCOVER, options: Object.fromEntries(known) });
    const want = socket.sent[0]?.bytes;
    const unknown = fc.tuple(fc.integer({ min: 128, max: 254 }), fc.array(fc.nat(255)));
    const shuffled = fc
      .array(unknown, { maxLength: 3 })
      .chain((extra) => fc.shuffledSubarray([...known, ...extra], { minLength: known.length }))
      .filter((options) => known.every((option) => options.includes(option)));
    const property = fc.property(shuffled, (options) => {
      const octetsOfOptions = options.flatMap(([code, data]) => [code, data.length, ...data]);
      const head = requestFrame(DISCOVER).slice(42, 42 + 240);
      socket.sent.length = 0;
      socket.inject(frameOf(Uint8Array.of(...head, ...octetsOfOptions, 255)), { ifindex: PORT });
      expect(socket.sent[0]?.bytes).toEqual(want);
    });
    fc.assert(property);
  });
});

describe("serveDhcp(), relays", () => {
  const relays = [parseSubnet("10.0.0.0/24")];
  const relayed: RequestSpec = { ...DISCOVER, giaddr: RELAY, hops: 1 };

  test("get the reply at giaddr, port 67", () => {
    expect(startServer({ relays }).ask(relayed, RELAYED)).toMatchObject({
      destinationMac: RELAY_MAC,
      destinationIp: RELAY,
      destinationPort: 67,
      message: { giaddr: RELAY, hops: 0, yiaddr: CLIENT_IP },
    });
  });

  test("get option 82 back, octet by octet, as the last option", () => {
    const option = [1, 2, 9, 9, 2, 1, 7, 151, 0, 200, 3, 1, 2, 3];
    const options = { 82: option, 61: [1, 2], 55: [15] };
    const { message, payload } = startServer({ relays }).ask({ ...relayed, options }, RELAYED);
    expect([...(message.options.get(82) ?? [])]).toEqual(option);
    expect(codesOf(payload).slice(-2)).toEqual([61, 82]);
  });

  test("get a DHCPNAK with the broadcast bit and option 82", () => {
    const options = { 50: octets("192.168.7.4"), 82: [1, 1, 7] };
    const spec: RequestSpec = { type: "DHCPREQUEST", giaddr: RELAY, options };
    const reply = startServer({ relays }).ask(spec, RELAYED);
    expect(reply).toMatchObject({ destinationIp: RELAY, message: { flags: 0x8000, yiaddr: 0 } });
    expect(codesOf(reply.payload)).toEqual([53, 54, 56, 82]);
  });

  test("may stand in as the server (RFC 5107)", () => {
    const { ask } = startServer({ relays });
    const override = { 82: [11, 4, ...octets(RELAY)] };
    const offer = ask({ ...relayed, options: override }, RELAYED);
    expect(addressOption(offer.message, 54)).toBe(RELAY);
    const options = { ...override, 54: octets(RELAY), 50: octets(CLIENT_IP) };
    const reply = ask({ type: "DHCPREQUEST", giaddr: RELAY, options }, RELAYED);
    expect(messageTypeName(reply.message)).toBe("DHCPACK");
  });

  test("are known by the address that they send from as well", () => {
    const sender = [parseSubnet("192.0.2.7/32")];
    const envelope = { ...RELAYED, sourceIp: parseIpv4("192.0.2.7") };
    const reply = startServer({ relays: sender }).ask(relayed, envelope);
    expect(reply).toMatchObject({ destinationMac: RELAY_MAC, destinationIp: RELAY });
    const { counters, send } = startServer({ relays: sender });
    expect(send(relayed, RELAYED)).toEqual([]);
    expect([...counters.drops]).toEqual([["relay.untrusted", 1]]);
  });

  test("say by giaddr on which network the client is, unless something else says so", () => {
    const elsewhere = parseIpv4("192.0.2.7");
    const { counters, send, ask } = startServer({ relays: [parseSubnet("192.0.2.0/24")] });
    expect(send({ ...relayed, giaddr: elsewhere }, RELAYED)).toEqual([]);
    expect([...counters.drops]).toEqual([["subnet.unknown", 1]]);
    for (const options of [{ 82: [5, 4, ...octets("10.0.0.0")] }, { 118: octets("10.0.0.0") }]) {
      const reply = ask({ ...relayed, giaddr: elsewhere, options }, RELAYED);
      expect(reply).toMatchObject({ destinationIp: elsewhere, message: { yiaddr: CLIENT_IP } });
    }
    const both = { 82: [5, 4, ...octets("192.0.2.0")], 118: octets("10.0.0.0") };
    expect(send({ ...relayed, giaddr: elsewhere, options: both }, RELAYED)).toEqual([]);
  });

  test("get the reply from the address that they asked", () => {
    const asked = parseIpv4("192.0.2.1");
    const { ask } = startServer({ relays });
    expect(ask(relayed, { ...RELAYED, destinationIp: asked }).sourceIp).toBe(asked);
    expect(ask(relayed, { ...RELAYED, destinationIp: IPV4_BROADCAST }).sourceIp).toBe(SERVER_IP);
  });

  test("get the broadcast bit with a reply to DHCPINFORM that names no address", () => {
    const { ask } = startServer({ relays });
    const inform: RequestSpec = { type: "DHCPINFORM", giaddr: RELAY };
    expect(ask(inform, RELAYED).message.flags).toBe(0x8000);
    expect(ask({ ...inform, ciaddr: CLIENT_IP }, RELAYED).message.flags).toBe(0);
  });

  test("a lease from a relay is renewed and refused through the client's router", () => {
    const { ask, send } = startServer({ relays });
    const routed = { ...UNICAST, sourceMac: RELAY_MAC, sourceIp: CLIENT_IP };
    const spec: RequestSpec = { type: "DHCPREQUEST", ciaddr: CLIENT_IP };
    expect(ask(spec, routed)).toMatchObject({
      destinationMac: RELAY_MAC,
      sourceIp: SERVER_IP,
      destinationIp: CLIENT_IP,
      destinationPort: 68,
    });
    const wrong = send({ ...spec, ciaddr: OTHER_IP }, { ...routed, sourceIp: OTHER_IP });
    expect(wrong.map(({ message }) => messageTypeName(message))).toEqual(["DHCPNAK", "DHCPNAK"]);
    expect(wrong[0]).toMatchObject({ destinationMac: RELAY_MAC, destinationIp: OTHER_IP });
  });

  test.each([
    ["from another address than it names", { sourceIp: OTHER_IP }, true],
    ["by broadcast", { destinationMac: MAC_BROADCAST }, true],
    ["where there is no relay", {}, false],
  ])("a renewal through a router is dropped: %s", (_how, envelope, hasRelays) => {
    const { counters, send } = startServer(hasRelays ? { relays } : {});
    const routed = { ...UNICAST, sourceMac: RELAY_MAC, sourceIp: CLIENT_IP, ...envelope };
    expect(send({ type: "DHCPREQUEST", ciaddr: CLIENT_IP }, routed)).toEqual([]);
    expect([...counters.drops]).toEqual([["port.spoof", 1]]);
  });

  test("a lease from a relay is renewed directly", () => {
    const { ask } = startServer({ relays });
    const reply = ask({ type: "DHCPREQUEST", ciaddr: CLIENT_IP }, UNICAST);
    expect(messageTypeName(reply.message)).toBe("DHCPACK");
  });

  test.each<[string, RequestSpec, EnvelopeSpec, Partial<DhcpServerOptions>, string]>([
    ["none configured", relayed, RELAYED, {}, "relay.untrusted"],
    [
      "outside",
      { ...relayed, giaddr: parseIpv4("10.2.0.1") },
      { ...RELAYED, sourceIp: parseIpv4("10.2.0.1") },
      { relays },
      "relay.untrusted",
    ],
    ["ourselves", { ...relayed, giaddr: SERVER_IP }, RELAYED, { relays }, "relay.self"],
    ["hops 17", { ...relayed, hops: 17 }, RELAYED, { relays }, "bootp.hops"],
  ])("%s", (_name, spec, envelope, changes, want) => {
    const { counters, send } = startServer(changes);
    expect(send(spec, envelope)).toEqual([]);
    expect([...counters.drops]).toEqual([[want, 1]]);
  });

  test("option 82 of a client is not echoed", () => {
    const { message } = startServer().ask({ ...DISCOVER, options: { 82: [1, 1, 7] } });
    expect(message.options.has(82)).toBe(false);
  });
});

describe("serveDhcp(), silence", () => {
  test.each<[string, RequestSpec, EnvelopeSpec, string]>([
    ["an unknown client", { ...DISCOVER, mac: UNKNOWN_MAC }, {}, "nic.unknown"],
    ["an unknown client's request", { ...SELECTING, mac: UNKNOWN_MAC }, {}, "nic.unknown"],
    ["a forged chaddr", { ...DISCOVER, mac: OTHER_MAC }, { sourceMac: CLIENT_MAC }, "port.spoof"],
    [
      "another server's client",
      request({ 54: octets("10.0.0.77"), 50: octets("10.0.0.77") }),
      {},
      "req.otherserver",
    ],
    ["SELECTING nothing", request({ 54: octets(SERVER_IP) }), {}, "req.no50"],
    ["INFORM from nowhere", { type: "DHCPINFORM" }, {}, "inform.noaddress"],
    [
      "DECLINE",
      { type: "DHCPDECLINE", options: { 50: octets(CLIENT_IP), 54: octets(SERVER_IP) } },
      {},
      "client.decline",
    ],
    [
      "DECLINE of another's address",
      { type: "DHCPDECLINE", options: { 50: octets(OTHER_IP) } },
      {},
      "client.decline.foreign",
    ],
    [
      "DECLINE to another server",
      { type: "DHCPDECLINE", options: { 50: octets(CLIENT_IP), 54: octets("10.0.0.77") } },
      {},
      "req.otherserver",
    ],
    ["RELEASE", { type: "DHCPRELEASE", ciaddr: CLIENT_IP }, UNICAST, "client.release"],
    ["a frame to another station", DISCOVER, { destinationMac: OTHER_MAC }, "l2.dst"],
    ["our own address as source", DISCOVER, { sourceIp: SERVER_IP }, "ip.spoof"],
    ["port 69", DISCOVER, { destinationPort: 69 }, "udp.port"],
    ["port 68, where only servers send", DISCOVER, { destinationPort: 68 }, "rogue.server"],
  ])("%s", (_name, spec, envelope, want) => {
    const { counters, send, ask } = startServer();
    expect(send(spec, envelope)).toEqual([]);
    expect([...counters.drops]).toEqual([[want, 1]]);
    // And whoever that was, the next one is served.
    expect(ask(DISCOVER).message.yiaddr).toBe(CLIENT_IP);
  });

  test("a server inside a guest is reported with its port and address", () => {
    const drops: unknown[] = [];
    const { sendFrame } = startServer({ onDrop: (event) => drops.push({ ...event }) });
    const frame = requestFrame(DISCOVER);
    frame[42] = 2;
    frame.set([0, 0], 40);
    expect(sendFrame(frame)).toEqual([]);
    expect(drops).toMatchObject([{ reason: "rogue.server", ifindex: PORT, sourceMac: CLIENT_MAC }]);
  });

  test("a frame without a readable source is reported without one, not with an earlier one", () => {
    const macs: number[] = [];
    const { ask, sendFrame } = startServer({ onDrop: (event) => macs.push(event.sourceMac) });
    ask(DISCOVER);
    sendFrame(new Uint8Array(13));
    expect(macs).toEqual([0]);
  });

  test("listens at further addresses that it is given, and only there", () => {
    const { counters, ask, send } = startServer({
      localMacs: [OTHER_MAC],
      localAddresses: [GATEWAY],
    });
    const renew: RequestSpec = { type: "DHCPREQUEST", ciaddr: CLIENT_IP };
    const viaGateway = { ...UNICAST, destinationMac: OTHER_MAC };
    for (const destinationIp of [SERVER_IP, GATEWAY]) {
      expect(messageTypeName(ask(renew, { ...viaGateway, destinationIp }).message)).toBe("DHCPACK");
    }
    expect(send(renew, { ...viaGateway, destinationIp: OTHER_IP })).toEqual([]);
    expect([...counters.drops]).toEqual([["ip.dst", 1]]);
  });

  test.each<[string, () => ChainVerdict, string]>([
    [
      "throws",
      () => {
        throw new Error("broken plugin");
      },
      "plugin.error",
    ],
    ["fails", () => ({ kind: "error", reason: "inventory.timeout" }), "inventory.timeout"],
    ["drops", () => ({ kind: "drop", reason: "port.mismatch" }), "port.mismatch"],
    [
      "assigns 0.0.0.0",
      () => ({
        kind: "assigned",
        assignment: { address: IPV4_UNSPECIFIED, profile: profileWith() },
      }),
      "core.noaddress",
    ],
    [
      "assigns another server's options",
      () => ({
        kind: "assigned",
        assignment: { address: CLIENT_IP, profile: profileWith({ serverIdentifier: GATEWAY }) },
      }),
      "core.serverid",
    ],
  ])("a chain that %s costs that request only", (_name, decide, want) => {
    const { counters, send } = startServer({ decide });
    expect(send(DISCOVER)).toEqual([]);
    expect(send(request({ 50: octets(OTHER_IP) }))).toEqual([]);
    expect([...counters.drops]).toEqual([[want, 2]]);
  });

  test("a full transmit ring is counted, and the next attempt answered", () => {
    const { socket, counters, send, ask } = startServer();
    socket.transmitBuffersLeft = 0;
    expect(send(DISCOVER)).toEqual([]);
    expect([...counters.drops]).toEqual([["tx.nobuffer", 1]]);
    socket.transmitBuffersLeft = 1;
    ask(DISCOVER);
  });

  test("counts at most so many reasons by name", () => {
    let reason = 0;
    const { counters, send } = startServer({
      decide: () => ({ kind: "drop", reason: `reason.${reason++}` }),
    });
    for (let index = 0; index < 140; index++) send(DISCOVER);
    expect(counters.drops.size).toBe(129);
    expect(counters.drops.get("other")).toBe(12);
  });
});

describe("serveDhcp(), observers", () => {
  test("see each reply after it was queued", () => {
    const seen: ExchangeEvent[] = [];
    const { ask } = startServer({ onExchange: (event) => seen.push({ ...event }) });
    ask(DISCOVER);
    ask(request({ 50: octets(OTHER_IP) }));
    const common = { chaddr: CLIENT_MAC, xid: 0x1234_5678 };
    expect(seen).toMatchObject([
      { ...common, container: "c-1", requestType: 1, replyType: "DHCPOFFER", address: CLIENT_IP },
      { ...common, container: undefined, requestType: 3, replyType: "DHCPNAK", address: 0 },
    ]);
  });

  test("that throw are counted and change nothing", () => {
    const broken = () => {
      throw new Error("observer");
    };
    const { counters, ask, send } = startServer({ onExchange: broken, onDrop: broken });
    ask(DISCOVER);
    send({ ...DISCOVER, mac: UNKNOWN_MAC });
    expect(counters.observerErrors).toBe(2);
  });

  test("asks for the client's port only where a reply would be flooded", () => {
    const asked: MacAddress[] = [];
    const findPort = (client: MacAddress) => {
      asked.push(client);
      return client === CLIENT_MAC ? 42 : undefined;
    };
    const { ask } = startServer({ findPort });
    expect(ask({ ...DISCOVER, broadcast: true }).ifindex).toBe(42);
    expect(asked).toEqual([CLIENT_MAC]);
    expect(ask(DISCOVER).ifindex).toBe(PORT);
    expect(asked).toEqual([CLIENT_MAC]);
  });

  test("answers on the port that the assignment names", () => {
    const assignment = { address: CLIENT_IP, profile: profileWith(), ifindex: 42 };
    const { ask } = startServer({ decide: () => ({ kind: "assigned", assignment }) });
    expect(ask(DISCOVER).ifindex).toBe(42);
    const refused = ask(request({ 54: octets(SERVER_IP), 50: octets(OTHER_IP) }));
    expect([messageTypeName(refused.message), refused.ifindex]).toEqual(["DHCPNAK", 42]);
  });
});

describe("serveDhcp() under load", () => {
  test("its counters sum and nothing throws on any payload", () => {
    const { sendFrame, ask } = startServer();
    const payload = fc.uint8Array({ maxLength: 600 });
    fc.assert(fc.property(payload, (bytes) => void sendFrame(frameOf(bytes))));
    ask(DISCOVER);
  });

  test("the heap does not grow over 100,000 frames", () => {
    const { socket } = startServer();
    const good = requestFrame(DISCOVER);
    const foreign = requestFrame({ ...DISCOVER, mac: UNKNOWN_MAC });
    setFlagsFromString("--expose-gc");
    const collectGarbage: () => void = runInNewContext("gc");
    const run = (count: number) => {
      for (let index = 0; index < count; index++) {
        socket.inject(index % 4 === 0 ? good : foreign);
        socket.sent.length = 0;
      }
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const before = run(10_000);
    const after = run(100_000);
    expect(after - before).toBeLessThan(2 * 2 ** 20);
  });
});
