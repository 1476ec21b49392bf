/** One VNET of a node: follows its goal and NICs, and makes its ports what they shall be, round after round. */
import {
  asDocument,
  keys,
  type NicGoal,
  type NicStatus,
  type VnetGoal,
} from "../../model/documents.ts";
import { errorText } from "../../model/errors.ts";
import { type Ipv4Address, parseIpv4 } from "../../model/ipv4-address.ts";
import { parseMac } from "../../model/mac-address.ts";
import { portName } from "../../model/names.ts";
import type { OverlayPeer } from "../../net/overlay-plan.ts";
import { type FabricStore, follow } from "../../store/index.ts";
import { BackOff } from "./back-off.ts";
import type { NodeNetwork, NodePort } from "./node-network.ts";
import { Bindings, type NodeVnet, type StartVnetServices, type VnetServices } from "./node-vnet.ts";
import { Rounds } from "./rounds.ts";
import { type BlockedReason, type PortProgram, planVnet, type VnetPlan } from "./vnet-plan.ts";

export interface VnetAgentOptions {
  readonly store: FabricStore;
  readonly node: string;
  readonly vnet: string;
  readonly network: NodeNetwork;
  readonly startServices: StartVnetServices;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** Says what a NIC's status shall be; undefined: none. */
  readonly setStatus: (mac: string, status: NicStatus | undefined) => void;
  readonly onProgrammed: (goal: NicGoal, status: NicStatus) => void;
  readonly onError: (what: string, error: unknown) => void;
  /** Underlay addresses of the nodes, by name. */
  readonly nodes: ReadonlyMap<string, Ipv4Address>;
  /** Of so many looks one compares the overlay with the kernel, which costs processes; VNETs take turns. */
  readonly fullLooks: { readonly every: number; readonly first: number };
}

/** What runs for the VNET while it is on the machine. */
interface Running {
  readonly bindings: Bindings;
  readonly services: VnetServices;
  readonly watch: Disposable;
}

/** The key of the VNET itself among what may fail. */
const VNET_ITSELF = "";
const OVERLAY = "overlay";

/** Converges a VNET; see {@link VnetAgent.start}. */
export class VnetAgent {
  readonly #options: VnetAgentOptions;
  /** By the names of their ports: a round looks at each of them. */
  readonly #nics = new Map<string, NicGoal>();
  readonly #stop = new AbortController();
  readonly #rounds = new Rounds(() => this.#round());
  readonly #backOff: BackOff;
  readonly #programmed = new Map<string, PortProgram>();
  /** MACs whose status we wrote. */
  readonly #told = new Set<string>();
  #goal: VnetGoal | undefined;
  #running: Running | undefined;
  #blocked: VnetPlan["blocked"] = [];
  /** What was applied last, to see a change. */
  #filter: string | undefined;
  #peers: string | undefined;
  #looks = 0;
  #isFullLookDue = false;
  #isCaughtUp = false;

  constructor(options: VnetAgentOptions) {
    this.#options = options;
    this.#backOff = new BackOff(options.now);
  }

  /** Ports that are blocked, as the last round saw them. */
  get blocked(): readonly { readonly port: NodePort; readonly reason: BlockedReason }[] {
    return this.#blocked;
  }

  /** MACs of the NICs that have a status from here. */
  get told(): ReadonlySet<string> {
    return this.#told;
  }

  /** Follows the VNET; resolves after the first round. Rejects when the store failed before. */
  async start(): Promise<void> {
    const { store, vnet, onError } = this.#options;
    const nics = keys.nics(vnet);
    const follower = follow(
      store,
      keys.vnet(vnet).slice(0, -"goal".length),
      (key, value) => {
        let isNews = false;
        if (key === keys.vnet(vnet)) {
          this.#goal = value === undefined ? undefined : asDocument(value);
          isNews = true;
        } else if (key.startsWith(nics)) isNews = this.#onNic(key.slice(nics.length), value);
        if (isNews && this.#isCaughtUp) void this.#rounds.request();
      },
      this.#stop.signal,
    );
    follower.ended.catch((error: unknown) =>
      onError(`VNET ${vnet} is not followed any more`, error),
    );
    try {
      await follower.caughtUp;
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      throw error;
    }
    this.#isCaughtUp = true;
    await this.#rounds.request();
  }

  /** A round as soon as can be. */
  async request(): Promise<void> {
    if (this.#isCaughtUp) await this.#rounds.request();
  }

  /** A round that believes the machine, not what this agent remembers of it; of the overlay only each so many times. */
  async look(): Promise<void> {
    const { every, first } = this.#options.fullLooks;
    if (this.#looks % every === first) this.#isFullLookDue = true;
    this.#looks += 1;
    await this.request();
  }

  /** Stops following and serving; ports and namespace stay as they are. */
  async end(): Promise<void> {
    this.#stop.abort();
    await this.#rounds.idle();
    await this.#stopRunning();
  }

  /** The VNET has left this node: its NICs have no status any more. */
  forget(): void {
    for (const mac of this.#told) this.#options.setStatus(mac, undefined);
    this.#told.clear();
  }

  /** @returns true if a round is due: each NIC of the VNET changes several times, and most are on other nodes */
  #onNic(mac: string, value: unknown): boolean {
    const { node, network } = this.#options;
    const port = portName(mac);
    const before = this.#nics.get(port);
    const nic = value === undefined ? undefined : asDocument<NicGoal>(value);
    if (nic !== undefined && before !== undefined && isSameProgram(before, nic)) return false;
    if (nic === undefined) this.#nics.delete(port);
    else this.#nics.set(port, nic);
    return network.overlay !== undefined || before?.node === node || nic?.node === node;
  }

  async #round(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const { vnet, onError } = this.#options;
    try {
      await this.#converge();
      this.#backOff.succeeded(VNET_ITSELF);
    } catch (error) {
      this.#backOff.failed(VNET_ITSELF);
      onError(`VNET ${vnet}`, error);
      for (const nic of this.#local()) {
        if (!this.#isProgrammed(nic.mac))
          this.#tell(nic.mac, { kind: "failed", reason: errorText(error) });
      }
    }
  }

  async #converge(): Promise<void> {
    this.#closeStrays();
    this.#tellLeft();
    const goal = this.#goal;
    if (goal === undefined) {
      for (const nic of this.#local()) {
        this.#tell(nic.mac, { kind: "failed", reason: `VNET ${this.#options.vnet} has no goal` });
      }
      return;
    }
    if (this.#backOff.isHeld(VNET_ITSELF)) return;
    const running = await this.#ensureRunning(goal);
    if (this.#stop.signal.aborted) return;
    await this.#program(goal, running);
    if (this.#isFullLookDue) {
      this.#isFullLookDue = false;
      this.#peers = undefined;
    }
    await this.#setPeers(goal);
  }

  #local(): NicGoal[] {
    return [...this.#nics.values()].filter(({ node }) => node === this.#options.node);
  }

  #plan(): VnetPlan {
    const { network, vnet, node } = this.#options;
    return planVnet({
      node,
      nics: this.#nics,
      ports: network.listPorts(vnet) ?? [],
      programmed: this.#programmed,
      isHeld: (mac) => this.#backOff.isHeld(mac),
    });
  }

  /** What is open and must not be is closed before anything else, also where everything else fails. */
  #closeStrays(): VnetPlan {
    const { network, vnet, onError } = this.#options;
    const plan = this.#plan();
    for (const program of plan.forget) {
      this.#programmed.delete(program.port.name);
      this.#running?.bindings.unbind(program);
    }
    this.#blocked = plan.blocked;
    const failures = network.closePorts(
      vnet,
      plan.close.map(({ ifindex }) => ifindex),
    );
    for (const { name, ifindex } of plan.close) {
      const reason = failures.get(ifindex);
      if (reason !== undefined && reason !== "ENODEV") {
        onError(`port ${name} of VNET ${vnet}`, new Error(`it cannot be closed: ${reason}`));
      }
    }
    return plan;
  }

  /** Makes the VNET, or adopts it; also if somebody removed it meanwhile. */
  async #ensureRunning(goal: VnetGoal): Promise<Running> {
    const { network, vnet, startServices } = this.#options;
    if (this.#running !== undefined && network.listPorts(vnet) !== undefined) return this.#running;
    await this.#stopRunning();
    await network.ensureVnet(goal);
    const bindings = new Bindings(goal);
    const node: NodeVnet = {
      ...{ vnet, goal },
      namespace: network.namespaceOf(vnet),
      bridge: network.bridge,
      findByMac: (mac) => bindings.findByMac(mac),
      findContainer: (address) => bindings.findContainer(address),
      watchContainers: (onChange) => bindings.watchContainers(onChange),
    };
    const services = await startServices(node);
    const watch = network.watchPorts(vnet, () => void this.request());
    this.#running = { bindings, services, watch };
    return this.#running;
  }

  async #stopRunning(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    this.#programmed.clear();
    this.#filter = undefined;
    this.#peers = undefined;
    running?.watch[Symbol.dispose]();
    await running?.services[Symbol.asyncDispose]();
  }

  /** The filter, then who is answered, then the ports: nothing passes that was not judged. */
  async #program(goal: VnetGoal, running: Running): Promise<void> {
    const plan = this.#closeStrays();
    for (const { nic, reason } of plan.invalid) this.#fail(nic, reason);
    for (const nic of plan.waiting) this.#tell(nic.mac, this.#blockedStatus());
    for (const { nic } of plan.open) this.#tellIfNew(nic.mac);
    try {
      await this.#applyFilter(goal, [...plan.keep, ...plan.open]);
    } catch (error) {
      this.#options.onError(`port filter of VNET ${goal.vnet}`, error);
      for (const { nic } of plan.open) this.#fail(nic, errorText(error));
      this.#closeStrays();
      return;
    }
    if (this.#stop.signal.aborted) return;
    // Goals may have changed while the filter was applied; a round for that is due.
    const still = plan.open.filter(({ nic }) => this.#nics.get(portName(nic.mac)) === nic);
    this.#open(still, running);
  }

  async #applyFilter(goal: VnetGoal, programs: readonly PortProgram[]): Promise<void> {
    const { network, vnet } = this.#options;
    const ports = programs.map(({ filtered }) => filtered);
    const filter = JSON.stringify(ports.toSorted((a, b) => a.mac - b.mac));
    if (filter === this.#filter && network.isFilterIntact(vnet)) return;
    this.#filter = undefined; // it is not known while it is changed
    await network.applyFilter(vnet, ports, parseIpv4(goal.gateway));
    this.#filter = filter;
  }

  #open(programs: readonly PortProgram[], { bindings }: Running): void {
    const { network, vnet, onProgrammed } = this.#options;
    for (const program of programs) bindings.bind(program);
    const failures = network.openPorts(
      vnet,
      programs.map(({ port }) => port.ifindex),
    );
    for (const program of programs) {
      const { port, nic } = program;
      const reason = failures.get(port.ifindex);
      if (reason !== undefined) {
        bindings.unbind(program);
        // A port that is gone already is made again, or its goal goes too.
        if (reason === "ENODEV") this.#tell(nic.mac, this.#blockedStatus());
        else this.#fail(nic, `port ${port.name} cannot be opened: ${reason}`);
        continue;
      }
      this.#backOff.succeeded(nic.mac);
      this.#programmed.set(port.name, program);
      const status: NicStatus = {
        kind: "programmed",
        namespace: network.namespaceOf(vnet),
        bridge: network.bridge,
        port: port.name,
        filter: network.filter,
      };
      onProgrammed(nic, status);
      this.#tell(nic.mac, status);
    }
  }

  #isProgrammed(mac: string): boolean {
    return [...this.#programmed.values()].some(({ nic }) => nic.mac === mac);
  }

  #fail(nic: NicGoal, reason: string): void {
    this.#backOff.failed(nic.mac);
    this.#options.onError(`port of ${nic.container}`, new Error(reason));
    this.#tell(nic.mac, { kind: "failed", reason });
  }

  #blockedStatus(): NicStatus {
    const { network, vnet } = this.#options;
    return { kind: "blocked", namespace: network.namespaceOf(vnet), bridge: network.bridge };
  }

  #tell(mac: string, status: NicStatus): void {
    this.#told.add(mac);
    this.#options.setStatus(mac, status);
  }

  /** A port that is opened in this very round needs no word that it is blocked, unless nothing was said yet. */
  #tellIfNew(mac: string): void {
    if (!this.#told.has(mac)) this.#tell(mac, this.#blockedStatus());
  }

  /** NICs that left the node have no status. */
  #tellLeft(): void {
    const here = new Set(this.#local().map(({ mac }) => mac));
    for (const mac of this.#told) {
      if (here.has(mac)) continue;
      this.#told.delete(mac);
      this.#options.setStatus(mac, undefined);
    }
  }

  async #setPeers(goal: VnetGoal): Promise<void> {
    const { network, node, nodes } = this.#options;
    if (network.overlay === undefined || this.#backOff.isHeld(OVERLAY)) return;
    const peers = [...this.#nics.values()].flatMap((nic): OverlayPeer[] => {
      const nodeAddress = nic.node === node ? undefined : nodes.get(nic.node);
      if (nodeAddress === undefined) return [];
      return [{ mac: parseMac(nic.mac), address: parseIpv4(nic.address), nodeAddress }];
    });
    const addresses = [...new Set(peers.map(({ nodeAddress }) => nodeAddress))];
    const fingerprint = JSON.stringify(peers.toSorted((a, b) => a.mac - b.mac));
    if (fingerprint === this.#peers) return;
    this.#peers = undefined;
    try {
      await network.overlay.setPeers(goal, peers, addresses);
      this.#peers = fingerprint;
      this.#backOff.succeeded(OVERLAY);
    } catch (error) {
      this.#backOff.failed(OVERLAY); // guests of this node go on
      this.#options.onError(`overlay of VNET ${goal.vnet}`, error);
    }
  }
}

/** They differ in nothing that a port is programmed by: in whether its container is in service, for example. */
function isSameProgram(a: NicGoal, b: NicGoal): boolean {
  return (
    a.mac === b.mac &&
    a.node === b.node &&
    a.address === b.address &&
    a.container === b.container &&
    a.hostname === b.hostname
  );
}
