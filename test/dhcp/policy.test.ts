/** What a network's owner may choose, and what the server remembers of a client that does not listen. */
import { describe, expect, test } from "vitest";
import {
  createExtraOption,
  createRequestContext,
  DECLINE_CLIENTS_MAX,
  DECLINE_HOLD_MAX_MS,
  DECLINE_HOLD_MS,
  Declines,
  EXTRA_OPTION_DATA_MAX,
  messageTypeName,
  NAK_BURST_MAX,
  NAK_CLIENTS_MAX,
  NAK_INTERVAL_MAX_MS,
  NAK_INTERVAL_MS,
  NakDamping,
  type ReplyPolicy,
  TRAIL_STEPS_MAX,
} from "../../src/dhcp/index.ts";
import { IPV4_UNSPECIFIED, type Ipv4Address, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { type MacAddress, macPlus } from "../../src/model/mac-address.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  type EnvelopeSpec,
  frameOf,
  OTHER_IP,
  octets,
  profileWith,
  type RequestSpec,
  SERVER_IP,
  SERVER_MAC,
  SUBNET,
  UNKNOWN_MAC,
} from "./packets.ts";
import { startServer } from "./test-server.ts";

const DISCOVER: RequestSpec = { type: "DHCPDISCOVER" };
const WRONG: RequestSpec = { type: "DHCPREQUEST", options: { 50: octets("10.0.0.99") } };
const UNICAST: EnvelopeSpec = {
  destinationMac: SERVER_MAC,
  sourceIp: CLIENT_IP,
  destinationIp: SERVER_IP,
};

describe("a client that does not listen", () => {
  test("S38: thirty wrong requests in one second are refused once", () => {
    let now = 5_000;
    const { counters, send } = startServer({ now: () => now });
    for (let attempt = 0; attempt < 30; attempt++, now += 30) send({ ...WRONG, xid: attempt });
    expect(counters.replies.DHCPNAK).toBe(1);
    expect(counters.drops.get("nak.damped")).toBe(29);
    now += NAK_INTERVAL_MS;
    expect(send(WRONG)).toHaveLength(1);
  });

  test("S40: a refused renewal, then a refused selection of the old address, both get their answer", () => {
    const { inventory, send, counters } = startServer({ now: () => 5_000 });
    inventory.set(CLIENT_MAC, OTHER_IP);
    const renew: RequestSpec = { type: "DHCPREQUEST", ciaddr: CLIENT_IP };
    const select = { 54: octets(SERVER_IP), 50: octets(CLIENT_IP) };
    expect(send(renew, UNICAST)).toHaveLength(2); // broadcast and the unicast copy
    expect(send(DISCOVER)[0]?.message.yiaddr).toBe(OTHER_IP);
    expect(send({ type: "DHCPREQUEST", options: select })).toHaveLength(1);
    expect(counters.replies.DHCPNAK).toBe(2);
  });

  test("refuses ever more seldom, until the client was quiet", () => {
    const damping = new NakDamping();
    const wanted = parseIpv4("10.0.0.99");
    const sentMs: number[] = [];
    for (let now = 0; now < 600_000; now += 500) {
      if (damping.admits(CLIENT_MAC, "RENEWING", wanted, now)) sentMs.push(now);
    }
    const gaps = sentMs.slice(1).map((at, index) => at - sentMs[index]!);
    expect(gaps.slice(0, NAK_BURST_MAX - 1)).toEqual(
      Array.from({ length: NAK_BURST_MAX - 1 }, () => NAK_INTERVAL_MS),
    );
    expect(gaps.slice(NAK_BURST_MAX).slice(0, 5)).toEqual([2000, 4000, 8000, 16_000, 32_000]);
    expect(Math.max(...gaps)).toBe(NAK_INTERVAL_MAX_MS);
    const later = 600_000 + NAK_INTERVAL_MAX_MS;
    expect(damping.admits(CLIENT_MAC, "RENEWING", wanted, later)).toBe(true);
    expect(damping.admits(CLIENT_MAC, "RENEWING", wanted, later + NAK_INTERVAL_MS)).toBe(true);
  });

  test("changing its state does not lift the bound of a burst", () => {
    const damping = new NakDamping();
    let sent = 0;
    for (let index = 0; index < 100; index++) {
      const wanted = (1000 + index) as Ipv4Address;
      if (damping.admits(CLIENT_MAC, "INIT-REBOOT", wanted, index)) sent++;
    }
    expect(sent).toBe(NAK_BURST_MAX);
  });

  test("damping one client does not damp another, however many there are", () => {
    const damping = new NakDamping();
    const admits = (index: number) =>
      damping.admits(macPlus(CLIENT_MAC, index), "RENEWING", CLIENT_IP, 10);
    for (let index = 0; index < 2 * NAK_CLIENTS_MAX; index++) expect(admits(index)).toBe(true);
    expect(admits(2 * NAK_CLIENTS_MAX - 1)).toBe(false);
  });
});

describe("DHCPDECLINE", () => {
  const decline: RequestSpec = {
    type: "DHCPDECLINE",
    options: { 50: octets(CLIENT_IP), 54: octets(SERVER_IP) },
  };

  test("S47: keeps the assignment, and the client is offered it again at once", () => {
    const { counters, send, ask } = startServer();
    expect(send(decline)).toEqual([]);
    expect(counters.drops.get("client.decline")).toBe(1);
    expect(ask(DISCOVER).message.yiaddr).toBe(CLIENT_IP);
  });

  test("holds the client off where the network wants that, longer each time", () => {
    let now = 1_000;
    const { counters, send } = startServer({ holdAfterDecline: true, now: () => now });
    send(decline);
    expect(send(DISCOVER)).toEqual([]);
    expect(counters.drops.get("decline.held")).toBe(1);
    now += DECLINE_HOLD_MS;
    expect(send(DISCOVER)).toHaveLength(1);
    send(decline);
    now += DECLINE_HOLD_MS;
    expect(send(DISCOVER)).toEqual([]);
    now += DECLINE_HOLD_MS;
    expect(send(DISCOVER)).toHaveLength(1);
  });

  test("at once after the DHCPACK is counted apart", () => {
    let now = 1_000;
    const { counters, send } = startServer({ now: () => now });
    send({ type: "DHCPREQUEST", options: { 50: octets(CLIENT_IP) } });
    now += 900;
    send(decline);
    expect(counters.notes.get("decline.atonce")).toBe(1);
    now += 10_000;
    send(decline);
    expect(counters.notes.get("decline.atonce")).toBe(1);
  });

  test("remembers a bounded number of clients, each for a bounded time", () => {
    const declines = new Declines();
    const mac = (index: number) => macPlus(CLIENT_MAC, index);
    for (let index = 0; index <= DECLINE_CLIENTS_MAX; index++) declines.declined(mac(index), 0);
    expect(declines.isHeld(mac(0), 1)).toBe(false);
    expect(declines.isHeld(mac(1), 1)).toBe(true);
    for (let times = 0; times < 10; times++) declines.declined(mac(1), 0);
    expect(declines.isHeld(mac(1), DECLINE_HOLD_MAX_MS - 1)).toBe(true);
    expect(declines.isHeld(mac(1), DECLINE_HOLD_MAX_MS)).toBe(false);
  });
});

describe("the policy of a network", () => {
  const reboot = (address: string): RequestSpec => ({
    type: "DHCPREQUEST",
    mac: UNKNOWN_MAC,
    options: { 50: octets(address) },
  });
  const select: RequestSpec = {
    type: "DHCPREQUEST",
    mac: UNKNOWN_MAC,
    options: { 54: octets(SERVER_IP), 50: octets(CLIENT_IP) },
  };
  const renew: RequestSpec = { type: "DHCPREQUEST", mac: UNKNOWN_MAC, ciaddr: CLIENT_IP };
  const discover: RequestSpec = { type: "DHCPDISCOVER", mac: UNKNOWN_MAC };
  const alone: ReplyPolicy = { bootp: false, rapidCommit: false, refuseUnknown: SUBNET };

  test.each<[string, RequestSpec, EnvelopeSpec | undefined, number]>([
    ["SELECTING that names us", select, undefined, 1],
    ["RENEWING", renew, UNICAST, 2],
    ["INIT-REBOOT from another subnet", reboot("192.168.7.4"), undefined, 1],
    ["INIT-REBOOT inside the subnet", reboot("10.0.0.5"), undefined, 0],
    ["DISCOVER", discover, undefined, 0],
  ])("an unknown client: %s", (_name, spec, envelope, replies) => {
    expect(startServer().send(spec, envelope)).toEqual([]);
    expect(startServer({ policy: alone }).send(spec, envelope)).toHaveLength(replies);
  });

  test("S52: rapid commit only where it is on and the client asks", () => {
    const asking: RequestSpec = { type: "DHCPDISCOVER", options: { 80: [] } };
    const off = startServer().ask(asking);
    expect(messageTypeName(off.message)).toBe("DHCPOFFER");
    expect(off.message.options.has(80)).toBe(false);
    const { ask } = startServer({ policy: { bootp: false, rapidCommit: true } });
    expect(messageTypeName(ask(DISCOVER).message)).toBe("DHCPOFFER");
    const on = ask(asking);
    expect(messageTypeName(on.message)).toBe("DHCPACK");
    expect(on.message.options.get(80)).toEqual(new Uint8Array());
    expect(on.message).toMatchObject({ yiaddr: CLIENT_IP, ciaddr: IPV4_UNSPECIFIED });
    expect(on.message.options.has(51)).toBe(true);
  });
});

describe("options that plugins change", () => {
  const server = (change: (options: ReturnType<typeof createRequestContext>) => void) =>
    startServer({
      decide: (_request, context) => {
        change(context);
        return { kind: "assigned", assignment: { address: CLIENT_IP, profile: profileWith() } };
      },
    });

  test("added, replaced in its place, removed", () => {
    const { ask } = server(({ replyOptions }) => {
      replyOptions.set(createExtraOption(42, octets("10.0.0.4")));
      replyOptions.set(createExtraOption(3, octets("10.0.0.254")));
      replyOptions.remove(6);
    });
    const { options } = ask({ ...DISCOVER, options: { 55: [6, 3, 1] } }).message;
    expect(options.get(42)).toEqual(octets("10.0.0.4"));
    expect(options.get(3)).toEqual(octets("10.0.0.254"));
    expect(options.has(6)).toBe(false);
    const codes = [...options.keys()];
    expect(codes.indexOf(1)).toBeLessThan(codes.indexOf(3));
    expect(codes.filter((code) => code === 3)).toHaveLength(1);
  });

  test("sent only to who asks, if so wished", () => {
    const { ask } = server(({ replyOptions }) =>
      replyOptions.set(createExtraOption(119, Uint8Array.of(1, 97, 0), false)),
    );
    expect(ask(DISCOVER).message.options.has(119)).toBe(false);
    const asked = ask({ ...DISCOVER, options: { 55: [119] } });
    expect(asked.message.options.get(119)).toEqual(Uint8Array.of(1, 97, 0));
  });

  test("a long one is split, and joined again by the reader", () => {
    const data = Uint8Array.from({ length: 300 }, (_, index) => index);
    const { ask } = server(({ replyOptions }) => replyOptions.set(createExtraOption(43, data)));
    const reply = ask({ ...DISCOVER, options: { 57: [0x05, 0xc0] } });
    expect(reply.message.options.get(43)).toEqual(data);
  });

  test("are gone with the next request", () => {
    let isFirst = true;
    const { ask } = server(({ replyOptions }) => {
      if (isFirst) replyOptions.set(createExtraOption(42, octets("10.0.0.4")));
      isFirst = false;
    });
    expect(ask(DISCOVER).message.options.has(42)).toBe(true);
    expect(ask(DISCOVER).message.options.has(42)).toBe(false);
  });

  test.each([0, 50, 51, 52, 53, 54, 55, 57, 61, 82, 255, 256, -1, 1.5])(
    "code %s is refused: the server decides it",
    (code) => {
      expect(() => createExtraOption(code, Uint8Array.of(1))).toThrow(RangeError);
      const { replyOptions } = createRequestContext();
      expect(() => replyOptions.remove(code)).toThrow(RangeError);
    },
  );

  test("data that no reply could carry is refused", () => {
    expect(() => createExtraOption(43, new Uint8Array())).toThrow(/0 octets/);
    expect(() => createExtraOption(43, new Uint8Array(EXTRA_OPTION_DATA_MAX + 1))).toThrow(
      RangeError,
    );
  });
});

describe("the trail of a decision", () => {
  test("keeps the first steps, and counts the others", () => {
    const { trail } = createRequestContext();
    for (let step = 0; step < TRAIL_STEPS_MAX + 3; step++) trail.add(`p${step}`, "next", "why");
    expect(trail.length).toBe(TRAIL_STEPS_MAX + 3);
    expect(trail.steps()).toHaveLength(TRAIL_STEPS_MAX);
    expect(trail.steps()[1]).toEqual({ plugin: "p1", verdict: "next", why: "why" });
  });

  test("is empty for a request that the chain was not asked about", () => {
    const lengths: number[] = [];
    const { sendFrame, send } = startServer({
      decide: (_request, { trail }) => {
        trail.add("nm", "unknown");
        return { kind: "unknown" };
      },
      onDrop: ({ trail }) => lengths.push(trail.length),
    });
    send(DISCOVER);
    sendFrame(frameOf(new Uint8Array(12)));
    expect(lengths).toEqual([1, 0]);
  });
});

test("a frame that is not admitted is not read", () => {
  const asked: [number, MacAddress][] = [];
  const { counters, send } = startServer({
    admit: (ifindex, { sourceMac }) => {
      asked.push([ifindex, sourceMac]);
      return "rate.port";
    },
  });
  expect(send(DISCOVER)).toEqual([]);
  expect(asked).toEqual([[7, CLIENT_MAC]]);
  expect(Object.fromEntries(counters.drops)).toEqual({ "rate.port": 1 });
});
