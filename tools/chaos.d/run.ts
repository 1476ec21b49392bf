/** Rounds of operations and kills, each followed by a wait until the fabric is what was asked for. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { askControl, type ControlRequest } from "../../src/cli/control/control-client.ts";
import { findFabricId } from "../../src/cli/data-folder.ts";
import { isWireProcess } from "../../src/cli/wire-process/launch.ts";
import { listProcesses, removeLeftovers } from "../../src/compute/index.ts";
import { FabricError } from "../../src/model/errors.ts";
import { openSocketPath } from "../../src/net/socket-path.ts";
import { type FabricStore, openRemoteStore } from "../../src/store/index.ts";
import type { Random } from "../fuzz.d/random.ts";
import { diagnose } from "./diagnosis.ts";
import { type Fabric, type Kept, startFabric } from "./fabric.ts";
import { chooseStep, containersOf, describe, type Request, type Wanted } from "./intent.ts";
import { findDanger, findFaults } from "./invariants.ts";
import { findGuests, findInside, findUnreachable, look, type World } from "./world.ts";

const NODES = ["n1", "n2", "n3"];
/** Kills before the fabric may come to rest and is looked at. */
const KILLS_PER_ROUND = 8;
/** From an operation to the kill that hits it. */
const DELAY_MAX_MS = 800;
const LOOK_MS = 250;
const RETRY_MS = 150;
/** What is not at rest is shown so often. */
const SAY_MS = 5000;
const ACCEPT_MAX_MS = 60_000;
/** What a lease's holder may be away, as a part of its time to live, and be sure to find it again. */
const SURE = 0.5;
/** A node that is away so much longer than its time to live is given up. */
const BEYOND_TTL_MS = 1500;

export interface RunOptions {
  readonly random: Random;
  readonly kills: number;
  /** Everything goes below it; it must be new. */
  readonly folder: string;
  readonly ttlSeconds: number;
  readonly manner: "apart" | "up";
  /** Longest wait for rest after a round. */
  readonly restSeconds: number;
  readonly say: (text: string) => void;
  /** Aborted: the run ends after its round. */
  readonly signal: AbortSignal;
}

/** What a run did. */
export interface Outcome {
  readonly kills: ReadonlyMap<string, number>;
  readonly operations: ReadonlyMap<string, number>;
  readonly ownEnds: number;
  /** What was wrong, where the run ended. */
  readonly violation?: {
    readonly step: number;
    readonly faults: readonly string[];
    /** What the fabric looked like then. */
    readonly diagnosis: readonly string[];
  };
}

/** Runs until all kills are done or something is wrong. */
export async function runChaos(options: RunOptions): Promise<Outcome> {
  const chaos = new Chaos(options);
  try {
    await chaos.run();
    return chaos.outcome();
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    const { step } = chaos;
    const { faults } = error;
    const diagnosis = await chaos.diagnose(faults);
    return { ...chaos.outcome(), violation: { step, faults, diagnosis } };
  } finally {
    await chaos.end();
  }
}

class Violation extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join("\n"));
    this.faults = faults;
  }
}

/** A guest as it was found at rest. */
interface Known {
  readonly pid: number;
  readonly node: string;
}

class Chaos {
  readonly #options: RunOptions;
  readonly #fabric: Fabric;
  readonly #store: FabricStore;
  readonly #app: string;
  readonly #kills = new Map<string, number>();
  readonly #operations = new Map<string, number>();
  #wanted: readonly Wanted[] = [];
  #known = new Map<string, Known>();
  /** Since the last rest: containers that something gave a reason to start anew. */
  readonly #disturbed = new Set<string>();
  #prefix = "";
  step = 0;

  constructor(options: RunOptions) {
    this.#options = options;
    const { folder, ttlSeconds, manner, say } = options;
    this.#app = join(folder, "app");
    mkdirSync(this.#app, { recursive: true });
    writeFileSync(join(this.#app, "app.json"), '{ "command": ["sleep", "1000000"] }\n');
    this.#fabric = startFabric({ folder, nodes: NODES, ttlSeconds, manner, say });
    const { data } = this.#fabric;
    this.#store = openRemoteStore({
      openPath: () => openSocketPath(data, "store.sock"),
      waitMs: 30_000,
    });
  }

  async run(): Promise<void> {
    const { kills, signal } = this.#options;
    await this.#awaitNodes();
    await this.#rest();
    for (let done = 0; done < kills && !signal.aborted; ) {
      const round = Math.min(KILLS_PER_ROUND, kills - done);
      for (let kill = 0; kill < round; kill += 1) await this.#stepOnce();
      done += round;
      await this.#rest();
    }
  }

  outcome(): Outcome {
    const kept = [this.#fabric.control, ...this.#fabric.nodes.values()];
    const ownEnds = kept.reduce((total, process) => total + process.ownEnds, 0);
    return { kills: this.#kills, operations: this.#operations, ownEnds };
  }

  async diagnose(faults: readonly string[]): Promise<string[]> {
    const logs = join(this.#options.folder, "logs");
    return diagnose({ prefix: this.#prefix, store: this.#store, nodes: NODES, logs, faults });
  }

  async end(): Promise<void> {
    await this.#store[Symbol.asyncDispose]();
    await this.#fabric[Symbol.asyncDispose]();
    if (this.#prefix !== "") await removeLeftovers(this.#prefix);
  }

  async #awaitNodes(): Promise<void> {
    const { control, nodes, data } = this.#fabric;
    const deadlineMs = performance.now() + ACCEPT_MAX_MS;
    while (!control.isReady || [...nodes.values()].some(({ isReady }) => !isReady)) {
      if (performance.now() > deadlineMs) throw new Violation(["the fabric did not start"]);
      await delay(RETRY_MS);
    }
    this.#prefix = `gs-${findFabricId(data)}-`;
  }

  /** An operation, and a kill while it is under way. */
  async #stepOnce(): Promise<void> {
    const { random, say } = this.#options;
    this.step += 1;
    const { text, request, next, disturbs } = chooseStep(random, this.#wanted);
    const victim = this.#chooseVictim(random);
    const delayMs = random.below(DELAY_MAX_MS);
    say(`${this.step}: ${text}; ${victim.text} is killed after ${delayMs} ms`);
    count(this.#operations, request?.kind ?? "nothing");
    for (const container of disturbs) this.#disturbed.add(container);
    this.#wanted = next;
    const asked = request === undefined ? undefined : this.#ask(request);
    asked?.catch(() => undefined); // awaited below
    await delay(delayMs);
    victim.kill();
    await asked;
  }

  #chooseVictim(random: Random): { readonly text: string; readonly kill: () => unknown } {
    const { ttlSeconds } = this.#options;
    const roll = random.below(10);
    const isLong = random.once(12);
    const isInit = random.once(2);
    const container = random.pick([...this.#wanted.flatMap(containersOf), ""]);
    const name = random.pick(NODES);
    if (roll < 3) return this.#victim("control", this.#fabric.control, isLong ? 1000 : 0);
    const longMs = ttlSeconds * 1000 + BEYOND_TTL_MS;
    const node = this.#victim("node", this.#fabric.nodes.get(name)!, isLong ? longMs : 0);
    if (roll === 9) {
      const text = `the wire process of ${name}, or else ${node.text},`;
      return { text, kill: () => this.#killWireProcess(name) || node.kill() };
    }
    if (roll >= 7 || container === "") return node;
    return {
      text: `${isInit ? "init" : "agent"} of ${container}, or else ${node.text},`,
      kill: () => this.#killGuest(container, isInit) || node.kill(),
    };
  }

  #victim(kind: string, kept: Kept, downMs: number) {
    const kill = () => {
      count(this.#kills, downMs === 0 ? kind : `${kind}, for long`);
      kept.kill(downMs);
    };
    return { text: downMs === 0 ? kept.name : `${kept.name} (down for ${downMs} ms)`, kill };
  }

  /** @returns false if it does not run now */
  #killWireProcess(node: string): boolean {
    const label = `${this.#prefix}${node}-`;
    const found = listProcesses().find(({ args }) => isWireProcess(args, label));
    if (found === undefined) return false;
    count(this.#kills, "wire process");
    process.kill(found.pid, "SIGKILL");
    return true;
  }

  /**
   * Kills a guest's init, or what runs in it beside its init.
   *
   * @returns false if it does not run now
   */
  #killGuest(container: string, isInit: boolean): boolean {
    const guest = findGuests(this.#prefix).find(({ name }) => name.endsWith(`-${container}`));
    if (guest === undefined) return false;
    const inside = findInside(this.#prefix, guest.name).filter((pid) => pid !== guest.pid);
    const pid = isInit ? guest.pid : (inside[0] ?? guest.pid);
    count(this.#kills, pid === guest.pid ? "guest's init" : "guest's agent");
    this.#disturbed.add(container);
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // it ended meanwhile
    }
    return true;
  }

  /** Asks again and again, as people would, until it is accepted. */
  async #ask(request: Request): Promise<void> {
    const deadlineMs = performance.now() + ACCEPT_MAX_MS;
    for (let isFirst = true; ; isFirst = false) {
      try {
        await askControl(this.#fabric.data, this.#requestOf(request));
        return;
      } catch (error) {
        const code = error instanceof FabricError ? error.code : undefined;
        const isGone = code === "ERR_TENANT_UNKNOWN" || code === "ERR_USAGE_TENANT_UNKNOWN";
        if (request.kind === "delete" && !isFirst && isGone) return;
        if (performance.now() > deadlineMs) {
          throw new Violation([`${request.kind} was never accepted: ${(error as Error).message}`]);
        }
      }
      await delay(RETRY_MS);
    }
  }

  #requestOf(request: Request): ControlRequest {
    switch (request.kind) {
      case "deploy": {
        const tenant = describe(request.wanted, this.#app);
        const body = { tenant, folder: this.#options.folder };
        return { method: "POST", path: "/v1/tenants", body };
      }
      case "delete":
        return { method: "DELETE", path: `/v1/tenants/${request.tenant}` };
      default:
        return { method: "POST", path: `/v1/containers/${request.container}/${request.kind}` };
    }
  }

  /** Waits until everything is as wanted, then compares guests with those of the last time. */
  async #rest(): Promise<void> {
    const { say, restSeconds } = this.#options;
    const startMs = performance.now();
    let saidMs = startMs;
    for (;;) {
      const world = await this.#look();
      if (world === undefined) continue;
      const danger = findDanger(world);
      if (danger.length > 0) throw new Violation(danger);
      const faults = [...this.#findAway(world), ...findFaults(this.#wanted, world)];
      if (faults.length === 0) faults.push(...(await findUnreachable(this.#prefix, world.guests)));
      const spentMs = performance.now() - startMs;
      if (faults.length === 0) {
        this.#compareGuests(world);
        say(`    at rest after ${(spentMs / 1000).toFixed(1)} s, ${world.guests.length} guests`);
        return;
      }
      if (spentMs > restSeconds * 1000) {
        throw new Violation(faults.map((fault) => `after ${restSeconds} s: ${fault}`));
      }
      if (performance.now() - saidMs > SAY_MS) {
        saidMs = performance.now();
        for (const fault of faults) say(`      after ${(spentMs / 1000).toFixed(1)} s: ${fault}`);
      }
      await delay(LOOK_MS);
    }
  }

  /** Undefined if control was killed under way. */
  async #look(): Promise<World | undefined> {
    try {
      return await look(this.#store, this.#prefix, this.#fabric.data, NODES);
    } catch (error) {
      if (error instanceof FabricError && error.code === "ERR_STORE_UNAVAILABLE") return undefined;
      throw error;
    }
  }

  #findAway({ documents }: World): string[] {
    return NODES.filter(
      (node) => !documents.has(`/nodes/${node}`) || this.#fabric.nodes.get(node)?.isReady !== true,
    ).map((node) => `node ${node} is not there`);
  }

  /** A guest that nothing gave a reason to start anew runs on. */
  #compareGuests({ guests }: World): void {
    const now = new Map<string, Known>();
    for (const { name, pid } of guests) {
      const node = NODES.find((candidate) => name.startsWith(`${candidate}-`)) ?? "";
      now.set(name.slice(node.length + 1), { pid, node });
    }
    const sureMs = this.#options.ttlSeconds * 1000 * SURE;
    const isControlSure = this.#fabric.control.takeDowntime() < sureMs;
    const unsure = new Set(
      [...this.#fabric.nodes]
        .filter(([, node]) => node.takeDowntime() >= sureMs)
        .map(([name]) => name),
    );
    const faults: string[] = [];
    for (const [container, before] of this.#known) {
      const after = now.get(container);
      if (this.#disturbed.has(container) || !isControlSure || unsure.has(before.node)) continue;
      if (after?.pid === before.pid) continue;
      faults.push(
        `${container} ran as process ${before.pid} on ${before.node}, and nothing was done to it; ` +
          `now it is ${after === undefined ? "gone" : `${after.pid} on ${after.node}`}`,
      );
    }
    this.#known = now;
    this.#disturbed.clear();
    if (faults.length > 0) throw new Violation(faults);
  }
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}
