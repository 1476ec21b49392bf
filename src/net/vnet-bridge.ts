/** A VNET on this node: a network namespace with a bridge that has the gateway's and the platform's addresses. */
import { writeFileSync } from "node:fs";
import {
  formatIpv4,
  type Ipv4Address,
  METADATA_ADDRESS,
  WIRE_SERVER_ADDRESS,
} from "../model/ipv4-address.ts";
import { ipBatch } from "./iproute.ts";
import { inNamespace } from "./namespace.ts";
import { runTool } from "./run-tool.ts";

/** The bridge's name; each VNET has a namespace of its own, so it is always the same. */
export const VNET_BRIDGE = "br0";

/** All gateways have one MAC, so that a VM that moves to another node keeps its neighbour entry. */
const GATEWAY_MAC = "02:67:73:00:00:01";

/** Makes the namespace and the bridge. The host's own network is not touched. */
export async function createVnetBridge(options: {
  readonly namespace: string;
  readonly gateway: Ipv4Address;
  readonly prefixLength: number;
}): Promise<void> {
  const { namespace, gateway, prefixLength } = options;
  await runTool("ip", ["netns", "add", namespace]);
  disableIpv6(namespace);
  await ipBatch(namespace, [
    "link set dev lo up",
    `link add name ${VNET_BRIDGE} address ${GATEWAY_MAC} type bridge stp_state 0 mcast_snooping 0`,
    `addr add ${formatIpv4(gateway)}/${prefixLength} dev ${VNET_BRIDGE}`,
    `addr add ${formatIpv4(WIRE_SERVER_ADDRESS)}/32 dev ${VNET_BRIDGE}`,
    `addr add ${formatIpv4(METADATA_ADDRESS)}/32 dev ${VNET_BRIDGE}`,
    `link set dev ${VNET_BRIDGE} up`,
  ]);
}

/** No IPv6 on the bridge: nothing here programs it, and its neighbour discovery would only be noise in captures. */
function disableIpv6(namespace: string): void {
  inNamespace(namespace, () => {
    for (const scope of ["all", "default"]) {
      try {
        writeFileSync(`/proc/sys/net/ipv6/conf/${scope}/disable_ipv6`, "1");
      } catch {
        // A kernel without IPv6 has no such file, and nothing to disable.
      }
    }
  });
}

/** Attaches a port to the bridge and brings it up: from now on its frames are seen. */
export async function openPort(namespace: string, port: string): Promise<void> {
  await ipBatch(namespace, [
    `link set dev ${port} master ${VNET_BRIDGE}`,
    `link set dev ${port} up`,
  ]);
}
