/** The nft script of a VNET's overlay: what may enter and leave its VXLAN device, and how the node itself speaks there. */
import { formatIpv4, type Ipv4Address } from "../model/ipv4-address.ts";
import { formatMac } from "../model/mac-address.ts";
import { GATEWAY_MAC, VNET_BRIDGE } from "./bridge-names.ts";
import { OVERLAY_PORT, type OverlayPeer, ROUTER_SUBNET, routerOf } from "./overlay-plan.ts";
import { renderVnetRouterBase, VNET_ROUTER_TABLE } from "./vnet-router-table.ts";

export const OVERLAY_TABLE = "bridge goalstate_overlay";

const GROUP_BIT = "01:00:00:00:00:00";

/**
 * Renders a script that replaces the rules and keeps the counters, atomically.
 *
 * From the tunnel comes only IPv4 with a MAC and an address that belong together and are elsewhere: so nobody speaks as
 * the gateway, the platform, or a guest of this node. The port filter of the sender's node has checked the same. ARP is
 * answered on each node and DHCP is served on each node, so neither crosses.
 */
export function renderOverlayFilter(options: {
  readonly localAddress: Ipv4Address;
  readonly peers: readonly OverlayPeer[];
  /** Underlay addresses of the other nodes that take part. */
  readonly nodes: readonly Ipv4Address[];
}): string {
  const { peers, nodes } = options;
  const own = routerOf(options.localAddress);
  const routers = nodes.map(routerOf);
  const pairs = [...peers, ...routers].map(pairOf);
  const macs = [...peers, ...routers].map(({ mac }) => formatMac(mac));
  return [
    ...renderDeclarations(),
    ...renderElements(`${OVERLAY_TABLE} peers`, pairs),
    ...renderElements(`${OVERLAY_TABLE} macs`, macs),
    ...renderElements(
      `${OVERLAY_TABLE} routers`,
      routers.map(({ mac }) => formatMac(mac)),
    ),
    ...renderElements(
      `${OVERLAY_TABLE} addresses`,
      peers.map(({ address }) => formatIpv4(address)),
    ),
    ...renderRules(own),
    ...renderVnetRouterBase(),
    ...renderElements(
      `${VNET_ROUTER_TABLE} remote`,
      peers.map(({ address }) => formatIpv4(address)),
    ),
    ...renderRouterRules(own),
    "",
  ].join("\n");
}

function pairOf({ mac, address }: OverlayPeer): string {
  return `${formatMac(mac)} . ${formatIpv4(address)}`;
}

/** Empties a set and fills it. */
function renderElements(set: string, elements: readonly string[]): string[] {
  const unique = [...new Set(elements)];
  const fill = unique.length === 0 ? [] : [`add element ${set} { ${unique.join(", ")} }`];
  return [`flush set ${set}`, ...fill];
}

function renderDeclarations(): string[] {
  return [
    `table ${OVERLAY_TABLE} {`,
    "  set peers { type ether_addr . ipv4_addr; }",
    "  set macs { type ether_addr; }",
    "  set routers { type ether_addr; }",
    "  set addresses { type ipv4_addr; }",
    ...["entered", "left", "refused_entering", "refused_leaving"].map(
      (name) => `  counter ${name} { }`,
    ),
    "  chain prerouting { type filter hook prerouting priority -300; policy accept; }",
    "  chain postrouting { type filter hook postrouting priority 300; policy accept; }",
    "  chain enter { }",
    "  chain leave { }",
    "}",
    ...["prerouting", "postrouting", "enter", "leave"].map(
      (chain) => `flush chain ${OVERLAY_TABLE} ${chain}`,
    ),
  ];
}

function renderRules(own: OverlayPeer): string[] {
  const mac = formatMac(own.mac);
  const address = formatIpv4(own.address);
  const enter = 'counter name "entered"';
  const refuseEntering = 'counter name "refused_entering" drop';
  const leave = 'counter name "left"';
  const refuseLeaving = 'counter name "refused_leaving" drop';
  const asRouter = `ether saddr ${GATEWAY_MAC}`;
  return [
    `table ${OVERLAY_TABLE} {`,
    "  chain prerouting {",
    `    iifname "${OVERLAY_PORT}" goto enter`,
    // A bridge answers broadcast requests from its neighbour table, and would let one to a known MAC pass.
    "    ether type arp arp operation request ether daddr @macs ether daddr set ff:ff:ff:ff:ff:ff",
    "  }",
    "  chain postrouting {",
    `    oifname "${OVERLAY_PORT}" goto leave`,
    "  }",
    "  chain enter {",
    `    ether type != ip ${refuseEntering}`,
    `    ether daddr & ${GROUP_BIT} == ${GROUP_BIT} ${refuseEntering}`,
    `    ether daddr ${GATEWAY_MAC} ${refuseEntering}`,
    `    udp dport { 67, 68 } ${refuseEntering}`,
    // To this node's router: an answer that another node's router forwards, or a guest's own.
    `    ether daddr ${mac} ip daddr != ${address} ${refuseEntering}`,
    `    ether daddr ${mac} ether saddr @routers ip saddr @addresses ether daddr set ${GATEWAY_MAC} ` +
      `meta pkttype set host ${enter} accept`,
    `    ether saddr . ip saddr != @peers ${refuseEntering}`,
    `    ether daddr ${mac} ether daddr set ${GATEWAY_MAC} meta pkttype set host ${enter} accept`,
    `    ${enter} accept`,
    "  }",
    "  chain leave {",
    `    ether type != ip ${refuseLeaving}`,
    `    ether daddr & ${GROUP_BIT} == ${GROUP_BIT} ${refuseLeaving}`,
    `    ether daddr ${GATEWAY_MAC} ${refuseLeaving}`,
    `    udp dport { 67, 68 } ${refuseLeaving}`,
    `    ${asRouter} ip saddr ${address} ether saddr set ${mac} ${leave} accept`,
    `    ${asRouter} ip daddr ${ROUTER_SUBNET} ether saddr set ${mac} ${leave} accept`,
    `    ${asRouter} ${refuseLeaving}`,
    `    ${leave} accept`,
    "  }",
    "}",
  ];
}

/** A guest elsewhere answers its own gateway, so this node must not ask as the gateway, but as its router. */
function renderRouterRules(own: OverlayPeer): string[] {
  const address = formatIpv4(own.address);
  return [
    `flush chain ${VNET_ROUTER_TABLE} overlay_forward`,
    `flush chain ${VNET_ROUTER_TABLE} overlay_srcnat`,
    `table ${VNET_ROUTER_TABLE} {`,
    "  chain overlay_forward {",
    `    iifname "${VNET_BRIDGE}" oifname "${VNET_BRIDGE}" ip daddr ${ROUTER_SUBNET} accept`,
    "  }",
    "  chain overlay_srcnat {",
    `    oifname "${VNET_BRIDGE}" ip daddr @remote snat to ${address}`,
    "  }",
    "}",
  ];
}
