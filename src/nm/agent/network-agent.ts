/**
 * The network agent of a node: has each VNET on the machine that a container here needs, and programs its ports. It reads
 * what is there, compares it with the goals and mends the difference, at each change and every two seconds; so it may be
 * killed at any moment. What cannot be read without a process (overlay, fence) it compares every half minute. Until a port is programmed it is down, attached to nothing, and its MAC is unknown to DHCP:
 * blocked means silent.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  asDocument,
  type ContainerGoal,
  keys,
  type NicGoal,
  type NicStatus,
  type NodeNetworkStatus,
  type NodeStatus,
} from "../../model/documents.ts";
import { type Ipv4Address, parseIpv4 } from "../../model/ipv4-address.ts";
import { type FabricStore, follow } from "../../store/index.ts";
import type { ForeignFirewall, NodeNetwork } from "./node-network.ts";
import type { StartVnetServices } from "./node-vnet.ts";
import { Rounds } from "./rounds.ts";
import { StatusWriter } from "./status-writer.ts";
import { VnetAgent } from "./vnet-agent.ts";
import type { BlockedReason } from "./vnet-plan.ts";

/** From one look at the machine to the next, where nothing happens. */
const INTERVAL_MS = 2_000;
/** Looks from one that costs processes to the next: what the kernel has is compared with what it was told. */
export const FULL_LOOKS = 15;
const STORE_RETRY_MS = 500;

export interface NetworkAgentOptions {
  readonly store: FabricStore;
  readonly node: string;
  /** The machine; the agent's owner disposes it. */
  readonly network: NodeNetwork;
  readonly startServices: StartVnetServices;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** From one look at the machine to the next; default 2 s. */
  readonly intervalMs?: number;
  /** Called right after a port was opened, before its status is stored and before its guest can be answered. */
  readonly onProgrammed: (goal: NicGoal, status: NicStatus) => void;
  /** Called with what failed; the NIC's status says so too. */
  readonly onError: (what: string, error: unknown) => void;
}

/** Converges the networks of a node; see {@link NetworkAgent.run}. */
export class NetworkAgent implements AsyncDisposable {
  readonly #options: NetworkAgentOptions;
  readonly #writer: StatusWriter;
  readonly #vnets = new Map<string, VnetAgent>();
  /** VNETs that are being left; one that is needed again waits for that. */
  readonly #leaving = new Map<string, Promise<void>>();
  /** The VNET of each container here. */
  readonly #placed = new Map<string, string>();
  /** The newest reading of a container's goal. */
  readonly #reading = new Map<string, symbol>();
  readonly #nodes = new Map<string, Ipv4Address>();
  readonly #sweeps = new Rounds(() => this.#sweep());
  readonly #fences = new Rounds(() => this.#setFence());
  /** Everything that was started and may still run. */
  readonly #pending = new Set<Promise<void>>();
  #strays: { readonly vnet: string; readonly ports: readonly string[] }[] = [];
  #firewalls: readonly ForeignFirewall[] = [];
  #looksUntilFull = 0;
  /** The live nodes that the fence was set to last, to see a change. */
  #fence: string | undefined;
  #isCaughtUp = false;
  #signal: AbortSignal = AbortSignal.abort();

  constructor(options: NetworkAgentOptions) {
    this.#options = options;
    this.#writer = new StatusWriter(options);
  }

  /** Follows goals and ports until `signal` aborts. Nothing on the machine is touched before the goals are known. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const { store, node, network, intervalMs = INTERVAL_MS } = this.#options;
    await this.#dropStale();
    const placements = follow(
      store,
      keys.placements(node),
      (key, value) => this.#onPlacement(key.split("/").at(-1) ?? "", value !== undefined),
      signal,
    );
    const nodes =
      network.overlay &&
      follow(store, keys.node(""), (key, value) => this.#onNode(key, value), signal);
    const ended = [placements.ended, ...(nodes === undefined ? [] : [nodes.ended])];
    for (const each of ended) each.catch(() => undefined); // awaited below
    try {
      await Promise.all([placements.caughtUp, nodes?.caughtUp]);
      await this.#settled();
      this.#isCaughtUp = true;
      await this.reconcile();
      await this.#dropUnknown();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    const timer = setInterval(() => void this.reconcile(), intervalMs);
    try {
      await Promise.all(ended);
    } finally {
      clearInterval(timer);
      await this.#settled();
    }
  }

  /** One look at everything, now; resolves when what it found is mended or said. */
  async reconcile(): Promise<void> {
    if (!this.#isCaughtUp || this.#signal.aborted) return;
    const isFull = this.#looksUntilFull === 0;
    this.#looksUntilFull = isFull ? FULL_LOOKS - 1 : this.#looksUntilFull - 1;
    if (isFull) this.#fence = undefined;
    await this.#fences.request();
    await Promise.all([...this.#vnets.values()].map((vnet) => vnet.look()));
    await this.#sweeps.request();
    if (isFull) await this.#lookForFirewalls();
    this.#writeNodeStatus();
    await this.#writer.retry();
  }

  /** Stops serving. Ports stay as they are, so running guests keep their traffic; their DHCP waits for the next agent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#settled();
    await this.#sweeps.idle();
    await Promise.all([...this.#vnets.values()].map((vnet) => vnet.end()));
    this.#vnets.clear();
  }

  /** A NIC whose namespace is not on the machine any more (it was started again) must not be believed. */
  async #dropStale(): Promise<void> {
    const { network, node, onError } = this.#options;
    await this.#untilStored(
      async () => {
        const statuses = await this.#writer.load();
        const present = new Set(
          (await network.listVnets()).map((vnet) => network.namespaceOf(vnet)),
        );
        for (const [mac, value] of statuses) {
          const status = asDocument<NicStatus>(value);
          if (status.kind !== "failed" && present.has(status.namespace)) continue;
          await this.#writer.set(keys.nicStatus(node, mac), undefined);
        }
      },
      (error) => onError("what an earlier run wrote cannot be read", error),
    );
  }

  /** Statuses of NICs that left while no agent ran. */
  async #dropUnknown(): Promise<void> {
    const told = new Set([...this.#vnets.values()].flatMap((vnet) => [...vnet.told]));
    for (const mac of this.#writer.storedNics()) {
      if (!told.has(mac)) void this.#writer.set(keys.nicStatus(this.#options.node, mac), undefined);
    }
    await this.#writer.retry();
  }

  #onNode(key: string, value: unknown): void {
    const name = key.slice(keys.node("").length);
    const address = value === undefined ? undefined : asDocument<NodeStatus>(value).address;
    if (address === undefined) this.#nodes.delete(name);
    else this.#nodes.set(name, parseIpv4(address));
    if (!this.#isCaughtUp) return;
    this.#track(this.#fences.request());
    for (const vnet of this.#vnets.values()) this.#track(vnet.request());
  }

  async #setFence(): Promise<void> {
    const live = [...this.#nodes.values()].toSorted((a, b) => a - b);
    const fence = live.join();
    if (fence === this.#fence) return;
    this.#fence = undefined; // it is not known while it is changed; the next look tries again
    try {
      await this.#options.network.overlay?.setLiveNodes(live);
      this.#fence = fence;
    } catch (error) {
      this.#options.onError("fence against nodes that are not alive", error);
    }
  }

  #onPlacement(container: string, isHere: boolean): void {
    const reading = Symbol(container);
    this.#reading.set(container, reading);
    if (!isHere) this.#place(container, undefined);
    else this.#track(this.#readGoal(container, reading));
  }

  async #readGoal(container: string, reading: symbol): Promise<void> {
    const { store, node, onError } = this.#options;
    await this.#untilStored(
      async () => {
        const { kv } = await store.get(keys.containerGoal(container));
        if (this.#reading.get(container) !== reading) return; // a newer one is under way
        // It is being deleted: its guest must still hear so. Its placement goes when it is gone.
        if (kv === undefined) return;
        const goal = asDocument<ContainerGoal>(kv.value);
        this.#place(container, goal.node === node ? goal.vnet : undefined);
      },
      (error) => onError(`goal of ${container}`, error),
    );
  }

  #place(container: string, vnet: string | undefined): void {
    const before = this.#placed.get(container);
    if (vnet === undefined) this.#placed.delete(container);
    else this.#placed.set(container, vnet);
    if (before !== undefined && before !== vnet) this.#leaveIfLast(before);
    if (vnet !== undefined && !this.#vnets.has(vnet)) this.#join(vnet);
  }

  #join(vnet: string): void {
    const { store, node, network, startServices, now, onProgrammed, onError } = this.#options;
    const agent = new VnetAgent({
      ...{ store, node, vnet, network, startServices, now, onProgrammed, onError },
      nodes: this.#nodes,
      fullLooks: { every: FULL_LOOKS, first: this.#vnets.size % FULL_LOOKS },
      setStatus: (mac, status) => void this.#writer.set(keys.nicStatus(node, mac), status),
    });
    this.#vnets.set(vnet, agent);
    const left = this.#leaving.get(vnet) ?? Promise.resolve();
    const started = left.then(() => agent.start());
    this.#track(started.catch((error: unknown) => onError(`VNET ${vnet}`, error)));
  }

  #leaveIfLast(vnet: string): void {
    const agent = this.#vnets.get(vnet);
    if (agent === undefined || [...this.#placed.values()].includes(vnet)) return;
    this.#vnets.delete(vnet);
    const left = Promise.all([this.#leaving.get(vnet), agent.end()]).then(() => {
      agent.forget();
      if (this.#leaving.get(vnet) === left) this.#leaving.delete(vnet);
    });
    this.#leaving.set(vnet, left);
    this.#track(left.then(() => this.#sweeps.request()));
  }

  /** VNETs that nobody here needs: their ports are closed, and without ports they are removed. */
  async #sweep(): Promise<void> {
    if (!this.#isCaughtUp || this.#signal.aborted) return;
    const { network, onError } = this.#options;
    try {
      const strays: { vnet: string; ports: string[] }[] = [];
      for (const vnet of await network.listVnets()) {
        if (this.#isNeeded(vnet)) continue;
        const ports = network.listPorts(vnet) ?? [];
        const open = ports.filter(({ isUp, isAttached }) => isUp || isAttached);
        network.closePorts(
          vnet,
          open.map(({ ifindex }) => ifindex),
        );
        if (ports.length > 0) strays.push({ vnet, ports: ports.map(({ name }) => name) });
        else if (!this.#isNeeded(vnet)) await network.removeVnet(vnet);
      }
      this.#strays = strays;
    } catch (error) {
      onError("VNETs that are not needed", error);
    }
  }

  #isNeeded(vnet: string): boolean {
    return this.#vnets.has(vnet) || this.#leaving.has(vnet);
  }

  async #lookForFirewalls(): Promise<void> {
    try {
      this.#firewalls = await this.#options.network.findForeignFirewalls([...this.#vnets.keys()]);
    } catch (error) {
      this.#options.onError("firewalls of others", error);
    }
  }

  #writeNodeStatus(): void {
    const { network, node } = this.#options;
    const entry = (vnet: string, port: string, reason: BlockedReason) => ({
      namespace: network.namespaceOf(vnet),
      port,
      reason,
    });
    const status: NodeNetworkStatus = {
      blockedPorts: [
        ...[...this.#vnets].flatMap(([vnet, { blocked }]) =>
          blocked.map(({ port, reason }) => entry(vnet, port.name, reason)),
        ),
        ...this.#strays.flatMap(({ vnet, ports }) =>
          ports.map((port) => entry(vnet, port, "no-vnet")),
        ),
      ],
      foreignFirewalls: this.#firewalls,
    };
    void this.#writer.set(keys.nodeNetwork(node), status);
  }

  /** Tries until the store answers; the first failure is told. */
  async #untilStored(
    action: () => Promise<void>,
    onError: (error: unknown) => void,
  ): Promise<void> {
    for (let attempt = 1; !this.#signal.aborted; attempt += 1) {
      try {
        return await action();
      } catch (error) {
        if (attempt === 1) onError(error);
        await sleep(STORE_RETRY_MS, undefined, { signal: this.#signal }).catch(() => undefined);
      }
    }
  }

  #track(work: Promise<void>): void {
    this.#pending.add(work);
    void work.finally(() => this.#pending.delete(work));
  }

  async #settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }
}
