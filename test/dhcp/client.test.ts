import { describe, expect, onTestFinished, test } from "vitest";
import {
  type ClientClock,
  type DhcpClientOptions,
  type DhcpLease,
  type DhcpMessage,
  decodeRoutes,
  INFINITE_SECONDS,
  messageTypeName,
  type OptionProfileSpec,
  platformRoutes,
  readLease,
  runDhcpClient,
  serveDhcp,
} from "../../src/dhcp/index.ts";
import {
  formatIpv4,
  IPV4_BROADCAST,
  type Ipv4Address,
  parseIpv4,
} from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST } from "../../src/model/mac-address.ts";
import {
  connectMemoryFrameSockets,
  createMemoryFrameSocket,
  type SentFrame,
} from "../../src/net/memory-frame-socket.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  GATEWAY,
  octets,
  profileWith,
  readReply,
  requestMessage,
  SERVER_IP,
  SERVER_MAC,
} from "./packets.ts";

/** A clock that stands still until a test advances it; timers fire in order of time. */
function createFakeClock(): ClientClock & { advance(ms: number): Promise<void> } {
  let nowMs = 1000;
  const timers = new Set<{ atMs: number; callback: () => void }>();
  const earliest = (untilMs: number) =>
    [...timers].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
  return {
    nowMs: () => nowMs,
    setTimer(callback, waitMs) {
      const timer = { atMs: nowMs + waitMs, callback };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    async advance(ms) {
      const untilMs = nowMs + ms;
      await settle();
      for (let next = earliest(untilMs); next !== undefined; next = earliest(untilMs)) {
        timers.delete(next);
        nowMs = Math.max(nowMs, next.atMs);
        next.callback();
        await settle();
      }
      nowMs = untilMs;
    },
  };
}

/** Lets frames in microtasks arrive. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}

interface FabricOptions {
  /** False loses the frame; frames are numbered in both directions together. */
  deliver?: (frame: SentFrame, number: number) => boolean;
  profile?: Partial<OptionProfileSpec>;
  client?: Partial<DhcpClientOptions>;
}

/** A client and a server on one wire, and what passed over it. */
function startFabric({ deliver = () => true, profile = {}, client = {} }: FabricOptions = {}) {
  const clock = createFakeClock();
  const guest = createMemoryFrameSocket({ hardwareAddress: CLIENT_MAC, ifindex: 1 });
  const host = createMemoryFrameSocket({ hardwareAddress: SERVER_MAC, ifindex: 2 });
  const wire: string[] = [];
  const frames: { atMs: number; frame: ReturnType<typeof readReply> }[] = [];
  connectMemoryFrameSockets(guest, host, (frame, number) => {
    const read = readReply(frame.bytes);
    wire.push(messageTypeName(read.message) ?? "?");
    frames.push({ atMs: clock.nowMs(), frame: read });
    return deliver(frame, number);
  });
  const stop = new AbortController();
  const inventory: { address: Ipv4Address | undefined } = { address: CLIENT_IP };
  const server = serveDhcp({
    now: () => 0,
    socket: host,
    serverAddress: SERVER_IP,
    signal: stop.signal,
    decide: () => {
      const { address } = inventory;
      if (address === undefined) return { kind: "unknown" };
      const assignment = { address, profile: profileWith(profile), hostname: "web-0" };
      return { kind: "assigned", assignment };
    },
  });
  const bound: DhcpLease[] = [];
  const lost: number[] = [];
  let seed = 1;
  const done = runDhcpClient({
    socket: guest,
    mac: CLIENT_MAC,
    signal: stop.signal,
    onBound: (lease) => bound.push(lease),
    onLost: () => lost.push(clock.nowMs()),
    clock,
    random: () => {
      seed = (seed * 48_271) % 0x7fff_ffff;
      return seed / 0x7fff_ffff;
    },
    ...client,
  });
  onTestFinished(async () => {
    stop.abort();
    await Promise.allSettled([server, done]);
  });
  return { clock, wire, frames, inventory, bound, lost, done, stop };
}

describe("runDhcpClient() against serveDhcp()", () => {
  test("gets a lease with everything in it", async () => {
    const { clock, wire, bound } = startFabric();
    await clock.advance(0);
    expect(wire).toEqual(["DHCPDISCOVER", "DHCPOFFER", "DHCPREQUEST", "DHCPACK"]);
    expect(bound).toEqual([
      {
        address: CLIENT_IP,
        subnetMask: parseIpv4("255.255.255.0"),
        routers: [GATEWAY],
        dns: [parseIpv4("10.0.0.2"), parseIpv4("10.0.0.3")],
        routes: platformRoutes(GATEWAY),
        wireServer: SERVER_IP,
        leaseSeconds: 86_400,
        t1Seconds: 43_200,
        t2Seconds: 75_600,
        serverIdentifier: SERVER_IP,
        mtu: 1500,
        domain: "tenant.internal",
        hostname: "web-0",
      },
    ]);
  });

  test("discovers and requests with one xid, and tells its name", async () => {
    const { clock, frames } = startFabric({ client: { hostname: "guest", requestedOptions: [1] } });
    await clock.advance(0);
    const [discover, , request] = frames.map(({ frame }) => frame.message);
    expect(request?.xid).toBe(discover?.xid);
    expect(discover?.options.get(12)).toEqual(new TextEncoder().encode("guest"));
    expect(discover?.options.get(55)).toEqual(Uint8Array.of(1));
    expect(request?.options.get(50)).toEqual(octets(CLIENT_IP));
    expect(request?.options.get(54)).toEqual(octets(SERVER_IP));
  });

  test.each([0, 1, 2, 3])("gets it although frame %i is lost", async (lostNumber) => {
    const { clock, bound } = startFabric({ deliver: (_frame, number) => number !== lostNumber });
    await clock.advance(5000);
    expect(bound.length).toBe(1);
  });

  test("waits ever longer for a server, at most 64 s, and varies the time", async () => {
    const { clock, frames } = startFabric({ deliver: () => false });
    await clock.advance(400_000);
    const waits = frames.slice(1).map(({ atMs }, index) => atMs - frames[index]!.atMs);
    expect(waits.length).toBeGreaterThanOrEqual(9);
    waits.forEach((wait, index) => {
      const wanted = 1000 * Math.min(2 ** index, 64);
      expect(Math.abs(wait - wanted)).toBeLessThanOrEqual(1000);
    });
    expect(waits.some((wait) => wait % 1000 !== 0)).toBe(true);
    const secs = frames.map(({ frame }) => frame.message.secs);
    expect(secs).toEqual([...secs].sort((one, other) => one - other));
  });

  test("asks anew if its request is never answered", async () => {
    const { clock, wire } = startFabric({
      deliver: (frame) => messageTypeName(readReply(frame.bytes).message) !== "DHCPREQUEST",
    });
    await clock.advance(20_000);
    expect(wire.slice(0, 8)).toEqual([
      "DHCPDISCOVER",
      "DHCPOFFER",
      ...Array(4).fill("DHCPREQUEST"),
      "DHCPDISCOVER",
      "DHCPOFFER",
    ]);
  });

  test("renews by unicast at T1", async () => {
    const { clock, frames, bound, lost } = startFabric();
    await clock.advance(43_200_000);
    expect(bound.length).toBe(2);
    expect(frames[4]?.frame).toMatchObject({
      destinationMac: SERVER_MAC,
      destinationIp: SERVER_IP,
      sourceIp: CLIENT_IP,
      message: { ciaddr: CLIENT_IP },
    });
    await clock.advance(5 * 86_400_000);
    expect(bound.length).toBeGreaterThan(10);
    expect(lost).toEqual([]);
  });

  test("rebinds by broadcast at T2, loses the lease at its end and looks for a new one", async () => {
    let isCut = false;
    const { clock, frames, inventory, lost, bound } = startFabric({ deliver: () => !isCut });
    await clock.advance(0);
    isCut = true;
    await clock.advance(75_600_000);
    const renewals = frames.slice(4).map(({ frame }) => frame.destinationIp);
    expect(renewals.length).toBeGreaterThan(3);
    expect(renewals.at(-1)).toBe(IPV4_BROADCAST);
    expect(new Set(renewals.slice(0, -1))).toEqual(new Set([SERVER_IP]));
    expect(frames.at(-1)?.frame).toMatchObject({
      destinationMac: MAC_BROADCAST,
      sourceIp: CLIENT_IP,
    });
    expect(lost).toEqual([]);
    await clock.advance(86_400_000 - 75_600_000);
    expect(lost).toEqual([1000 + 86_400_000]);
    isCut = false;
    inventory.address = parseIpv4("10.0.0.8");
    await clock.advance(70_000);
    expect(bound.map((lease) => formatIpv4(lease.address))).toEqual(["10.0.0.5", "10.0.0.8"]);
  });

  test("gives the lease up when the server refuses it, and takes the new address", async () => {
    const { clock, inventory, bound, lost, wire } = startFabric();
    await clock.advance(0);
    inventory.address = parseIpv4("10.0.0.8");
    await clock.advance(43_200_000 + 1000);
    expect(lost.length).toBe(1);
    // One DHCPNAK for all, one for the leased address.
    expect(wire.slice(4, 7)).toEqual(["DHCPREQUEST", "DHCPNAK", "DHCPNAK"]);
    expect(bound.map((lease) => formatIpv4(lease.address))).toEqual(["10.0.0.5", "10.0.0.8"]);
  });

  test("never renews an endless lease", async () => {
    const { clock, wire, bound } = startFabric({ profile: { leaseSeconds: INFINITE_SECONDS } });
    await clock.advance(100 * 86_400_000);
    expect(bound[0]).toMatchObject({ t1Seconds: INFINITE_SECONDS, t2Seconds: INFINITE_SECONDS });
    expect(wire.length).toBe(4);
  });

  test("ends when the signal aborts, and throws what a callback throws", async () => {
    const { clock, done, stop } = startFabric();
    await clock.advance(0);
    stop.abort();
    await expect(done).resolves.toBeUndefined();
    const broken = startFabric({
      client: {
        onBound: () => {
          throw new Error("cannot set the address");
        },
      },
    });
    const ended = expect(broken.done).rejects.toThrow("cannot set the address");
    await broken.clock.advance(0);
    await ended;
  });
});

describe("readLease()", () => {
  const ack = (changes: Record<number, Uint8Array | number[]>): DhcpMessage => ({
    ...requestMessage({
      type: "DHCPACK",
      options: { 54: octets(SERVER_IP), 51: octets("0.0.14.16"), ...changes },
    }),
    yiaddr: CLIENT_IP,
  });
  const route = [24, 10, 9, 0, 10, 0, 0, 1];

  test("option 121 wins over 249 and 3", () => {
    const lease = readLease(ack({ 121: route, 249: [0, 1, 1, 1, 1], 3: octets(GATEWAY) }));
    expect(lease?.routes).toEqual(decodeRoutes(Uint8Array.from(route)));
    expect(lease?.routers).toEqual([GATEWAY]);
  });

  test("option 249 counts if 121 is absent, 3 if both are", () => {
    expect(readLease(ack({ 249: route, 3: octets(GATEWAY) }))?.routes).toEqual(
      decodeRoutes(Uint8Array.from(route)),
    );
    expect(readLease(ack({ 3: octets(GATEWAY) }))?.routes).toEqual(
      platformRoutes(GATEWAY).slice(0, 1),
    );
    expect(readLease(ack({}))?.routes).toEqual([]);
  });

  test.each([
    [{}, 1800, 3150],
    [{ 58: octets("0.0.0.9"), 59: octets("0.0.0.10") }, 9, 10],
    [{ 58: octets("0.0.0.10"), 59: octets("0.0.0.9") }, 1800, 3150],
    [{ 58: octets("0.0.255.0") }, 1800, 3150],
    [{ 58: [1], 59: [2] }, 1800, 3150],
  ])("T1 and T2 of %j are %i and %i", (options, t1Seconds, t2Seconds) => {
    expect(readLease(ack(options))).toMatchObject({ t1Seconds, t2Seconds });
  });

  test("needs an address, a lease time and a server", () => {
    expect(readLease({ ...ack({}), yiaddr: requestMessage({ type: "DHCPACK" }).yiaddr })).toBe(
      undefined,
    );
    expect(readLease(ack({ 51: [1] }))).toBeUndefined();
    expect(readLease(ack({ 54: [] }))).toBeUndefined();
  });
});
