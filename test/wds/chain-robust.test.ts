/** What faulty plugins cost: their one request, on a real server (S103, S104). */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Assignment,
  type ChainVerdict,
  createExtraOption,
  messageTypeName,
} from "../../src/dhcp/index.ts";
import type { MacAddress } from "../../src/model/mac-address.ts";
import {
  type Chain,
  createChain,
  createHardwarePlugin,
  createLogPlugin,
  createNmPlugin,
  createRateLimitPlugin,
  Journal,
  LogSchema,
  NEXT,
  PLUGIN_BUDGET_MS,
  type Plugin,
  RateLimitSchema,
  WHY_CHARACTERS_MAX,
} from "../../src/wds/index.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  OTHER_IP,
  OTHER_MAC,
  profileWith,
  type RequestSpec,
  readReply,
  requestFrame,
} from "../dhcp/packets.ts";
import { startServer } from "../dhcp/test-server.ts";

const PROFILE = profileWith();
const ASSIGNMENT: Assignment = { address: CLIENT_IP, profile: PROFILE };
const ASSIGNED = { kind: "assigned", assignment: ASSIGNMENT } as const;
const ADDRESSES = new Map<MacAddress, Assignment>([
  [CLIENT_MAC, ASSIGNMENT],
  [OTHER_MAC, { address: OTHER_IP, profile: PROFILE }],
]);
const NM = createNmPlugin({ findByMac: (mac) => ADDRESSES.get(mac) });
const DISCOVER: RequestSpec = { type: "DHCPDISCOVER", options: { 61: [1, 2, 3] } };
const GOOD: RequestSpec = { type: "DHCPDISCOVER", mac: OTHER_MAC };

/** Timers that run out when the test says so. */
function createTimers() {
  const running = new Map<() => void, number>();
  const startTimer = (milliseconds: number, callback: () => void) => {
    running.set(callback, milliseconds);
    return () => running.delete(callback);
  };
  const runOut = () => {
    const callbacks = [...running.keys()];
    running.clear();
    for (const callback of callbacks) callback();
  };
  return { running, startTimer, runOut };
}

function startWith(...plugins: Plugin[]) {
  const timers = createTimers();
  const chain = createChain(plugins, timers);
  const { admit, decide, observe } = chain;
  const server = startServer({ admit, decide, onExchange: observe, onDrop: observe });
  const replies = () => server.socket.sent.map(({ bytes }) => readReply(bytes));
  return { ...server, ...timers, chain, replies };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A plugin that misbehaves for CLIENT_MAC alone. */
function faulty(phase: "resolve" | "policy" | "options", answer: () => unknown): Plugin {
  const method = ({ chaddr }: { chaddr: MacAddress }) =>
    chaddr === CLIENT_MAC ? (answer() as never) : NEXT;
  return { name: "faulty", [phase]: method };
}

const throwing = () => {
  throw new Error("broken");
};
const JUNK: readonly (readonly [name: string, answer: () => unknown])[] = [
  ["throws", throwing],
  ["answers undefined", () => undefined],
  ["answers null", () => null],
  ["answers a number", () => 7],
  ["answers a text", () => "next"],
  ["answers a kind that there is not", () => ({ kind: "maybe" })],
  ["answers a drop without a reason", () => ({ kind: "drop" })],
  ["answers a reason of a client's text", () => ({ kind: "drop", reason: "\u001b[31m no" })],
  ["answers a reason that is long", () => ({ kind: "drop", reason: "a".repeat(65) })],
  ["says why with an object", () => ({ kind: "next", why: {} })],
  ["says why at length", () => ({ kind: "next", why: "a".repeat(WHY_CHARACTERS_MAX + 1) })],
  ["has a getter that throws", () => Object.defineProperty({}, "kind", { get: throwing })],
  ["answers with a promise although it is synchronous", () => Promise.resolve(NEXT)],
  ["answers with a promise that rejects", () => Promise.reject(new Error("late"))],
];

describe("S103: a plugin that", () => {
  for (const phase of ["resolve", "policy", "options"] as const) {
    for (const [name, answer] of JUNK) {
      test(`${name} in ${phase} costs that request, and the next is answered`, async () => {
        const { ask, chain, counters, send } = startWith(faulty(phase, answer), NM);
        expect(send(DISCOVER)).toEqual([]);
        expect(messageTypeName(ask(GOOD).message)).toBe("DHCPOFFER");
        expect(counters.drops.get("plugin.faulty")).toBe(1);
        expect(chain.counters.get("faulty")).toMatchObject({ failed: 1, timedOut: 0 });
        await settled();
      });
    }
  }

  const junkAssignments: readonly (readonly [name: string, assignment: unknown])[] = [
    ["nothing", undefined],
    ["an address that is a text", { ...ASSIGNMENT, address: "10.0.0.5" }],
    ["half an address", { ...ASSIGNMENT, address: 1.5 }],
    ["a negative address", { ...ASSIGNMENT, address: -1 }],
    ["no profile", { address: CLIENT_IP }],
    ["a host name that is a number", { ...ASSIGNMENT, hostname: 5 }],
  ];
  for (const [name, assignment] of junkAssignments) {
    test(`assigns ${name} costs that request`, () => {
      const { ask, counters, send } = startWith(
        faulty("resolve", () => ({ kind: "assigned", assignment })),
        NM,
      );
      expect(send(DISCOVER)).toEqual([]);
      expect(counters.drops.get("plugin.faulty")).toBe(1);
      ask(GOOD);
    });
  }

  test("assigns a profile of its own making costs that request, at once and later", async () => {
    const profile = { serverIdentifier: PROFILE.serverIdentifier };
    const verdict = { kind: "assigned", assignment: { address: CLIENT_IP, profile } };
    const { ask, counters, send } = startWith(
      faulty("resolve", () => verdict),
      NM,
    );
    expect(send(DISCOVER)).toEqual([]);
    ask(GOOD);
    const later = { ...faulty("resolve", async () => verdict), isAsynchronous: true };
    const slow = startWith(later, NM);
    expect(slow.send(DISCOVER)).toEqual([]);
    await settled();
    expect(slow.replies()).toEqual([]);
    expect([counters.drops.get("plugin.error"), slow.counters.drops.get("plugin.error")]).toEqual([
      1, 1,
    ]);
  });

  test("sets an option that it made by hand costs that request", () => {
    const byHand = { code: 53, octets: Uint8Array.of(53, 1, 5), always: true };
    const plugin: Plugin = {
      name: "faulty",
      options: ({ chaddr }, { replyOptions }) => {
        if (chaddr === CLIENT_MAC) replyOptions.set(byHand);
        return NEXT;
      },
    };
    const { ask, counters, send } = startWith(NM, plugin);
    expect(send(DISCOVER)).toEqual([]);
    expect(counters.drops.get("plugin.faulty")).toBe(1);
    ask(GOOD);
  });

  test("breaks in admit or observe costs no more than that", async () => {
    const { ask, chain, counters, send } = startWith(
      {
        name: "gate",
        admit: (_ifindex, { sourceMac }) => (sourceMac === CLIENT_MAC ? (7 as never) : undefined),
      },
      { name: "throws", observe: throwing },
      { name: "rejects", observe: (async () => throwing()) as never },
      NM,
    );
    expect(send(DISCOVER)).toEqual([]);
    expect(counters.drops.get("plugin.gate")).toBe(1);
    ask(GOOD);
    await settled();
    expect(counters.observerErrors).toBe(0);
    const failed = ["gate", "throws", "rejects"].map((name) => chain.counters.get(name)?.failed);
    expect(failed).toEqual([1, 2, 2]);
  });

  test("hangs costs that request, and its late answer is never sent", async () => {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const hanging = { ...faulty("resolve", () => promise), isAsynchronous: true };
    const { chain, counters, running, runOut, send, replies, socket } = startWith(hanging, NM);
    expect(send(DISCOVER)).toEqual([]);
    expect([...running.values()]).toEqual([PLUGIN_BUDGET_MS.resolve]);
    runOut();
    await settled();
    expect(counters.drops.get("plugin.faulty")).toBe(1);
    expect(chain.counters.get("faulty")).toEqual({ decided: 0, failed: 1, timedOut: 1 });
    socket.sent.length = 0;
    resolve(ASSIGNED);
    await settled();
    expect(replies()).toEqual([]);
    expect(counters.pending).toBe(0);
    expect(chain.counters.get("faulty")).toEqual({ decided: 0, failed: 1, timedOut: 1 });
    // Still asynchronous for everybody, and in time for them.
    send(GOOD);
    await settled();
    expect(replies()).toHaveLength(1);
    expect(running.size).toBe(0);
  });
});

describe("an asynchronous plugin", () => {
  const never = () => new Promise<never>(() => undefined);

  test.each([
    ["resolve", undefined, 100],
    ["policy", undefined, 20],
    ["options", undefined, 20],
    ["policy", 7, 7],
  ] as const)("has a budget in %s (its own: %s) of %i ms", async (phase, budgetMs, want) => {
    const plugin: Plugin = {
      ...faulty(phase, never),
      isAsynchronous: true,
      ...(budgetMs !== undefined && { budgetMs }),
    };
    const plugins = phase === "resolve" ? [plugin, NM] : [NM, plugin];
    const { running, runOut, send, counters } = startWith(...plugins);
    send(DISCOVER);
    await settled();
    expect([...running.values()]).toEqual([want]);
    runOut();
    await settled();
    expect(counters.drops.get("plugin.faulty")).toBe(1);
  });

  test("holds up nobody: 1,000 others are answered while it hangs", async () => {
    const lookup: Plugin = {
      name: "lookup",
      isAsynchronous: true,
      resolve: ({ chaddr }) => (chaddr === CLIENT_MAC ? never() : NEXT),
    };
    const { runOut, send, socket, replies } = startWith(lookup, NM);
    send(DISCOVER);
    const xids = new Set<number>();
    for (let xid = 0; xid < 1000; xid++) {
      send({ ...GOOD, xid });
      await settled();
      for (const { message } of replies()) xids.add(message.xid);
    }
    expect(xids.size).toBe(1000);
    socket.sent.length = 0;
    runOut();
    await settled();
    expect(socket.sent).toEqual([]);
  });

  test("behind synchronous ones is not waited for by whom they answer", () => {
    const lookup: Plugin = { name: "lookup", isAsynchronous: true, resolve: never };
    const { ask, send, runOut } = startWith(NM, lookup);
    for (let xid = 0; xid < 1000; xid++) ask({ ...GOOD, xid });
    const stranger = 0x000d_3aff_ffff as MacAddress;
    expect(send({ ...DISCOVER, mac: stranger })).toEqual([]);
    ask(DISCOVER);
    runOut();
  });

  test("ahead of the others is not waited for by whom it says not to know", async () => {
    const lookup: Plugin = {
      name: "lookup",
      isAsynchronous: true,
      knows: (mac) => mac === CLIENT_MAC,
      resolve: never,
    };
    const { ask, send, runOut } = startWith(lookup, NM);
    for (let xid = 0; xid < 1000; xid++) ask({ ...GOOD, xid });
    expect(send(DISCOVER)).toEqual([]);
    runOut();
    await settled();
  });

  test("whose `knows` throws is asked", async () => {
    const knows = () => {
      throw new Error("no");
    };
    const lookup: Plugin = { name: "lookup", isAsynchronous: true, knows, resolve: never };
    const { send, runOut, counters } = startWith(lookup, NM);
    expect(send(GOOD)).toEqual([]);
    runOut();
    await settled();
    expect(counters.drops.get("plugin.lookup")).toBe(1);
  });

  test("may answer at once, with a thenable that is no promise, or out of order", async () => {
    // biome-ignore lint/suspicious/noThenProperty: what libraries of promises return
    const thenable = { then: (done: (verdict: ChainVerdict) => void) => done(ASSIGNED) };
    for (const answer of [() => ASSIGNED, () => thenable, async () => ASSIGNED]) {
      const plugin: Plugin = {
        name: "lookup",
        isAsynchronous: true,
        resolve: () => answer() as never,
      };
      const { send, replies } = startWith(plugin);
      send(DISCOVER);
      await settled();
      expect(replies().map(({ message }) => message.yiaddr)).toEqual([CLIENT_IP]);
    }
  });
});

describe("S104: stop", () => {
  const option = (code: number) => createExtraOption(code, Uint8Array.of(1));
  const setter = (name: string, code: number, answer: "next" | "stop"): Plugin => ({
    name,
    options: (_request, { replyOptions }) => {
      replyOptions.set(option(code));
      return { kind: answer };
    },
  });

  test("ends the options phase, not what the server adds", () => {
    const { ask } = startWith(NM, setter("first", 224, "stop"), setter("second", 225, "next"));
    const { options } = ask(DISCOVER).message;
    expect(options.has(224)).toBe(true);
    expect(options.has(225)).toBe(false);
    expect(options.get(61)).toEqual(Uint8Array.of(1, 2, 3));
    for (const code of [53, 54, 51, 1]) expect(options.has(code)).toBe(true);
  });

  test("every options plugin is asked otherwise, in order", () => {
    const { ask } = startWith(NM, setter("first", 224, "next"), setter("second", 225, "next"));
    const { options } = ask(DISCOVER).message;
    expect([options.has(224), options.has(225)]).toEqual([true, true]);
  });
});

describe("the chain", () => {
  const anything = fc.oneof(
    fc.anything(),
    fc.constantFrom<unknown>(NEXT, ASSIGNED, { kind: "stop" }, { kind: "unknown" }),
    fc.record({
      kind: fc.constantFrom("next", "assigned", "unknown", "drop", "error", "stop", "x"),
      reason: fc.anything(),
      why: fc.oneof(fc.string(), fc.anything()),
      assignment: fc.oneof(fc.constant(ASSIGNMENT), fc.anything()),
    }),
  );
  const behaviour = fc.record({
    way: fc.constantFrom("return", "throw", "promise", "reject"),
    value: anything,
  });
  const pluginOf = fc.record({
    isAsynchronous: fc.boolean(),
    resolve: fc.option(behaviour, { nil: undefined }),
    policy: fc.option(behaviour, { nil: undefined }),
    options: fc.option(behaviour, { nil: undefined }),
    observe: fc.option(behaviour, { nil: undefined }),
    admit: fc.option(behaviour, { nil: undefined }),
    knows: fc.option(behaviour, { nil: undefined }),
  });
  type Behaviour = { way: string; value: unknown };

  const methodOf = ({ way, value }: Behaviour) => {
    return () => {
      if (way === "throw") throw value;
      if (way === "promise") return Promise.resolve(value);
      return way === "reject" ? Promise.reject(value) : value;
    };
  };

  test("never throws nor rejects, and the server counts each frame once, whatever plugins do", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(pluginOf, { maxLength: 4 }), async (made) => {
        const plugins = made.map(({ isAsynchronous, ...methods }, index) => ({
          name: `p${index}`,
          isAsynchronous,
          ...Object.fromEntries(
            Object.entries(methods).flatMap(([name, behaves]) =>
              behaves === undefined ? [] : [[name, methodOf(behaves)]],
            ),
          ),
        })) as Plugin[];
        const chain: Chain = createChain(plugins);
        const { admit, decide, observe } = chain;
        const { counters, send } = startServer({
          ...{ admit, decide, onExchange: observe, onDrop: observe },
        });
        send(DISCOVER);
        await settled();
        await settled();
        const { received, replies, drops, observerErrors } = counters;
        const counted = [...drops.values(), ...Object.values(replies)];
        expect(counted.reduce((sum, count) => sum + count, 0)).toBe(received);
        expect(observerErrors).toBe(0);
        for (const reason of drops.keys()) expect(reason).toMatch(/^[\w.-]{1,64}$/);
      }),
      { numRuns: 300 },
    );
  });
});

test("the heap does not grow over 100,000 frames through the whole chain and the journal", () => {
  let nowMs = 0;
  const now = () => nowMs;
  const journal = new Journal({ now, seed: 1, clients: 16, strangers: 16 });
  const chain = createChain([
    createLogPlugin(LogSchema.parse({}), { now, write: () => undefined }),
    createRateLimitPlugin(RateLimitSchema.parse({ mac: "off", unknown: "off" }), { now, seed: 1 }),
    createHardwarePlugin({ findHost: () => undefined }),
    createNmPlugin({ findByMac: (mac) => ADDRESSES.get(mac) }),
  ]);
  const observe = (event: Parameters<typeof journal.observe>[0]) => {
    journal.observe(event);
    chain.observe(event);
  };
  const { admit, decide } = chain;
  const { socket } = startServer({ admit, decide, onExchange: observe, onDrop: observe });
  const frames = [
    requestFrame(DISCOVER),
    requestFrame(GOOD),
    requestFrame({ ...DISCOVER, mac: 0x000d_3aff_ffff as MacAddress }),
  ];
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  const run = (count: number) => {
    for (let index = 0; index < count; index++) {
      nowMs += 0.01;
      socket.inject(frames[index % frames.length]!);
      socket.sent.length = 0;
    }
    collectGarbage();
    return process.memoryUsage().heapUsed;
  };
  const before = run(10_000);
  const after = run(100_000);
  expect(after - before).toBeLessThan(2 ** 20);
  expect(journal.explain(CLIENT_MAC)?.entries[0]?.count).toBeGreaterThan(30_000);
});
