/**
 * The port program: what a container's port lets through. One nftables `bridge` table per VNET, replaced as a whole,
 * so that there is no moment with half of it. A port may only send with its own MAC and IPv4 address, may not play
 * DHCP server, and a port that is not listed may send nothing. It filters before the bridge learns, so that a forged
 * frame does not draw another's traffic to its port either. The overlay's port has a filter of its own.
 */
import { formatIpv4, type Ipv4Address } from "../model/ipv4-address.ts";
import { formatMac, type MacAddress } from "../model/mac-address.ts";
import { applyNft } from "./nft.ts";
import { OVERLAY_PORT } from "./overlay-plan.ts";

/** A port that is open, and whose it is. */
export interface FilteredPort {
  readonly name: string;
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
}

const TABLE = "bridge goalstate";

/** Renders the table for `ports` as an nft script that replaces it atomically. */
export function renderPortFilter(ports: readonly FilteredPort[]): string {
  const jumps = ports.map(({ name }) => `"${name}" : jump port_${name}`).join(", ");
  const dispatch = ports.length === 0 ? [] : [`    iifname vmap { ${jumps} }`];
  return [
    `add table ${TABLE}`,
    `delete table ${TABLE}`,
    `table ${TABLE} {`,
    ...ports.flatMap(renderCounters),
    ...ports.flatMap(renderPortChain),
    "  chain prerouting {",
    "    type filter hook prerouting priority 0; policy drop;",
    ...dispatch,
    `    iifname "${OVERLAY_PORT}" accept`,
    "  }",
    // Most reserved group addresses (IEEE 802.1Q table 8-1) pass by the hook above. See no_linklocal_learn for LLDP.
    "  chain input {",
    "    type filter hook input priority 0; policy accept;",
    "    ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 drop",
    "  }",
    "}",
    "",
  ].join("\n");
}

function renderCounters({ name }: FilteredPort): string[] {
  return [`  counter ${name}_accepted { }`, `  counter ${name}_spoofed { }`];
}

function renderPortChain({ name, mac, address }: FilteredPort): string[] {
  const source = formatMac(mac);
  const ip = formatIpv4(address);
  const accept = `counter name "${name}_accepted" accept`;
  return [
    `  chain port_${name} {`,
    `    ether saddr != ${source} counter name "${name}_spoofed" drop`,
    // No IPv6 is programmed. A guest speaks it by itself, which is no forgery.
    "    ether type ip6 drop",
    `    ether type arp arp saddr ether ${source} arp saddr ip { 0.0.0.0, ${ip} } ${accept}`,
    `    ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 ${accept}`,
    `    udp sport 67 counter name "${name}_spoofed" drop`,
    `    ip saddr ${ip} ${accept}`,
    `    counter name "${name}_spoofed" drop`,
    "  }",
  ];
}

/** Replaces the port filter of a namespace. */
export async function applyPortFilter(
  namespace: string,
  ports: readonly FilteredPort[],
): Promise<void> {
  await applyNft(namespace, renderPortFilter(ports));
}
