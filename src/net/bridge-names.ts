/** Names and addresses that are the same in each VNET's namespace. */

/** The bridge's name; each VNET has a namespace of its own, so it is always the same. */
export const VNET_BRIDGE = "br0";

/** All gateways have one MAC, so that a VM that moves to another node keeps its neighbour entry. */
export const GATEWAY_MAC = "02:67:73:00:00:01";

/** A VNET's end of the veth pair by which public addresses come in. */
export const VIP_LINK = "vip0";
