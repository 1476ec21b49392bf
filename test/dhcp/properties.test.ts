/** What holds for every request and its answer, P1 to P9, through a whole server. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createDhcpRequest,
  decodeMessage,
  messageTypeName,
  readOption,
  readRequest,
} from "../../src/dhcp/index.ts";
import type { Ipv4Address } from "../../src/model/ipv4-address.ts";
import { readMac } from "../../src/model/mac-address.ts";
import { createUdpFrame, readUdpFrame } from "../../src/net/frame.ts";
import { END, payload, put } from "./malformed.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  type EnvelopeSpec,
  frameOf,
  OTHER_IP,
  OTHER_MAC,
  octets,
  profileWith,
  RELAY_MAC,
  SERVER_IP,
  SERVER_MAC,
  SUBNET,
} from "./packets.ts";
import { PORT, startServer } from "./test-server.ts";

type Option = readonly [code: number, data: readonly number[]];

/** A request as a client might send it, well formed or nearly so. */
interface Sent {
  readonly options: readonly Option[];
  readonly mac: "client" | "other" | "unknown";
  readonly ciaddr: readonly number[];
  readonly isRelayed: boolean;
  readonly isUnicast: boolean;
  readonly flags: number;
  readonly xid: readonly number[];
}

const ADDRESSES = fc.constantFrom<readonly number[]>(
  [0, 0, 0, 0],
  [...octets(CLIENT_IP)],
  [...octets(OTHER_IP)],
  [10, 0, 0, 99],
  [192, 168, 7, 4],
);
const IDENTIFIERS = fc.constantFrom<readonly number[]>(
  [...octets(SERVER_IP)],
  [0, 0, 0, 0],
  [10, 9, 9, 9],
);
const some = (maxLength: number) => fc.array(fc.nat({ max: 255 }), { maxLength });
/** Options that the server reads, each at most once, so that their order does not matter. */
const KNOWN: readonly fc.Arbitrary<Option>[] = [
  ADDRESSES.map((data): Option => [50, data]),
  IDENTIFIERS.map((data): Option => [54, data]),
  fc.tuple(fc.constant(51), fc.constantFrom([0, 0, 0, 1], [0, 0, 1, 0], [255, 255, 255, 255])),
  fc.tuple(fc.constant(57), fc.constantFrom([2, 64], [5, 220], [255, 0], [0, 9])),
  fc.tuple(fc.constant(55), some(40)),
  fc.tuple(fc.constant(61), some(255)),
  fc.tuple(fc.constant(12), some(30)),
  fc.tuple(fc.constant(60), some(30)),
  fc.tuple(fc.constant(77), some(12)),
  fc.tuple(fc.constant(80), fc.constantFrom<readonly number[]>([], [1])),
  fc.tuple(fc.constant(81), some(20)),
  fc.tuple(fc.constant(82), some(60)),
  fc.tuple(fc.constant(93), some(5)),
  fc.tuple(fc.constant(97), some(17)),
  fc.tuple(fc.constant(118), fc.constantFrom<readonly number[]>([10, 0, 0, 0], [10])),
  fc.tuple(fc.constant(175), some(6)),
];
const TYPES = fc.constantFrom(1, 1, 3, 3, 3, 4, 7, 8).map((type): Option => [53, [type]]);
const SENT: fc.Arbitrary<Sent> = fc.record({
  options: fc
    .tuple(TYPES, fc.tuple(...KNOWN.map((option) => fc.option(option, { nil: undefined }))))
    .map(([type, found]) => [type, ...found.filter((option) => option !== undefined)])
    .chain((options) => fc.shuffledSubarray(options, { minLength: options.length })),
  mac: fc.constantFrom("client", "client", "client", "other", "unknown"),
  ciaddr: ADDRESSES,
  isRelayed: fc.boolean(),
  isUnicast: fc.boolean(),
  flags: fc.constantFrom(0, 0x8000, 0xffff),
  xid: fc.array(fc.nat({ max: 255 }), { minLength: 4, maxLength: 4 }),
});

const MACS = {
  client: [0, 0x0d, 0x3a, 1, 2, 3],
  other: [0, 0x0d, 0x3a, 1, 2, 4],
  unknown: [0, 0x0d, 0x3a, 0xff, 0xff, 0xff],
} as const;
const GIADDR = [10, 0, 0, 9];
const ASSIGNED = { client: CLIENT_IP, other: OTHER_IP, unknown: undefined } as const;

function frameOfSent(sent: Sent, options: readonly Option[] = sent.options): Uint8Array {
  const mac = MACS[sent.mac];
  const message = payload(
    [...options.flatMap(([code, data]) => [code, data.length, ...data]), END],
    put(4, ...sent.xid),
    put(10, sent.flags >> 8, sent.flags & 255),
    put(12, ...sent.ciaddr),
    put(24, ...(sent.isRelayed ? GIADDR : [0, 0, 0, 0])),
    put(28, ...mac),
  );
  const envelope: EnvelopeSpec = {
    sourceMac: sent.isRelayed ? RELAY_MAC : readMac(Uint8Array.from(mac), 0),
    ...(sent.isUnicast && { destinationMac: SERVER_MAC, destinationIp: SERVER_IP }),
  };
  return frameOf(message, envelope);
}

/** A server that many requests go to; nothing that one of them does may change the answer to the next. */
function start() {
  // A clock that never stands still, so that refusals are not damped.
  let now = 0;
  const server = startServer({
    relays: SUBNET,
    now: () => (now += 3_600_000),
    policy: { bootp: false, rapidCommit: true },
    profile: profileWith({ mtu: 1400 }),
  });
  const answer = (bytes: Uint8Array) => {
    server.sendFrame(bytes);
    return server.socket.sent.map((frame) => ({ bytes: frame.bytes, ifindex: frame.ifindex }));
  };
  return { ...server, answer };
}

const isNak = (bytes: Uint8Array) => typeOf(bytes) === "DHCPNAK";
function typeOf(bytes: Uint8Array): string | undefined {
  const decoded = decodeMessage(bytes.slice(42));
  return decoded.kind === "message" ? messageTypeName(decoded.message) : undefined;
}

describe("whatever is asked", () => {
  test("P1 at most one reply, and a copy of a DHCPNAK to a client that asked by unicast", () => {
    const { answer } = start();
    const property = fc.property(SENT, (sent) => {
      const replies = answer(frameOfSent(sent));
      if (replies.length <= 1) return;
      expect(replies).toHaveLength(2);
      expect(replies.every(({ bytes }) => isNak(bytes))).toBe(true);
      expect(replies[1]?.bytes.slice(42)).toEqual(replies[0]?.bytes.slice(42));
      expect(sent.isUnicast && !sent.isRelayed).toBe(true);
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("P2 a reply has the request's xid, chaddr and giaddr", () => {
    const { answer } = start();
    const property = fc.property(SENT, (sent) => {
      const asked = frameOfSent(sent);
      for (const { bytes } of answer(asked)) {
        expect(bytes.slice(42 + 4, 42 + 8)).toEqual(asked.slice(42 + 4, 42 + 8));
        expect(bytes.slice(42 + 24, 42 + 44)).toEqual(asked.slice(42 + 24, 42 + 44));
      }
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("P3 yiaddr is 0 or the assigned address", () => {
    const { answer } = start();
    const property = fc.property(SENT, (sent) => {
      const assigned: Ipv4Address | undefined = ASSIGNED[sent.mac];
      for (const { bytes } of answer(frameOfSent(sent))) {
        const yiaddr = bytes.slice(42 + 16, 42 + 20);
        if (isNak(bytes)) expect(yiaddr).toEqual(new Uint8Array(4));
        else expect([new Uint8Array(4), octets(assigned!)]).toContainEqual(yiaddr);
        expect(assigned).toBeDefined();
      }
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("P4 no reply leaves another port, and none goes to an address that the sender did not name", () => {
    const { answer } = start();
    const property = fc.property(SENT, (sent) => {
      const own = sent.isRelayed ? [0, 0x0d, 0x3a, 0x99, 0, 1] : MACS[sent.mac];
      for (const { bytes, ifindex } of answer(frameOfSent(sent))) {
        expect(ifindex).toBe(PORT);
        const isBroadcast = bytes.slice(0, 6).every((octet) => octet === 255);
        if (!isBroadcast) expect([...bytes.slice(0, 6)]).toEqual(own);
        if (sent.isRelayed) expect([...bytes.slice(30, 34)]).toEqual(GIADDR);
      }
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("P5 a reply is as long as the client and the network take, and at least 300 octets", () => {
    const { answer } = start();
    const property = fc.property(SENT, (sent) => {
      const max = sent.options.find(([code]) => code === 57)?.[1];
      const client = max === undefined ? 576 : Math.max(576, max[0]! * 256 + max[1]!);
      for (const { bytes } of answer(frameOfSent(sent))) {
        expect(bytes.length - 42).toBeGreaterThanOrEqual(300);
        expect(bytes.length - 14).toBeLessThanOrEqual(Math.min(client, 1400));
      }
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("P6 asked again, the same is answered", () => {
    const { answer } = start();
    const property = fc.property(SENT, SENT, (sent, between) => {
      const first = answer(frameOfSent(sent));
      answer(frameOfSent(between));
      expect(answer(frameOfSent(sent))).toEqual(first);
    });
    fc.assert(property, { numRuns: 400 });
  });

  test("P7 the order of the options does not matter", () => {
    const { answer } = start();
    const shuffled = SENT.chain((sent) =>
      fc.tuple(
        fc.constant(sent),
        fc.shuffledSubarray([...sent.options], { minLength: sent.options.length }),
      ),
    );
    const property = fc.property(shuffled, ([sent, options]) => {
      expect(answer(frameOfSent(sent, options))).toEqual(answer(frameOfSent(sent)));
    });
    fc.assert(property, { numRuns: 400 });
  });

  test("P8 options that nobody knows do not matter, wherever they stand", () => {
    const { answer } = start();
    const unknown = fc
      .tuple(fc.integer({ min: 178, max: 240 }), some(20), fc.nat({ max: 20 }))
      .map(([code, data, at]) => ({ option: [code, data] as const, at }));
    const property = fc.property(SENT, fc.array(unknown, { maxLength: 8 }), (sent, added) => {
      const options = [...sent.options];
      for (const { option, at } of added) options.splice(at, 0, option);
      expect(answer(frameOfSent(sent, options))).toEqual(answer(frameOfSent(sent)));
    });
    fc.assert(property, { numRuns: 400 });
  });

  test("P9 every frame is counted once, as a reply or as a drop", () => {
    const { answer, counters } = start();
    const noise = fc.uint8Array({ maxLength: 600 }).map((bytes) => frameOf(bytes));
    const frames = fc.oneof(
      SENT.map((sent) => frameOfSent(sent)),
      noise,
      fc.uint8Array({ maxLength: 400 }),
    );
    let sentFrames = 0;
    const property = fc.property(frames, (bytes) => {
      answer(bytes);
      sentFrames++;
      const counted = [...counters.drops.values(), ...Object.values(counters.replies)];
      expect(counted.reduce((sum, count) => sum + count, counters.pending)).toBe(sentFrames);
      expect(counters.received).toBe(sentFrames);
    });
    fc.assert(property, { numRuns: 800 });
  });
});

/** The same octets in two memories whose other octets differ: results may not. */
function inPoison(bytes: Uint8Array, poison: number) {
  const memory = new Uint8Array(bytes.length + 700).fill(poison);
  memory.set(bytes, 333);
  return { memory, view: new DataView(memory.buffer), start: 333, end: 333 + bytes.length };
}

/** Options as they may come: truncated, repeated, overloading, of any code. */
const ANY_OPTIONS = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc
    .array(
      fc.tuple(
        fc.constantFrom(0, 12, 50, 52, 53, 54, 55, 61, 77, 81, 82, 93, 97, 118, 124, 255),
        some(7),
      ),
      { maxLength: 20 },
    )
    .map((options) =>
      Uint8Array.from(
        options.flatMap(([code, data]) => [code, code % 7 === 3 ? 9 : data.length, ...data]),
      ),
    ),
);

describe("nothing outside the octets of a message counts", () => {
  test("decodeMessage(), given a slice of a larger memory", () => {
    const property = fc.property(ANY_OPTIONS, fc.nat({ max: 400 }), (options, cut) => {
      const bytes = payload([53, 1, 1, 52, 1, 3, ...options]).slice(0, 600 - cut);
      const results = [0x00, 0xff, 0x35].map((poison) => {
        const { memory, start, end } = inPoison(bytes, poison);
        return decodeMessage(memory.subarray(start, end));
      });
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("readRequest() and readOption(), given a place in a larger memory", () => {
    const property = fc.property(ANY_OPTIONS, fc.nat({ max: 400 }), (options, cut) => {
      const bytes = payload([53, 1, 1, ...options]).slice(0, 600 - cut);
      const results = [0x00, 0xff, 0x35].map((poison) => {
        const { memory, view, start, end } = inPoison(bytes, poison);
        const request = createDhcpRequest();
        const reason = readRequest(memory, view, start, end, request);
        const { messageType, requestedAddress, serverIdentifier, ignored, seen } = request;
        const data =
          reason === undefined
            ? [12, 50, 55, 61, 77, 81, 93].map((code) => readOption(request, code))
            : [];
        return { reason, messageType, requestedAddress, serverIdentifier, ignored, seen, data };
      });
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("readUdpFrame(), given a frame cut anywhere", () => {
    const good = frameOf(payload([53, 1, 1, END]));
    for (let length = 0; length <= good.length; length++) {
      const results = [0x00, 0xff, 0x45].map((poison) => {
        const { memory, view, start } = inPoison(good.slice(0, length), poison);
        const out = createUdpFrame();
        const received = { bytes: memory, view, offset: start, length, wireLength: length };
        const flags = { ifindex: PORT, vlanId: 0, checksumNotReady: true };
        return { reason: readUdpFrame({ ...received, ...flags }, out), out };
      });
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
    }
  });
});

test("the names of this file and its server agree", () => {
  expect(readMac(Uint8Array.from(MACS.client), 0)).toBe(CLIENT_MAC);
  expect(readMac(Uint8Array.from(MACS.other), 0)).toBe(OTHER_MAC);
});
