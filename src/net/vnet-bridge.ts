/** A VNET on this node: a network namespace with a bridge that has the gateway's and the platform's addresses. */
import {
  formatIpv4,
  type Ipv4Address,
  METADATA_ADDRESS,
  WIRE_SERVER_ADDRESS,
} from "../model/ipv4-address.ts";
import { GATEWAY_MAC, VNET_BRIDGE } from "./bridge-names.ts";
import { ensureNamespace } from "./ensure-namespace.ts";
import { ipBatch, listLinks } from "./iproute.ts";
import { BRIDGE_ONLY } from "./sysctl.ts";

export { GATEWAY_MAC, VNET_BRIDGE } from "./bridge-names.ts";

/** Makes the namespace and the bridge, or adopts what is there. The host's own network is not touched. */
export async function createVnetBridge(options: {
  readonly namespace: string;
  readonly gateway: Ipv4Address;
  readonly prefixLength: number;
  /** Called while there may be no bridge yet: what must hold before a port can be attached. */
  readonly beforeBridge?: () => Promise<void>;
}): Promise<void> {
  const { namespace, gateway, prefixLength } = options;
  await ensureNamespace(namespace, BRIDGE_ONLY);
  await options.beforeBridge?.();
  const found = (await listLinks(namespace)).find(({ name }) => name === VNET_BRIDGE);
  const gatewayText = `${formatIpv4(gateway)}/${prefixLength}`;
  // Of a VNET of the same name with another address space.
  const stale = (found?.addresses ?? []).filter(
    (address) => !address.endsWith("/32") && address !== gatewayText,
  );
  const bridge = `name ${VNET_BRIDGE} address ${GATEWAY_MAC} type bridge`;
  await ipBatch(namespace, [
    ...(found !== undefined ? [] : [`link add ${bridge} stp_state 0 mcast_snooping 0`]),
    ...stale.map((address) => `addr del ${address} dev ${VNET_BRIDGE}`),
    `addr replace ${gatewayText} dev ${VNET_BRIDGE}`,
    `addr replace ${formatIpv4(WIRE_SERVER_ADDRESS)}/32 dev ${VNET_BRIDGE}`,
    `addr replace ${formatIpv4(METADATA_ADDRESS)}/32 dev ${VNET_BRIDGE}`,
    // LLDP frames and the like go by the port filter: their senders must not be learned.
    `link set dev ${VNET_BRIDGE} type bridge no_linklocal_learn 1`,
    `link set dev ${VNET_BRIDGE} up`,
  ]);
}

/** Attaches a port to the bridge and brings it up: from now on its frames are seen. */
export async function openPort(namespace: string, port: string): Promise<void> {
  await ipBatch(namespace, [
    `link set dev ${port} master ${VNET_BRIDGE}`,
    `link set dev ${port} up`,
  ]);
}
