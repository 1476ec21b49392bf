/**
 * The compute agent of a node: creates the VMs of the containers that are placed here, watches them, stops them, and
 * writes what they are doing. It programs no ports: it makes one, and the network agent does the rest. It keeps nothing
 * that it cannot find again: after a crash the next one takes over the VMs that run and goes on from the goals.
 */
import { readdirSync } from "node:fs";
import { asDocument, type ContainerGoal, keys, type NicStatus } from "../../model/documents.ts";
import { type FabricStore, type Follower, follow } from "../../store/index.ts";
import type { BootTrace } from "../../trace/index.ts";
import type { Hypervisor, Vm } from "../hypervisor.ts";
import { type AgentReport, boundReport } from "./agent-report.ts";
import { type AgentClock, pause } from "./clock.ts";
import { ContainerWorker } from "./container-worker.ts";
import { Deadlines } from "./deadlines.ts";
import type { NetworkView } from "./decide.ts";
import type { GuestHealth } from "./liveness.ts";
import { COMPUTE_POLICY, type ComputePolicy } from "./policy.ts";
import { Slots } from "./slots.ts";
import type { PrepareBootSource } from "./start-vm.ts";
import type { NetworkUser, Waiting, WorkerEdge } from "./worker-edge.ts";

export interface ComputeAgentOptions {
  readonly store: FabricStore;
  readonly node: string;
  readonly hypervisor: Hypervisor;
  /** Gets images and makes disks; absent: every container boots goalstate's own image. */
  readonly prepareSource?: PrepareBootSource;
  readonly trace: Pick<BootTrace, "reach" | "joinBoot" | "furthest" | "leave">;
  /** Prefix of the node's VM names: they are recognised by it after a crash. */
  readonly namePrefix: string;
  /** Where each container of this node, and nothing else, has a folder. */
  readonly runDirectory: string;
  readonly clock: AgentClock;
  /** What differs from {@link COMPUTE_POLICY}. */
  readonly policy?: Partial<ComputePolicy>;
  /** Called when {@link ComputeAgent.findGoal} may give something else for the container; also often when it does not. */
  readonly onChange?: (container: string) => void;
  /** Called with what failed; the status says so too where it concerns the container. */
  readonly onError: (what: string, error: unknown) => void;
}

/** Converges the containers of a node; see {@link ComputeAgent.run}. */
export class ComputeAgent implements AsyncDisposable {
  readonly #options: ComputeAgentOptions;
  readonly #policy: ComputePolicy;
  readonly #edge: WorkerEdge;
  readonly #deadlines: Deadlines<Waiting>;
  readonly #workers = new Map<string, ContainerWorker>();
  readonly #byMac = new Map<string, NetworkUser>();
  readonly #networks = new Map<string, NetworkView>();
  readonly #ready = Promise.withResolvers<void>();
  #isOpen = false;
  #stopping: "ask" | "switch-off" | undefined;

  constructor(options: ComputeAgentOptions) {
    const { clock } = options;
    this.#options = options;
    this.#ready.promise.catch(() => undefined); // run() tells it too
    this.#policy = { ...COMPUTE_POLICY, ...options.policy };
    this.#deadlines = new Deadlines(clock, (waiting) => waiting.due());
    const { startsMax, startSlotMs } = this.#policy;
    this.#edge = {
      ...options,
      prepareSource: options.prepareSource,
      policy: this.#policy,
      slots: new Slots({ max: startsMax, heldMs: startSlotMs, clock }),
      schedule: (waiting, atMs) => this.#deadlines.set(waiting, atMs),
      networkOf: (mac, user) => {
        this.#byMac.set(mac, user);
        return this.#networks.get(mac);
      },
      forgotten: (container, user) => this.#forget(container, user),
    };
  }

  /**
   * Resolves when no VM runs here whose container was moved away while no agent was here: the node may say that it is
   * there. Rejects as {@link run}; stays open if its signal aborts before.
   */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /**
   * Takes over what runs, then follows goals and networks until `signal` aborts. To be called once.
   *
   * @throws as the store while following, and as {@link Hypervisor.adopt}
   */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#run(signal);
    } catch (error) {
      this.#ready.reject(error);
      throw error;
    }
  }

  async #run(signal: AbortSignal): Promise<void> {
    await this.#adopt(signal);
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
    await Promise.all([this.#open(placements, signal), nics.ended, placements.ended]);
  }

  /** The goal of a container as its guest is to see it, if it is placed here or its VM still runs here. */
  findGoal(container: string): ContainerGoal | undefined {
    return this.#workers.get(container)?.shownGoal;
  }

  /** The VM of a container, while it runs. */
  findVm(container: string): Vm | undefined {
    return this.#workers.get(container)?.vm;
  }

  /** Its guest asked or said something. Cheap: it is called for every request. */
  heard(container: string): void {
    this.#workers.get(container)?.heard();
  }

  /** Its guest fetched the goal state of this incarnation. Cheap. */
  fetched(container: string, incarnation: number): void {
    this.#workers.get(container)?.fetched(incarnation);
  }

  /** The guest got its address: from now on its agent is waited for. Resolves when that is durable; rejects as the store. */
  async leased(container: string): Promise<void> {
    await this.#workers.get(container)?.report((guest) => {
      guest.leased = true;
    });
  }

  /** Records what the guest agent said; resolves when that is durable, rejects as the store. */
  async reportHealth(container: string, health: GuestHealth): Promise<void> {
    await this.#workers.get(container)?.report((guest) => {
      guest.health = health;
      if (health.state === "Ready") guest.readyOnce = true;
    });
  }

  /** Records what the guest agent said of the role's program; resolves when that is durable, rejects as the store. */
  async reportRole(container: string, role: string): Promise<void> {
    await this.#workers.get(container)?.report((guest) => {
      guest.role = role;
    });
  }

  /**
   * Records what the guest agent uploaded of itself and its extensions; resolves when that is durable, rejects as the
   * store. Nothing is written if nothing changed.
   */
  async reportAgent(container: string, report: AgentReport): Promise<void> {
    const { agent, extensions } = boundReport(report);
    await this.#workers.get(container)?.report((guest) => {
      guest.agent = agent;
      guest.extensions = extensions;
    });
  }

  /**
   * Stops every VM and starts none any more. The containers are Allocated then, and the next agent starts them again.
   *
   * @param manner - `ask`: the guests may power off by themselves first, with the deadlines of a stop
   */
  async stopAll(manner: "ask" | "switch-off" = "switch-off"): Promise<void> {
    this.#stopping = manner;
    await Promise.all([...this.#workers.values()].map((worker) => worker.suspend(manner)));
  }

  /** Ends its work; VMs that run go on running, and the next agent takes them over. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.close()));
    this.#workers.clear();
    this.#deadlines[Symbol.dispose]();
  }

  /** What an earlier agent left: VMs, and the folders of all containers that it had. */
  async #adopt(signal: AbortSignal): Promise<void> {
    const { hypervisor, namePrefix, runDirectory } = this.#options;
    const { running, ended } = await hypervisor.adopt({ namePrefix, runDirectory }, signal);
    for (const vm of running) this.#worker(vm.container).adopt(vm);
    for (const { container, reason } of ended) this.#worker(container).foundEnded(reason);
    for (const container of listFolders(runDirectory)) this.#worker(container);
  }

  /** First what must not run here any more, then everything. */
  async #open(placements: Follower, signal: AbortSignal): Promise<void> {
    await placements.caughtUp;
    const found = [...this.#workers.values()];
    await Promise.all(found.map((worker) => this.#readOnce(worker, signal)));
    if (signal.aborted) return;
    const moved = found.filter(({ wanted, vm }) => wanted.kind === "elsewhere" && vm !== undefined);
    await Promise.all(moved.map((worker) => this.#clear(worker, signal)));
    if (signal.aborted) return;
    this.#isOpen = true;
    this.#ready.resolve();
    for (const worker of this.#workers.values()) worker.open();
  }

  async #readOnce(worker: ContainerWorker, signal: AbortSignal): Promise<void> {
    const { clock, onError } = this.#options;
    while (!signal.aborted && worker.wanted.kind === "unknown") {
      try {
        await worker.refresh();
      } catch (error) {
        onError(worker.container, error);
        await pause(clock, this.#policy.retryMs, signal);
      }
    }
  }

  async #clear(worker: ContainerWorker, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && worker.vm !== undefined) {
      await worker.clear();
      if (worker.vm !== undefined) await pause(this.#options.clock, this.#policy.retryMs, signal);
    }
  }

  #onPlacement(key: string, value: unknown): void {
    this.#worker(key.split("/").at(-1) ?? "").place(value !== undefined);
  }

  #onNic(key: string, value: unknown): void {
    const mac = key.split("/").at(-1) ?? "";
    const network = value === undefined ? undefined : networkOf(asDocument<NicStatus>(value));
    if (network === undefined) this.#networks.delete(mac);
    else this.#networks.set(mac, network);
    this.#byMac.get(mac)?.setNetwork(network);
  }

  #worker(container: string): ContainerWorker {
    const known = this.#workers.get(container);
    if (known !== undefined) return known;
    const worker = new ContainerWorker(container, this.#edge);
    this.#workers.set(container, worker);
    if (this.#stopping !== undefined) void worker.suspend(this.#stopping);
    else if (this.#isOpen) worker.open();
    return worker;
  }

  #forget(container: string, user: NetworkUser): void {
    this.#workers.delete(container);
    for (const [mac, owner] of this.#byMac) if (owner === user) this.#byMac.delete(mac);
  }
}

function networkOf(status: NicStatus): NetworkView {
  if (status.kind !== "failed") return { kind: "ready", namespace: status.namespace };
  return { kind: "missing", reason: `waiting for its network on this node: ${status.reason}` };
}

function listFolders(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
