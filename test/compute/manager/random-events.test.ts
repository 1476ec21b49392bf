import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { wantedContainers } from "../../../src/compute/manager/container-goals.ts";
import { keys, type NicGoal, type TenantRecord } from "../../../src/model/documents.ts";
import { FakeFabric, tenant } from "./fake-fabric.ts";
import { historyFaults } from "./history.ts";

const HOUR_MS = 3_600_000;
const NODES = ["n1", "n2", "n3"];
const TENANTS = ["a", "b"];
/** Enough for all tenants at their largest on any two nodes. */
const PLENTY = { cpus: 16, memoryMib: 65_536 };

const anyTenant = fc.constantFrom(...TENANTS);
const anyNode = fc.constantFrom(...NODES);
const anyContainer = fc.tuple(anyTenant, fc.nat(3)).map(([name, index]) => `${name}.web_${index}`);
/** Turns of the event loop until the next event. */
const turns = fc.oneof(fc.nat(6), fc.constant(100));

const event = fc.oneof(
  fc.record({
    kind: fc.constant("submit" as const),
    name: anyTenant,
    instances: fc.integer({ min: 1, max: 4 }),
    cpus: fc.integer({ min: 1, max: 2 }),
    color: fc.constantFrom("red", "blue"),
    turns,
  }),
  fc.record({ kind: fc.constant("delete" as const), name: anyTenant, turns }),
  fc.record({ kind: fc.constant("kill" as const), node: anyNode, turns }),
  fc.record({
    kind: fc.constant("join" as const),
    node: anyNode,
    cpus: fc.integer({ min: 1, max: 6 }),
    turns,
  }),
  fc.record({ kind: fc.constant("curse" as const), node: anyNode, turns }),
  fc.record({
    kind: fc.constantFrom("fail", "powerOff", "stop", "start", "restart"),
    container: anyContainer,
    turns,
  }),
  fc.record({
    kind: fc.constant("pass" as const),
    ms: fc.constantFrom(100, 3_000, 60_000, 900_000),
    turns,
  }),
  fc.record({
    kind: fc.constant("crash" as const),
    at: fc.integer({ min: 1, max: 25 }),
    isDone: fc.boolean(),
    turns,
  }),
);
type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

/** What users were told of a tenant, and what they were not told of. */
interface Told {
  /** Of the last call that was answered: the number of instances, or that it is deleted. */
  answered: string;
  /** Of calls since then that have no answer. */
  unanswered: string[];
}

/** Plays events on a fabric; the manager dies now and then and is started again. */
class Play {
  readonly fabric = new FakeFabric();
  readonly told = new Map<string, Told>();
  #cursed = "";

  constructor() {
    for (const name of TENANTS) this.told.set(name, { answered: "gone", unanswered: [] });
    this.fabric.behave = ({ node }) =>
      node === this.#cursed ? { kind: "fails", reason: "cursed" } : { kind: "ready" };
  }

  async begin(): Promise<void> {
    for (const node of NODES) await this.fabric.addNode(node, { cpus: 4 });
    this.fabric.startManager();
  }

  async play(one: Event): Promise<void> {
    const { fabric } = this;
    if (fabric.isDead) {
      await setImmediate(); // what it had asked of the store is done, or never
      fabric.startManager();
    }
    await this.#act(one);
    for (let turn = 0; turn < one.turns; turn += 1) await setImmediate();
  }

  /** Everything works from now on; resolves long after. */
  async heal(): Promise<void> {
    const { fabric } = this;
    this.#cursed = "";
    await fabric.settle();
    await fabric.stopManager();
    for (const node of NODES) await this.#join(node, PLENTY);
    fabric.startManager();
    for (let round = 0; round < 12; round += 1) {
      await fabric.pass(HOUR_MS / 2);
      await fabric.poll();
      await fabric.settle();
    }
    const { manager } = fabric;
    for (const { container } of await fabric.goals()) await manager.start(container);
    for (const { phase, rollout, description, folder } of await this.records()) {
      if (phase === "accepted" && rollout !== undefined) await manager.submit(description, folder);
    }
    for (let round = 0; round < 12; round += 1) {
      await fabric.pass(HOUR_MS / 2);
      await fabric.poll();
    }
    await fabric.settle();
  }

  records(): Promise<TenantRecord[]> {
    return this.fabric.list<TenantRecord>("/tenants/");
  }

  async #act(one: Event): Promise<void> {
    const { fabric } = this;
    const { manager } = fabric;
    switch (one.kind) {
      case "submit": {
        const { name, instances, cpus, color } = one;
        const settings = { COLOR: color };
        const description = tenant({ name, instances, settings, size: { cpus, memoryMib: 256 } });
        const promised = `${instances} ${cpus} ${color}`;
        this.#call(name, promised, manager.submit(description, "/"));
        return;
      }
      case "delete":
        this.#call(one.name, "gone", manager.deleteTenant(one.name));
        return;
      case "kill":
        return fabric.killNode(one.node);
      case "join":
        return this.#join(one.node, { cpus: one.cpus });
      case "curse":
        this.#cursed = one.node;
        return;
      case "pass":
        return fabric.pass(one.ms);
      case "fail":
        return fabric.endGuest(one.container, "Failed", "fell over");
      case "powerOff":
        return fabric.endGuest(one.container, "Stopped", "powered off");
      case "crash":
        await fabric.settle();
        await fabric.stopManager();
        fabric.startManager({ at: one.at, isDone: one.isDone });
        return;
      default: // stop, start and restart, of what may not be there
        manager[one.kind as "stop" | "start" | "restart"](one.container).catch(() => undefined);
    }
  }

  /** A node joins, perhaps smaller than it was. Nobody decides meanwhile. */
  async #join(node: string, size: { cpus: number }): Promise<void> {
    await this.fabric.settle();
    if (this.fabric.nodes.has(node)) await this.fabric.killNode(node);
    await this.fabric.settle();
    await this.fabric.addNode(node, size);
    await this.fabric.settle();
  }

  #call(name: string, promised: string, answer: Promise<unknown>): void {
    const told = this.told.get(name)!;
    told.unanswered.push(promised);
    answer.then(
      () => {
        told.answered = promised;
        told.unanswered.splice(0, told.unanswered.indexOf(promised) + 1);
      },
      () => told.unanswered.splice(told.unanswered.indexOf(promised), 1),
    );
  }
}

async function checkEnd({ fabric, told }: Play): Promise<void> {
  expect(fabric.errors).toEqual([]);
  expect(await historyFaults(fabric.store)).toEqual([]);
  const records = new Map(
    (await fabric.list<TenantRecord>("/tenants/")).map((record) => [record.tenant, record]),
  );
  const running: string[] = [];
  for (const [name, { answered, unanswered }] of told) {
    const record = records.get(name);
    const role = record?.description.roles[0];
    const is =
      role === undefined ? "gone" : `${role.instances} ${role.size.cpus} ${role.settings["COLOR"]}`;
    expect([answered, ...unanswered]).toContain(is);
    const wanted = record === undefined ? [] : wantedContainers(record.description);
    if (record !== undefined) {
      expect(record).toMatchObject({ phase: "accepted" });
      expect(Object.keys(record)).not.toContain("pending");
      expect(Object.keys(record)).not.toContain("rollout");
    }
    const names = wanted.map(({ container }) => container).sort();
    const goals = (await fabric.goals()).filter(({ tenant }) => tenant === name);
    expect(goals.map(({ container }) => container).sort()).toEqual(names);
    const nics = await fabric.list<NicGoal>(keys.nics(`${name}.net`));
    expect(nics.map(({ container }) => container).sort()).toEqual(names);
    for (const goal of goals) {
      const { node, attempt } = goal;
      expect(`${goal.cpus} ${goal.settings["COLOR"]}`).toBe(is.slice(2));
      expect(await fabric.status(goal.container)).toMatchObject({ state: "Ready", node, attempt });
      running.push(`${node} ${goal.container} ${attempt}`);
    }
    if (record === undefined) {
      for (const prefix of [`/containers/${name}.`, `/vnets/${name}.`, `/trace/${name}.`]) {
        expect((await fabric.store.list(prefix)).kvs.map(({ key }) => key)).toEqual([]);
      }
    }
  }
  expect([...fabric.vms].map(([vm, attempt]) => `${vm} ${attempt}`).sort()).toEqual(running.sort());
  expect((await fabric.store.list("/containers/")).kvs).toHaveLength(2 * running.length);
  expect((await fabric.store.list("/on/")).kvs).toHaveLength(running.length);
  expect((await fabric.store.list("/macs/")).kvs).toHaveLength(running.length);
}

describe("the compute manager, whatever happens and whenever it dies", () => {
  test("keeps what was accepted, converges, and leaves nothing of what was deleted", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 25 }), async (events) => {
        const play = new Play();
        await using _fabric = play.fabric;
        await play.begin();
        for (const one of events) await play.play(one);
        await play.heal();
        await checkEnd(play);
      }),
      { numRuns: Number(process.env["GOALSTATE_RUNS"] ?? 40) },
    );
  }, 120_000);
});
