/** Where numbers of this language are not what the protocol's are: long timers, signs, and addresses as keys. */
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type ClientClock,
  createRequestContext,
  DECLINE_HOLD_MS,
  Declines,
  type DetachedExchange,
  type DhcpLease,
  INFINITE_SECONDS,
  NAK_INTERVAL_MS,
  NakDamping,
  runDhcpClient,
  serveDhcp,
} from "../../src/dhcp/index.ts";
import { formatIpv4, parseIpv4, parseSubnet } from "../../src/model/ipv4-address.ts";
import { type MacAddress, parseMac } from "../../src/model/mac-address.ts";
import {
  connectMemoryFrameSockets,
  createMemoryFrameSocket,
} from "../../src/net/memory-frame-socket.ts";
import { createChain } from "../../src/wds/index.ts";
import { Clock, settle } from "../scenarios/simulation.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  octets,
  profileWith,
  type RequestSpec,
  SERVER_IP,
  SERVER_MAC,
} from "./packets.ts";
import { startServer } from "./test-server.ts";

const DAY_MS = 86_400_000;
/** The longest wait that Node keeps; a longer one is over after one millisecond. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** A client that holds a lease of so many seconds, on timers that are as short-sighted as Node's. */
function startClient(leaseSeconds: number) {
  const clock = new Clock();
  const guest = createMemoryFrameSocket({ hardwareAddress: CLIENT_MAC, ifindex: 1 });
  const host = createMemoryFrameSocket({ hardwareAddress: SERVER_MAC, ifindex: 2 });
  connectMemoryFrameSockets(guest, host);
  const stop = new AbortController();
  const boundAtMs: number[] = [];
  const leases: DhcpLease[] = [];
  const counts = { timers: 0, lost: 0 };
  const nodesTimers: ClientClock = {
    nowMs: clock.now,
    setTimer: (callback, waitMs) => {
      counts.timers++;
      return clock.startTimer(waitMs > TIMER_MS_MAX ? 1 : waitMs, callback);
    },
  };
  const assignment = { address: CLIENT_IP, profile: profileWith({ leaseSeconds }) };
  const done = [
    serveDhcp({
      socket: host,
      now: clock.now,
      serverAddress: SERVER_IP,
      decide: () => ({ kind: "assigned", assignment }),
      signal: stop.signal,
    }),
    runDhcpClient({
      socket: guest,
      mac: CLIENT_MAC,
      clock: nodesTimers,
      random: () => 0.5,
      onBound: (lease) => {
        leases.push(lease);
        boundAtMs.push(clock.nowMs);
      },
      onLost: () => counts.lost++,
      signal: stop.signal,
    }),
  ];
  onTestFinished(async () => {
    stop.abort();
    await Promise.all(done);
  });
  return { clock, guest, leases, boundAtMs, counts };
}

describe("timers beyond 2^31-1 ms", () => {
  test("a client with an endless lease sends nothing more and does not spin", async () => {
    const { clock, guest, leases, counts } = startClient(INFINITE_SECONDS);
    await clock.advance(400 * DAY_MS);
    expect(leases).toHaveLength(1);
    expect(guest.sent).toHaveLength(2);
    expect(counts.timers).toBeLessThan(40);
  });

  test("a client with a lease of 90 days renews after 45", async () => {
    const { clock, boundAtMs, counts } = startClient((90 * DAY_MS) / 1000);
    await clock.advance(1);
    await clock.advance(45 * DAY_MS);
    await settle();
    expect(boundAtMs).toEqual([5_000, 5_000 + 45 * DAY_MS]);
    expect(counts.timers).toBeLessThan(20);
    expect(counts.lost).toBe(0);
  });

  test("a plugin with a budget of more than 24 days is waited for", async () => {
    const assignment = { address: CLIENT_IP, profile: profileWith() };
    const slow = {
      name: "slow",
      isAsynchronous: true,
      budgetMs: 2 ** 31,
      resolve: async () => {
        await delay(20);
        return { kind: "assigned", assignment } as const;
      },
    };
    const chain = createChain([slow]);
    const detached = { request: undefined, context: createRequestContext() };
    const context = createRequestContext(() => detached as unknown as DetachedExchange);
    const verdict = await chain.decide(undefined as never, context);
    expect(verdict.kind).toBe("assigned");
  });

  test.each([2 ** 31, 2 ** 32, 2 ** 40, 2 ** 52])(
    "refusals and declines are held off for their time after an uptime of %d ms",
    (uptimeMs) => {
      const damping = new NakDamping();
      const admits = (at: number) => damping.admits(CLIENT_MAC, "RENEWING", CLIENT_IP, at);
      expect(admits(uptimeMs - 1)).toBe(true);
      expect(admits(uptimeMs)).toBe(false);
      expect(admits(uptimeMs + NAK_INTERVAL_MS)).toBe(true);
      const declines = new Declines();
      declines.acknowledged(CLIENT_MAC, uptimeMs - 1);
      expect(declines.declined(CLIENT_MAC, uptimeMs)).toBe(true);
      expect(declines.isHeld(CLIENT_MAC, uptimeMs + DECLINE_HOLD_MS - 1)).toBe(true);
      expect(declines.isHeld(CLIENT_MAC, uptimeMs + DECLINE_HOLD_MS)).toBe(false);
    },
  );
});

describe("numbers of 32 bits without sign", () => {
  const DISCOVER: RequestSpec = { type: "DHCPDISCOVER" };
  const times = (options: ReadonlyMap<number, Uint8Array>) =>
    [51, 58, 59].map((code) => Buffer.from(options.get(code)!).readUInt32BE());

  test.each<[number, readonly number[] | undefined, readonly number[]]>([
    [INFINITE_SECONDS, undefined, [INFINITE_SECONDS, INFINITE_SECONDS, INFINITE_SECONDS]],
    [
      INFINITE_SECONDS,
      [255, 255, 255, 255],
      [INFINITE_SECONDS, INFINITE_SECONDS, INFINITE_SECONDS],
    ],
    [INFINITE_SECONDS, [0, 0, 0, 1], [60, 30, 52]],
    [0x8000_0000, undefined, [0x8000_0000, 0x4000_0000, 0x7000_0000]],
    [0xffff_fffe, undefined, [0xffff_fffe, 0x7fff_ffff, 0xdfff_fffe]],
    [86_400, [255, 255, 255, 255], [86_400, 43_200, 75_600]],
    [86_400, [128, 0, 0, 0], [86_400, 43_200, 75_600]],
    [86_400, [0, 0, 0, 0], [86_400, 43_200, 75_600]],
    [86_400, [0, 0, 14, 16], [3600, 1800, 3150]],
  ])("a lease of %d s, asked for %j: 51, 58, 59 are %j", (leaseSeconds, asked, want) => {
    const { ask } = startServer({ profile: profileWith({ leaseSeconds }) });
    const { message } = ask({
      ...DISCOVER,
      ...(asked !== undefined && { options: { 51: asked } }),
    });
    expect(times(message.options)).toEqual(want);
  });

  test("addresses and transaction numbers with the highest bit set are as good as others", () => {
    const subnet = parseSubnet("203.0.113.0/24");
    const address = parseIpv4("203.0.113.200");
    const { ask, inventory } = startServer({
      profile: profileWith({ subnet, gateway: parseIpv4("203.0.113.1") }),
    });
    inventory.set(CLIENT_MAC, address);
    const offer = ask({ ...DISCOVER, xid: 0xffff_fff0 });
    expect([formatIpv4(offer.message.yiaddr), offer.message.xid]).toEqual([
      "203.0.113.200",
      0xffff_fff0,
    ]);
    const options = { 54: octets(SERVER_IP), 50: octets(address) };
    expect(ask({ type: "DHCPREQUEST", options }).message.yiaddr).toBe(address);
    const renewal = ask({ type: "DHCPREQUEST", ciaddr: address });
    expect(renewal.message.ciaddr).toBe(address);
  });
});

describe("MAC addresses as numbers of 48 bits", () => {
  /** Equal in their low 32 bits, or only in sign and size. */
  const ALIKE = [
    "00:00:3a:01:02:03",
    "02:00:3a:01:02:03",
    "00:01:3a:01:02:03",
    "fe:ff:3a:01:02:03",
    "7e:ff:3a:01:02:03",
    "80:00:3a:01:02:03",
  ].map(parseMac);

  test("are exact keys, all of them positive", () => {
    expect(new Set(ALIKE).size).toBe(ALIKE.length);
    for (const mac of ALIKE) {
      expect(Number.isSafeInteger(mac) && mac > 0).toBe(true);
      // Whoever uses an operator of 32 bits on them finds that they are not.
      expect(new Set(ALIKE.map((each) => each | 0)).size).toBeLessThan(ALIKE.length);
    }
  });

  test("clients that differ in the upper sixteen bits only are different clients", () => {
    const { inventory, ask, send, counters } = startServer();
    inventory.clear();
    ALIKE.forEach((mac, index) => {
      inventory.set(mac, parseIpv4(`10.0.0.${10 + index}`));
    });
    const given = (mac: MacAddress) => ask({ type: "DHCPDISCOVER", mac }).message;
    expect(ALIKE.map((mac) => formatIpv4(given(mac).yiaddr))).toEqual(
      ALIKE.map((_, index) => `10.0.0.${10 + index}`),
    );
    for (const mac of ALIKE) {
      const wrong: RequestSpec = { type: "DHCPREQUEST", mac, options: { 50: octets("10.0.0.99") } };
      expect(send(wrong)).toHaveLength(1);
      expect(send(wrong)).toEqual([]);
    }
    expect(counters.replies.DHCPNAK).toBe(ALIKE.length);
    expect(counters.drops.get("nak.damped")).toBe(ALIKE.length);
  });

  test("a decline is one client's, although several share a slot of the acknowledged ones", () => {
    const declines = new Declines();
    const [one, other] = ALIKE as [MacAddress, MacAddress];
    declines.acknowledged(one, 100);
    expect(declines.declined(other, 101)).toBe(false);
    expect([declines.isHeld(one, 102), declines.isHeld(other, 102)]).toEqual([false, true]);
  });
});
