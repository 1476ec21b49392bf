import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createDhcpRequest,
  type DhcpRequest,
  detachRequest,
  IGNORED_OPTION_REASONS,
  ignoredOptionReasons,
  isIpxe,
  readClientArchitectures,
  readClientFqdn,
  readClientInterface,
  readHostname,
  readMachineIdentifier,
  readOption,
  readRequest,
  readSubnetSelection,
  readUserClasses,
  readVendorClass,
} from "../../src/dhcp/index.ts";
import { DISCOVER, END, payload, put } from "./malformed.ts";

function read(bytes: Uint8Array): DhcpRequest {
  const request = createDhcpRequest();
  const view = new DataView(bytes.buffer);
  expect(readRequest(bytes, view, 0, bytes.length, request)).toBeUndefined();
  return request;
}

const READERS = [
  isIpxe,
  readClientArchitectures,
  readClientFqdn,
  readClientInterface,
  readHostname,
  readMachineIdentifier,
  readSubnetSelection,
  readUserClasses,
  readVendorClass,
];

/** Everything that can be asked of a request, addresses in memory left out. */
function answers(request: DhcpRequest) {
  const { bytes, offset, end, optionBytes, scratch, index, isIndexed, ...fields } = request;
  const spans = [fields.clientIdentifier, fields.parameterRequestList, fields.relayInformation];
  return {
    header: bytes.slice(offset, end),
    numbers: Object.entries(fields).filter(([, value]) => typeof value !== "object"),
    spans: spans.map((span) => optionBytes.slice(span.offset, span.offset + span.length)),
    read: READERS.map((reader) => reader(request)),
    options: Array.from({ length: 254 }, (_, code) => readOption(request, code + 1)),
  };
}

/** Option-shaped noise after a DHCPDISCOVER, direct or relayed, perhaps overloaded. */
const MESSAGES = fc
  .tuple(
    fc.array(
      fc
        .tuple(fc.nat({ max: 254 }), fc.uint8Array({ maxLength: 9 }))
        .map(([code, data]) => (code === 0 ? [0] : [code, data.length, ...data])),
      { maxLength: 20 },
    ),
    fc.constantFrom(0, 1, 3),
    fc.boolean(),
    fc.uint8Array({ minLength: 192, maxLength: 192 }),
  )
  .map(([options, overload, isRelayed, fields]) =>
    payload(
      [...DISCOVER, ...(overload === 0 ? [] : [52, 1, overload]), ...options.flat(), END],
      put(24, ...(isRelayed ? [10, 0, 0, 9] : [0, 0, 0, 0])),
      put(44, ...fields),
    ),
  );

describe("readOption()", () => {
  test("joins the instances of any option, in whatever area", () => {
    const bytes = payload(
      [...DISCOVER, 52, 1, 3, 200, 1, 1, 201, 0, 200, 1, 2, END],
      put(108, 200, 1, 3, END),
      put(44, 200, 1, 4, END),
    );
    const request = read(bytes);
    expect(readOption(request, 200)).toEqual(Uint8Array.of(1, 2, 3, 4));
    expect(readOption(request, 201)).toEqual(new Uint8Array());
    expect(readOption(request, 202)).toBeUndefined();
    expect(readOption(request, END)).toBeUndefined();
    expect(readOption(request, 0)).toBeUndefined();
  });

  test("gives a copy", () => {
    const bytes = payload([...DISCOVER, 200, 2, 7, 8, END]);
    const data = readOption(read(bytes), 200);
    bytes.fill(0xee);
    expect(data).toEqual(Uint8Array.of(7, 8));
  });

  test("finds nothing where there is no cookie", () => {
    const request = read(payload([...DISCOVER, 200, 1, 7, END], put(236, 9)));
    expect(readOption(request, 200)).toBeUndefined();
    expect(readOption(request, 53)).toBeUndefined();
  });

  test("does not answer for the request before", () => {
    const request = read(payload([...DISCOVER, 200, 1, 7, END]));
    expect(readOption(request, 200)).toEqual(Uint8Array.of(7));
    const next = payload([...DISCOVER, 201, 1, 7, END]);
    readRequest(next, new DataView(next.buffer), 0, next.length, request);
    expect(readOption(request, 200)).toBeUndefined();
  });
});

describe("detachRequest()", () => {
  test("gives a request that says the same, whatever becomes of the first one's memory", () => {
    const property = fc.property(MESSAGES, (bytes) => {
      const request = createDhcpRequest();
      const memory = new Uint8Array(bytes.length + 99);
      memory.set(bytes, 55);
      const view = new DataView(memory.buffer);
      if (readRequest(memory, view, 55, 55 + bytes.length, request) !== undefined) return;
      const want = answers(request);
      const copy = detachRequest(request);
      memory.fill(0xee);
      request.scratch.fill(0xee);
      request.index.offsets.fill(9999);
      const other = payload([...DISCOVER, 12, 1, 65, END]);
      readRequest(other, new DataView(other.buffer), 0, other.length, request);
      expect(answers(copy)).toEqual(want);
    });
    fc.assert(property, { numRuns: 500 });
  });
});

describe("what is ignored", () => {
  test("is a closed set, each reason once, few enough for one number", () => {
    expect(new Set(IGNORED_OPTION_REASONS).size).toBe(IGNORED_OPTION_REASONS.length);
    expect(IGNORED_OPTION_REASONS.length).toBeLessThanOrEqual(31);
  });

  test("is said in words", () => {
    const request = read(payload([...DISCOVER, 12, 0, 82, 1, 1, 57, 0]));
    expect(ignoredOptionReasons(request.ignored)).toEqual([
      "opt.noend",
      "opt.12",
      "opt.57",
      "rai.untrusted",
    ]);
  });
});
