/**
 * The network agent of a node: makes each VNET that has a NIC here, and programs a NIC's port once the compute agent
 * has made it. Until then the port is attached to nothing, and its MAC is unknown to DHCP: blocked means silent.
 */
import {
  type Assignment,
  createOptionProfile,
  type OptionProfile,
  platformRoutes,
} from "../dhcp/index.ts";
import {
  asDocument,
  type ContainerStatus,
  keys,
  type NicGoal,
  type NicStatus,
  type VnetGoal,
} from "../model/documents.ts";
import { errorText } from "../model/errors.ts";
import {
  type Ipv4Address,
  parseIpv4,
  parseSubnet,
  WIRE_SERVER_ADDRESS,
} from "../model/ipv4-address.ts";
import { type MacAddress, parseMac } from "../model/mac-address.ts";
import { findInterfaceIndex } from "../net/interface-info.ts";
import { inNamespace } from "../net/namespace.ts";
import { applyPortFilter, type FilteredPort } from "../net/port-filter.ts";
import { createVnetBridge, openPort, VNET_BRIDGE } from "../net/vnet-bridge.ts";
import { type FabricStore, follow } from "../store/index.ts";
import { internalDomain } from "./dns/name-zone.ts";

const LEASE_SECONDS = 86_400;
const MTU_BYTES = 1500;

/** What answers on a VNET of this node: DHCP and the wire server. Disposing it stops them. */
export type VnetServices = AsyncDisposable;

/** A VNET on this node, as its services see it. */
export interface NodeVnet {
  readonly vnet: string;
  readonly namespace: string;
  readonly bridge: string;
  /** What the NIC with this MAC is assigned; undefined while its port is blocked. */
  findByMac(mac: MacAddress): Assignment | undefined;
  /** The container that has this address, which the port filter makes unforgeable. */
  findContainer(address: Ipv4Address): string | undefined;
}

/** Starts the services of a VNET. */
export type StartVnetServices = (vnet: NodeVnet) => Promise<VnetServices>;

interface VnetState {
  readonly node: NodeVnet;
  readonly services: VnetServices;
  readonly profile: OptionProfile;
  readonly assignments: Map<MacAddress, Assignment>;
  readonly containers: Map<Ipv4Address, string>;
  readonly ports: Map<MacAddress, FilteredPort>;
}

export interface NetworkAgentOptions {
  readonly store: FabricStore;
  readonly node: string;
  /** Prefix of the namespaces that this agent makes: they are recognised by it after a crash. */
  readonly namespacePrefix: string;
  readonly startServices: StartVnetServices;
  /** False where nftables is missing: ports then open without anti-spoofing. */
  readonly canFilter: boolean;
  /** Called after a port was programmed. */
  readonly onProgrammed: (goal: NicGoal, status: NicStatus) => void;
  /** Called with what failed; the NIC's status says so too. */
  readonly onError: (what: string, error: unknown) => void;
}

/** Converges the networks of a node; see {@link NetworkAgent.run}. */
export class NetworkAgent implements AsyncDisposable {
  readonly #options: NetworkAgentOptions;
  readonly #vnets = new Map<string, VnetState>();
  readonly #nics = new Map<string, NicGoal>();
  /** The host end of each container's NIC, as the compute agent reported it. */
  readonly #containerPorts = new Map<string, string>();
  /** Port name that was programmed for each MAC. */
  readonly #programmed = new Map<string, string>();
  #work: Promise<void> = Promise.resolve();

  constructor(options: NetworkAgentOptions) {
    this.#options = options;
  }

  /** Follows goals and ports until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const nics = follow(store, "/vnets/", (key, value) => this.#onNic(key, value), signal);
    const containers = follow(
      store,
      "/containers/",
      (key, value) => this.#onContainer(key, value),
      signal,
    );
    await Promise.all([nics.ended, containers.ended]);
    await this.#work;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#work;
    const states = [...this.#vnets.values()];
    this.#vnets.clear();
    for (const { services } of states) await services[Symbol.asyncDispose]();
  }

  #onNic(key: string, value: unknown): void {
    if (key.endsWith("/goal")) return;
    const goal = value === undefined ? undefined : asDocument<NicGoal>(value);
    if (goal?.node !== this.#options.node) this.#onNicRemoved(key.split("/").at(-1) ?? "");
    else {
      this.#nics.set(goal.mac, goal);
      this.#enqueue(goal, () => this.#converge(goal));
    }
  }

  #onNicRemoved(mac: string): void {
    const goal = this.#nics.get(mac);
    if (goal === undefined) return;
    this.#nics.delete(mac);
    this.#programmed.delete(mac);
    this.#enqueue(goal, () => this.#removeNic(goal));
  }

  #onContainer(key: string, value: unknown): void {
    if (!key.endsWith("/status")) return;
    const container = key.split("/")[2] ?? "";
    const port = value === undefined ? undefined : asDocument<ContainerStatus>(value).port;
    if (this.#containerPorts.get(container) === port) return; // only ports matter here
    if (port === undefined) this.#containerPorts.delete(container);
    else this.#containerPorts.set(container, port);
    for (const goal of this.#nics.values()) {
      if (goal.container === container) this.#enqueue(goal, () => this.#converge(goal));
    }
  }

  /** One change at a time: the port filter of a VNET is replaced as a whole. */
  #enqueue(goal: NicGoal, step: () => Promise<void>): void {
    this.#work = this.#work.then(step).catch(async (error: unknown) => {
      this.#options.onError(`port of ${goal.container}`, error);
      await this.#writeStatus(goal, { kind: "failed", reason: errorText(error) });
    });
  }

  async #converge(goal: NicGoal): Promise<void> {
    if (this.#nics.get(goal.mac) !== goal) return; // superseded
    const vnet = this.#vnets.get(goal.vnet) ?? (await this.#createVnet(goal));
    const port = this.#containerPorts.get(goal.container);
    if (port === undefined) await this.#block(goal, vnet);
    else if (this.#programmed.get(goal.mac) !== port) await this.#program(goal, vnet, port);
  }

  /** Before the port exists, and again when it has gone. */
  async #block(goal: NicGoal, vnet: VnetState): Promise<void> {
    const mac = parseMac(goal.mac);
    this.#programmed.delete(goal.mac);
    vnet.assignments.delete(mac);
    vnet.containers.delete(parseIpv4(goal.address));
    if (vnet.ports.delete(mac)) await this.#applyFilter(vnet);
    const { namespace, bridge } = vnet.node;
    await this.#writeStatus(goal, { kind: "blocked", namespace, bridge });
  }

  async #program(goal: NicGoal, vnet: VnetState, port: string): Promise<void> {
    const mac = parseMac(goal.mac);
    const address = parseIpv4(goal.address);
    const { namespace, bridge } = vnet.node;
    vnet.ports.set(mac, { name: port, mac, address });
    await this.#applyFilter(vnet);
    const ifindex = inNamespace(namespace, () => findInterfaceIndex(port));
    if (ifindex === undefined) throw new Error(`port ${port} is not in namespace ${namespace}`);
    await openPort(namespace, port);
    this.#programmed.set(goal.mac, port);
    const filter = this.#options.canFilter ? "anti-spoofing" : "none";
    const status: NicStatus = { kind: "programmed", namespace, bridge, port, filter };
    await this.#writeStatus(goal, status);
    this.#options.onProgrammed(goal, status);
    // Last, so that no guest is answered on a port that is not said to be open yet.
    const { container, hostname } = goal;
    vnet.assignments.set(mac, { address, profile: vnet.profile, hostname, container, ifindex });
    vnet.containers.set(address, container);
  }

  async #removeNic(goal: NicGoal): Promise<void> {
    const vnet = this.#vnets.get(goal.vnet);
    if (vnet !== undefined) await this.#block(goal, vnet);
    const key = keys.nicStatus(this.#options.node, goal.mac);
    await this.#options.store.txn({ success: [{ kind: "delete", key }] });
  }

  async #applyFilter(vnet: VnetState): Promise<void> {
    if (!this.#options.canFilter) return;
    await applyPortFilter(vnet.node.namespace, [...vnet.ports.values()]);
  }

  async #createVnet({ vnet }: NicGoal): Promise<VnetState> {
    const { kv } = await this.#options.store.get(keys.vnet(vnet));
    if (kv === undefined) throw new Error(`VNET ${vnet} has no goal`);
    const goal = asDocument<VnetGoal>(kv.value);
    const namespace = `${this.#options.namespacePrefix}${vnet}`;
    const gateway = parseIpv4(goal.gateway);
    const subnet = parseSubnet(goal.addressSpace);
    await createVnetBridge({ namespace, gateway, prefixLength: subnet.prefixLength });
    const assignments = new Map<MacAddress, Assignment>();
    const containers = new Map<Ipv4Address, string>();
    const node: NodeVnet = {
      vnet,
      namespace,
      bridge: VNET_BRIDGE,
      findByMac: (mac) => assignments.get(mac),
      findContainer: (address) => containers.get(address),
    };
    const profile = createOptionProfile({
      subnet,
      gateway,
      dns: [WIRE_SERVER_ADDRESS],
      domain: internalDomain(goal.tenant),
      leaseSeconds: LEASE_SECONDS,
      mtu: MTU_BYTES,
      wireServer: WIRE_SERVER_ADDRESS,
      routes: platformRoutes(gateway),
      authoritative: true,
    });
    const services = await this.#options.startServices(node);
    const state = { node, services, profile, assignments, containers, ports: new Map() };
    this.#vnets.set(vnet, state);
    await this.#applyFilter(state);
    return state;
  }

  async #writeStatus(goal: NicGoal, status: NicStatus): Promise<void> {
    const key = keys.nicStatus(this.#options.node, goal.mac);
    await this.#options.store.txn({ success: [{ kind: "put", key, value: status }] });
  }
}
