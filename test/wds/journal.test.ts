/** The decision journal, fed by a real server on a memory socket and by events of its own making. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createExchange, createRequestEvent } from "../../src/dhcp/exchange.ts";
import { type DropEvent, type ExchangeEvent, MESSAGE_TYPE } from "../../src/dhcp/index.ts";
import { type Ipv4Address, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { type MacAddress, macPlus, parseMac } from "../../src/model/mac-address.ts";
import {
  createChain,
  createHardwarePlugin,
  createNmPlugin,
  JOURNAL_ENTRIES_MAX,
  JOURNAL_TEXTS_MAX,
  JOURNAL_TRAILS_MAX,
  Journal,
} from "../../src/wds/index.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  OTHER_IP,
  octets,
  profileWith,
  SERVER_IP,
  UNKNOWN_MAC,
} from "../dhcp/packets.ts";
import { PORT, startServer } from "../dhcp/test-server.ts";

const FIRST = parseMac("00:0c:01:00:00:00");

function createJournal(sizes: { clients?: number; strangers?: number } = {}) {
  const clock = { ms: 1000 };
  return { clock, journal: new Journal({ now: () => clock.ms, seed: 7, clients: 64, ...sizes }) };
}

/** A server with the usual chain and a journal that observes it. */
function startObserved() {
  const { clock, journal } = createJournal();
  const assignment = { address: CLIENT_IP, profile: profileWith(), container: "web-0" };
  const chain = createChain([
    createHardwarePlugin({ findHost: () => undefined }),
    createNmPlugin({ findByMac: (mac) => (mac === CLIENT_MAC ? assignment : undefined) }),
  ]);
  const server = startServer({
    decide: chain.decide,
    onExchange: (event) => journal.observe(event),
    onDrop: (event) => journal.observe(event),
  });
  return { ...server, clock, journal };
}

/** Events without a server. */
function createEvents() {
  const exchange = createExchange();
  const base = createRequestEvent(exchange);
  const drop = (mac: MacAddress, reason: string, changes: Partial<DropEvent> = {}): DropEvent => {
    exchange.context.trail.clear();
    return { ...base, ...{ sourceMac: mac, chaddr: mac, reason }, ...changes };
  };
  const reply = (mac: MacAddress, changes: Partial<ExchangeEvent> = {}): ExchangeEvent => {
    const { trail } = exchange.context;
    trail.clear();
    trail.add("nm", "assigned", "a binding");
    return {
      ...base,
      ...{ sourceMac: mac, chaddr: mac, requestType: MESSAGE_TYPE.DHCPDISCOVER },
      ...{ replyType: "DHCPOFFER", address: CLIENT_IP, nakReason: undefined },
      ...{ assignment: undefined, container: undefined },
      ...changes,
    };
  };
  return { exchange, drop, reply };
}

describe("Journal", () => {
  test("says of a boot what each plugin decided and what came of it, newest first", () => {
    const { ask, clock, journal } = startObserved();
    ask({ type: "DHCPDISCOVER", xid: 1 });
    clock.ms = 1010;
    ask({ type: "DHCPREQUEST", xid: 2, options: { 54: octets(SERVER_IP), 50: octets(CLIENT_IP) } });
    const steps = [
      { plugin: "hardware", verdict: "next", why: "no physical host has this MAC" },
      { plugin: "nm", verdict: "assigned", why: "a binding has this MAC on this network" },
    ];
    const common = { count: 1, ifindex: PORT, steps };
    expect(journal.explain(CLIENT_MAC)).toEqual({
      ...{ mac: CLIENT_MAC, isKnown: true, container: "web-0" },
      entries: [
        {
          ...common,
          ...{ firstMs: 1010, lastMs: 1010, xid: 2, requestType: 3, requestClass: "SELECTING" },
          wanted: CLIENT_IP,
          outcome: { kind: "reply", type: "DHCPACK", address: CLIENT_IP },
        },
        {
          ...common,
          ...{ firstMs: 1000, lastMs: 1000, xid: 1, requestType: 1, requestClass: "INIT" },
          outcome: { kind: "reply", type: "DHCPOFFER", address: CLIENT_IP },
        },
      ],
    });
  });

  test("says why a client was refused, and why a stranger got no answer", () => {
    const { ask, send, journal } = startObserved();
    ask({ type: "DHCPREQUEST", options: { 50: octets(OTHER_IP) } });
    expect(journal.explain(CLIENT_MAC)?.entries[0]).toMatchObject({
      wanted: OTHER_IP,
      requestClass: "INIT-REBOOT",
      outcome: { kind: "reply", type: "DHCPNAK", nakReason: "wrong-address" },
    });
    send({ type: "DHCPDISCOVER", mac: UNKNOWN_MAC });
    const stranger = journal.explain(UNKNOWN_MAC);
    expect(stranger).toMatchObject({ isKnown: false, entries: [{ count: 1 }] });
    expect(stranger?.entries[0]?.outcome).toEqual({ kind: "drop", reason: "nic.unknown" });
    expect(stranger?.entries[0]?.steps.map(({ verdict }) => verdict)).toEqual(["next", "next"]);
    expect(journal.explain(FIRST)).toBeUndefined();
  });

  test("counts equal outcomes, whatever lies between them", () => {
    const { ask, clock, journal } = startObserved();
    for (let boot = 0; boot < 5; boot++) {
      clock.ms = boot;
      ask({ type: "DHCPDISCOVER", xid: boot });
      const options = { 54: octets(SERVER_IP), 50: octets(CLIENT_IP) };
      ask({ type: "DHCPREQUEST", xid: boot, options });
    }
    const { entries } = journal.explain(CLIENT_MAC)!;
    expect(entries).toHaveLength(2);
    for (const entry of entries) {
      expect(entry).toMatchObject({ count: 5, firstMs: 0, lastMs: 4, xid: 4 });
    }
  });

  test("a message that was not read that far is its sender's", () => {
    const { journal } = createJournal();
    const { drop } = createEvents();
    const none = parseMac("00:00:00:00:00:00");
    journal.observe(drop(FIRST, "opt.trunc", { chaddr: none }));
    journal.observe(drop(none, "l2.dst"));
    expect(journal.explain(FIRST)?.entries[0]?.outcome).toEqual({
      kind: "drop",
      reason: "opt.trunc",
    });
    expect(journal.recent("strangers", 10)).toEqual([FIRST]);
  });

  test("a known client's drops stay with it, and who became known keeps what was before", () => {
    const { clock, journal } = createJournal();
    const { drop, reply } = createEvents();
    journal.observe(drop(FIRST, "nic.unknown"));
    clock.ms++;
    journal.observe(reply(FIRST));
    clock.ms++;
    journal.observe(drop(FIRST, "port.spoof"));
    const { isKnown, entries } = journal.explain(FIRST)!;
    expect(isKnown).toBe(true);
    expect(entries.map(({ outcome }) => outcome.kind === "drop" && outcome.reason)).toEqual([
      "port.spoof",
      false,
      "nic.unknown",
    ]);
    expect(journal.recent("clients", 10)).toEqual([FIRST]);
  });

  test("a flood of strangers washes out strangers only", () => {
    const { journal } = createJournal({ clients: 4, strangers: 8 });
    const { drop, reply } = createEvents();
    journal.observe(reply(CLIENT_MAC));
    for (let index = 0; index < 1000; index++) {
      journal.observe(drop(macPlus(FIRST, index), "nic.unknown"));
    }
    expect(journal.explain(CLIENT_MAC)?.entries).toHaveLength(1);
    expect(journal.recent("strangers", 100)).toHaveLength(8);
    expect(journal.explain(FIRST)).toBeUndefined();
    expect(journal.explain(macPlus(FIRST, 999))?.entries).toHaveLength(1);
  });

  test("a slot that is given to another client holds nothing of the one before", () => {
    const { journal } = createJournal({ clients: 1 });
    const { reply } = createEvents();
    journal.observe(
      reply(FIRST, { assignment: { address: CLIENT_IP, profile: profileWith(), container: "a" } }),
    );
    journal.observe(reply(CLIENT_MAC));
    expect(journal.explain(FIRST)).toBeUndefined();
    expect(journal.explain(CLIENT_MAC)).toMatchObject({ entries: [{ count: 1 }] });
    expect(journal.explain(CLIENT_MAC)).not.toHaveProperty("container");
  });

  test("of too many different outcomes the oldest goes", () => {
    const { clock, journal } = createJournal();
    const { drop } = createEvents();
    for (let wanted = 1; wanted <= JOURNAL_ENTRIES_MAX + 3; wanted++) {
      clock.ms = wanted;
      // The first one stays the newest but one.
      for (const address of [1, wanted]) {
        journal.observe(drop(FIRST, "x", { wanted: address as Ipv4Address }));
      }
    }
    const wanted = journal.explain(FIRST)!.entries.map((entry) => entry.wanted);
    expect(wanted).toHaveLength(JOURNAL_ENTRIES_MAX);
    expect(wanted.slice(0, 2)).toEqual([JOURNAL_ENTRIES_MAX + 3, 1]);
    expect(wanted).not.toContain(2);
  });

  test("texts that a plugin makes up fill their table and no more", () => {
    const { journal } = createJournal();
    const { exchange, drop } = createEvents();
    const count = Math.max(JOURNAL_TEXTS_MAX, JOURNAL_TRAILS_MAX) + 10;
    for (let index = 0; index < count; index++) {
      const event = drop(FIRST, `reason-${index}`);
      exchange.context.trail.add("mine", "drop", `made up ${index}`);
      journal.observe(event);
    }
    const [last] = journal.explain(FIRST)!.entries;
    expect(last?.outcome).toEqual({ kind: "drop", reason: "other" });
    expect(last?.steps).toEqual([{ plugin: "other", verdict: "other", why: undefined }]);
  });

  test("remembers what a plain list would, whatever comes", () => {
    const event = fc.record({
      mac: fc.integer({ min: 1, max: 6 }),
      reason: fc.constantFrom("a", "b", "c"),
      isReply: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        const { clock, journal } = createJournal();
        const { drop, reply } = createEvents();
        const known = new Set<number>();
        const list = new Map<string, { count: number; lastMs: number; mac: number }>();
        for (const { mac, reason, isReply } of events) {
          clock.ms++;
          const key = `${mac} ${isReply ? "reply" : `${reason} ${known.has(mac)}`}`;
          const address = mac as MacAddress;
          journal.observe(isReply ? reply(address) : drop(address, reason));
          if (isReply) known.add(mac);
          list.set(key, { mac, count: (list.get(key)?.count ?? 0) + 1, lastMs: clock.ms });
        }
        for (let mac = 1; mac <= 6; mac++) {
          const want = [...list.values()]
            .filter((entry) => entry.mac === mac)
            .sort((a, b) => b.lastMs - a.lastMs)
            .map(({ count, lastMs }) => ({ count, lastMs }));
          const got = journal.explain(mac as MacAddress)?.entries ?? [];
          expect(got.map(({ count, lastMs }) => ({ count, lastMs }))).toEqual(want);
        }
      }),
    );
  });

  test("the heap does not grow with events, known or not", () => {
    const { journal } = createJournal();
    const known = createEvents().reply(CLIENT_MAC);
    const strange = createEvents().drop(FIRST, "nic.unknown");
    setFlagsFromString("--expose-gc");
    const collectGarbage: () => void = runInNewContext("gc");
    let next = 0;
    const run = (count: number) => {
      for (let index = 0; index < count; index++) {
        journal.observe(known);
        strange.chaddr = macPlus(FIRST, next++);
        journal.observe(strange);
      }
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const before = run(10_000);
    const after = run(100_000);
    expect(after - before).toBeLessThan(2 ** 20);
  });

  test("numbers are read as they were written", () => {
    const { journal } = createJournal();
    const { reply } = createEvents();
    const mac = parseMac("fe:ff:ff:ff:ff:ff");
    const address = parseIpv4("255.255.255.254");
    const giaddr = parseIpv4("200.0.0.1");
    journal.observe(reply(mac, { address, giaddr, ifindex: 3, xid: 0xffff_ffff }));
    const [entry] = journal.explain(mac)!.entries;
    expect(entry).toMatchObject({ giaddr, ifindex: 3, xid: 0xffff_ffff, outcome: { address } });
    expect(entry).not.toHaveProperty("wanted");
  });
});
