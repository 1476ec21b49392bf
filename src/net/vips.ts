/**
 * Public addresses (VIPs). The node that serves one answers ARP for it on the underlay and routes it through a veth pair
 * into the VNET's namespace, where the flow is led to a guest. Each node that has the VNET does the last part
 * for its own guests' flows to their own VIP.
 */
import { z } from "zod";
import { formatIpv4, type Ipv4Address } from "../model/ipv4-address.ts";
import { VIP_LINK } from "./bridge-names.ts";
import { forgetFlows } from "./flows.ts";
import { announceAddress } from "./gratuitous-arp.ts";
import { ipBatch, listLinks } from "./iproute.ts";
import { applyNft, readNetworkCounters } from "./nft.ts";
import { UNDERLAY_INTERFACE } from "./node-network.ts";
import { runTool } from "./run-tool.ts";
import { setSysctls } from "./sysctl.ts";
import { renderServedVips } from "./vip-serving.ts";
import { renderVips, type VnetVips } from "./vip-table.ts";
import { VNET_ROUTER_TABLE } from "./vnet-router-table.ts";

/**
 * Both ends of each pair have the same names for each other: a route "via" them needs an address to look up, and no
 * interface has it. They are outside of the routers' subnet.
 */
const NODE_END = { address: "169.254.255.1", mac: "02:67:73:00:00:02" };
const VNET_END = { address: "169.254.255.2", mac: "02:67:73:00:00:03" };

/** The node's end of a VNET's pair: unique on the node, at most 15 bytes. */
export function vipLinkName(vni: number): string {
  return `vip-${vni.toString(16).padStart(6, "0")}`;
}

/**
 * Connects a VNET to the node's namespace, or adopts the connection. Nothing passes it before `setVips` and `serveVips`.
 * A link of this number that leads elsewhere, to a VNET that is being left or that is gone in name only, is replaced.
 */
export async function attachVipLink(options: {
  readonly nodeNamespace: string;
  readonly vnetNamespace: string;
  readonly vni: number;
}): Promise<void> {
  const { nodeNamespace, vnetNamespace, vni } = options;
  const link = vipLinkName(vni);
  const near = (await listLinks(nodeNamespace)).find(({ name }) => name === link);
  const far = (await listLinks(vnetNamespace)).find(({ name }) => name === VIP_LINK);
  const isPair = near !== undefined && near.ifindex === far?.peerIndex;
  if (!isPair && far !== undefined) await ipBatch(vnetNamespace, [`link del dev ${VIP_LINK}`]);
  await ipBatch(nodeNamespace, [
    ...(isPair || near === undefined ? [] : [`link del dev ${link}`]),
    ...(isPair
      ? []
      : [
          `link add name ${link} address ${NODE_END.mac} type veth ` +
            `peer name ${VIP_LINK} address ${VNET_END.mac} netns ${vnetNamespace}`,
        ]),
    `link set dev ${link} up`,
    `neigh replace ${VNET_END.address} lladdr ${VNET_END.mac} dev ${link} nud permanent`,
  ]);
  await ipBatch(vnetNamespace, [
    `link set dev ${VIP_LINK} up`,
    `neigh replace ${NODE_END.address} lladdr ${NODE_END.mac} dev ${VIP_LINK} nud permanent`,
    `route replace default via ${NODE_END.address} dev ${VIP_LINK} onlink`,
  ]);
}

/** Disconnects a VNET from the node's namespace. */
export async function detachVipLink(options: {
  readonly nodeNamespace: string;
  readonly vni: number;
}): Promise<void> {
  const link = vipLinkName(options.vni);
  const isThere = (await listLinks(options.nodeNamespace)).some(({ name }) => name === link);
  if (isThere) await ipBatch(options.nodeNamespace, [`link del dev ${link}`]);
}

/**
 * Replaces the public endpoints of a VNET on this node; no endpoint is half there. Flows that exist stay where they are;
 * those to a guest that is not a target any more are cut off.
 */
export async function setVips(vnetNamespace: string, vips: VnetVips): Promise<void> {
  const counters = await readNetworkCounters(vnetNamespace);
  const old = counters.filter(({ table }) => table === VNET_ROUTER_TABLE).map(({ name }) => name);
  await applyNft(vnetNamespace, renderVips(vips, old));
  setSysctls(vnetNamespace, { "ipv4/ip_forward": "1" });
  const targets = new Set(
    vips.endpoints.flatMap(({ protocol, port, targets }) =>
      targets.map(({ address }) => `${protocol} ${formatIpv4(address)} ${port}`),
    ),
  );
  // A TCP connection is reset by the table. UDP has no end: as long as packets come the flow would stay dropped.
  await forgetFlows(
    vnetNamespace,
    ({ protocol, target, port }) =>
      protocol === "udp" && !targets.has(`${protocol} ${target} ${port}`),
  );
}

/** A VIP that a node serves. */
export interface ServedVip {
  readonly vip: Ipv4Address;
  /** Of the VNET that it leads to; `attachVipLink` was called for it. */
  readonly vni: number;
}

/**
 * Makes the node answer for these VIPs and no others: routes, ARP, and an announcement of those that it takes over.
 * Compares with what the kernel has.
 *
 * @param options.answerSeconds - ARP is answered for so long after the last call; undefined: for ever. With it a node
 * whose agent is dead falls silent, instead of disputing the VIP with its successor.
 * @param options.announceAll - true: also those that it served before, after a restart
 */
export async function serveVips(options: {
  readonly nodeNamespace: string;
  readonly vips: readonly ServedVip[];
  readonly answerSeconds?: number;
  readonly announceAll?: boolean;
}): Promise<void> {
  const { nodeNamespace, vips, answerSeconds, announceAll = false } = options;
  const served = vips.map(({ vip, vni }) => ({ vip: formatIpv4(vip), link: vipLinkName(vni) }));
  const current = await readServed(nodeNamespace);
  await applyNft(nodeNamespace, renderServedVips(served, answerSeconds));
  setSysctls(nodeNamespace, {
    "ipv4/ip_forward": "1",
    [`ipv4/neigh/${UNDERLAY_INTERFACE}/proxy_delay`]: "0",
  });
  const wanted = new Set(served.map(({ vip }) => vip));
  const taken = vips.filter(({ vip }) => !current.answered.has(formatIpv4(vip)));
  const missing = served.filter(({ vip, link }) => current.routes.get(vip) !== link);
  const gone = (from: Iterable<string>) => [...from].filter((vip) => !wanted.has(vip));
  await ipBatch(nodeNamespace, [
    ...gone(current.answered).map((vip) => `neigh del proxy ${vip} dev ${UNDERLAY_INTERFACE}`),
    ...gone(current.routes.keys()).map((vip) => `route del ${vip}/32`),
    ...missing.map(
      ({ vip, link }) => `route replace ${vip}/32 via ${VNET_END.address} dev ${link} onlink`,
    ),
    ...taken.map(({ vip }) => `neigh add proxy ${formatIpv4(vip)} dev ${UNDERLAY_INTERFACE}`),
  ]);
  for (const { vip } of announceAll ? vips : taken) {
    announceAddress(nodeNamespace, UNDERLAY_INTERFACE, vip);
  }
}

const RoutesSchema = z.array(
  z.looseObject({ dst: z.string(), gateway: z.string().optional(), dev: z.string().optional() }),
);
const ProxiesSchema = z.array(z.looseObject({ dst: z.string() }));

/** The VIPs that the kernel routes, with the link, and those for which it answers ARP. */
async function readServed(nodeNamespace: string) {
  const inside = ["-n", nodeNamespace, "-j"];
  const [routesText, proxiesText] = await Promise.all([
    runTool("ip", [...inside, "route", "show"]),
    runTool("ip", [...inside, "neigh", "show", "proxy", "dev", UNDERLAY_INTERFACE]),
  ]);
  const routes = RoutesSchema.parse(JSON.parse(routesText.trim() || "[]"));
  const proxies = ProxiesSchema.parse(JSON.parse(proxiesText.trim() || "[]"));
  return {
    routes: new Map(
      routes
        .filter(({ gateway }) => gateway === VNET_END.address)
        .map(({ dst, dev = "" }) => [dst, dev]),
    ),
    answered: new Set(proxies.map(({ dst }) => dst)),
  };
}
