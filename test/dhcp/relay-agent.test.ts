/** The relay agent's rules, each with a message that obeys it and one that does not. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type ClientPort,
  checkRelayAddresses,
  createDhcpRequest,
  decodeMessage,
  encodeMessage,
  encodeRelayInformation,
  HEADER,
  isEchoOf,
  RELAY_ID_BYTES_MAX,
  type RelayedNetwork,
  type RelayPolicy,
  type RequestVerdict,
  readRequest,
  relayRequest,
} from "../../src/dhcp/index.ts";
import { createOptionIndex } from "../../src/dhcp/option-index.ts";
import { IPV4_UNSPECIFIED, parseIpv4, parseSubnet } from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST, parseMac } from "../../src/model/mac-address.ts";
import { createUdpFrame, type UdpFrame } from "../../src/net/frame.ts";
import { FRAME_BYTES_MAX } from "../../src/net/frame-socket.ts";
import { CLIENT_MAC, octets, RELAY_MAC, type RequestSpec, requestMessage } from "./packets.ts";

const GIADDR = parseIpv4("10.1.0.1");
const BROADCAST = parseIpv4("10.1.255.255");
const DOWNSTREAM = parseIpv4("10.2.0.1");
const NETWORK: RelayedNetwork = {
  giaddr: GIADDR,
  addresses: [GIADDR, BROADCAST],
  hardwareAddress: RELAY_MAC,
  mtu: 1500,
};
const POLICY: RelayPolicy = {
  hopsMax: 4,
  secsMin: 0,
  clientInformation: "drop",
  trustedRelays: [],
  remoteId: ascii("node-1"),
  overridesServer: true,
};
const PORT: ClientPort = { ifindex: 7, circuitId: ascii("tap7"), isTrusted: false };
const DISCOVER: RequestSpec = { type: "DHCPDISCOVER" };
/** 1 "tap7", 2 "node-1", 10 broadcast, 11 giaddr. */
const INFORMATION = [
  ...[1, 4, ...ascii("tap7")],
  ...[2, 6, ...ascii("node-1")],
  ...[10, 1, 0],
  ...[11, 4, ...octets(GIADDR)],
];

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

interface Changes {
  network?: Partial<RelayedNetwork>;
  policy?: Partial<RelayPolicy>;
  port?: Partial<ClientPort> | undefined;
  udp?: Partial<UdpFrame>;
}

/** Relays octets; throws if they are no request. */
function relayOctets(bytes: Uint8Array, changes: Changes = {}) {
  const request = createDhcpRequest();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reason = readRequest(bytes, view, 0, bytes.length, request);
  if (reason !== undefined) throw new Error(reason);
  const udp = createUdpFrame();
  Object.assign(udp, { sourceMac: CLIENT_MAC, destinationMac: MAC_BROADCAST }, changes.udp);
  const findPort = (): ClientPort | undefined =>
    "port" in changes && changes.port === undefined ? undefined : { ...PORT, ...changes.port };
  const out = new Uint8Array(2 * FRAME_BYTES_MAX);
  const verdict = relayRequest(
    { udp, request, findPort, index: createOptionIndex() },
    { ...NETWORK, ...changes.network },
    { ...POLICY, ...changes.policy },
    out,
  );
  return { verdict, out: verdict.kind === "forward" ? out.slice(0, verdict.length) : out };
}

function relay(spec: RequestSpec, changes: Changes = {}) {
  const bytes = encodeMessage(requestMessage(spec));
  const { verdict, out } = relayOctets(bytes, changes);
  if (verdict.kind !== "forward") throw new Error(`dropped: ${verdict.reason}`);
  const result = decodeMessage(out);
  if (result.kind !== "message") throw new Error(result.reason);
  return { bytes, out, verdict, message: result.message };
}

function dropReason(spec: RequestSpec, changes: Changes = {}): string {
  const { verdict } = relayOctets(encodeMessage(requestMessage(spec)), changes);
  return verdict.kind === "drop" ? verdict.reason : "forwarded";
}

/** A message with these octets as its options field. */
function withOptions(...options: number[]): Uint8Array {
  const header = encodeMessage(requestMessage(DISCOVER)).subarray(0, HEADER.options);
  return Uint8Array.from([...header, ...options]);
}

describe("which frames a relay agent takes (A1)", () => {
  const check = (changes: Partial<UdpFrame>) => {
    const udp = createUdpFrame();
    const destinationIp = parseIpv4("255.255.255.255");
    Object.assign(udp, { destinationMac: MAC_BROADCAST, destinationIp }, changes);
    return checkRelayAddresses(udp, NETWORK);
  };

  test("a broadcast, and one that is sent to the agent's own address", () => {
    expect(check({})).toBeUndefined();
    expect(check({ destinationIp: BROADCAST })).toBeUndefined();
    expect(check({ destinationMac: RELAY_MAC, destinationIp: GIADDR })).toBeUndefined();
  });

  test("not one to a server, which the kernel routes", () => {
    const destinationIp = parseIpv4("168.63.129.16");
    expect(check({ destinationMac: RELAY_MAC, destinationIp })).toBe("ip.dst");
  });

  test("not one to another station, nor one from our own address", () => {
    expect(check({ destinationMac: CLIENT_MAC })).toBe("l2.dst");
    expect(check({ sourceIp: GIADDR })).toBe("ip.spoof");
  });
});

describe("what a relay agent makes of a request", () => {
  test("one more hop, up to the most that are allowed (A2)", () => {
    expect(relay({ ...DISCOVER, hops: 3 }).message.hops).toBe(4);
    expect(dropReason({ ...DISCOVER, hops: 4 })).toBe("relay.hops");
    const policy = { hopsMax: 16 };
    expect(relay({ ...DISCOVER, hops: 15 }, { policy }).message.hops).toBe(16);
    expect(dropReason({ ...DISCOVER, hops: 16 }, { policy })).toBe("relay.hops");
  });

  test("nothing, until the client has tried for long enough (A3)", () => {
    const policy = { secsMin: 4 };
    expect(dropReason({ ...DISCOVER, secs: 3 }, { policy })).toBe("relay.secs");
    expect(relay({ ...DISCOVER, secs: 4 }, { policy }).message.secs).toBe(4);
  });

  test("a message with our giaddr, if it has none (A4)", () => {
    expect(relay(DISCOVER).message.giaddr).toBe(GIADDR);
  });

  test("nothing, if a client plays a relay agent, or us (A4)", () => {
    expect(dropReason({ ...DISCOVER, giaddr: DOWNSTREAM })).toBe("relay.untrusted");
    const policy = { trustedRelays: [parseSubnet("10.0.0.0/8")] };
    expect(dropReason({ ...DISCOVER, giaddr: GIADDR }, { policy })).toBe("relay.self");
  });

  test("the same message with one more hop, if it comes from an agent that we trust (A4)", () => {
    const policy = { trustedRelays: [parseSubnet("10.2.0.0/24")] };
    const spec = { ...DISCOVER, giaddr: DOWNSTREAM, hops: 1, options: { 82: [1, 1, 65] } };
    const sourceMac = parseMac("02:00:00:00:00:99");
    const { bytes, out, verdict } = relay(spec, { policy, udp: { sourceMac } });
    const expected = bytes.slice();
    expected[HEADER.hops] = 2;
    expect(out).toEqual(expected);
    expect(verdict.client).toBeUndefined();
  });

  test("nothing, if the frame is not from the client that it names", () => {
    expect(dropReason(DISCOVER, { udp: { sourceMac: parseMac("02:00:00:00:00:99") } })).toBe(
      "port.spoof",
    );
  });

  test("the same in every other field and option, all flags included (A5)", () => {
    const spec = requestMessage({ ...DISCOVER, secs: 258, options: { 55: [3, 1], 12: [104] } });
    const sname = Uint8Array.from({ length: 64 }, (_, at) => at + 1);
    const file = Uint8Array.from({ length: 128 }, (_, at) => at + 1);
    const bytes = encodeMessage({ ...spec, ciaddr: parseIpv4("10.1.0.9"), sname, file });
    bytes.set([0x80, 0x03], HEADER.flags);
    const { verdict, out } = relayOctets(bytes);
    const expected = bytes.slice();
    expected[HEADER.hops] = 1;
    expected.set(octets(GIADDR), HEADER.giaddr);
    const end = 3 + 4 + 3; // options 53, 55, 12
    expect(out.slice(0, HEADER.options + end)).toEqual(expected.slice(0, HEADER.options + end));
    expect(verdict.kind).toBe("forward");
  });

  test("S87 agent-preset-82: nothing, if a client sends option 82, wherever it hides it (A6)", () => {
    expect(dropReason({ ...DISCOVER, options: { 82: [1, 1, 65] } })).toBe("relay.information");
    const hidden = withOptions(53, 1, 1, 52, 1, 1, 255);
    hidden.set([82, 3, 1, 1, 65, 255], HEADER.file);
    expect(relayOctets(hidden).verdict).toEqual({ kind: "drop", reason: "relay.information" });
  });

  test("ours in place of a client's option 82, if the operator wants that (A6)", () => {
    const policy = { clientInformation: "replace" } as const;
    const twice = withOptions(53, 1, 1, 82, 3, 1, 1, 65, 52, 1, 3, 82, 1, 0, 55, 1, 3, 255);
    twice.set([82, 2, 9, 0, 255], HEADER.file);
    twice.set([82, 1, 9, 255], HEADER.sname);
    const { out } = relayOctets(twice, { policy });
    const options = [53, 1, 1, 52, 1, 3, 55, 1, 3, 82, INFORMATION.length, ...INFORMATION, 255];
    expect([...out.subarray(HEADER.options, HEADER.options + options.length)]).toEqual(options);
    expect([...out.subarray(HEADER.file, HEADER.file + 5)]).toEqual([0, 0, 0, 0, 255]);
    expect([...out.subarray(HEADER.sname, HEADER.sname + 4)]).toEqual([0, 0, 0, 255]);
  });

  test("option 82 as it came, from a port with a switch that adds it (A6)", () => {
    const spec = { ...DISCOVER, options: { 82: [1, 1, 65] } };
    const { message, verdict } = relay(spec, { port: { isTrusted: true } });
    expect([...(message.options.get(82) ?? [])]).toEqual([1, 1, 65]);
    expect(message.giaddr).toBe(GIADDR);
    expect(verdict.client).toMatchObject({ information: Uint8Array.of(1, 1, 65), isOurs: false });
  });

  test("option 82 in the place of End and of Pads before it, sub-options ascending (A7)", () => {
    const { out, verdict } = relayOctets(withOptions(53, 1, 1, 0, 55, 1, 3, 0, 0, 255, 9, 9));
    const options = [53, 1, 1, 55, 1, 3, 82, INFORMATION.length, ...INFORMATION, 255];
    expect([...out.subarray(HEADER.options, HEADER.options + options.length)]).toEqual(options);
    expect(new Set(out.subarray(HEADER.options + options.length))).toEqual(new Set([0]));
    expect(out.length).toBe(300);
    expect(verdict).toMatchObject({ client: { information: Uint8Array.from(INFORMATION) } });
  });

  test("sub-option 5 where giaddr is not of the clients' network, 11 only if wanted (A7)", () => {
    const linkSelection = parseIpv4("10.9.0.0");
    const changes = { network: { linkSelection }, policy: { overridesServer: false } };
    const [one, two] = [INFORMATION.slice(0, 6), INFORMATION.slice(6, 14)];
    const expected = [...one, ...two, 5, 4, ...octets(linkSelection), 10, 1, 0];
    expect([...(relay(DISCOVER, changes).message.options.get(82) ?? [])]).toEqual(expected);
  });

  test("a flag in sub-option 10 that the client sent by unicast, and where its reply goes", () => {
    const spec: RequestSpec = { type: "DHCPREQUEST", ciaddr: parseIpv4("10.1.0.9") };
    const { message, verdict } = relay(spec, { udp: { destinationMac: RELAY_MAC } });
    expect([...(message.options.get(82) ?? [])].slice(14, 17)).toEqual([10, 1, 0x80]);
    expect(verdict.client?.unicastAddress).toBe(spec.ciaddr);
    expect(relay(spec).verdict.client?.unicastAddress).toBe(IPV4_UNSPECIFIED);
  });

  test("S85 agent-no-room: no option 82 where it would not fit into what the client says that it takes (A8)", () => {
    // A datagram of 576 octets has room for 548 of message: 240, options, 82 with its two octets, and End.
    const room = 576 - 28 - 240 - 3 - 4 - 2 - (2 + INFORMATION.length) - 1;
    for (const [filler, hasNoRoom] of [
      [room, false],
      [room + 1, true],
    ] as const) {
      const first = Math.min(filler, 200);
      const options = { 57: [2, 64], 43: new Uint8Array(first) };
      const second = filler - first - 2;
      const spec = { ...DISCOVER, options: { ...options, 125: new Uint8Array(second) } };
      const { verdict, message } = relay(spec);
      expect([verdict.hasNoRoom, message.options.has(82)]).toEqual([hasNoRoom, !hasNoRoom]);
      expect(verdict.client?.information === undefined).toBe(hasNoRoom);
    }
    const large = { 57: [5, 220], 43: new Uint8Array(250), 125: new Uint8Array(250) };
    expect(relay({ ...DISCOVER, options: large }).verdict.hasNoRoom).toBe(false);
    const network = { mtu: 576 };
    expect(relay({ ...DISCOVER, options: large }, { network }).verdict.hasNoRoom).toBe(true);
  });

  test("option 82 and End after the last option, if End is missing (A10)", () => {
    const { out } = relayOctets(withOptions(53, 1, 1, 12, 1, 104));
    const options = [53, 1, 1, 12, 1, 104, 82, INFORMATION.length, ...INFORMATION, 255];
    expect([...out.subarray(HEADER.options, HEADER.options + options.length)]).toEqual(options);
  });

  test("nothing, if an option runs past the end: what follows it would be part of it", () => {
    const { verdict } = relayOctets(withOptions(53, 1, 1, 12, 9, 104));
    expect(verdict).toEqual({ kind: "drop", reason: "opt.trunc" });
  });

  test("the same BOOTP message, with giaddr and no option (A11)", () => {
    const bytes = new Uint8Array(300);
    bytes.set(encodeMessage(requestMessage(DISCOVER)).subarray(0, HEADER.cookie));
    const { verdict, out } = relayOctets(bytes);
    const expected = bytes.slice();
    expected[HEADER.hops] = 1;
    expected.set(octets(GIADDR), HEADER.giaddr);
    expect(out).toEqual(expected);
    expect(verdict).toMatchObject({ client: { ifindex: 7, information: undefined } });
  });

  test("nothing, if the bridge does not know the client's port", () => {
    expect(dropReason(DISCOVER, { port: undefined })).toBe("relay.noport");
  });

  test("a message that a server reads, whatever options the client sends", () => {
    const option = fc.tuple(
      fc.integer({ min: 1, max: 254 }).filter((code) => ![52, 53, 82].includes(code)),
      fc.uint8Array({ maxLength: 40 }),
    );
    fc.assert(
      fc.property(fc.array(option, { maxLength: 12 }), (options) => {
        const octetsOf = options.flatMap(([code, data]) => [code, data.length, ...data]);
        const bytes = withOptions(53, 1, 1, ...octetsOf, 255);
        const { verdict, out } = relayOctets(bytes);
        const end = bytes.length - 1;
        const ends: RequestVerdict = { ...verdict };
        if (ends.kind !== "forward") throw new Error(ends.reason);
        expect(out.subarray(HEADER.chaddr, end)).toEqual(bytes.subarray(HEADER.chaddr, end));
        const tail = ends.hasNoRoom ? [255] : [82, INFORMATION.length, ...INFORMATION, 255];
        expect([...out.subarray(end, end + tail.length)]).toEqual(tail);
      }),
    );
  });
});

describe("option 82", () => {
  test("with the longest ids fits into one instance", () => {
    const id = new Uint8Array(RELAY_ID_BYTES_MAX);
    const data = encodeRelayInformation({
      circuitId: id,
      remoteId: id,
      linkSelection: GIADDR,
      isUnicast: true,
      serverIdentifier: GIADDR,
    });
    expect(data.length).toBeLessThanOrEqual(255);
  });

  test("is an echo of itself, with other flags as well, and of nothing else", () => {
    const sent = Uint8Array.from(INFORMATION);
    const at = (index: number) =>
      sent.map((octet, place) => (place === index ? octet ^ 0x80 : octet));
    expect(isEchoOf(sent, sent.slice())).toBe(true);
    sent.forEach((_, index) => {
      expect(isEchoOf(sent, at(index))).toBe(index === 16); // the flags' own octet
    });
    expect(isEchoOf(sent, sent.subarray(0, sent.length - 1))).toBe(false);
    const malformed = Uint8Array.of(1, 200, 3);
    expect(isEchoOf(malformed, malformed.slice())).toBe(true);
  });
});
