/**
 * The compute manager: turns tenants into containers, places them on nodes, writes their goals, and does something about
 * it when what happens is not what was asked for. All that it decides by is in the store; a restarted one goes on.
 */
import {
  asDocument,
  type ContainerGoal,
  type ContainerStatus,
  keys,
  type NodeStatus,
  type TenantRecord,
  type TenantSubmission,
} from "../../model/documents.ts";
import type { TenantDescription } from "../../model/tenant.ts";
import { type DocumentHandler, follow } from "../../store/index.ts";
import { findLastMilestone } from "../../trace/index.ts";
import { asStored, checkMaterial, wantedContainers } from "./container-goals.ts";
import { type ContainerView, containerView } from "./container-view.ts";
import { again, ContainerWorker } from "./container-worker.ts";
import { FabricState } from "./fabric-state.ts";
import type { ComputeManagerOptions } from "./manager-context.ts";
import {
  managerEnded,
  stoppedContainer,
  tenantIsGoing,
  unknownContainer,
} from "./manager-errors.ts";
import { isUntroubled, UNTROUBLED } from "./recovery.ts";
import { type SubmitOutcome, TenantWorker } from "./tenant-worker.ts";

/** What became of a submission. */
export interface Submitted {
  readonly outcome: SubmitOutcome;
  /** In the order of the description. */
  readonly containers: readonly string[];
}

/**
 * See the file's comment. Nothing happens, and no call returns, before {@link
 * ComputeManager.run} has read the store; when that has ended, calls reject with ERR_COMPUTE_MANAGER_ENDED.
 */
export class ComputeManager {
  readonly #options: ComputeManagerOptions;
  readonly #state = new FabricState();
  readonly #containers: ContainerWorker;
  readonly #tenants: TenantWorker;
  readonly #started = Promise.withResolvers<void>();
  #isStarted = false;
  #hasEnded = false;

  constructor(options: ComputeManagerOptions) {
    this.#options = options;
    const onTenant = (tenant: string) => this.#tenants.schedule(tenant);
    this.#containers = new ContainerWorker(options, this.#state, onTenant);
    this.#tenants = new TenantWorker(options, this.#state, this.#containers);
    this.#started.promise.catch(() => undefined); // told to whoever calls
  }

  /**
   * Reads everything, then follows nodes and statuses until `signal` aborts. May be called once.
   *
   * @throws FabricError as the store, when it fails
   */
  async run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const stopped = AbortSignal.any([signal, stop.signal]);
    try {
      const { kvs } = await this.#options.store.list("/tenants/");
      for (const kv of kvs) {
        const record = asDocument<TenantRecord>(kv.value);
        this.#state.tenants.set(record.tenant, { record, retired: undefined });
      }
      const { store } = this.#options;
      const nodes = follow(store, "/nodes/", this.#onNode, stopped);
      const containers = follow(store, "/containers/", this.#onContainer, stopped);
      const ended = Promise.all([nodes.ended, containers.ended]);
      ended.catch(() => undefined); // awaited below
      await Promise.race([Promise.all([nodes.caughtUp, containers.caughtUp]), ended]);
      await this.#readFarewells();
      if (!stopped.aborted) this.#start();
      await ended;
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      stop.abort();
      this.#hasEnded = true;
      this.#started.reject(managerEnded());
      await Promise.all([this.#tenants.stop(), this.#containers.stop()]);
    }
  }

  /**
   * Creates a tenant, or updates it if it exists. When the promise resolves, the tenant is accepted: its network is
   * allocated as a whole, and the rest follows whatever happens. When it rejects, nothing has changed.
   *
   * @param folder - absolute path of what relative paths in the description are relative to
   * @param material - what was read from the files that the description names
   * @throws FabricError ERR_NM_ADDRESS_SPACE_FULL, ERR_NM_VIPS_FULL, ERR_NM_BUSY, ERR_USAGE_TENANT_DELETING,
   * ERR_USAGE_TENANT_VNET
   */
  async submit(
    description: TenantDescription,
    folder: string,
    material: TenantSubmission["material"] = {},
  ): Promise<Submitted> {
    await this.#ready();
    const submission: TenantSubmission = asStored({
      ...{ description, folder },
      ...(Object.keys(material).length > 0 && { material }),
    });
    checkMaterial(submission);
    const outcome = await this.#tenants.submit(submission);
    const wanted = wantedContainers(submission.description);
    return { outcome, containers: wanted.map(({ container }) => container) };
  }

  /**
   * Updates a tenant by a change of the description that was accepted last, as {@link ComputeManager.submit} does.
   *
   * @param change - may add nothing that is read from files; may throw
   * @throws FabricError ERR_USAGE_TENANT_UNKNOWN, ERR_USAGE_TENANT_DELETING, and as `change`
   */
  async amend(
    tenant: string,
    change: (description: TenantDescription) => TenantDescription,
  ): Promise<SubmitOutcome> {
    await this.#ready();
    return this.#tenants.amend(tenant, change);
  }

  /**
   * Deletes a tenant. When the promise resolves, it is certain to go; {@link ComputeManager.whenDeleted} tells when
   * nothing is left of it.
   *
   * @throws FabricError ERR_USAGE_TENANT_UNKNOWN
   */
  async deleteTenant(tenant: string): Promise<void> {
    await this.#ready();
    await this.#tenants.delete(tenant);
  }

  /** Resolves when nothing is left of a tenant; at once if there is none. */
  async whenDeleted(tenant: string): Promise<void> {
    await this.#ready();
    await this.#tenants.whenDeleted(tenant);
  }

  /**
   * Asks a container to stop, and to stay stopped. Of one that is stopped, it does nothing.
   *
   * @throws FabricError ERR_USAGE_CONTAINER_UNKNOWN, ERR_USAGE_TENANT_DELETING
   */
  async stop(container: string): Promise<void> {
    await this.#operate(container, (goal) => {
      if (goal.expectedState === "Stopped") return undefined;
      const incarnation = goal.incarnation + 1;
      return { ...goal, expectedState: "Stopped", incarnation, recovery: UNTROUBLED };
    });
  }

  /**
   * Starts a container that was stopped, failed or was given up, with its failures forgotten. Of one that runs, it does
   * nothing.
   *
   * @throws FabricError ERR_USAGE_CONTAINER_UNKNOWN, ERR_USAGE_TENANT_DELETING
   */
  async start(container: string): Promise<void> {
    await this.#operate(container, (goal) => {
      const isStarted = goal.expectedState === "Started";
      return isStarted && isUntroubled(goal.recovery) ? undefined : startedGoal(goal);
    });
  }

  /**
   * Stops a container and starts it again, with its failures forgotten.
   *
   * @throws FabricError ERR_USAGE_CONTAINER_UNKNOWN, ERR_USAGE_CONTAINER_STOPPED, ERR_USAGE_TENANT_DELETING
   */
  async restart(container: string): Promise<void> {
    await this.#operate(container, (goal) => {
      if (goal.expectedState === "Stopped") throw stoppedContainer(container);
      return startedGoal(goal);
    });
  }

  /** The tenants, as they are in the store. */
  listTenants(): readonly TenantRecord[] {
    return [...this.#state.tenants.values()].map(({ record }) => record);
  }

  /** All containers that have a goal, by name. */
  async listContainers(): Promise<readonly ContainerView[]> {
    await this.#ready();
    const entries = [...this.#state.containers.values()];
    const views = entries.map(async ({ goal, status }) => {
      if (goal === undefined) return [];
      const { container, boot } = goal;
      const milestone = await findLastMilestone(this.#options.store, container, boot);
      return [containerView(goal, status, milestone)];
    });
    const collator = new Intl.Collator("en", { numeric: true });
    return (await Promise.all(views))
      .flat()
      .sort((a, b) => collator.compare(a.container, b.container));
  }

  /** @throws FabricError ERR_COMPUTE_MANAGER_ENDED */
  async #ready(): Promise<void> {
    await this.#started.promise;
    if (this.#hasEnded) throw managerEnded();
  }

  #start(): void {
    this.#isStarted = true;
    this.#tenants.start();
    this.#containers.start();
    this.#started.resolve();
  }

  /** Placements whose goal is gone: who placed them may have died before it could delete them. */
  async #readFarewells(): Promise<void> {
    const { kvs } = await this.#options.store.list("/on/");
    for (const { key } of kvs) {
      const [, , node = "", kind, container = ""] = key.split("/");
      if (kind !== "containers") continue;
      const entry = this.#state.ensure(container);
      if (entry.goal === undefined) entry.farewells.add(node);
    }
  }

  async #operate(
    container: string,
    change: (goal: ContainerGoal) => ContainerGoal | undefined,
  ): Promise<void> {
    await this.#ready();
    await this.#containers.operate(container, (goal) => {
      if (goal === undefined) throw unknownContainer(container);
      const phase = this.#state.tenants.get(goal.tenant)?.record.phase;
      if (phase === "deleting") throw tenantIsGoing(goal.tenant);
      return change(goal);
    });
  }

  readonly #onNode: DocumentHandler = (key, value) => {
    const node = key.slice("/nodes/".length);
    if (value === undefined) {
      this.#state.nodes.remove(node);
      this.#containers.onNodeDown(node);
      return;
    }
    this.#state.nodes.put(asDocument<NodeStatus>(value));
    this.#containers.onNodeUp(node);
  };

  readonly #onContainer: DocumentHandler = (key, value, modRev) => {
    const container = key.split("/")[2] ?? "";
    if (key === keys.containerStatus(container)) this.#onStatus(container, value);
    else if (key === keys.containerGoal(container) && !this.#isStarted && value !== undefined) {
      // Later on only we change goals, and know it before the store tells us.
      const entry = this.#state.ensure(container);
      this.#state.setGoal(entry, asDocument<ContainerGoal>(value), modRev);
    }
  };

  #onStatus(container: string, value: unknown): void {
    if (value === undefined && !this.#state.containers.has(container)) return;
    const entry = this.#state.ensure(container);
    const status = value === undefined ? undefined : asDocument<ContainerStatus>(value);
    this.#state.setStatus(entry, status);
    this.#containers.schedule(container);
    this.#tenants.onStatus(entry.tenant);
  }
}

function startedGoal(goal: ContainerGoal): ContainerGoal {
  const incarnation = goal.incarnation + 1;
  return again(goal, { expectedState: "Started", incarnation, recovery: UNTROUBLED });
}
