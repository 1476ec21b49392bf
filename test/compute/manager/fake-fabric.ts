/** A fabric in memory around a real compute manager: nodes whose agents play statuses, a clock, and crashes. */
import { setImmediate } from "node:timers/promises";
import { ComputeManager, type ManagerClock } from "../../../src/compute/index.ts";
import {
  asDocument,
  type ContainerGoal,
  type ContainerStatus,
  keys,
  type NodeStatus,
} from "../../../src/model/documents.ts";
import { parseTenant, type TenantDescription } from "../../../src/model/tenant.ts";
import { NetworkManager } from "../../../src/nm/index.ts";
import { type FabricStore, follow, openMemoryStore } from "../../../src/store/index.ts";
import { createBootTrace } from "../../../src/trace/index.ts";

/** What a guest does when it is started; `silent` stays Booting. */
export type Behaviour =
  | { readonly kind: "ready" }
  | { readonly kind: "silent" }
  | { readonly kind: "fails"; readonly reason: string }
  | { readonly kind: "powersOff" };

const READY: Behaviour = { kind: "ready" };
export const NODE_GRACE_MS = 5_000;
/** Turns of the event loop without a write after which nobody has work. */
const QUIET_TURNS = 12;

/** Time that passes only when the test says so. */
export class FakeClock {
  nowMs = Date.parse("2026-01-01T00:00:00Z");
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  /** A clock whose timers end with `signal`, as those of a process do. */
  forProcess(signal: AbortSignal): ManagerClock {
    return {
      now: () => this.nowMs,
      startTimer: (milliseconds, callback) => {
        const timer = {
          atMs: this.nowMs + milliseconds,
          callback: () => {
            if (!signal.aborted) callback();
          },
        };
        this.#timers.add(timer);
        return () => this.#timers.delete(timer);
      },
    };
  }

  /** When the next timer is due, if there is one. */
  get nextMs(): number | undefined {
    const times = [...this.#timers].map(({ atMs }) => atMs);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Calls what is due. */
  fire(): void {
    for (const timer of [...this.#timers].filter(({ atMs }) => atMs <= this.nowMs)) {
      this.#timers.delete(timer);
      timer.callback();
    }
  }
}

/** The store of a process that dies at one of its writes, before or after that is done. */
function crashingStore(
  store: FabricStore,
  crash: { at: number; isDone: boolean },
  died: () => void,
) {
  let writes = 0;
  let isDead = false;
  const never = () => new Promise<never>(() => undefined);
  return new Proxy(store, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown;
      if (typeof member !== "function") return member;
      const call = member.bind(target) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        if (isDead) return never();
        if (name !== "txn") return call(...args);
        writes += 1;
        if (writes < crash.at) return call(...args);
        isDead = true;
        if (crash.isDone) void call(...args);
        died();
        return never();
      };
    },
  });
}

interface FakeNode {
  readonly status: NodeStatus;
  readonly stop: AbortController;
}

/** See the file's comment. */
export class FakeFabric implements AsyncDisposable {
  readonly store = openMemoryStore();
  readonly clock = new FakeClock();
  readonly errors: string[] = [];
  readonly nodes = new Map<string, FakeNode>();
  /** What runs where: `node container` to the attempt. */
  readonly vms = new Map<string, number>();
  behave: (goal: ContainerGoal) => Behaviour = () => READY;
  /** Guests do not fetch new settings while this is false. */
  fetches = true;
  isDead = false;
  manager!: ComputeManager;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  /** Starts a manager, as a new process would; with `crash` it dies at that write. */
  startManager(crash?: { at: number; isDone: boolean }): void {
    this.#stop = new AbortController();
    const stop = this.#stop;
    this.isDead = false;
    const store =
      crash === undefined
        ? this.store
        : crashingStore(this.store, crash, () => {
            this.isDead = true;
            stop.abort();
          });
    const clock = this.clock.forProcess(stop.signal);
    this.manager = new ComputeManager({
      ...{ store, clock },
      network: new NetworkManager({ store }),
      trace: createBootTrace({ store, now: clock.now }),
      fabricId: "test",
      nodeGraceMs: NODE_GRACE_MS,
      onError: (what, error) => this.errors.push(`${what}: ${String(error)}`),
    });
    const running = this.manager.run(stop.signal);
    running.catch((error: unknown) => this.errors.push(String(error)));
    this.#running = crash === undefined ? running : Promise.resolve();
  }

  /** Ends the manager in order. */
  async stopManager(): Promise<void> {
    this.#stop.abort();
    if (!this.isDead) await this.#running;
  }

  /** A node joins: its agent first stops what is not its own any more, then takes its lease. */
  async addNode(node: string, size: Partial<NodeStatus> = {}): Promise<void> {
    const stop = new AbortController();
    const status = {
      ...{ node, faultDomain: node, cpus: 4, memoryMib: 4096, hypervisor: "fake" },
      ...{ version: "0", pid: 1, sinceMs: this.clock.nowMs, ...size },
    };
    this.nodes.set(node, { status, stop });
    await this.store.txn({ success: [{ kind: "put", key: keys.node(node), value: status }] });
    const work = new Map<string, Promise<void>>();
    const onPlacement = (key: string) => {
      const container = key.split("/").at(-1)!;
      const before = work.get(container) ?? Promise.resolve();
      const next = before.then(() => this.#converge(node, container, stop.signal));
      work.set(container, next);
    };
    const follower = follow(this.store, keys.placements(node), onPlacement, stop.signal);
    follower.ended.catch(() => undefined);
  }

  /** A node dies, with its guests; its lease ends. */
  async killNode(node: string): Promise<void> {
    this.nodes.get(node)?.stop.abort();
    this.nodes.delete(node);
    for (const key of [...this.vms.keys()].filter((name) => name.startsWith(`${node} `))) {
      this.vms.delete(key);
    }
    await this.store.txn({ success: [{ kind: "delete", key: keys.node(node) }] });
  }

  /** A guest ends by itself. */
  async endGuest(container: string, state: "Failed" | "Stopped", detail: string): Promise<void> {
    const goal = await this.goal(container);
    if (goal === undefined || !this.vms.delete(`${goal.node} ${container}`)) return;
    await this.#report(goal, { state, detail });
  }

  /** Guests that are Ready fetch their goal states. */
  async poll(): Promise<void> {
    for (const goal of await this.goals()) {
      if (!this.vms.has(`${goal.node} ${goal.container}`)) continue;
      if ((await this.status(goal.container))?.state !== "Ready") continue;
      await this.#report(goal, { state: "Ready", detail: "ready" });
    }
  }

  async goal(container: string): Promise<ContainerGoal | undefined> {
    const { kv } = await this.store.get(keys.containerGoal(container));
    return kv && asDocument<ContainerGoal>(kv.value);
  }

  async status(container: string): Promise<ContainerStatus | undefined> {
    const { kv } = await this.store.get(keys.containerStatus(container));
    return kv && asDocument<ContainerStatus>(kv.value);
  }

  async list<T>(prefix: string): Promise<T[]> {
    const { kvs } = await this.store.list(prefix);
    return kvs.map(({ value }) => asDocument<T>(value));
  }

  async goals(): Promise<ContainerGoal[]> {
    const { kvs } = await this.store.list("/containers/");
    const goals = kvs.filter(({ key }) => key.endsWith("/goal"));
    return goals.map(({ value }) => asDocument<ContainerGoal>(value));
  }

  /** Resolves when nobody has work at this moment of the clock. */
  async settle(): Promise<void> {
    for (let quiet = 0, seen = -1; quiet < QUIET_TURNS; quiet += 1) {
      const { rev } = await this.store.status();
      if (rev !== seen) quiet = 0;
      seen = rev;
      await setImmediate();
    }
  }

  /** Lets time pass, moment by moment. */
  async pass(milliseconds: number): Promise<void> {
    const endMs = this.clock.nowMs + milliseconds;
    await this.settle();
    while (true) {
      const { nextMs } = this.clock;
      if (nextMs === undefined || nextMs > endMs) break;
      this.clock.nowMs = Math.max(nextMs, this.clock.nowMs);
      this.clock.fire();
      await this.settle();
    }
    this.clock.nowMs = endMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopManager();
    for (const { stop } of this.nodes.values()) stop.abort();
    await this.store[Symbol.asyncDispose]();
  }

  /** What a compute agent does for one container. */
  async #converge(node: string, container: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const goal = await this.goal(container);
    const status = await this.status(container);
    const vm = `${node} ${container}`;
    if (goal?.node !== node) {
      this.vms.delete(vm);
      if (status?.node === node) await this.#deleteStatus(container, node);
      return;
    }
    if (goal.expectedState === "Stopped") {
      this.vms.delete(vm);
      await this.#report(goal, { state: "Stopped", detail: "stopped as asked" });
      return;
    }
    if (status?.node === node && status.attempt === goal.attempt) {
      const hasEnded = status.state === "Failed" || status.state === "Stopped";
      if (!hasEnded && !this.vms.has(vm)) {
        await this.#report(goal, { state: "Failed", detail: "its VM is gone" });
        return;
      }
      if (status.state !== "Ready" || status.fetchedIncarnation === goal.incarnation) return;
      if (this.fetches) await this.#report(goal, { state: "Ready", detail: "ready" });
      return;
    }
    this.vms.set(vm, goal.attempt);
    await this.#report(goal, { state: "Booting", detail: "boots" });
    if (!signal.aborted) await this.#play(goal, vm);
  }

  async #play(goal: ContainerGoal, vm: string): Promise<void> {
    const behaviour = this.behave(goal);
    switch (behaviour.kind) {
      case "ready":
        return this.#report(goal, { state: "Ready", detail: "ready" });
      case "silent":
        return;
      case "fails":
        this.vms.delete(vm);
        return this.#report(goal, { state: "Failed", detail: behaviour.reason });
      case "powersOff":
        this.vms.delete(vm);
        return this.#report(goal, { state: "Stopped", detail: "powered off" });
    }
  }

  /** Writes a status, if the goal is still the one that it is about. */
  async #report(
    goal: ContainerGoal,
    said: Pick<ContainerStatus, "state" | "detail">,
  ): Promise<void> {
    const { container, node, attempt, incarnation } = goal;
    const goalKey = keys.containerGoal(container);
    const { kv } = await this.store.get(goalKey);
    const now = kv && asDocument<ContainerGoal>(kv.value);
    if (kv === undefined || now?.node !== node || now.attempt !== attempt) return;
    const fetched =
      said.state === "Ready" && this.fetches ? { fetchedIncarnation: incarnation } : {};
    const value = { ...said, node, attempt, sinceMs: this.clock.nowMs, ...fetched };
    await this.store.txn({
      compare: [{ key: goalKey, modRev: kv.modRev }],
      success: [{ kind: "put", key: keys.containerStatus(container), value }],
    });
  }

  async #deleteStatus(container: string, node: string): Promise<void> {
    const { kv } = await this.store.get(keys.containerStatus(container));
    if (kv === undefined || asDocument<ContainerStatus>(kv.value).node !== node) return;
    await this.store.txn({
      compare: [{ key: kv.key, modRev: kv.modRev }],
      success: [{ kind: "delete", key: kv.key }],
    });
  }
}

/** A tenant `lab` with one role `web`, unless said otherwise. */
export function tenant(options: {
  readonly name?: string;
  readonly instances?: number;
  readonly settings?: Record<string, string>;
  readonly size?: { cpus?: number; memoryMib?: number };
  readonly role?: object;
  readonly rest?: object;
  readonly addressSpace?: string;
}): TenantDescription {
  const { name = "lab", instances = 1, settings = {}, size = { memoryMib: 512 } } = options;
  const addressSpace = options.addressSpace ?? "10.20.0.0/24";
  const role = { name: "web", instances, settings, size, ...options.role };
  const vnet = { name: "net", addressSpace };
  return parseTenant({ tenant: name, vnet, roles: [role], ...options.rest }, "test");
}
