import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type ClasslessRoute,
  type DhcpMessage,
  decodeMessage,
  decodeRoutes,
  encodeMessage,
  encodeRoutes,
  messageTypeName,
  walkOptions,
} from "../../src/dhcp/index.ts";
import { networkOf, parseIpv4, parseSubnet, readIpv4 } from "../../src/model/ipv4-address.ts";
import { readMac } from "../../src/model/mac-address.ts";
import { octets, requestMessage } from "./packets.ts";

/** The codec of the npm package `dhcp`, written by others: what we write it must read, and the reverse. */
interface ForeignMessage {
  readonly options: Record<number, unknown>;
  readonly [field: string]: unknown;
}
const foreign: {
  parse(buffer: Buffer): ForeignMessage;
  format(message: object): { _data: Buffer; _w: number };
} = createRequire(import.meta.url)("dhcp/lib/protocol.js");

const address = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => readIpv4(bytes, 0));
const field = (maxLength: number) =>
  fc.uint8Array({ maxLength }).filter((bytes) => bytes.at(-1) !== 0);
const anyMessage: fc.Arbitrary<DhcpMessage> = fc.record({
  op: fc.nat(255),
  hops: fc.nat(255),
  xid: fc.nat(0xffff_ffff),
  secs: fc.nat(0xffff),
  flags: fc.nat(0xffff),
  ciaddr: address,
  yiaddr: address,
  siaddr: address,
  giaddr: address,
  chaddr: fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => readMac(bytes, 0)),
  sname: field(64),
  file: field(128),
  options: fc
    .uniqueArray(
      fc.tuple(
        fc.integer({ min: 1, max: 254 }).filter((code) => code !== 52),
        fc.uint8Array({ maxLength: 600 }),
      ),
      { selector: ([code]) => code, maxLength: 12 },
    )
    .map((entries) => new Map(entries)),
});

describe("encodeMessage() and decodeMessage()", () => {
  test("are inverse", () => {
    const property = fc.property(anyMessage, (message) => {
      expect(decodeMessage(encodeMessage(message))).toEqual({ kind: "message", message });
    });
    fc.assert(property);
  });

  test("pad to 300 octets, after End only", () => {
    const bytes = encodeMessage(requestMessage({ type: "DHCPDISCOVER" }));
    expect(bytes.length).toBe(300);
    expect([...bytes.slice(240)]).toEqual([53, 1, 1, 255, ...Array(56).fill(0)]);
  });

  test("split an option of 256 octets", () => {
    const message = requestMessage({ type: "DHCPDISCOVER", options: { 61: new Uint8Array(256) } });
    const bytes = encodeMessage(message);
    expect([...bytes.slice(243, 245)]).toEqual([61, 255]);
    expect([...bytes.slice(243 + 257, 243 + 260)]).toEqual([61, 1, 0]);
  });

  test("decode never throws", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => void decodeMessage(bytes)));
  });

  test("decode keeps no reference to its input", () => {
    const bytes = encodeMessage(requestMessage({ type: "DHCPDISCOVER", options: { 12: [65] } }));
    const result = decodeMessage(bytes);
    bytes.fill(0);
    expect(result.kind === "message" && result.message.options.get(12)).toEqual(Uint8Array.of(65));
  });
});

describe("the npm package dhcp", () => {
  test("reads what we write", () => {
    const message = requestMessage({
      type: "DHCPREQUEST",
      ciaddr: parseIpv4("10.0.0.5"),
      broadcast: true,
      options: { 50: octets("10.0.0.9"), 55: [1, 3, 6], 12: [119, 101, 98] },
    });
    const parsed = foreign.parse(Buffer.from(encodeMessage(message)));
    expect(parsed).toMatchObject({
      op: 1,
      xid: 0x1234_5678,
      flags: 0x8000,
      ciaddr: "10.0.0.5",
      chaddr: "00-0D-3A-01-02-03",
      magicCookie: 0x6382_5363,
    });
    expect(parsed.options).toEqual({ 53: 3, 50: "10.0.0.9", 55: [1, 3, 6], 12: "web" });
  });

  test("writes what we read", () => {
    const { _data, _w } = foreign.format({
      op: 1,
      htype: 1,
      hlen: 6,
      hops: 0,
      xid: 7,
      secs: 3,
      flags: 0,
      ciaddr: "0.0.0.0",
      yiaddr: "0.0.0.0",
      siaddr: "0.0.0.0",
      giaddr: "0.0.0.0",
      chaddr: "00-0d-3a-01-02-03",
      sname: "",
      file: "",
      options: { 53: 1, 57: 1500, 55: [1, 121, 3], 12: "web" },
    });
    const result = decodeMessage(_data.subarray(0, _w));
    if (result.kind !== "message") throw new Error(result.reason);
    const { message } = result;
    expect(messageTypeName(message)).toBe("DHCPDISCOVER");
    expect(message).toMatchObject({ xid: 7, secs: 3 });
    expect(message.options.get(55)).toEqual(Uint8Array.of(1, 121, 3));
    expect(message.options.get(57)).toEqual(Uint8Array.of(0x05, 0xdc));
  });
});

describe("walkOptions()", () => {
  test.each<[string, number[], number[], object]>([
    ["nothing", [], [], { kind: "no-end" }],
    ["pads and End", [0, 0, 255, 12], [], { kind: "end" }],
    ["two options", [12, 1, 65, 0, 60, 0, 255], [12, 60], { kind: "end" }],
    ["no End", [12, 1, 65], [12], { kind: "no-end" }],
    ["a missing length", [12, 1, 65, 60], [12], { kind: "truncated", code: 60 }],
    ["an overrun by one", [12, 2, 65], [], { kind: "truncated", code: 12 }],
    ["a visitor that has enough", [9, 0, 12, 0], [9], { kind: "stopped" }],
  ])("%s", (_name, bytes, codes, want) => {
    const seen: number[] = [];
    const end = walkOptions(Uint8Array.from(bytes), 0, bytes.length, (code) => {
      seen.push(code);
      return code !== 9;
    });
    expect([seen, end]).toEqual([codes, want]);
  });
});

describe("classless routes", () => {
  test.each<[string, number[]]>([
    ["0.0.0.0/0", [0]],
    ["10.0.0.0/8", [8, 10]],
    ["10.0.0.0/24", [24, 10, 0, 0]],
    ["10.17.0.0/16", [16, 10, 17]],
    ["10.27.129.0/24", [24, 10, 27, 129]],
    ["10.229.0.128/25", [25, 10, 229, 0, 128]],
    ["10.198.122.47/32", [32, 10, 198, 122, 47]],
  ])("RFC 3442's example %s", (subnet, want) => {
    const route = { destination: parseSubnet(subnet), gateway: parseIpv4("10.0.0.1") };
    expect([...encodeRoutes([route])]).toEqual([...want, 10, 0, 0, 1]);
  });

  test("are read back", () => {
    const route: fc.Arbitrary<ClasslessRoute> = fc
      .tuple(address, fc.nat(32), address)
      .map(([network, prefixLength, gateway]) => ({
        destination: { network: networkOf(network, prefixLength), prefixLength },
        gateway,
      }));
    const property = fc.property(fc.array(route), (routes) => {
      expect(decodeRoutes(encodeRoutes(routes))).toEqual(routes);
    });
    fc.assert(property);
  });

  test.each([[[33, 1, 2, 3, 4, 5, 1, 1, 1, 1]], [[24, 10, 0, 0, 10, 0, 0]], [[255]], [[8]]])(
    "refuse %j",
    (bytes) => {
      expect(decodeRoutes(Uint8Array.from(bytes))).toBeUndefined();
    },
  );

  test("lose host bits beyond the prefix", () => {
    expect(decodeRoutes(Uint8Array.of(9, 10, 0xff, 1, 1, 1, 1))?.[0]?.destination).toEqual(
      parseSubnet("10.128.0.0/9"),
    );
  });
});
