import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createDhcpRequest,
  type DhcpRequest,
  decodeMessage,
  encodeMessage,
  HEADER,
  HEADER_BYTES,
  HEADER_FIELDS,
  OPTION_TABLE,
  type OptionSpan,
  readOption,
  readRequest,
} from "../../src/dhcp/index.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { CLIENT_MAC, octets, requestMessage } from "./packets.ts";

const START = 44;

/** Reads a message that lies somewhere inside a larger memory, as in the ring. */
function read(payload: Uint8Array): { reason: string | undefined; request: DhcpRequest } {
  const memory = new Uint8Array(START + payload.length + 8).fill(0xee);
  memory.set(payload, START);
  const request = createDhcpRequest();
  const view = new DataView(memory.buffer);
  const reason = readRequest(memory, view, START, START + payload.length, request);
  return { reason, request };
}

function data(request: DhcpRequest, span: OptionSpan): Uint8Array {
  return request.optionBytes.slice(span.offset, span.offset + span.length);
}

/** A header with these octets as options, nothing added. */
function withOptions(options: readonly number[], change?: (bytes: Uint8Array) => void): Uint8Array {
  const header = encodeMessage(requestMessage({ type: "DHCPDISCOVER" })).slice(0, HEADER.options);
  change?.(header);
  return Uint8Array.of(...header, ...options);
}

const DISCOVER = [53, 1, 1];
const REQUEST = [53, 1, 3];
const put =
  (offset: number, ...values: number[]) =>
  (bytes: Uint8Array) =>
    bytes.set(values, offset);
const times = (count: number, octet: number) => Array.from({ length: count }, () => octet);

describe("the header table", () => {
  test("is contiguous and sums to 236 octets", () => {
    let offset = 0;
    for (const field of HEADER_FIELDS) {
      expect(field.offset).toBe(offset);
      expect(HEADER[field.name]).toBe(offset);
      offset += field.length;
    }
    expect(offset).toBe(HEADER_BYTES);
  });

  test("the option table is in order of code, without repetition", () => {
    const codes = OPTION_TABLE.map((row) => row.code);
    expect(codes).toEqual([...new Set(codes)].sort((one, other) => one - other));
  });
});

describe("readRequest()", () => {
  test.each([
    ["without option 53", withOptions([12, 1, 65, 255]), true],
    ["without any option", withOptions([]), true],
    ["without the magic cookie", withOptions(DISCOVER, put(236, 1)), false],
  ])("a message %s is read as BOOTP", (_name, payload, hasCookie) => {
    const { reason, request } = read(payload);
    expect(reason).toBeUndefined();
    expect(request).toMatchObject({ messageType: 0, hasCookie, chaddr: CLIENT_MAC });
  });

  test("reads every field", () => {
    const { reason, request } = read(
      encodeMessage({
        ...requestMessage({
          type: "DHCPREQUEST",
          xid: 0xffff_fffe,
          secs: 770,
          broadcast: true,
          ciaddr: parseIpv4("10.0.0.5"),
          options: {
            50: octets("10.0.0.9"),
            54: octets("168.63.129.16"),
            51: [0xff, 0xff, 0xff, 0xff],
            57: [5, 0xc0],
            55: [1, 3, 6],
            61: [1, 2, 3],
            12: [65],
            60: [66],
            77: [67],
          },
        }),
      }),
    );
    expect(reason).toBeUndefined();
    expect(request).toMatchObject({
      op: 1,
      htype: 1,
      hlen: 6,
      xid: 0xffff_fffe,
      secs: 770,
      broadcast: true,
      ciaddr: parseIpv4("10.0.0.5"),
      chaddr: CLIENT_MAC,
      messageType: 3,
      hasRequestedAddress: true,
      requestedAddress: parseIpv4("10.0.0.9"),
      hasServerIdentifier: true,
      serverIdentifier: parseIpv4("168.63.129.16"),
      requestedLeaseSeconds: 0xffff_ffff,
      maxMessageSize: 1472,
    });
    expect(data(request, request.parameterRequestList)).toEqual(Uint8Array.of(1, 3, 6));
    expect(data(request, request.clientIdentifier)).toEqual(Uint8Array.of(1, 2, 3));
    expect(data(request, request.hostname)).toEqual(Uint8Array.of(65));
    expect(data(request, request.vendorClass)).toEqual(Uint8Array.of(66));
    expect(data(request, request.userClass)).toEqual(Uint8Array.of(67));
  });

  test("forgets what an earlier message said", () => {
    const full = withOptions([...REQUEST, 50, 4, 1, 1, 1, 1, 55, 1, 1, 12, 1, 65, 12, 1, 66]);
    const bare = withOptions(DISCOVER);
    const request = createDhcpRequest();
    readRequest(full, new DataView(full.buffer), 0, full.length, request);
    expect(data(request, request.hostname)).toEqual(Uint8Array.of(65, 66));
    readRequest(bare, new DataView(bare.buffer), 0, bare.length, request);
    expect(request).toMatchObject({ messageType: 1, hasRequestedAddress: false });
    expect(request.parameterRequestList.length + request.hostname.length).toBe(0);
  });

  test.each([
    [[1, 0x2c], 0],
    [[2, 0x3f], 0],
    [[2, 0x40], 576],
    [[0xff, 0], 0xff00],
    [[5], 0],
  ])("option 57 %j is %i", (value, want) => {
    const { request } = read(withOptions([...DISCOVER, 57, value.length, ...value]));
    expect(request.maxMessageSize).toBe(want);
  });

  test("joins option 55 over two instances", () => {
    const { request } = read(withOptions([...DISCOVER, 55, 2, 1, 3, 12, 1, 65, 55, 1, 6, 255]));
    expect(data(request, request.parameterRequestList)).toEqual(Uint8Array.of(1, 3, 6));
    expect(data(request, request.hostname)).toEqual(Uint8Array.of(65));
  });

  test("joins options from the option area, file and sname, in that order", () => {
    const overloaded = withOptions([...DISCOVER, 52, 1, 3, 55, 1, 1, 255], (header) => {
      header.set([55, 1, 3, 255], 108);
      header.set([52, 1, 1, 55, 1, 6], 44);
    });
    const { reason, request } = read(overloaded);
    expect(reason).toBeUndefined();
    expect(data(request, request.parameterRequestList)).toEqual(Uint8Array.of(1, 3, 6));
  });

  test("finds 53 in an overloaded file", () => {
    const header = put(108, 53, 1, 3, 255);
    expect(read(withOptions([52, 1, 1, 255], header)).request.messageType).toBe(3);
    expect(read(withOptions([52, 1, 2, 255], header)).request.messageType).toBe(0);
    expect(read(withOptions([255], header)).request.messageType).toBe(0);
  });

  test("a truncated option ends only its own area", () => {
    const overloaded = withOptions([...DISCOVER, 52, 1, 3, 255], (header) => {
      header.set([...times(126, 0), 12, 9], 108);
      header.set([60, 1, 7, 255], 44);
    });
    const { reason, request } = read(overloaded);
    expect(reason).toBeUndefined();
    expect(data(request, request.vendorClass)).toEqual(Uint8Array.of(7));
  });

  test("believes option 82 only from a relay", () => {
    const option = [82, 6, 11, 4, 10, 0, 0, 9];
    const direct = read(withOptions([...DISCOVER, ...option])).request;
    expect(direct.relayInformation.length).toBe(0);
    expect(direct.serverIdentifierOverride).toBe(0);
    const relayed = read(withOptions([...DISCOVER, ...option], put(24, 10, 1, 0, 1))).request;
    expect(data(relayed, relayed.relayInformation)).toEqual(Uint8Array.from(option.slice(2)));
    expect(relayed.serverIdentifierOverride).toBe(parseIpv4("10.0.0.9"));
  });

  test("reads relay flags and source port, and survives an overrun", () => {
    const giaddr = put(24, 10, 1, 0, 1);
    const good = read(withOptions([...DISCOVER, 82, 5, 10, 1, 0x80, 19, 0], giaddr)).request;
    expect(good).toMatchObject({ relayedUnicast: true, relaySourcePort: true });
    const bad = read(withOptions([...DISCOVER, 82, 4, 1, 9, 19, 0], giaddr));
    expect(bad.reason).toBeUndefined();
    expect(bad.request.relayInformation.length).toBe(4);
    expect(bad.request.relaySourcePort).toBe(false);
  });
});

const GOLDEN = [
  encodeMessage(requestMessage({ type: "DHCPDISCOVER" })),
  encodeMessage(
    requestMessage({
      type: "DHCPREQUEST",
      giaddr: parseIpv4("10.1.0.1"),
      options: {
        50: octets("10.0.0.5"),
        54: octets("168.63.129.16"),
        55: [1, 3, 6],
        82: [1, 1, 7],
      },
    }),
  ),
  withOptions([...DISCOVER, 52, 1, 3, 55, 1, 1, 255], (header) => {
    header.set([55, 1, 3, 255], 108);
    header.set([12, 2, 65, 66], 44);
  }),
];

describe("readRequest() and decodeMessage() on hostile input", () => {
  /** Whatever the hot path takes, the readable decoder must take and understand in the same way. */
  function expectAgreement(payload: Uint8Array): void {
    const { reason, request } = read(payload);
    const decoded = decodeMessage(payload);
    if (reason !== undefined || !request.hasCookie) return;
    if (decoded.kind !== "message") throw new Error(`decodeMessage() says ${decoded.reason}`);
    const { message } = decoded;
    const { op, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr } = message;
    expect(request).toMatchObject({
      op,
      hops,
      xid,
      secs,
      flags,
      ciaddr,
      yiaddr,
      siaddr,
      giaddr,
      chaddr,
    });
    expect(request.messageType).toBe(message.options.get(53)?.[0] ?? 0);
    const spans: [number, OptionSpan][] = [
      [55, request.parameterRequestList],
      [61, request.clientIdentifier],
      [12, request.hostname],
      [60, request.vendorClass],
      [77, request.userClass],
    ];
    for (const [code, span] of spans) {
      const decodedData = message.options.get(code) ?? new Uint8Array();
      const isIgnored = (code === 12 || code === 60) && decodedData.every((octet) => octet === 0);
      expect(data(request, span)).toEqual(isIgnored ? new Uint8Array() : decodedData);
    }
    for (const [code, decodedData] of message.options) {
      if (code !== 82 || request.giaddr !== 0)
        expect(readOption(request, code)).toEqual(decodedData);
    }
    if (request.hasRequestedAddress) {
      expect(octets(request.requestedAddress)).toEqual(message.options.get(50));
    }
  }

  test("agree on every prefix of good messages", () => {
    for (const golden of GOLDEN) {
      for (let length = 0; length <= golden.length; length++) {
        expectAgreement(golden.slice(0, length));
      }
    }
  });

  test("agree on good messages with any octet changed", () => {
    for (const golden of GOLDEN) {
      for (let offset = 0; offset < golden.length; offset++) {
        for (const mask of [0x01, 0x80, 0xff]) {
          const flipped = golden.slice();
          flipped[offset] = flipped[offset]! ^ mask;
          expectAgreement(flipped);
        }
      }
    }
  });

  test("agree on any octets as options, file and sname", () => {
    const area = fc.uint8Array({ maxLength: 400 });
    // Option-shaped noise: codes that matter, short data.
    const code = fc.constantFrom(0, 12, 50, 52, 53, 54, 55, 57, 60, 61, 77, 82, 200, 255);
    const option = fc
      .tuple(code, fc.uint8Array({ maxLength: 6 }))
      .map(([head, tail]) => [head, tail.length, ...tail]);
    const shaped = fc
      .array(option, { maxLength: 40 })
      .map((options) => Uint8Array.from([...DISCOVER, ...options.flat()]));
    const property = fc.property(fc.oneof(area, shaped), shaped, (options, fields) => {
      expectAgreement(
        withOptions([...options], (header) => header.set(fields.subarray(0, 192), 44)),
      );
    });
    fc.assert(property, { numRuns: 2000 });
  });

  test("never throw on any octets", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 700 }), expectAgreement));
  });
});
