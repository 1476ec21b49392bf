/**
 * The compute agent of a node: creates the VMs of the containers placed here, watches them, and writes what they are
 * doing. It does not program ports: it makes a port, says so in its status, and the network agent does the rest.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  asDocument,
  type ContainerGoal,
  type ContainerState,
  type ContainerStatus,
  keys,
  type NicStatus,
} from "../model/documents.ts";
import { errorText } from "../model/errors.ts";
import { parseMac } from "../model/mac-address.ts";
import { deriveGuid, portName } from "../model/names.ts";
import { type FabricStore, follow } from "../store/index.ts";
import type { BootTrace } from "../trace/index.ts";
import type { Hypervisor, Vm } from "./hypervisor.ts";

export interface ComputeAgentOptions {
  readonly store: FabricStore;
  readonly node: string;
  readonly hypervisor: Hypervisor;
  readonly trace: Pick<BootTrace, "reach">;
  /** Prefix of VM names: they are recognised by it after a crash. */
  readonly namePrefix: string;
  /** Where each container has a folder of its own. */
  readonly runDirectory: string;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly onError: (what: string, error: unknown) => void;
}

/** What a guest said of itself. */
export interface GuestHealth {
  readonly state: "Ready" | "NotReady";
  readonly subStatus?: string;
  readonly description?: string;
}

type StatusChange = Omit<ContainerStatus, "sinceMs" | "node" | "attempt">;

interface ContainerWork {
  goal: ContainerGoal | undefined;
  status: ContainerStatus | undefined;
  vm: Vm | undefined;
  /** A VM was tried for this goal: a failed one is not retried by itself. */
  attempted: boolean;
  work: Promise<void>;
  /** Status writes, one after another. */
  writes: Promise<void>;
}

/** Converges the containers of a node; see {@link ComputeAgent.run}. */
export class ComputeAgent implements AsyncDisposable {
  readonly #options: ComputeAgentOptions;
  readonly #containers = new Map<string, ContainerWork>();
  readonly #namespaces = new Map<string, string>();
  readonly #stop = new AbortController();

  constructor(options: ComputeAgentOptions) {
    this.#options = options;
  }

  /** Follows goals and networks until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, node } = this.#options;
    const nics = follow(
      store,
      keys.nicStatuses(node),
      (key, value) => this.#onNic(key, value),
      signal,
    );
    const placements = follow(
      store,
      keys.placements(node),
      (key, value) => this.#onPlacement(key, value),
      signal,
    );
    await Promise.all([nics.ended, placements.ended]);
  }

  /** The container's goal, if it is placed here. */
  findGoal(container: string): ContainerGoal | undefined {
    return this.#containers.get(container)?.goal;
  }

  /** The goals of a tenant's containers that are placed here. */
  listTenant(tenant: string): ContainerGoal[] {
    const goals = [...this.#containers.values()].map(({ goal }) => goal);
    return goals.filter((goal) => goal?.tenant === tenant).filter((goal) => goal !== undefined);
  }

  /** The VM of a container, while it runs. */
  findVm(container: string): Vm | undefined {
    return this.#containers.get(container)?.vm;
  }

  /** The guest got its address: from now on its agent is waited for. */
  async leased(container: string): Promise<void> {
    await this.#change(container, (status) =>
      status.state === "Booting"
        ? { ...status, state: "AwaitingAgent", detail: "has its address; waiting for its agent" }
        : undefined,
    );
  }

  /** Records what the guest agent said; resolves when that is durable. */
  async reportHealth(container: string, health: GuestHealth): Promise<void> {
    await this.#change(container, (status) => {
      const same = JSON.stringify(status.health) === JSON.stringify(health);
      return same ? undefined : { ...status, ...stateOf(health), health };
    });
  }

  /** Records what the guest agent said of the role's program; resolves when that is durable. */
  async reportRole(container: string, role: string): Promise<void> {
    await this.#change(container, (status) =>
      status.role === role ? undefined : { ...status, role },
    );
  }

  /** Stops every VM. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#containers.values()].map(({ work }) => work));
    await Promise.all([...this.#containers.values()].map(({ vm }) => vm?.stop()));
  }

  #onNic(key: string, value: unknown): void {
    const mac = key.split("/").at(-1) ?? "";
    const status = value === undefined ? undefined : asDocument<NicStatus>(value);
    if (status === undefined || status.kind === "failed") this.#namespaces.delete(mac);
    else this.#namespaces.set(mac, status.namespace);
    for (const [container, { goal }] of this.#containers) {
      if (goal?.mac === mac) this.#enqueue(container);
    }
  }

  #onPlacement(key: string, value: unknown): void {
    const container = key.split("/").at(-1) ?? "";
    const entry = this.#containers.get(container) ?? newWork();
    this.#containers.set(container, entry);
    this.#enqueue(container, async () => {
      entry.goal = value === undefined ? undefined : await this.#readGoal(container);
    });
  }

  async #readGoal(container: string): Promise<ContainerGoal | undefined> {
    const { kv } = await this.#options.store.get(keys.containerGoal(container));
    const goal = kv === undefined ? undefined : asDocument<ContainerGoal>(kv.value);
    return goal?.node === this.#options.node ? goal : undefined;
  }

  #enqueue(container: string, first: () => Promise<void> = async () => undefined): void {
    const entry = this.#containers.get(container)!;
    entry.work = entry.work
      .then(first)
      .then(() => this.#converge(container, entry))
      .catch(async (error: unknown) => {
        if (this.#stop.signal.aborted) return;
        this.#options.onError(container, error);
        await this.#setState(container, entry, "Failed", errorText(error));
      });
  }

  async #converge(container: string, entry: ContainerWork): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const { goal, vm } = entry;
    if (goal === undefined || goal.expectedState === "Stopped") {
      if (vm !== undefined) await this.#stopVm(container, entry, vm);
      if (goal === undefined) await this.#forget(container);
    } else if (vm === undefined && !entry.attempted) {
      await this.#start(goal, entry);
    }
  }

  async #start(goal: ContainerGoal, entry: ContainerWork): Promise<void> {
    const { container } = goal;
    if (entry.status === undefined) {
      await this.#setState(container, entry, "Allocated", "waiting for its network on this node");
    }
    const namespace = this.#namespaces.get(goal.mac);
    if (namespace === undefined) return;
    entry.attempted = true;
    await this.#setState(container, entry, "Creating", "preparing its image");
    const { hypervisor, trace, runDirectory } = this.#options;
    const folder = join(runDirectory, container);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const guest = { container, ...(goal.app && { app: goal.app }) };
    const prepared = await hypervisor.prepare(guest, this.#stop.signal);
    trace.reach(container, "image-ready", prepared.evidence);
    const port = { namespace, name: portName(goal.mac) };
    const spec = this.#spec(goal, folder, port);
    const vm = await prepared.boot(spec, this.#stop.signal);
    entry.vm = vm;
    trace.reach(container, "vm-created", {
      hypervisor: hypervisor.description,
      pid: vm.pid,
      port: port.name,
      console: vm.consolePath,
      ...vm.evidence,
    });
    void vm.exited.then((exit) => this.#onExit(container, entry, vm, exit));
    await this.#update(container, entry, () => ({
      state: "Booting",
      detail: "runs; waiting for its DHCP request",
      port: port.name,
    }));
  }

  #spec(goal: ContainerGoal, folder: string, port: { namespace: string; name: string }) {
    return {
      name: `${this.#options.namePrefix}${goal.container}`,
      container: goal.container,
      attempt: goal.attempt,
      vmId: deriveGuid(goal.containerId, "vm"),
      runDirectory: folder,
      cpus: goal.cpus,
      memoryMib: goal.memoryMib,
      hostname: goal.hostname,
      mac: parseMac(goal.mac),
      port,
    };
  }

  async #onExit(
    container: string,
    entry: ContainerWork,
    vm: Vm,
    exit: Awaited<Vm["exited"]>,
  ): Promise<void> {
    if (entry.vm !== vm || this.#stop.signal.aborted) return;
    entry.vm = undefined;
    const detail = exit.kind === "failed" ? exit.reason : "powered off";
    const state = exit.kind === "failed" ? "Failed" : "Stopped";
    await this.#setState(container, entry, state, detail).catch((error: unknown) =>
      this.#options.onError(container, error),
    );
  }

  async #stopVm(container: string, entry: ContainerWork, vm: Vm): Promise<void> {
    await this.#setState(container, entry, "Stopping", "stopping its VM");
    entry.vm = undefined;
    await vm.stop();
    await this.#update(container, entry, () => ({ state: "Stopped", detail: "stopped as asked" }));
  }

  async #forget(container: string): Promise<void> {
    this.#containers.delete(container);
    await this.#options.store.txn({
      success: [{ kind: "delete", key: keys.containerStatus(container) }],
    });
  }

  /** Applies a change that a guest caused, if there is one; `undefined` leaves the status as it is. */
  async #change(
    container: string,
    change: (status: ContainerStatus) => StatusChange | undefined,
  ): Promise<void> {
    const entry = this.#containers.get(container);
    if (entry === undefined) return;
    await this.#update(container, entry, (status) => status && change(status));
  }

  async #setState(
    container: string,
    entry: ContainerWork,
    state: ContainerState,
    detail: string,
  ): Promise<void> {
    await this.#update(container, entry, (status) => {
      const { port, ...rest } = status ?? {};
      // A VM that has ended took its port with it.
      const keptPort = entry.vm === undefined || port === undefined ? {} : { port };
      return { ...rest, ...keptPort, state, detail };
    });
  }

  /** One change after another, and none remembered before it is durable: what follows may be acknowledged to a guest. */
  #update(
    container: string,
    entry: ContainerWork,
    change: (status: ContainerStatus | undefined) => StatusChange | undefined,
  ): Promise<void> {
    const result = entry.writes.then(async () => {
      const before = entry.status;
      const changed = change(before);
      if (changed === undefined) return;
      const sinceMs = changed.state === before?.state ? before.sinceMs : this.#options.now();
      const attempt = entry.goal?.attempt ?? before?.attempt ?? 0;
      const status = { ...changed, sinceMs, node: this.#options.node, attempt };
      const key = keys.containerStatus(container);
      await this.#options.store.txn({ success: [{ kind: "put", key, value: status }] });
      entry.status = status;
    });
    entry.writes = result.catch(() => undefined); // the caller is told; the next change goes on
    return result;
  }
}

function newWork(): ContainerWork {
  return {
    goal: undefined,
    status: undefined,
    vm: undefined,
    attempted: false,
    work: Promise.resolve(),
    writes: Promise.resolve(),
  };
}

function stateOf(health: GuestHealth): { state: ContainerState; detail: string } {
  if (health.state === "Ready") return { state: "Ready", detail: "its agent reports Ready" };
  const said = [health.subStatus, health.description].filter(Boolean).join(": ");
  return { state: "AwaitingAgent", detail: `its agent reports NotReady (${said || "no reason"})` };
}
