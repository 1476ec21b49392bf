/** The `ip` table of a VNET's namespace: what the node forwards into and out of the VNET. Nothing, unless a part adds it. */

export const VNET_ROUTER_TABLE = "ip goalstate";

/**
 * The table with its chains, in a script that may be applied again: parts that this script does not fill stay as they are.
 * `overlay_*` and the set `remote` belong to the overlay, `vip_*` to the public endpoints.
 */
export function renderVnetRouterBase(): string[] {
  return [
    `table ${VNET_ROUTER_TABLE} {`,
    "  counter not_forwarded { }",
    "  set remote { type ipv4_addr; }",
    "  chain overlay_forward { }",
    "  chain vip_forward { }",
    "  chain forward { type filter hook forward priority 0; policy drop; }",
    // First: a guest elsewhere is asked as this node's router, whoever asks.
    "  chain overlay_srcnat { type nat hook postrouting priority 90; policy accept; }",
    "}",
    `flush chain ${VNET_ROUTER_TABLE} forward`,
    `table ${VNET_ROUTER_TABLE} {`,
    "  chain forward {",
    "    jump overlay_forward",
    "    jump vip_forward",
    '    counter name "not_forwarded" drop',
    "  }",
    "}",
  ];
}
