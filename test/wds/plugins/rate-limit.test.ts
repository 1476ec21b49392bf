/** What a flood costs its neighbours: nothing. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { FrameSender } from "../../../src/dhcp/index.ts";
import { IPV4_UNSPECIFIED, parseIpv4, parseSubnet } from "../../../src/model/ipv4-address.ts";
import { type MacAddress, macPlus, parseMac } from "../../../src/model/mac-address.ts";
import {
  createChain,
  createNmPlugin,
  createRateLimitPlugin,
  RateLimitSchema,
} from "../../../src/wds/index.ts";
import { TokenBuckets } from "../../../src/wds/plugins/rate-limit/token-buckets.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  OTHER_MAC,
  profileWith,
  requestFrame,
  SERVER_IP,
  SERVER_MAC,
} from "../../dhcp/packets.ts";
import { startServer } from "../../dhcp/test-server.ts";

const KNOWN = parseMac("00:0c:01:00:00:00");
const STRANGE = parseMac("00:0c:99:00:00:00");
const SHARED = 3;
const PORT = 7;

/** A limiter, its clock, and frames that are sent through it. */
function createLimiter(written: object = {}, options: { relays?: boolean } = {}) {
  const clock = { ms: 0 };
  const { admit } = createChain([
    createRateLimitPlugin(RateLimitSchema.parse(written), {
      now: () => clock.ms,
      seed: 1,
      isPort: (ifindex) => ifindex >= PORT,
      ...(options.relays === true && { relays: [parseSubnet("10.0.0.0/24")] }),
    }),
    {
      name: "resolver",
      resolve: () => ({ kind: "next" }),
      knows: (mac) => mac >= KNOWN && mac < KNOWN + 1000,
    },
  ]);
  const send = (mac: MacAddress, ifindex = SHARED, more: Partial<FrameSender> = {}) =>
    admit(ifindex, { sourceMac: mac, sourceIp: IPV4_UNSPECIFIED, sourcePort: 68, ...more });
  /** Sends `count` frames at once; returns how many were admitted. */
  const burst = (count: number, mac: MacAddress, ifindex?: number) =>
    Array.from({ length: count }, () => send(mac, ifindex)).filter((why) => why === undefined)
      .length;
  return { clock, send, burst };
}

describe("rate-limit", () => {
  test("a client on a shared interface has 40 packets at once, then 20 a second", () => {
    const { clock, send, burst } = createLimiter();
    expect(burst(100, KNOWN)).toBe(40);
    expect(send(KNOWN)).toBe("rate.mac");
    clock.ms = 1000;
    expect(burst(100, KNOWN)).toBe(20);
    clock.ms = 3_600_000;
    expect(burst(100, KNOWN)).toBe(40);
  });

  test("a port has a bucket, whatever addresses are sent from it", () => {
    const { clock, send } = createLimiter();
    const admitted = Array.from({ length: 100 }, (_, index) => send(macPlus(KNOWN, index), PORT));
    expect(admitted.filter((why) => why === undefined)).toHaveLength(40);
    expect(admitted.at(-1)).toBe("rate.port");
    expect(send(KNOWN, PORT + 1)).toBeUndefined();
    clock.ms = 1000;
    expect(send(KNOWN, PORT)).toBeUndefined();
  });

  test("strangers share one bucket on each interface", () => {
    const { clock, send } = createLimiter();
    const admitted = Array.from({ length: 50 }, (_, index) => send(macPlus(STRANGE, index)));
    expect(admitted.filter((why) => why === undefined)).toHaveLength(5);
    expect(admitted.at(-1)).toBe("rate.unknown");
    expect(send(STRANGE, SHARED + 1)).toBeUndefined();
    clock.ms = 1000;
    expect([send(STRANGE), send(STRANGE)]).toEqual([undefined, "rate.unknown"]);
  });

  test("a neighbour's flood, known or strange, costs a good client nothing", () => {
    const { clock, send } = createLimiter({ global: { rate: 1000, burst: 200 } });
    let lost = 0;
    for (clock.ms = 0; clock.ms < 10_000; clock.ms++) {
      for (let packet = 0; packet < 20; packet++) {
        send(macPlus(STRANGE, clock.ms * 20 + packet));
        send(KNOWN);
        // A hundred others that send as much as they may, so that the whole server is short.
        send(macPlus(KNOWN, 100 + ((clock.ms * 20 + packet) % 100)));
      }
      // 1 to 2 packets a second, as a client that boots and renews.
      if (clock.ms % 700 === 0 && send(macPlus(KNOWN, 7)) !== undefined) lost += 1;
    }
    expect(lost).toBe(0);
  });

  test("when the whole server is short, the loud are refused first", () => {
    const { send } = createLimiter({ global: { rate: 1, burst: 100 }, mac: "off", port: "off" });
    const loud = createLimiter({ global: { rate: 1, burst: 60 } });
    // Half of the server's 60 are kept for the quiet; a sender is quiet for the first half of its own 40.
    expect(loud.burst(100, KNOWN)).toBe(30);
    expect(loud.send(macPlus(KNOWN, 1))).toBeUndefined();
    expect(loud.burst(40, macPlus(KNOWN, 2))).toBe(21);
    expect(loud.send(macPlus(KNOWN, 2))).toBe("rate.mac");
    expect(loud.send(macPlus(KNOWN, 3))).toBeUndefined();
    // Without buckets of their own, nobody is loud.
    const count = Array.from({ length: 200 }, () => send(KNOWN)).filter((why) => why === undefined);
    expect(count).toHaveLength(100);
  });

  test("a relay agent speaks for many and has no bucket of its own", () => {
    const { send } = createLimiter({}, { relays: true });
    const relay = { sourceIp: parseIpv4("10.0.0.2"), sourcePort: 67 };
    for (let packet = 0; packet < 1000; packet++) {
      expect(send(STRANGE, SHARED, relay)).toBeUndefined();
    }
    const foreign = { sourceIp: parseIpv4("10.0.1.2"), sourcePort: 67 };
    for (let packet = 0; packet < 5; packet++) send(STRANGE, SHARED, foreign);
    expect(send(STRANGE, SHARED, foreign)).toBe("rate.unknown");
  });

  test("a relay agent with another address or port is known after its first answer", () => {
    const relays = [parseSubnet("10.0.0.0/24")];
    const assignment = { address: CLIENT_IP, profile: profileWith() };
    const limit = createRateLimitPlugin(RateLimitSchema.parse({}), {
      now: () => 0,
      seed: 1,
      relays,
    });
    const nm = createNmPlugin({
      findByMac: (mac) => (mac === CLIENT_MAC ? assignment : undefined),
    });
    const { admit, decide, observe } = createChain([limit, nm]);
    const { counters, sendFrame } = startServer({
      ...{ admit, decide, relays, onExchange: observe, onDrop: observe },
    });
    const from = { sourceMac: STRANGE, sourceIp: parseIpv4("192.0.2.1"), sourcePort: 1067 };
    const relayed = { type: "DHCPDISCOVER", giaddr: parseIpv4("10.0.0.9") } as const;
    for (let index = 0; index < 100; index++) sendFrame(requestFrame(relayed, from));
    expect(counters.replies.DHCPOFFER).toBe(100);
  });

  test("a router that passes renewals on is known after its first answer", () => {
    const relays = [parseSubnet("10.0.0.0/24")];
    const assignment = { address: CLIENT_IP, profile: profileWith() };
    const limit = createRateLimitPlugin(RateLimitSchema.parse({}), {
      now: () => 0,
      seed: 1,
      relays,
    });
    const nm = createNmPlugin({
      findByMac: (mac) => (mac === CLIENT_MAC ? assignment : undefined),
    });
    const { admit, decide, observe } = createChain([limit, nm]);
    const { counters, sendFrame } = startServer({
      ...{ admit, decide, relays, onExchange: observe, onDrop: observe },
    });
    const way = { sourceMac: STRANGE, sourceIp: CLIENT_IP, destinationIp: SERVER_IP };
    const renewal = requestFrame(
      { type: "DHCPREQUEST", ciaddr: CLIENT_IP },
      { ...way, destinationMac: SERVER_MAC },
    );
    for (let index = 0; index < 100; index++) sendFrame(renewal);
    expect(counters.replies.DHCPACK).toBe(100);
  });

  test("what is off limits nobody", () => {
    const off = { port: "off", mac: "off", unknown: "off", global: "off" };
    const { burst } = createLimiter(off);
    expect([burst(1000, KNOWN), burst(1000, STRANGE), burst(1000, KNOWN, PORT)]).toEqual([
      1000, 1000, 1000,
    ]);
  });

  test("who became known since is a stranger no more", () => {
    let known = false;
    const plugin = createRateLimitPlugin(RateLimitSchema.parse({}), { now: () => 0, seed: 1 });
    const { admit } = createChain([
      plugin,
      { name: "resolver", resolve: () => ({ kind: "next" }), knows: () => known },
    ]);
    const sender = { sourceMac: KNOWN, sourceIp: IPV4_UNSPECIFIED, sourcePort: 68 };
    const last = Array.from({ length: 6 }, () => admit(SHARED, sender)).at(-1);
    expect(last).toBe("rate.unknown");
    known = true;
    expect(admit(SHARED, sender)).toBeUndefined();
  });

  test("a frame that is refused is counted by its reason and its payload is not read", () => {
    const assignment = { address: CLIENT_IP, profile: profileWith() };
    const limit = createRateLimitPlugin(RateLimitSchema.parse({}), { now: () => 0, seed: 1 });
    const nm = createNmPlugin({
      findByMac: (mac) => (mac === CLIENT_MAC ? assignment : undefined),
    });
    const { admit, decide, counters: plugins } = createChain([limit, nm]);
    const { counters, sendFrame } = startServer({ admit, decide });
    const frame = requestFrame({ type: "DHCPDISCOVER" });
    for (let index = 0; index < 50; index++) sendFrame(frame);
    const strange = requestFrame({ type: "DHCPDISCOVER", mac: OTHER_MAC });
    for (let index = 0; index < 50; index++) sendFrame(strange);
    expect(counters.replies.DHCPOFFER).toBe(40);
    expect(Object.fromEntries(counters.drops)).toEqual({
      "rate.mac": 10,
      "nic.unknown": 5,
      "rate.unknown": 45,
    });
    expect(plugins.get("rate-limit")?.decided).toBe(55);
  });

  test("the heap does not grow with senders", () => {
    const { clock, send } = createLimiter();
    const sender = { sourceMac: STRANGE, sourceIp: IPV4_UNSPECIFIED, sourcePort: 68 };
    setFlagsFromString("--expose-gc");
    const collectGarbage: () => void = runInNewContext("gc");
    const run = (count: number) => {
      for (let index = 0; index < count; index++) {
        clock.ms += 0.1;
        send(macPlus(STRANGE, index), SHARED + (index % 3), sender);
        send(macPlus(KNOWN, index % 1000));
      }
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const before = run(10_000);
    const after = run(100_000);
    expect(after - before).toBeLessThan(2 ** 20);
  });
});

describe("TokenBuckets", () => {
  test("never gives more than the burst and the rate allow, nor less while it is full enough", () => {
    const steps = fc.array(fc.tuple(fc.double({ min: 0, max: 500, noNaN: true }), fc.nat(5)), {
      maxLength: 100,
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 50 }),
        steps,
        (rate, burst, waits) => {
          const buckets = new TokenBuckets(1, { rate, burst });
          let now = 0;
          let taken = 0;
          for (const [wait, frames] of waits) {
            now += wait;
            for (let frame = 0; frame < frames; frame++) if (buckets.take(0, now) >= 0) taken += 1;
            expect(taken).toBeLessThanOrEqual(burst + (now * rate) / 1000 + 1e-6);
          }
        },
      ),
    );
  });

  test("a clock that steps back takes nothing away", () => {
    const buckets = new TokenBuckets(1, { rate: 1, burst: 3 });
    buckets.fill(0, 1000);
    expect([
      buckets.take(0, 0),
      buckets.take(0, 0),
      buckets.take(0, 0),
      buckets.take(0, 0),
    ]).toEqual([2, 1, 0, -1]);
  });
});
