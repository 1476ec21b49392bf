/**
 * Several nodes on one machine: each has a network namespace of its own, as if it were a host, and a switch in a further
 * namespace connects them. The machine's own network is not touched.
 */
import { formatIpv4, type Ipv4Address, type Ipv4Subnet } from "../model/ipv4-address.ts";
import { ensureNamespace, removeEmptyNamespace } from "./ensure-namespace.ts";
import { setLiveNodes } from "./fence.ts";
import { ipBatch, listLinks } from "./iproute.ts";
import { VXLAN_OVERHEAD_BYTES } from "./overlay-plan.ts";
import { BRIDGE_ONLY } from "./sysctl.ts";

/** What guests may send in one frame, on every node. */
export const GUEST_MTU_BYTES = 1500;

/** Of the network between the nodes: a guest's frame of 1500 bytes in a VXLAN packet fits. */
export const UNDERLAY_MTU_BYTES = GUEST_MTU_BYTES + VXLAN_OVERHEAD_BYTES;

/** The interface of a node namespace that leads to the other nodes. */
export const UNDERLAY_INTERFACE = "underlay0";

const SWITCH_BRIDGE = "br0";

/** The network between the nodes of this machine. */
export interface Underlay {
  /** The namespace that holds the switch. */
  readonly namespace: string;
  /** What the names of its namespaces begin with. */
  readonly prefix: string;
  /** Nodes and VIPs have addresses in it. */
  readonly subnet: Ipv4Subnet;
}

/** A node's namespace. */
export interface NodeNamespace {
  readonly namespace: string;
  readonly node: string;
  /** On the underlay. */
  readonly address: Ipv4Address;
}

/** Names the underlay of a fabric; makes nothing. */
export function underlayOf(options: {
  readonly prefix: string;
  readonly subnet: Ipv4Subnet;
}): Underlay {
  return { ...options, namespace: `${options.prefix}underlay` };
}

/** Makes the switch between nodes, or adopts the one that is there. */
export async function createUnderlay(options: {
  readonly prefix: string;
  readonly subnet: Ipv4Subnet;
}): Promise<Underlay> {
  const underlay = underlayOf(options);
  await ensureNamespace(underlay.namespace, BRIDGE_ONLY);
  const links = await listLinks(underlay.namespace);
  const isThere = links.some(({ name }) => name === SWITCH_BRIDGE);
  await ipBatch(underlay.namespace, [
    ...(isThere ? [] : [`link add name ${SWITCH_BRIDGE} type bridge stp_state 0 mcast_snooping 0`]),
    `link set dev ${SWITCH_BRIDGE} mtu ${UNDERLAY_MTU_BYTES} up`,
  ]);
  return underlay;
}

/** Removes the switch; the nodes' namespaces stay, alone. */
export async function removeUnderlay(underlay: Underlay): Promise<void> {
  await removeEmptyNamespace(underlay.namespace);
}

/**
 * Makes the namespace of a node with its interface on the underlay, or adopts what is there.
 *
 * @param options.address - inside the underlay's subnet, different for each node in its low 15 bits
 */
export async function createNodeNamespace(options: {
  readonly underlay: Underlay;
  readonly node: string;
  readonly address: Ipv4Address;
}): Promise<NodeNamespace> {
  const { underlay, node, address } = options;
  const namespace = `${underlay.prefix}${node}`;
  const state = await ensureNamespace(namespace);
  // Nobody is alive until somebody says so.
  if (state === "made") await setLiveNodes(namespace, []);
  await connectToUnderlay({ underlay, namespace, interfaceName: UNDERLAY_INTERFACE, address });
  return { namespace, node, address };
}

/** Removes a node's namespace, its overlays and its port on the switch. VNETs have namespaces of their own. */
export async function removeNodeNamespace(node: NodeNamespace): Promise<void> {
  await removeEmptyNamespace(node.namespace);
}

/**
 * A veth from a namespace (undefined: the machine's own) into the switch, with an address on the underlay.
 *
 * @returns the name of the switch's end
 */
export async function connectToUnderlay(options: {
  readonly underlay: Underlay;
  readonly namespace: string | undefined;
  readonly interfaceName: string;
  readonly address: Ipv4Address;
  /** 32: the near end gets no route to the underlay. Default: the underlay's. */
  readonly prefixLength?: number;
}): Promise<string> {
  const { underlay, namespace, interfaceName, address } = options;
  const { prefixLength = underlay.subnet.prefixLength } = options;
  const port = switchPort(address);
  const links = await listLinks(namespace);
  if (!links.some(({ name }) => name === interfaceName)) {
    // Its far end may be there still: what is left of a namespace that was removed is taken away by and by.
    const stale = (await listLinks(underlay.namespace)).filter(({ name }) => name === port);
    await ipBatch(
      underlay.namespace,
      stale.map(({ name }) => `link del dev ${name}`),
    );
    // Made at the near end, so that the machine's namespace needs no name.
    await ipBatch(namespace, [
      `link add name ${interfaceName} mtu ${UNDERLAY_MTU_BYTES} type veth ` +
        `peer name ${port} mtu ${UNDERLAY_MTU_BYTES} netns ${underlay.namespace}`,
    ]);
  }
  await ipBatch(underlay.namespace, [
    `link set dev ${port} master ${SWITCH_BRIDGE}`,
    `link set dev ${port} up`,
  ]);
  await ipBatch(namespace, [
    `addr replace ${formatIpv4(address)}/${prefixLength} dev ${interfaceName}`,
    `link set dev ${interfaceName} up`,
  ]);
  return port;
}

/** The name of an address's port on the switch; unique, and short enough for an interface. */
function switchPort(address: Ipv4Address): string {
  return `n${address.toString(16).padStart(8, "0")}`;
}
