/** Brings one container at a time to what its tenant asks for, by writing its goal. */
import {
  asDocument,
  type ContainerGoal,
  type ContainerStatus,
  keys,
} from "../../model/documents.ts";
import type { RoleDescription } from "../../model/tenant.ts";
import { asDescribed, type Change, changeOf, domainOf, findRole } from "./container-goals.ts";
import {
  type ContainerEntry,
  type FabricState,
  groupOf,
  type TenantEntry,
} from "./fabric-state.ts";
import { GoalWriter } from "./goal-writer.ts";
import { nextExpiryMs, withoutGoneExtensions } from "./guest-goals.ts";
import { type ComputeManagerOptions, RETRY_MS } from "./manager-context.ts";
import { chooseNode, needOf } from "./placement.ts";
import { faultDomainsOf, recoveryOf } from "./policies.ts";
import { type Decision, decideRecovery, UNTROUBLED } from "./recovery.ts";
import { WorkQueue } from "./work-queue.ts";

/** Containers that are worked on at a time: so many writes share a commit of the store. */
export const CONTAINERS_AT_A_TIME = 64;

/** Tries of an operation against a goal that somebody else changes. */
const TRIES_MAX = 5;
const DAY_MS = 86_400_000;

/** See the file's comment. */
export class ContainerWorker {
  readonly #options: ComputeManagerOptions;
  readonly #state: FabricState;
  readonly #writer: GoalWriter;
  readonly #queue = new WorkQueue(CONTAINERS_AT_A_TIME);
  readonly #timers = new Map<string, () => void>();
  readonly #seen = new Set<string>();
  readonly #onTenant: (tenant: string) => void;
  readonly #roomy = new Set<string>();
  /** Until when nodes that were not seen since the start may come back. */
  #graceEndsMs = Number.POSITIVE_INFINITY;
  #isRunning = false;

  /** @param onTenant - called with a tenant that has something to do */
  constructor(
    options: ComputeManagerOptions,
    state: FabricState,
    onTenant: (tenant: string) => void,
  ) {
    this.#options = options;
    this.#state = state;
    this.#onTenant = onTenant;
    this.#writer = new GoalWriter(options, state, (node) => this.onRoom(node));
  }

  /** Everything is known: looks at all containers. */
  start(): void {
    const { clock, nodeGraceMs } = this.#options;
    this.#isRunning = true;
    this.#graceEndsMs = clock.now() + nodeGraceMs;
    this.#setTimer("", nodeGraceMs, () => this.#endGrace());
    for (const container of this.#state.containers.keys()) this.schedule(container);
  }

  /** Begins no more work; resolves when there is none. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    await this.#queue.idle();
  }

  /** Something about the container has changed. */
  schedule(container: string): void {
    if (!this.#isRunning) return;
    this.#queue.schedule(container, async () => {
      if (!this.#isRunning) return;
      try {
        await this.#step(container);
      } catch (error) {
        this.#onError(container, error);
      }
    });
  }

  onNodeUp(node: string): void {
    this.#seen.add(node);
    this.onRoom(node);
  }

  onNodeDown(node: string): void {
    for (const container of this.#state.nodes.containersOn(node)) this.schedule(container);
    for (const container of this.#state.leaving) {
      if (this.#state.containers.get(container)?.status?.node === node) this.schedule(container);
    }
  }

  /** A node has room that it did not have; looked at once for many calls. */
  onRoom(node: string): void {
    if (!this.#isRunning || node === "" || this.#state.unplaced.size === 0) return;
    this.#roomy.add(node);
    this.#queue.schedule("", async () => {
      const nodes = [...this.#roomy];
      this.#roomy.clear();
      for (const taker of nodes.flatMap((one) => this.#state.findTakers(one))) this.schedule(taker);
    });
  }

  /**
   * Changes a container's goal as a user asks.
   *
   * @param change - the goal that is wanted, or undefined if it is so already; may throw
   */
  async operate(
    container: string,
    change: (goal: ContainerGoal | undefined) => ContainerGoal | undefined,
  ): Promise<void> {
    await this.#queue.run(container, async () => {
      for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
        const entry = this.#state.containers.get(container);
        const goal = change(entry?.goal);
        if (entry === undefined || goal === undefined) return;
        const isNew = goal.attempt !== entry.goal?.attempt;
        if (await (isNew ? this.#writer.begin(entry, goal) : this.#writer.write(entry, goal)))
          return;
      }
      throw new Error(`the goal of ${container} is changed by somebody else`);
    });
    this.schedule(container);
  }

  async #step(container: string): Promise<void> {
    const entry = this.#state.containers.get(container);
    if (entry === undefined) return;
    const tenant = this.#state.tenants.get(entry.tenant);
    if (tenant === undefined || tenant.record.phase === "allocating") return;
    this.#cancelTimer(container);
    const { goal } = entry;
    if (goal === undefined) return this.#stepWithoutGoal(entry, tenant);
    const role = findRole(tenant.record, goal.instance);
    if (role === undefined) {
      await this.#writer.remove(entry, goal);
      return this.schedule(container);
    }
    const change = changeNow(tenant, goal, role);
    if (change !== "none") return this.#update(entry, goal, change, tenant, role);
    const without = withoutGoneExtensions(goal, role, entry.status);
    if (without !== undefined) {
      await this.#writer.write(entry, without);
      return this.schedule(container);
    }
    const nowMs = this.#options.clock.now();
    const expiryMs = nextExpiryMs(goal) ?? Number.POSITIVE_INFINITY;
    if (expiryMs <= nowMs) {
      const told = { ...goal, incarnation: goal.incarnation + 1, usersCheckedMs: nowMs };
      await this.#writer.write(entry, told);
      return this.schedule(container);
    }
    const decision = decideRecovery({
      goal,
      status: entry.status,
      node: this.#nodeState(goal.node),
      policy: recoveryOf(role),
      nowMs,
    });
    await this.#carryOut(entry, goal, decision, expiryMs);
  }

  /** @param lookMs - epoch milliseconds, perhaps never: when to look again if nothing else is done */
  async #carryOut(entry: ContainerEntry, goal: ContainerGoal, decision: Decision, lookMs: number) {
    const { container } = entry;
    switch (decision.kind) {
      case "nothing":
        if (lookMs < Number.POSITIVE_INFINITY) this.#wakeAt(container, lookMs);
        return;
      case "wait":
        this.#wakeAt(container, Math.min(decision.untilMs, lookMs));
        return;
      case "note":
        await this.#writer.write(entry, { ...goal, recovery: decision.recovery });
        this.#onTenant(entry.tenant);
        break;
      case "retry":
        await this.#writer.begin(entry, again(goal, { recovery: decision.recovery }));
        break;
      case "move":
        await this.#writer.begin(entry, this.#placed(again(goal, { recovery: decision.recovery })));
        break;
      case "place": {
        const placed = this.#placed(goal);
        if (placed.node === "" && placed.recovery.unplaced === goal.recovery.unplaced) return;
        await this.#writer.write(entry, placed);
      }
    }
    this.schedule(container);
  }

  /** The goal on the node that suits it, or on none with the reason. */
  #placed(goal: ContainerGoal): ContainerGoal {
    const { unplaced: _, ...recovery } = goal.recovery;
    const record = this.#state.tenants.get(goal.tenant)?.record;
    const choice = chooseNode(this.#state.nodes.candidates(groupOf(goal), goal.container), {
      ...needOf(goal),
      failedNodes: recovery.failedNodes,
      faultDomains: record === undefined ? 1 : faultDomainsOf(record.description),
    });
    if (choice.kind === "node") return { ...goal, node: choice.node, recovery };
    return { ...goal, node: "", recovery: { ...recovery, unplaced: choice.reason } };
  }

  async #update(
    entry: ContainerEntry,
    goal: ContainerGoal,
    change: Change,
    { record }: TenantEntry,
    role: RoleDescription,
  ): Promise<void> {
    const { container } = entry;
    const described = asDescribed(goal, record, role, this.#options.clock.now());
    const incarnation = goal.incarnation + (change === "quiet" ? 0 : 1);
    const updated = { ...described, incarnation };
    if (change !== "restart") await this.#writer.write(entry, updated);
    else {
      if (this.#nodeState(goal.node) === "awaited") return; // the end of its grace looks again
      const next = again(updated, { recovery: UNTROUBLED });
      const stays = this.#state.nodes.fits(container, goal.node, needOf(next));
      await this.#writer.begin(entry, stays ? next : this.#placed(next));
    }
    this.#onTenant(entry.tenant);
    this.schedule(container);
  }

  /** A container that is leaving, or one that is to come. */
  async #stepWithoutGoal(entry: ContainerEntry, tenant: TenantEntry): Promise<void> {
    const { container, status } = entry;
    if (status !== undefined) {
      if (this.#nodeState(status.node) === "gone") await this.#deleteStatus(container, status.node);
      return; // its agent deletes it, and we hear of that
    }
    if (!(await this.#writer.clear(entry))) return;
    const { draft } = entry;
    entry.draft = undefined;
    const role = draft && findRole(tenant.record, draft.instance);
    if (draft !== undefined && role !== undefined) {
      const nowMs = this.#options.clock.now();
      const goal = asDescribed(draft, tenant.record, role, nowMs); // an update may have come meanwhile
      const isWritten = await this.#writer.begin(entry, this.#placed(goal));
      if (!isWritten || tenant.record.rollout !== undefined) this.#onTenant(entry.tenant);
      return this.schedule(container);
    }
    const node = this.#state.drop(entry);
    tenant.retired?.add(container);
    if (node !== undefined) this.onRoom(node);
    this.#onTenant(entry.tenant);
  }

  /** Its writer is no more, so we do what it would have done. */
  async #deleteStatus(container: string, node: string): Promise<void> {
    const { store } = this.#options;
    const { kv } = await store.get(keys.containerStatus(container));
    if (kv === undefined || asDocument<ContainerStatus>(kv.value).node !== node) return;
    const { key, modRev } = kv;
    await store.txn({ compare: [{ key, modRev }], success: [{ kind: "delete", key }] });
  }

  #nodeState(node: string): "up" | "awaited" | "gone" {
    if (this.#state.nodes.isUp(node)) return "up";
    const isEarly = this.#options.clock.now() < this.#graceEndsMs;
    return isEarly && !this.#seen.has(node) ? "awaited" : "gone";
  }

  #endGrace(): void {
    this.#graceEndsMs = Number.NEGATIVE_INFINITY;
    for (const node of this.#state.nodes.listDown()) this.onNodeDown(node);
    for (const container of this.#state.leaving) this.schedule(container);
    for (const tenant of this.#state.tenants.keys()) this.#onTenant(tenant);
  }

  #wakeAt(container: string, atMs: number): void {
    // Timers know no month; who wakes too early looks again.
    const delay = Math.min(DAY_MS, Math.max(0, atMs - this.#options.clock.now()));
    this.#setTimer(container, delay, () => this.schedule(container));
  }

  #setTimer(key: string, delayMs: number, callback: () => void): void {
    this.#cancelTimer(key);
    if (!this.#isRunning) return;
    const cancel = this.#options.clock.startTimer(delayMs, () => {
      this.#timers.delete(key);
      callback();
    });
    this.#timers.set(key, cancel);
  }

  #cancelTimer(key: string): void {
    this.#timers.get(key)?.();
    this.#timers.delete(key);
  }

  #onError(container: string, error: unknown): void {
    if (!this.#isRunning) return;
    this.#options.onError(container, error);
    this.#setTimer(container, RETRY_MS, () => this.schedule(container));
  }
}

/** A new attempt. */
export function again(goal: ContainerGoal, change: Partial<ContainerGoal>): ContainerGoal {
  return { ...goal, attempt: goal.attempt + 1, ...change };
}

/** What a running update asks of a container now. */
function changeNow({ record }: TenantEntry, goal: ContainerGoal, role: RoleDescription): Change {
  const { rollout, description } = record;
  if (rollout === undefined || rollout.stopped !== undefined) return "none";
  if (!rollout.roles.includes(goal.role)) return "none";
  if (domainOf(description, goal.instance) > rollout.domain) return "none";
  return changeOf(goal, record, role);
}
