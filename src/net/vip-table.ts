/** The part of a VNET's `ip` table that leads flows to public addresses (VIPs) to guests. Pure: renders nft scripts. */
import {
  formatIpv4,
  formatSubnet,
  type Ipv4Address,
  type Ipv4Subnet,
} from "../model/ipv4-address.ts";
import { VNET_BRIDGE } from "./bridge-names.ts";
import { renderVnetRouterBase, VNET_ROUTER_TABLE } from "./vnet-router-table.ts";

/** A public address and port, and the guests that may serve it. */
export interface VipEndpoint {
  readonly vip: Ipv4Address;
  readonly protocol: "tcp" | "udp";
  readonly publicPort: number;
  /** Of the guests. */
  readonly port: number;
  readonly targets: readonly VipTarget[];
}

/** A guest behind an endpoint. */
export interface VipTarget {
  readonly address: Ipv4Address;
  /** False: it gets no new flows, and keeps those that it has. One that is not listed at all loses them. */
  readonly isReady: boolean;
}

/** What a VNET's public endpoints are. */
export interface VnetVips {
  readonly subnet: Ipv4Subnet;
  readonly gateway: Ipv4Address;
  readonly endpoints: readonly VipEndpoint[];
}

/** Names of an endpoint's counters: flows that were led to a guest, and packets that were refused as none is ready. */
export function endpointCounters({ vip, protocol, publicPort }: VipEndpoint): {
  readonly flows: string;
  readonly refused: string;
} {
  const name = `vip_${formatIpv4(vip).replaceAll(".", "_")}_${protocol}_${publicPort}`;
  return { flows: `${name}_flows`, refused: `${name}_refused` };
}

/**
 * Renders a script that replaces all endpoints of a VNET, atomically, and keeps the counters of those that stay.
 *
 * A flow is led to one of the ready guests when it begins, and stays there. Its source address is kept, except where
 * the answer would not come back this way: from a guest of the VNET itself (the gateway asks instead), and to a guest on
 * another node (see the overlay).
 *
 * @param oldCounters - names of this table's counters that exist
 */
export function renderVips(vips: VnetVips, oldCounters: readonly string[]): string {
  const { subnet, gateway, endpoints } = vips;
  const counters = endpoints.flatMap((endpoint) => Object.values(endpointCounters(endpoint)));
  const kept = new Set(counters);
  const stale = oldCounters.filter((name) => name.startsWith("vip_") && !kept.has(name));
  const addresses = endpoints.map(({ vip }) => formatIpv4(vip));
  const targets = endpoints.flatMap((endpoint) =>
    endpoint.targets.map(({ address }) => targetKey(endpoint, address)),
  );
  return [
    ...renderVnetRouterBase(),
    ...renderDeclarations(counters),
    ...renderElements("vips", addresses),
    ...renderElements("vip_targets", targets),
    `table ${VNET_ROUTER_TABLE} {`,
    "  chain vip_dnat {",
    ...endpoints.flatMap(renderDnat),
    "  }",
    "  chain vip_srcnat {",
    `    oifname "${VNET_BRIDGE}" ct status dnat ip saddr ${formatSubnet(subnet)} ` +
      `snat to ${formatIpv4(gateway)}`,
    "  }",
    "  chain vip_forward {",
    "    ct status dnat ct direction original ip daddr . meta l4proto . th dport @vip_targets accept",
    "    ct status dnat ct direction reply ip saddr . meta l4proto . th sport @vip_targets accept",
    // An error about such a flow: "too big", "unreachable".
    "    ct status dnat ct state related meta l4proto icmp accept",
    // Its guest was taken away: both sides learn it at once.
    '    ct status dnat meta l4proto tcp counter name "cut_off" reject with tcp reset',
    '    ct status dnat counter name "cut_off" drop',
    ...endpoints.flatMap(renderRefusal),
    '    ip daddr @vips meta l4proto tcp counter name "unknown_port" reject with tcp reset',
    '    ip daddr @vips counter name "unknown_port" reject',
    "  }",
    "}",
    ...stale.map((name) => `delete counter ${VNET_ROUTER_TABLE} ${name}`),
    "",
  ].join("\n");
}

/** The key of a target in the kernel's set, and of a flow to it. */
function targetKey({ protocol, port }: VipEndpoint, address: Ipv4Address): string {
  return `${formatIpv4(address)} . ${protocol} . ${port}`;
}

function renderDeclarations(counters: readonly string[]): string[] {
  return [
    `table ${VNET_ROUTER_TABLE} {`,
    "  set vips { type ipv4_addr; }",
    "  set vip_targets { type ipv4_addr . inet_proto . inet_service; }",
    ...["cut_off", "unknown_port", ...counters].map((name) => `  counter ${name} { }`),
    "  chain vip_dnat { type nat hook prerouting priority -100; policy accept; }",
    "  chain vip_srcnat { type nat hook postrouting priority 100; policy accept; }",
    "}",
    ...["vip_dnat", "vip_srcnat", "vip_forward"].map(
      (chain) => `flush chain ${VNET_ROUTER_TABLE} ${chain}`,
    ),
  ];
}

function renderElements(set: string, elements: readonly string[]): string[] {
  const unique = [...new Set(elements)];
  const name = `${VNET_ROUTER_TABLE} ${set}`;
  return [
    `flush set ${name}`,
    ...(unique.length === 0 ? [] : [`add element ${name} { ${unique.join(", ")} }`]),
  ];
}

function matchOf({ vip, protocol, publicPort }: VipEndpoint): string {
  return `ip daddr ${formatIpv4(vip)} ${protocol} dport ${publicPort}`;
}

/** Only the first packet of a flow comes here. */
function renderDnat(endpoint: VipEndpoint): string[] {
  const ready = endpoint.targets.filter(({ isReady }) => isReady);
  if (ready.length === 0) return [];
  const choices = ready.map(({ address }, index) => `${index} : ${formatIpv4(address)}`);
  const { flows } = endpointCounters(endpoint);
  return [
    `    ${matchOf(endpoint)} counter name "${flows}" dnat to ` +
      `numgen inc mod ${ready.length} map { ${choices.join(", ")} } : ${endpoint.port}`,
  ];
}

function renderRefusal(endpoint: VipEndpoint): string[] {
  if (endpoint.targets.some(({ isReady }) => isReady)) return [];
  const { refused } = endpointCounters(endpoint);
  const answer = endpoint.protocol === "tcp" ? "reject with tcp reset" : "reject";
  return [`    ${matchOf(endpoint)} counter name "${refused}" ${answer}`];
}
