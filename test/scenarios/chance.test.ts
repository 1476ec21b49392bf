/** What holds in the scenarios holds in any order of events: messages, changes, losses and restarts by chance. */
import fc from "fast-check";
import { describe, test } from "vitest";
import { play } from "./run-scenario.ts";
import { type Inventory, inventory, type Setup, type Step, wait } from "./scenario.ts";
import {
  bootp,
  decline,
  discover,
  inform,
  type Message,
  type OptionWord,
  type Port,
  rebind,
  reboot,
  release,
  renew,
  request,
  select,
} from "./vocabulary.ts";

const CLIENTS = ["M1", "M2", "M9"] as const;
const ADDRESSES = [".5", ".6", ".8", ".99", "192.168.7.4", "0.0.0.0"];
const OPTIONS: readonly OptionWord[] = [
  [12, "guest"],
  [50, ".6"],
  [51, [0, 0, 0, 90]],
  [54, ".77"],
  [55, [1, 3, 6, 12, 15, 28, 26]],
  [57, [5, 220]],
  [60, "PXEClient:Arch:00000:UNDI:002001"],
  [61, [1, 0, 13, 58, 1, 2, 3]],
  [77, "iPXE"],
  [80, []],
  [81, [1, 0, 0, 97]],
  [82, [1, 1, 1]],
  [93, [0, 0]],
];

/** An address, and what makes a message of it. */
const messages = fc
  .record({
    address: fc.constantFrom(...ADDRESSES),
    make: fc.constantFrom<(address: string, words: Partial<Message>) => Message>(
      (_address, words) => discover(words),
      (_address, words) => bootp(words),
      (_address, words) => request(words),
      select,
      reboot,
      (address, words) => renew(address, words),
      (address, words) => rebind(address, words),
      (address, words) => inform({ ...words, ciaddr: address, sourceIp: address }),
      (address, words) => decline({ ...words, options: [[50, address]] }),
      (address, words) => release(address, words),
    ),
    words: fc.record(
      {
        client: fc.constantFrom(...CLIENTS),
        xid: fc.constantFrom(0, 1, 0xffff_ffff),
        secs: fc.nat(0xffff),
        flags: fc.constantFrom(0, 0x8000, 0x7fff),
        port: fc.constantFrom<Port>("tap1", "tap2"),
        options: fc.uniqueArray(fc.constantFrom(...OPTIONS), {
          selector: ([code]) => code,
          maxLength: 4,
        }),
      },
      { requiredKeys: ["client", "options"] },
    ),
    giaddr: fc.option(fc.constantFrom("10.1.0.1", "10.1.0.2", "10.9.0.1"), { freq: 4 }),
  })
  .map(({ address, make, words, giaddr }) => {
    const { port, ...others } = words;
    if (giaddr !== null) return make(address, { ...others, giaddr, hops: 1 });
    return make(address, port === undefined ? others : words);
  });

const servers = fc.constantFrom("A", "B");
const sends: fc.Arbitrary<Step> = fc
  .record({ message: messages, server: servers })
  .map((words) => ({ kind: "send", ...words }));
const waits: fc.Arbitrary<Step> = fc
  .constantFrom(1, 19, 20, 100, 1_000, 61_000)
  .map((ms) => wait(ms));
const restarts: fc.Arbitrary<Step> = servers.map((server) => ({ kind: "restart", server }));
const changes: fc.Arbitrary<Step> = fc
  .constantFrom<Inventory>(
    { M1: { address: ".5" }, M2: { address: ".6" } },
    { M1: { address: ".8" }, M2: { address: ".5" } },
    { M1: { address: ".5", port: "tap2" } },
    {},
  )
  .map(inventory);
const lines: fc.Arbitrary<Step> = fc
  .constantFrom("up", "down", "silent")
  .map((state) => ({ kind: "backend", state }));

const policies = fc.record({
  policy: fc.record({ bootp: fc.boolean(), rapidCommit: fc.boolean() }),
  network: fc.record({
    authoritative: fc.boolean(),
    mtu: fc.constantFrom(576, 1400, 1500, 9000),
  }),
});
const RELAYS: Setup = { relays: "10.1.0.0/24" };
const BACKEND: Setup = {
  backend: { nics: { M1: { address: ".5" }, M2: { address: ".6" } }, latencyMs: 20 },
};

describe("by chance, P1 to P9 hold", () => {
  test("with the inventory in memory, as it changes", async () => {
    const weighted = fc.oneof({ arbitrary: sends, weight: 6 }, waits, restarts, changes);
    const steps = fc.array(weighted, { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(policies, steps, async (setup, events) => {
        await play({ ...RELAYS, ...setup }, events);
      }),
      { numRuns: 60 },
    );
  });

  test("with the inventory behind a line that is slow or cut", async () => {
    const weighted = fc.oneof(
      { arbitrary: sends, weight: 6 },
      { arbitrary: waits, weight: 3 },
      restarts,
      lines,
    );
    const steps = fc.array(weighted, { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(policies, steps, async (setup, events) => {
        await play({ ...RELAYS, ...setup, ...BACKEND }, events);
      }),
      { numRuns: 60 },
    );
  });
});
