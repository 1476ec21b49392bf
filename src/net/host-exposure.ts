/**
 * Lets programs on this machine reach the VIPs of a fabric whose nodes are namespaces: one veth into the switch and one route,
 * in the machine's own namespace. Only where somebody asks for it.
 */
import {
  formatIpv4,
  formatSubnet,
  type Ipv4Address,
  type Ipv4Subnet,
} from "../model/ipv4-address.ts";
import { ipBatch, listLinks } from "./iproute.ts";
import { connectToUnderlay, type Underlay } from "./node-network.ts";

/** Its name on the machine: the address tells fabrics apart, and fits into 15 bytes. */
function exposureName(address: Ipv4Address): string {
  return `gsx-${address.toString(16).padStart(8, "0")}`;
}

/**
 * Adds the veth and the route to the pool, or adopts them.
 *
 * @param options.address - of the machine on the underlay, no node's
 * @param options.namespace - instead of the machine's own
 * @returns the interface's name
 */
export async function exposeToHost(options: {
  readonly underlay: Underlay;
  readonly address: Ipv4Address;
  readonly pool: Ipv4Subnet;
  readonly namespace?: string;
}): Promise<string> {
  const { underlay, address, pool, namespace } = options;
  const interfaceName = exposureName(address);
  await connectToUnderlay({ underlay, namespace, interfaceName, address, prefixLength: 32 });
  await ipBatch(namespace, [
    `route replace ${formatSubnet(pool)} dev ${interfaceName} src ${formatIpv4(address)}`,
  ]);
  return interfaceName;
}

/** Takes both away again; nothing there is no error. */
export async function unexposeFromHost(options: {
  readonly address: Ipv4Address;
  readonly namespace?: string;
}): Promise<void> {
  const { address, namespace } = options;
  const interfaceName = exposureName(address);
  const isThere = (await listLinks(namespace)).some(({ name }) => name === interfaceName);
  if (isThere) await ipBatch(namespace, [`link del dev ${interfaceName}`]);
}
