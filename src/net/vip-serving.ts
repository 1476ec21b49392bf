/** What a node forwards between the underlay and its VNETs, and for which VIPs it answers ARP. Pure: renders an nft script. */

const FORWARD_TABLE = "ip goalstate_vips";
const ARP_TABLE = "arp goalstate_vips";

/** A VIP and the link that leads to its VNET, as text. */
interface ServedVipText {
  readonly vip: string;
  readonly link: string;
}

/**
 * Renders a script that replaces the rules and keeps the counters, atomically. A VIP passes only through its own VNET's
 * link, so no VNET can speak as another's VIP.
 *
 * @param answerSeconds - undefined: ARP is answered without end
 */
export function renderServedVips(
  served: readonly ServedVipText[],
  answerSeconds: number | undefined,
): string {
  const pairs = served.map(({ vip, link }) => `${vip} . "${link}"`);
  const addresses = served.map(({ vip }) => vip);
  const timeout = answerSeconds === undefined ? "" : ` timeout ${answerSeconds}s`;
  return [
    `table ${FORWARD_TABLE} {`,
    "  set links { type ipv4_addr . ifname; }",
    "  counter forwarded { }",
    "  counter not_forwarded { }",
    "  chain forward { type filter hook forward priority 0; policy drop; }",
    "}",
    `table ${ARP_TABLE} {`,
    "  set vips { type ipv4_addr; }",
    "  set answered { type ipv4_addr; flags timeout; }",
    "  counter silent { }",
    "  chain input { type filter hook input priority 0; policy accept; }",
    "}",
    `flush chain ${FORWARD_TABLE} forward`,
    `flush chain ${ARP_TABLE} input`,
    ...renderElements(`${FORWARD_TABLE} links`, pairs),
    ...renderElements(`${ARP_TABLE} vips`, addresses),
    ...renderElements(
      `${ARP_TABLE} answered`,
      addresses.map((address) => `${address}${timeout}`),
    ),
    `table ${FORWARD_TABLE} {`,
    "  chain forward {",
    '    ip daddr . oifname @links counter name "forwarded" accept',
    '    ip saddr . iifname @links counter name "forwarded" accept',
    '    counter name "not_forwarded" drop',
    "  }",
    "}",
    `table ${ARP_TABLE} {`,
    "  chain input {",
    '    arp daddr ip @vips arp daddr ip != @answered counter name "silent" drop',
    "  }",
    "}",
    "",
  ].join("\n");
}

function renderElements(set: string, elements: readonly string[]): string[] {
  return [
    `flush set ${set}`,
    ...(elements.length === 0 ? [] : [`add element ${set} { ${elements.join(", ")} }`]),
  ];
}
