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
import { ASSIGNED, frameOfSent, GIADDR, MACS, SENT, some } from "./arbitrary-requests.ts";
import { END, payload } from "./malformed.ts";
import { CLIENT_MAC, frameOf, OTHER_MAC, octets, profileWith, SUBNET } from "./packets.ts";
import { PORT, startServer } from "./test-server.ts";

/** A server that many requests go to; nothing that one of them does may change the answer to the next. */
function start() {
  // A clock that never stands still, so that refusals are not damped.
  let now = 0;
  const server = startServer({
    relays: [SUBNET],
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
