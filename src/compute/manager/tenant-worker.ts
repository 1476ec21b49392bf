/** Brings one tenant at a time to what was submitted: its network, its containers, its update, its end. */
import {
  type ContainerGoal,
  keys,
  type NicGoal,
  type Rollout,
  type TenantRecord,
  type TenantSubmission,
} from "../../model/documents.ts";
import type { TenantDescription } from "../../model/tenant.ts";
import { updateDocument } from "../../store/index.ts";
import {
  asStored,
  changedRoles,
  changeOf,
  domainOf,
  findRole,
  firstGoal,
  instanceIndex,
  isAsDescribed,
  nicRequests,
  publicEndpoints,
  vnetName,
  type WantedContainer,
  wantedContainers,
} from "./container-goals.ts";
import type { ContainerWorker } from "./container-worker.ts";
import type { FabricState, TenantEntry } from "./fabric-state.ts";
import { type ComputeManagerOptions, RETRY_MS } from "./manager-context.ts";
import { checkUpdate, managerEnded, tenantIsGoing, unknownTenant } from "./manager-errors.ts";
import { updateOf } from "./policies.ts";
import { planRollout, type RolloutMember } from "./rollout.ts";
import { WorkQueue } from "./work-queue.ts";

/** What became of a submission. */
export type SubmitOutcome = "created" | "updated" | "unchanged";

/** Tenants that are worked on at a time. */
export const TENANTS_AT_A_TIME = 16;

/** Traces that are deleted at a time. */
const FORGOTTEN_AT_A_TIME = 64;

/** See the file's comment. */
export class TenantWorker {
  readonly #options: ComputeManagerOptions;
  readonly #state: FabricState;
  readonly #containers: ContainerWorker;
  readonly #queue = new WorkQueue(TENANTS_AT_A_TIME);
  readonly #timers = new Map<string, () => void>();
  /** Who waits for a tenant's end. */
  readonly #ends = new Map<string, PromiseWithResolvers<void>>();
  #isRunning = false;

  constructor(options: ComputeManagerOptions, state: FabricState, containers: ContainerWorker) {
    this.#options = options;
    this.#state = state;
    this.#containers = containers;
  }

  /** Everything is known: looks at all tenants. */
  start(): void {
    this.#isRunning = true;
    for (const tenant of this.#state.tenants.keys()) this.schedule(tenant);
  }

  /** Begins no more work; resolves when there is none. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    for (const { reject } of this.#ends.values()) reject(managerEnded());
    this.#ends.clear();
    await this.#queue.idle();
  }

  /** Something about the tenant, or one of its containers, has changed. */
  schedule(tenant: string): void {
    if (!this.#isRunning || !this.#state.tenants.has(tenant)) return;
    this.#queue.schedule(tenant, async () => {
      if (!this.#isRunning) return;
      try {
        await this.#step(tenant);
      } catch (error) {
        this.#onError(tenant, error);
      }
    });
  }

  /** A container's status has changed: that matters to an update. */
  onStatus(tenant: string): void {
    const rollout = this.#state.tenants.get(tenant)?.record.rollout;
    if (rollout !== undefined && rollout.stopped === undefined) this.schedule(tenant);
  }

  /** Accepts a tenant or an update of it; see ComputeManager.submit. */
  async submit(submission: TenantSubmission): Promise<SubmitOutcome> {
    const { tenant } = submission.description;
    const outcome = this.#queue.run(tenant, async (): Promise<SubmitOutcome> => {
      const entry = this.#state.tenants.get(tenant);
      if (entry === undefined) return this.#create(submission);
      if (entry.record.phase !== "accepted") throw tenantIsGoing(tenant);
      checkUpdate(entry.record.description, submission.description);
      if (isAsDescribed(entry.record, submission)) return "unchanged";
      return this.#acceptUpdate(entry, submission);
    });
    return outcome.finally(() => this.schedule(tenant)); // also what could not be rolled back
  }

  /** Updates a tenant by a change of what was accepted last; see ComputeManager.amend. */
  async amend(
    tenant: string,
    change: (description: TenantDescription) => TenantDescription,
  ): Promise<SubmitOutcome> {
    const outcome = this.#queue.run(tenant, async (): Promise<SubmitOutcome> => {
      const entry = this.#state.tenants.get(tenant);
      if (entry === undefined) throw unknownTenant(tenant);
      if (entry.record.phase !== "accepted") throw tenantIsGoing(tenant);
      const { description, folder, material } = entry.record;
      const changed = asStored(change(description));
      const submission = { description: changed, folder, ...(material && { material }) };
      if (isAsDescribed(entry.record, submission)) return "unchanged";
      return this.#acceptUpdate(entry, submission);
    });
    return outcome.finally(() => this.schedule(tenant));
  }

  /** Resolves when it is certain that the tenant will be deleted. */
  async delete(tenant: string): Promise<void> {
    await this.#queue.run(tenant, async () => {
      const entry = this.#state.tenants.get(tenant);
      if (entry === undefined) throw unknownTenant(tenant);
      if (entry.record.phase === "deleting") return;
      const { rollout: _, pending: __, ...record } = entry.record;
      await this.#write(entry, { ...record, phase: "deleting" });
    });
    this.schedule(tenant);
  }

  /** Resolves when nothing is left of the tenant. */
  async whenDeleted(tenant: string): Promise<void> {
    if (!this.#state.tenants.has(tenant)) return;
    const end = this.#ends.get(tenant) ?? Promise.withResolvers<void>();
    this.#ends.set(tenant, end);
    await end.promise;
  }

  async #create(submission: TenantSubmission): Promise<"created"> {
    const { tenant } = submission.description;
    const record: TenantRecord = { tenant, phase: "allocating", revision: 0, ...submission };
    const entry: TenantEntry = { record, retired: new Set() };
    this.#state.tenants.set(tenant, entry);
    try {
      await this.#write(entry, record);
      await this.#allocate(submission, wantedContainers(submission.description));
      await this.#write(entry, { ...record, phase: "accepted", revision: 1 });
    } catch (error) {
      await this.#rollBackCreate(entry);
      throw error;
    }
    return "created";
  }

  async #acceptUpdate(entry: TenantEntry, submission: TenantSubmission): Promise<"updated"> {
    const { record } = entry;
    try {
      await this.#write(entry, { ...record, pending: submission });
      await this.#allocate(submission, wantedContainers(submission.description));
      const { rollout: _, pending: __, material: ___, ...kept } = record;
      const rollout = this.#beginRollout(record, submission);
      const revision = record.revision + 1;
      await this.#write(entry, { ...kept, ...submission, revision, ...(rollout && { rollout }) });
      entry.retired = undefined; // NICs may be left of containers that never came to be
    } catch (error) {
      await this.#rollBackUpdate(entry);
      throw error;
    }
    return "updated";
  }

  #beginRollout(record: TenantRecord, submission: TenantSubmission): Rollout | undefined {
    const roles = changedRoles(record, submission, this.#goalsOf(record.tenant));
    if (roles.length === 0) return undefined;
    return { roles, domain: 0, readyByMs: this.#readyBy(submission) };
  }

  #readyBy({ description }: TenantSubmission): number {
    return this.#options.clock.now() + updateOf(description).readyMs;
  }

  #goalsOf(tenant: string): ContainerGoal[] {
    const goals = this.#state.containersOf(tenant).map(({ goal }) => goal);
    return goals.filter((goal) => goal !== undefined);
  }

  #allocate(
    { description }: TenantSubmission,
    wanted: readonly WantedContainer[],
  ): Promise<readonly NicGoal[]> {
    return this.#options.network.allocate({
      tenant: description.tenant,
      vnet: vnetName(description),
      addressSpace: description.vnet.addressSpace,
      nics: nicRequests(wanted),
      isPublic: publicEndpoints(description).length > 0,
    });
  }

  async #rollBackCreate({ record }: TenantEntry): Promise<void> {
    const { store, network } = this.#options;
    await network.release(record.tenant, vnetName(record.description));
    await store.txn({ success: [{ kind: "delete", key: keys.tenant(record.tenant) }] });
    this.#state.tenants.delete(record.tenant);
  }

  /** Takes back the NICs that only the update wanted. */
  async #rollBackUpdate(entry: TenantEntry): Promise<void> {
    const { pending, ...record } = entry.record;
    if (pending === undefined) return;
    const kept = new Set(wantedContainers(record.description).map(({ container }) => container));
    const added = wantedContainers(pending.description)
      .map(({ container }) => container)
      .filter((container) => !kept.has(container) && !this.#state.containers.has(container));
    if (added.length > 0) {
      await this.#options.network.releaseNics(vnetName(record.description), added);
    }
    await this.#write(entry, record);
  }

  async #step(tenant: string): Promise<void> {
    const entry = this.#state.tenants.get(tenant);
    if (entry === undefined) return;
    if (entry.record.phase === "allocating") return this.#rollBackCreate(entry);
    if (entry.record.pending !== undefined) await this.#rollBackUpdate(entry);
    if (entry.record.phase === "deleting") return this.#finishDelete(entry);
    await this.#options.network.publish(tenant, publicEndpoints(entry.record.description));
    this.#removeSurplus(entry);
    await this.#release(entry);
    await this.#addMissing(entry);
    await this.#roll(entry);
  }

  /** Highest index first. */
  #removeSurplus({ record }: TenantEntry): void {
    const surplus = this.#goalsOf(record.tenant).filter(
      ({ instance }) => findRole(record, instance) === undefined,
    );
    surplus.sort((a, b) => instanceIndex(b.instance) - instanceIndex(a.instance));
    for (const { container } of surplus) this.#containers.schedule(container);
  }

  /** Takes back the NICs of containers that are gone and not wanted again. */
  async #release(entry: TenantEntry): Promise<void> {
    const { tenant, description } = entry.record;
    const { network } = this.#options;
    const wanted = new Set(wantedContainers(description).map(({ container }) => container));
    if (entry.retired === undefined) {
      const nics = await network.listNics(vnetName(description));
      entry.retired = new Set(nics.map(({ container }) => container));
    }
    const known = new Set(this.#state.containersOf(tenant).map(({ container }) => container));
    const released = [...entry.retired].filter((name) => !wanted.has(name) && !known.has(name));
    entry.retired.clear(); // one that is known tells us again when it is gone
    if (released.length === 0) return;
    try {
      await this.#forget(released);
      await network.releaseNics(vnetName(description), released);
    } catch (error) {
      for (const container of released) entry.retired.add(container);
      throw error;
    }
  }

  async #addMissing({ record }: TenantEntry): Promise<void> {
    const missing = wantedContainers(record.description).filter(({ container }) => {
      const known = this.#state.containers.get(container);
      return known?.goal === undefined && known?.draft === undefined;
    });
    if (missing.length === 0) return;
    const nics = await this.#allocate(record, missing);
    missing.forEach((wanted, index) => {
      const entry = this.#state.ensure(wanted.container);
      const { fabricId, clock } = this.#options;
      entry.draft = firstGoal(fabricId, record, wanted, nics[index]!, clock.now());
      this.#containers.schedule(wanted.container);
    });
  }

  async #roll(entry: TenantEntry): Promise<void> {
    const { record } = entry;
    const { rollout } = record;
    if (rollout === undefined || rollout.stopped !== undefined) return;
    const members = this.#members(record, rollout);
    const step = planRollout(rollout, members, this.#options.clock.now());
    switch (step.kind) {
      case "wait":
        this.#wakeAt(record.tenant, rollout.readyByMs);
        break;
      case "advance": {
        const next = { ...rollout, domain: step.domain, readyByMs: this.#readyBy(record) };
        await this.#write(entry, { ...record, rollout: next });
        break;
      }
      case "stop":
        await this.#write(entry, { ...record, rollout: { ...rollout, stopped: step.reason } });
        return;
      case "done": {
        const { rollout: _, ...done } = record;
        await this.#write(entry, done);
        return;
      }
    }
    const domain = entry.record.rollout?.domain;
    const due = members.filter((member) => member.domain === domain && member.change !== "none");
    for (const { goal } of due) this.#containers.schedule(goal.container);
    if (step.kind === "advance") this.schedule(record.tenant);
  }

  #members(record: TenantRecord, rollout: Rollout): RolloutMember[] {
    const members: RolloutMember[] = [];
    for (const { goal: stored, writing, status } of this.#state.containersOf(record.tenant)) {
      const goal = writing ?? stored; // what is not written yet counts: it may be of an earlier update
      const role = goal && findRole(record, goal.instance);
      if (goal === undefined || role === undefined || !rollout.roles.includes(role.name)) continue;
      const domain = domainOf(record.description, goal.instance);
      members.push({ domain, change: changeOf(goal, record, role), goal, status });
    }
    return members;
  }

  async #finishDelete({ record }: TenantEntry): Promise<void> {
    const { store, network } = this.#options;
    const { tenant, description } = record;
    const left = this.#state.containersOf(tenant);
    for (const { container } of left) this.#containers.schedule(container);
    if (left.length > 0) return; // each of them tells us when it is gone
    const vnet = vnetName(description);
    const nics = await network.listNics(vnet);
    await this.#forget(nics.map(({ container }) => container));
    await network.release(tenant, vnet);
    await store.txn({ success: [{ kind: "delete", key: keys.tenant(tenant) }] });
    this.#state.tenants.delete(tenant);
    this.#timers.get(tenant)?.();
    this.#timers.delete(tenant);
    this.#ends.get(tenant)?.resolve();
    this.#ends.delete(tenant);
  }

  async #forget(containers: readonly string[]): Promise<void> {
    for (let start = 0; start < containers.length; start += FORGOTTEN_AT_A_TIME) {
      const page = containers.slice(start, start + FORGOTTEN_AT_A_TIME);
      await Promise.all(page.map((container) => this.#options.trace.forget(container)));
    }
  }

  /** Nobody else writes it, and the tenant's work is done one after another. */
  async #write(entry: TenantEntry, record: TenantRecord): Promise<void> {
    await updateDocument(this.#options.store, keys.tenant(record.tenant), () => record);
    entry.record = record;
  }

  #wakeAt(tenant: string, atMs: number): void {
    this.#timers.get(tenant)?.();
    const delay = Math.max(0, atMs - this.#options.clock.now());
    this.#setTimer(tenant, delay);
  }

  #setTimer(tenant: string, delayMs: number): void {
    if (!this.#isRunning) return;
    const cancel = this.#options.clock.startTimer(delayMs, () => {
      this.#timers.delete(tenant);
      this.schedule(tenant);
    });
    this.#timers.set(tenant, cancel);
  }

  #onError(tenant: string, error: unknown): void {
    if (!this.#isRunning) return;
    this.#options.onError(`tenant ${tenant}`, error);
    this.#timers.get(tenant)?.();
    this.#setTimer(tenant, RETRY_MS);
  }
}
