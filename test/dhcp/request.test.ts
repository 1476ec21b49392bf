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

const ROWS: [name: string, payload: Uint8Array, want: string | undefined][] = [
  ["an empty payload", new Uint8Array(), "bootp.short"],
  ["235 octets", withOptions([]).slice(0, 235), "bootp.short"],
  ["236 octets", withOptions([]).slice(0, 236), "bootp.short"],
  ["239 octets", withOptions([]).slice(0, 239), "bootp.short"],
  ["240 octets, no options", withOptions([]), "bootp.disabled"],
  ["244 octets, as Azure's agent sends", withOptions([...DISCOVER, 255]), undefined],
  ["more than a frame", withOptions(times(2000, 0)), "bootp.long"],
  ["op 2 from a client's port", withOptions(DISCOVER, put(0, 2)), "rogue.server"],
  ["op 0", withOptions(DISCOVER, put(0, 0)), "bootp.op"],
  ["op 3", withOptions(DISCOVER, put(0, 3)), "bootp.op"],
  ["htype 6", withOptions(DISCOVER, put(1, 6)), "bootp.htype"],
  ["htype 32", withOptions(DISCOVER, put(1, 32)), "bootp.htype"],
  ["hlen 0", withOptions([...DISCOVER, 61, 1, 1], put(2, 0)), "bootp.hlen"],
  ["hlen 255", withOptions(DISCOVER, put(2, 255)), "bootp.hlen"],
  ["chaddr all zero", withOptions(DISCOVER, put(28, 0, 0, 0, 0, 0, 0)), "bootp.chaddr"],
  ["chaddr of a group", withOptions(DISCOVER, put(28, 1)), "bootp.chaddr"],
  ["chaddr padding", withOptions(DISCOVER, put(34, 1, 2, 3)), undefined],
  ["hops 16", withOptions(DISCOVER, put(3, 16)), undefined],
  ["hops 17", withOptions(DISCOVER, put(3, 17)), "bootp.hops"],
  ["giaddr 127.0.0.1", withOptions(DISCOVER, put(24, 127, 0, 0, 1)), "relay.giaddr"],
  ["giaddr 0.0.0.1", withOptions(DISCOVER, put(24, 0, 0, 0, 1)), "relay.giaddr"],
  ["giaddr 224.0.0.1", withOptions(DISCOVER, put(24, 224, 0, 0, 1)), "relay.giaddr"],
  ["giaddr 240.0.0.1", withOptions(DISCOVER, put(24, 240, 0, 0, 1)), "relay.giaddr"],
  ["giaddr broadcast", withOptions(DISCOVER, put(24, 255, 255, 255, 255)), "relay.giaddr"],
  ["ciaddr 127.0.0.1", withOptions(DISCOVER, put(12, 127, 0, 0, 1)), "bootp.ciaddr"],
  ["ciaddr 224.0.0.1", withOptions(DISCOVER, put(12, 224, 0, 0, 1)), "bootp.ciaddr"],
  ["ciaddr broadcast", withOptions(DISCOVER, put(12, 255, 255, 255, 255)), "bootp.ciaddr"],
  ["rubbish in yiaddr and siaddr", withOptions(DISCOVER, put(16, ...times(8, 9))), undefined],
  ["reserved flags", withOptions(DISCOVER, put(10, 0x7f, 0xff)), undefined],
  ["secs 0xffff", withOptions(DISCOVER, put(8, 255, 255)), undefined],
  ["sname and file without NUL", withOptions(DISCOVER, put(44, ...times(192, 65))), undefined],
  ["a wrong cookie", withOptions(DISCOVER, put(236, 1)), "bootp.cookie"],
  ["a cookie of zeros", withOptions(DISCOVER, put(236, 0, 0, 0, 0)), "bootp.cookie"],
  ["a code without length after 53", withOptions([...DISCOVER, 12]), undefined],
  ["a code without length before 53", withOptions([12]), "opt.trunc"],
  ["an option one octet too long after 53", withOptions([...DISCOVER, 12, 2, 65]), undefined],
  ["an option 255 too long after 53", withOptions([...DISCOVER, 12, 255]), undefined],
  ["an option too long before 53", withOptions([12, 2, 65]), "opt.trunc"],
  ["option 50 too long", withOptions([...REQUEST, 50, 4, 1, 2, 3]), "opt.trunc"],
  ["option 54 too long", withOptions([...REQUEST, 54, 4, 1, 2, 3]), "opt.trunc"],
  ["option 82 too long", withOptions([...REQUEST, 82, 9, 1]), "opt.trunc"],
  ["no End", withOptions(DISCOVER), undefined],
  ["End first", withOptions([255, ...DISCOVER]), "bootp.disabled"],
  ["rubbish after End", withOptions([...DISCOVER, 255, 50, 200, 1]), undefined],
  ["1200 Pads before 53", withOptions([...times(1200, 0), ...DISCOVER, 255]), undefined],
  ["no 53", withOptions([12, 1, 65, 255]), "bootp.disabled"],
  ["53 of length 0", withOptions([53, 0, 255]), "opt.53"],
  ["53 of length 2", withOptions([53, 2, 1, 1, 255]), "opt.53"],
  ["53 twice, different", withOptions([53, 1, 1, 53, 1, 3, 255]), "opt.53"],
  ["53 twice, equal", withOptions([53, 1, 1, 53, 1, 1, 255]), undefined],
  ["53 = 0", withOptions([53, 1, 0]), "type.unknown"],
  ["53 = 19", withOptions([53, 1, 19]), "type.unknown"],
  ["53 = 255", withOptions([53, 1, 255]), "type.unknown"],
  ...[2, 5, 6, 9, 11, 12, 13, 15, 17].map((type): [string, Uint8Array, string] => [
    `53 = ${type}, a server's`,
    withOptions([53, 1, type]),
    "type.server",
  ]),
  ...[10, 14, 16, 18].map((type): [string, Uint8Array, string] => [
    `53 = ${type}, unsupported`,
    withOptions([53, 1, type]),
    "type.unsupported",
  ]),
  ["53 last", withOptions([12, 1, 65, ...DISCOVER, 255]), undefined],
  ["50 of length 3 in REQUEST", withOptions([50, 3, 1, 2, 3, ...REQUEST]), "opt.50"],
  ["50 of length 3 in DISCOVER", withOptions([50, 3, 1, 2, 3, ...DISCOVER]), undefined],
  ["54 of length 5 in REQUEST", withOptions([54, 5, 1, 2, 3, 4, 5, ...REQUEST]), "opt.54"],
  ["54 of length 5 in RELEASE", withOptions([54, 5, 1, 2, 3, 4, 5, 53, 1, 7]), "opt.54"],
  ["54 of length 5 in DECLINE", withOptions([54, 5, 1, 2, 3, 4, 5, 53, 1, 4]), "opt.54"],
  ["54 of length 5 in INFORM", withOptions([54, 5, 1, 2, 3, 4, 5, 53, 1, 8]), undefined],
  ["54 of length 5 in DISCOVER", withOptions([54, 5, 1, 2, 3, 4, 5, ...DISCOVER]), undefined],
  ["two different 50", withOptions([...REQUEST, 50, 4, 1, 1, 1, 1, 50, 4, 2, 2, 2, 2]), "opt.50"],
  ["two equal 50", withOptions([...REQUEST, 50, 4, 1, 1, 1, 1, 50, 4, 1, 1, 1, 1]), undefined],
  [
    "128 empty options",
    withOptions([...DISCOVER, ...times(127, 200).flatMap((c) => [c, 0])]),
    undefined,
  ],
  [
    "129 empty options",
    withOptions([...DISCOVER, ...times(128, 200).flatMap((c) => [c, 0])]),
    "opt.flood",
  ],
  [
    "129 kept options",
    withOptions([...DISCOVER, ...times(128, 12).flatMap((c) => [c, 0])]),
    "opt.flood",
  ],
  ["52 of length 0", withOptions([52, 0, ...DISCOVER]), undefined],
  ["52 of value 4", withOptions([52, 1, 4, ...DISCOVER]), undefined],
];

describe("readRequest()", () => {
  test.each(ROWS)("%s", (_name, payload, want) => {
    expect(read(payload).reason).toBe(want);
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
    expect(read(withOptions([52, 1, 2, 255], header)).reason).toBe("bootp.disabled");
    expect(read(withOptions([255], header)).reason).toBe("bootp.disabled");
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
    if (reason !== undefined) return;
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
    expect(request.messageType).toBe(message.options.get(53)?.[0]);
    const spans: [number, OptionSpan][] = [
      [55, request.parameterRequestList],
      [61, request.clientIdentifier],
      [12, request.hostname],
      [60, request.vendorClass],
      [77, request.userClass],
    ];
    for (const [code, span] of spans) {
      expect(data(request, span)).toEqual(message.options.get(code) ?? new Uint8Array());
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
