/** Networks of a node without a kernel: for many agents in one process, and for tests that want each crash and each order. */
import type { VnetGoal } from "../../model/documents.ts";
import type { FilteredPort } from "../../net/port-filter.ts";
import type { ForeignFirewall, NodeNetwork, NodePort, PortFailures } from "./node-network.ts";

interface SimulatedPort {
  readonly name: string;
  readonly ifindex: number;
  isUp: boolean;
  isAttached: boolean;
}

interface SimulatedVnet {
  readonly ports: Map<string, SimulatedPort>;
  readonly watchers: Set<() => void>;
  filter: readonly FilteredPort[];
  isFilterIntact: boolean;
}

/** Makes a machine without networks. It outlives the agents on it, as a machine does. */
export class SimulatedNetwork implements NodeNetwork {
  readonly filter = "anti-spoofing";
  readonly bridge = "br0";
  readonly #prefix: string;
  readonly #vnets = new Map<string, SimulatedVnet>();
  #nextIndex = 1;
  /** The next so many changes of a filter fail. */
  filterFailures = 0;
  foreignFirewalls: readonly ForeignFirewall[] = [];

  constructor(prefix = "sim-") {
    this.#prefix = prefix;
  }

  [Symbol.dispose](): void {
    for (const { watchers } of this.#vnets.values()) watchers.clear();
  }

  namespaceOf(vnet: string): string {
    return `${this.#prefix}${vnet}`;
  }

  async listVnets(): Promise<string[]> {
    return [...this.#vnets.keys()];
  }

  async ensureVnet({ vnet }: VnetGoal): Promise<void> {
    if (this.#vnets.has(vnet)) return;
    const made = { ports: new Map(), watchers: new Set<() => void>(), filter: [] };
    this.#vnets.set(vnet, { ...made, isFilterIntact: true });
  }

  async removeVnet(vnet: string): Promise<void> {
    this.#vnets.delete(vnet);
  }

  watchPorts(vnet: string, onChange: () => void): Disposable {
    const watchers = this.#vnets.get(vnet)?.watchers;
    watchers?.add(onChange);
    return { [Symbol.dispose]: () => void watchers?.delete(onChange) };
  }

  listPorts(vnet: string): NodePort[] | undefined {
    const ports = this.#vnets.get(vnet)?.ports.values();
    return ports && [...ports].map((port) => ({ ...port }));
  }

  isFilterIntact(vnet: string): boolean {
    return this.#vnets.get(vnet)?.isFilterIntact === true;
  }

  async applyFilter(vnet: string, ports: readonly FilteredPort[]): Promise<void> {
    await Promise.resolve();
    const found = this.#vnets.get(vnet);
    if (found === undefined) throw new Error(`${vnet} is not on this machine`);
    if (this.filterFailures > 0) {
      this.filterFailures -= 1;
      throw new Error("the filter cannot be changed");
    }
    found.filter = ports;
    found.isFilterIntact = true;
  }

  openPorts(vnet: string, ifindexes: readonly number[]): PortFailures {
    return this.#set(vnet, ifindexes, true);
  }

  closePorts(vnet: string, ifindexes: readonly number[]): PortFailures {
    return this.#set(vnet, ifindexes, false);
  }

  async findForeignFirewalls(): Promise<readonly ForeignFirewall[]> {
    return this.foreignFirewalls;
  }

  /** What the filter of a VNET lets through now. */
  filterOf(vnet: string): readonly FilteredPort[] {
    return this.#vnets.get(vnet)?.filter ?? [];
  }

  /** A VM makes its port; one of the same name is gone. @returns false if the VNET is not there */
  addPort(vnet: string, name: string): boolean {
    const found = this.#vnets.get(vnet);
    if (found === undefined) return false;
    const ifindex = this.#nextIndex;
    this.#nextIndex += 1;
    found.ports.set(name, { name, ifindex, isUp: false, isAttached: false });
    for (const watcher of found.watchers) watcher();
    return true;
  }

  /** A VM has ended. */
  removePort(vnet: string, name: string): void {
    const found = this.#vnets.get(vnet);
    if (found?.ports.delete(name) !== true) return;
    for (const watcher of found.watchers) watcher();
  }

  /** Somebody else opens a port, or throws the rules away. */
  meddle(vnet: string, what: "open-ports" | "flush-rules"): void {
    const found = this.#vnets.get(vnet);
    if (found === undefined) return;
    if (what === "flush-rules") {
      found.filter = [];
      found.isFilterIntact = false;
      return;
    }
    for (const port of found.ports.values()) Object.assign(port, { isUp: true, isAttached: true });
    for (const watcher of found.watchers) watcher();
  }

  #set(vnet: string, ifindexes: readonly number[], isOpen: boolean): PortFailures {
    const failures = new Map<number, string>();
    const ports = [...(this.#vnets.get(vnet)?.ports.values() ?? [])];
    for (const ifindex of ifindexes) {
      const port = ports.find((candidate) => candidate.ifindex === ifindex);
      if (port === undefined) failures.set(ifindex, "ENODEV");
      else Object.assign(port, { isUp: isOpen, isAttached: isOpen });
    }
    return failures;
  }
}
