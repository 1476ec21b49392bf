/** The networks of a node on Linux: a namespace with a bridge for each VNET, rtnetlink for ports, nft for their filter. */
import type { VnetGoal } from "../../model/documents.ts";
import { FabricError } from "../../model/errors.ts";
import { type Ipv4Address, parseIpv4, parseSubnet } from "../../model/ipv4-address.ts";
import { VIP_LINK } from "../../net/bridge-names.ts";
import { removeEmptyNamespace } from "../../net/ensure-namespace.ts";
import { setLiveNodes } from "../../net/fence.ts";
import { readForeignFirewalls } from "../../net/foreign-firewalls.ts";
import { ipBatch, listNamespaces } from "../../net/iproute.ts";
import { changeLinks, dumpLinks } from "../../net/link-control.ts";
import type { LinkChange } from "../../net/link-messages.ts";
import { openLinkMonitor } from "../../net/link-monitor.ts";
import { findNamespaceInode, inNamespace } from "../../net/namespace.ts";
import { readNftGeneration } from "../../net/nft-generation.ts";
import { attachOverlay, setPeers } from "../../net/overlay.ts";
import { OVERLAY_PORT } from "../../net/overlay-plan.ts";
import type { Poller } from "../../net/poller.ts";
import { applyPortFilter, type NamedParts, namedParts } from "../../net/port-filter.ts";
import { createVnetBridge, VNET_BRIDGE } from "../../net/vnet-bridge.ts";
import type { NodeNetwork, NodeOverlay, NodePort, PortFailures } from "./node-network.ts";

/** Links of a VNET's namespace that are no guest's. */
const OWN_LINKS = new Set(["lo", VNET_BRIDGE, OVERLAY_PORT, VIP_LINK]);
/** Links of a VNET's namespace that take a number in the node's, which the next VNET may be given. */
const NUMBERED_LINKS = new Set([OVERLAY_PORT, VIP_LINK]);
/** A port that was made is looked at so many milliseconds later, together with those that came meanwhile. */
const SETTLE_MS = 5;
/** A VNET is TENANT.NAME, both of them labels; a guest's namespace ends in TENANT.ROLE_INDEX. */
const VNET_NAME = /^[a-z0-9-]+\.[a-z0-9-]+$/i;

export interface LinuxNetworkOptions {
  /** Prefix of the names of the VNETs' namespaces. No other node's prefix may begin with it. */
  readonly namespacePrefix: string;
  /** False where nftables is missing: ports then open without anti-spoofing. */
  readonly canFilter: boolean;
  readonly poller: Poller;
  /** Where this node takes part in networks that span nodes; absent: it is alone. */
  readonly underlay?: { readonly namespace: string; readonly address: Ipv4Address };
}

/** Filter rules that are in force, as far as is known. */
interface AppliedFilter {
  readonly generation: number | undefined;
  readonly parts: NamedParts;
}

/** Makes the driver; nothing on the machine is touched. */
export function createLinuxNetwork(options: LinuxNetworkOptions): NodeNetwork {
  return new LinuxNetwork(options);
}

class LinuxNetwork implements NodeNetwork {
  readonly filter: "anti-spoofing" | "none";
  readonly bridge = VNET_BRIDGE;
  readonly overlay?: NodeOverlay;
  readonly #options: LinuxNetworkOptions;
  readonly #applied = new Map<string, AppliedFilter>();

  constructor(options: LinuxNetworkOptions) {
    this.#options = options;
    this.filter = options.canFilter ? "anti-spoofing" : "none";
    const { underlay } = options;
    if (underlay !== undefined) {
      this.overlay = {
        setLiveNodes: (addresses) => setLiveNodes(underlay.namespace, addresses),
        setPeers: async ({ vnet, vni }, peers, nodes) => {
          const overlay = await attachOverlay({
            nodeNamespace: underlay.namespace,
            vnetNamespace: this.namespaceOf(vnet),
            vni,
            localAddress: underlay.address,
          });
          await setPeers(overlay, { peers, nodes });
        },
      };
    }
  }

  [Symbol.dispose](): void {
    this.#applied.clear();
  }

  namespaceOf(vnet: string): string {
    return `${this.#options.namespacePrefix}${vnet}`;
  }

  async listVnets(): Promise<string[]> {
    const { namespacePrefix } = this.#options;
    return (await listNamespaces())
      .filter((name) => name.startsWith(namespacePrefix))
      .map((name) => name.slice(namespacePrefix.length))
      .filter((name) => VNET_NAME.test(name));
  }

  async ensureVnet(goal: VnetGoal): Promise<void> {
    const namespace = this.namespaceOf(goal.vnet);
    this.#applied.delete(goal.vnet);
    await createVnetBridge({
      namespace,
      gateway: parseIpv4(goal.gateway),
      prefixLength: parseSubnet(goal.addressSpace).prefixLength,
      beforeBridge: async () => {
        const hasBridge = links(namespace).some(({ name }) => name === VNET_BRIDGE);
        // One that has a bridge may have guests that speak, by the rules of an earlier run.
        if (this.#options.canFilter && !hasBridge) await applyPortFilter(namespace, []);
      },
    });
  }

  async removeVnet(vnet: string): Promise<void> {
    this.#applied.delete(vnet);
    const namespace = this.namespaceOf(vnet);
    // First, because a namespace outlives its name while a socket in it is open: a TCP connection to a guest that went
    // without a word ends minutes later, and until then the kernel would refuse a VXLAN device of the same VNI.
    const numbered = (findLinks(namespace) ?? []).filter(({ name }) => NUMBERED_LINKS.has(name));
    await ipBatch(
      namespace,
      numbered.map(({ name }) => `link del dev ${name}`),
    );
    await removeEmptyNamespace(namespace);
  }

  watchPorts(vnet: string, onChange: () => void): Disposable {
    const { poller } = this.#options;
    return inNamespace(this.namespaceOf(vnet), () =>
      openLinkMonitor({ poller, onChange, settleMs: SETTLE_MS }),
    );
  }

  listPorts(vnet: string): NodePort[] | undefined {
    const namespace = this.namespaceOf(vnet);
    return findLinks(namespace)
      ?.filter(({ name }) => !OWN_LINKS.has(name))
      .map(({ name, ifindex, isUp, master }) => ({
        ...{ name, ifindex, isUp },
        isAttached: master !== undefined,
      }));
  }

  isFilterIntact(vnet: string): boolean {
    if (!this.#options.canFilter) return true;
    const applied = this.#applied.get(vnet);
    return applied !== undefined && applied.generation === this.#generation(vnet);
  }

  async applyFilter(
    vnet: string,
    ports: Parameters<NodeNetwork["applyFilter"]>[1],
    gateway: Ipv4Address,
  ): Promise<void> {
    if (!this.#options.canFilter) return;
    const applied = this.isFilterIntact(vnet) ? this.#applied.get(vnet) : undefined;
    this.#applied.delete(vnet);
    const before = applied === undefined ? {} : { before: applied.parts };
    await applyPortFilter(this.namespaceOf(vnet), ports, { gateway, ...before });
    this.#applied.set(vnet, { generation: this.#generation(vnet), parts: namedParts(ports) });
  }

  openPorts(vnet: string, ifindexes: readonly number[]): PortFailures {
    if (ifindexes.length === 0) return new Map();
    const namespace = this.namespaceOf(vnet);
    const master = links(namespace).find(({ name }) => name === VNET_BRIDGE)?.ifindex;
    if (master === undefined) return new Map(ifindexes.map((ifindex) => [ifindex, "ENODEV"]));
    return change(
      namespace,
      ifindexes.flatMap((ifindex) => [
        { ifindex, master },
        { ifindex, isUp: true },
      ]),
    );
  }

  closePorts(vnet: string, ifindexes: readonly number[]): PortFailures {
    if (ifindexes.length === 0) return new Map();
    return change(
      this.namespaceOf(vnet),
      ifindexes.flatMap((ifindex) => [
        { ifindex, isUp: false },
        { ifindex, master: 0 },
      ]),
    );
  }

  findForeignFirewalls(vnets: readonly string[]) {
    const { underlay } = this.#options;
    const namespaces = vnets.map((vnet) => this.namespaceOf(vnet));
    const all = underlay === undefined ? namespaces : [...namespaces, underlay.namespace];
    return readForeignFirewalls([undefined, ...all]);
  }

  #generation(vnet: string): number | undefined {
    return inNamespace(this.namespaceOf(vnet), readNftGeneration);
  }
}

function links(namespace: string) {
  return inNamespace(namespace, dumpLinks);
}

/** @returns undefined if there is no such namespace, or only its name: whoever made it was killed, or is at it */
function findLinks(namespace: string) {
  if (findNamespaceInode(namespace) === undefined) return undefined;
  try {
    return links(namespace);
  } catch (error) {
    if (error instanceof FabricError) return undefined;
    throw error;
  }
}

/** Makes changes; the first failure of each link counts. */
function change(namespace: string, changes: readonly LinkChange[]): PortFailures {
  const failures = inNamespace(namespace, () => changeLinks(changes));
  const byLink = new Map<number, string>();
  for (const [index, reason] of failures) {
    const { ifindex } = changes[index]!;
    if (!byLink.has(ifindex)) byLink.set(ifindex, reason);
  }
  return byLink;
}
