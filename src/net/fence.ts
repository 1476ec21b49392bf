/**
 * The fence of a node: from nodes that are not alive nothing enters an overlay. A node whose agent is dead may still have
 * running VMs, whose successors run elsewhere with the same MACs and addresses.
 */
import { formatIpv4, type Ipv4Address } from "../model/ipv4-address.ts";
import { applyNft } from "./nft.ts";
import { VXLAN_PORT } from "./overlay-plan.ts";

const FENCE_TABLE = "inet goalstate_fence";

/** Renders the fence; its counter `fenced` is kept. */
export function renderFence(live: readonly Ipv4Address[], port: number): string {
  const addresses = [...new Set(live)].map(formatIpv4).join(", ");
  return [
    `table ${FENCE_TABLE} {`,
    "  set live { type ipv4_addr; }",
    "  counter fenced { }",
    "  chain input { type filter hook input priority 0; policy accept; }",
    "}",
    `flush chain ${FENCE_TABLE} input`,
    `flush set ${FENCE_TABLE} live`,
    ...(addresses === "" ? [] : [`add element ${FENCE_TABLE} live { ${addresses} }`]),
    `add rule ${FENCE_TABLE} input udp dport ${port} ip saddr != @live counter name "fenced" drop`,
    "",
  ].join("\n");
}

/**
 * Lets overlay packets of these nodes in, and of no others, from one packet to the next.
 *
 * @param live - underlay addresses of the nodes whose lease is held
 */
export async function setLiveNodes(
  nodeNamespace: string,
  live: readonly Ipv4Address[],
  port: number = VXLAN_PORT,
): Promise<void> {
  await applyNft(nodeNamespace, renderFence(live, port));
}
