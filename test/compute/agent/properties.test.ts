/** Random histories: goals that change, VMs that end, an agent that is killed between any two steps of its work. */
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ComputeAgent } from "../../../src/compute/index.ts";
import type { ContainerStatus } from "../../../src/model/documents.ts";
import { keys } from "../../../src/model/documents.ts";
import { type FabricStore, openMemoryStore } from "../../../src/store/index.ts";
import { createBootTrace } from "../../../src/trace/index.ts";
import { temporaryFolder } from "../../temporary-folder.ts";
import { FabricScript, NODE, POLICY } from "./agent-fixture.ts";
import { ManualClock } from "./manual-clock.ts";
import { type Gate, SimulatedMachine, settle } from "./simulated-machine.ts";

const CONTAINERS = ["lab.web_0", "lab.web_1"] as const;
/** Long against everything that a history lets pass. */
const READY_MS = 10_000_000;

/** A process that is killed after so many steps, or when it is told to be. */
class Mortal implements Gate {
  #isDead = false;
  stepsLeft = Number.POSITIVE_INFINITY;

  get isDead(): boolean {
    return this.#isDead;
  }

  kill(): void {
    this.#isDead = true;
  }

  async pass(): Promise<void> {
    if (this.stepsLeft-- <= 0) this.#isDead = true;
    if (this.#isDead) await new Promise<never>(() => {});
  }
}

/** The store as a mortal process reaches it: it may die before and after each call. */
function mortalStore(store: FabricStore, gate: Mortal, wrote: (rev: number) => void): FabricStore {
  const call = async <T>(work: () => Promise<T>): Promise<T> => {
    await gate.pass();
    const result = await work();
    await gate.pass();
    return result;
  };
  return {
    get: (key, options) => call(() => store.get(key, options)),
    list: (prefix, options) => call(() => store.list(prefix, options)),
    txn: (transaction) =>
      call(async () => {
        const result = await store.txn(transaction);
        if (result.ok) wrote(result.rev);
        return result;
      }),
    watch: async function* (prefix, options) {
      for await (const item of store.watch(prefix, options)) {
        await gate.pass();
        yield item;
      }
    },
    lease: (ttlMs, options) => store.lease(ttlMs, options),
    compact: (upTo) => store.compact(upTo),
    status: () => store.status(),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** One node, its agents one after another, and what must never be. */
class World {
  readonly clock = new ManualClock();
  readonly store = openMemoryStore();
  readonly fabric = new FabricScript(this.store);
  readonly machine = new SimulatedMachine({
    clock: this.clock,
    bootMs: 50,
    prepareMs: 50,
    heedsAcpi: true,
    onStop: ({ spec }) => this.#checks.push(this.#checkStop(spec.container, spec.attempt)),
  });
  readonly violations: string[] = [];
  readonly #runDirectory = temporaryFolder("compute-agent");
  readonly #checks: Promise<void>[] = [];
  #agent: { readonly agent: ComputeAgent; readonly gate: Mortal } | undefined;

  get agent(): ComputeAgent | undefined {
    return this.#agent?.gate.isDead === false ? this.#agent.agent : undefined;
  }

  async start(): Promise<void> {
    this.kill();
    await settle(1); // what it was about to do in this very turn is done
    const gate = new Mortal();
    const { clock } = this;
    const store = mortalStore(this.store, gate, (rev) => this.#checks.push(this.#checkWrite(rev)));
    const agent = new ComputeAgent({
      ...{ store, node: NODE, namePrefix: "gs-test-", runDirectory: this.#runDirectory },
      hypervisor: this.machine.hypervisor(gate),
      trace: createBootTrace({ store, now: () => clock.now() }),
      clock: {
        now: () => clock.now(),
        monotonic: () => clock.monotonic(),
        after: (ms, callback) =>
          clock.after(ms, () => {
            if (!gate.isDead) callback();
          }),
      },
      policy: { ...POLICY, readyMs: READY_MS, startsMax: 1 },
      onError: (_what, error) => this.violations.push(`unexpected error ${error}`),
    });
    agent.run(new AbortController().signal).catch((error: unknown) => {
      if (!gate.isDead) this.violations.push(`the agent ended: ${error}`);
    });
    this.#agent = { agent, gate };
  }

  kill(): void {
    this.#agent?.gate.kill();
  }

  killSoon(steps: number): void {
    if (this.#agent !== undefined) this.#agent.gate.stepsLeft = steps;
  }

  async checked(): Promise<string[]> {
    await Promise.all(this.#checks);
    return [...this.violations, ...this.machine.violations];
  }

  /** A status speaks of the goal as it was in the same revision, and only for this node. */
  async #checkWrite(rev: number): Promise<void> {
    for (const container of CONTAINERS) {
      const { kv } = await this.store.get(keys.containerStatus(container), { rev });
      if (kv === undefined || kv.modRev !== rev) continue;
      const status = kv.value as ContainerStatus;
      const goal = (await this.store.get(keys.containerGoal(container), { rev })).kv?.value;
      const wanted = goal as { node: string; attempt: number } | undefined;
      if (wanted?.node === status.node && wanted.attempt === status.attempt) continue;
      this.violations.push(`status ${JSON.stringify(status)} of goal ${JSON.stringify(wanted)}`);
    }
  }

  async #checkStop(container: string, attempt: number): Promise<void> {
    const goal = await this.fabric.goal(container);
    const isRight = goal?.node === NODE && goal.attempt === attempt;
    if (isRight && goal.expectedState === "Started") {
      this.violations.push(`the VM of ${container} was stopped, and attempt ${attempt} is wanted`);
    }
  }
}

type Command = (world: World) => Promise<void>;

const container = fc.constantFrom(...CONTAINERS);

/** The next attempt of a container, and something more that changes with it. */
function attempt(changes: { node?: string; expectedState?: "Started" | "Stopped" }) {
  return (name: string): Command =>
    async ({ fabric }) => {
      const goal = await fabric.goal(name);
      // A container that was deleted comes back only once its agent has taken its status back.
      if (goal === undefined && (await fabric.status(name)) !== undefined) return;
      const next = (goal?.attempt ?? 0) + 1;
      await fabric.put(name, { attempt: next, boot: next, expectedState: "Started", ...changes });
    };
}

const commands: fc.Arbitrary<Command>[] = [
  container.map(attempt({ node: NODE })),
  container.map(attempt({ node: "node-2" })),
  container.map(attempt({ node: "" })),
  container.map(
    (name): Command =>
      async ({ fabric }) => {
        if ((await fabric.goal(name)) !== undefined)
          await fabric.put(name, { expectedState: "Stopped" });
      },
  ),
  container.map(
    (name): Command =>
      async ({ fabric }) => {
        const goal = await fabric.goal(name);
        if (goal !== undefined) await fabric.put(name, { incarnation: goal.incarnation + 1 });
      },
  ),
  container.map(
    (name): Command =>
      ({ fabric }) =>
        fabric.remove(name),
  ),
  container.chain((name) =>
    fc.boolean().map(
      (isReady): Command =>
        ({ fabric }) =>
          fabric.network(name, isReady),
    ),
  ),
  container.map(
    (name): Command =>
      async ({ machine }) => {
        machine.running(name)[0]?.end({ kind: "failed", reason: "it crashed" });
      },
  ),
  container.map(
    (name): Command =>
      async ({ agent }) => {
        void agent?.reportHealth(name, { state: "Ready" });
        agent?.heard(name);
      },
  ),
  fc.nat(12).map(
    (steps): Command =>
      async (world) =>
        world.killSoon(steps),
  ),
  fc.constant<Command>((world) => world.start()),
  fc.nat(40).map(
    (ms): Command =>
      async ({ clock }) =>
        clock.advance(ms),
  ),
  fc.constantFrom(100, 3_000, 20_000).map(
    (ms): Command =>
      async ({ clock }) =>
        clock.advance(ms),
  ),
  fc.nat(6).map(
    (turns): Command =>
      () =>
        settle(turns),
  ),
  fc.constant<Command>(live),
  fc.constant<Command>(live),
  fc.constant<Command>(live),
];

/** Time passes in which VMs start and stop. */
async function live({ clock }: World): Promise<void> {
  for (let step = 0; step < 4; step++) {
    await settle(8);
    clock.advance(50);
  }
}

/** What must be true once nothing changes any more; undefined if it is. */
async function unconverged({ fabric, machine, store }: World): Promise<string | undefined> {
  for (const name of CONTAINERS) {
    const goal = await fabric.goal(name);
    const status = await fabric.status(name);
    const vms = machine.running(name);
    const says = `${name}: goal ${JSON.stringify(goal)}, status ${JSON.stringify(status)}, ${vms.length} VMs`;
    if (goal === undefined) {
      if (vms.length > 0 || status?.node === NODE) return says;
    } else if (goal.node !== NODE) {
      if (vms.length > 0 || status?.node === NODE) return says;
    } else if (status?.node !== NODE || status.attempt !== goal.attempt) return says;
    else if (goal.expectedState === "Stopped") {
      if (vms.length > 0 || status.state !== "Stopped") return says;
    } else if (vms.length === 0) {
      if (status.state !== "Failed") return says;
    } else if (vms[0]?.spec.attempt !== goal.attempt) return says;
    else if (!["Booting", "AwaitingAgent", "Ready", "Unresponsive"].includes(status.state)) {
      return says;
    }
  }
  return (await store.status()).rev < 0 ? "never" : undefined;
}

describe("a compute agent that is killed at any moment", () => {
  test("never runs two VMs of a container, never stops the right one, writes of no foreign goal, and converges", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(...commands), { minLength: 1, maxLength: 40 }),
        async (history) => {
          const world = new World();
          await using _store = world.store;
          for (const name of CONTAINERS) {
            await world.fabric.network(name);
            await world.fabric.put(name);
          }
          await world.start();
          for (const command of history) await command(world);
          for (const name of CONTAINERS) await world.fabric.network(name);
          await world.start();
          let last: string | undefined = "nothing was looked at";
          for (let round = 0; round < 200 && last !== undefined; round++) {
            await settle(10);
            if (round > 50) await delay(20); // for a disk that is slow to remove a folder
            world.clock.advance(500);
            last = await unconverged(world);
          }
          expect(last).toBeUndefined();
          expect(await world.checked()).toEqual([]);
          world.kill();
        },
      ),
      { numRuns: Number(process.env["GOALSTATE_AGENT_RUNS"] ?? 150) },
    );
  }, 60_000);
});
