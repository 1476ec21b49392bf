/**
 * What the overlay of a VNET needs in the kernel, as pure functions: which entries to add and remove, and the filter.
 *
 * A VNET spans nodes by VXLAN. Nothing is learned and nothing is flooded: for each guest elsewhere there is a forwarding
 * entry (MAC -> node) and a neighbour entry (address -> MAC), from which ARP is answered on the guest's own node.
 *
 * The gateway has the same MAC and addresses on each node, so its frames must not enter the tunnel. Where a node itself
 * speaks to a guest elsewhere (it balances a VIP, or probes), it does so as its router: an address and a MAC made of
 * its underlay address, which come and go on the wire between nodes only.
 */
import { formatIpv4, type Ipv4Address } from "../model/ipv4-address.ts";
import { formatMac, type MacAddress } from "../model/mac-address.ts";
import { VNET_BRIDGE } from "./bridge-names.ts";

/** Outer IPv4 (20), UDP (8), VXLAN (8) and the guest's Ethernet header (14). @see RFC 7348 section 5 */
export const VXLAN_OVERHEAD_BYTES = 50;

/** @see RFC 7348 section 5 */
export const VXLAN_PORT = 4789;

/** The VXLAN device of a VNET; each VNET has a namespace of its own, so it is always the same. */
export const OVERLAY_PORT = "vxlan0";

/** Where routers have their addresses. Link-local, so that no tenant's address space has them; without 169.254.169.254. */
export const ROUTER_SUBNET = "169.254.0.0/17";
const ROUTER_NETWORK = 0xa9fe_0000;
const ROUTER_HOST_MASK = 0x7fff;
/** Locally administered, unlike any MAC that a guest is given; the underlay address follows. */
const ROUTER_MAC_PREFIX = 0x0667;

/** A guest on another node. */
export interface OverlayPeer {
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
  /** The underlay address of its node. */
  readonly nodeAddress: Ipv4Address;
}

/** The router of a node on each overlay that it takes part in. */
export function routerOf(nodeAddress: Ipv4Address): OverlayPeer {
  return {
    mac: (ROUTER_MAC_PREFIX * 2 ** 32 + nodeAddress) as MacAddress,
    address: (ROUTER_NETWORK + (nodeAddress & ROUTER_HOST_MASK)) as Ipv4Address,
    nodeAddress,
  };
}

/** What the kernel has, or should have: text as `bridge` and `ip` show it. */
export interface OverlayEntries {
  /** Of the VXLAN device: MAC -> node's address. */
  readonly tunnels: ReadonlyMap<string, string>;
  /** Of the bridge: MACs behind the VXLAN device. */
  readonly ports: ReadonlySet<string>;
  /** Permanent neighbours on the bridge: address -> MAC. */
  readonly neighbours: ReadonlyMap<string, string>;
}

/** Lines for `bridge` and `ip` that turn one state into another. */
export interface OverlayChanges {
  /** May fail where the entry has gone by itself. */
  readonly bridgeRemovals: readonly string[];
  readonly bridgeAdditions: readonly string[];
  readonly neighbourRemovals: readonly string[];
  readonly neighbourAdditions: readonly string[];
  /** Of guests that came to another node, or left it. */
  readonly movedAddresses: readonly string[];
}

/** The entries that peers need. */
export function entriesOf(peers: readonly OverlayPeer[]): OverlayEntries {
  const rows = peers.map((peer) => ({
    mac: formatMac(peer.mac),
    address: formatIpv4(peer.address),
    node: formatIpv4(peer.nodeAddress),
  }));
  return {
    tunnels: new Map(rows.map(({ mac, node }) => [mac, node])),
    ports: new Set(rows.map(({ mac }) => mac)),
    neighbours: new Map(rows.map(({ mac, address }) => [address, mac])),
  };
}

/** Compares what is with what should be. */
export function planOverlay(current: OverlayEntries, wanted: OverlayEntries): OverlayChanges {
  const device = `dev ${OVERLAY_PORT}`;
  const gone = (from: Iterable<string>, to: { has(key: string): boolean }) =>
    [...from].filter((key) => !to.has(key));
  const left = gone(current.neighbours.keys(), wanted.neighbours);
  const came = [...wanted.neighbours].filter(
    ([address, mac]) => current.neighbours.get(address) !== mac,
  );
  return {
    bridgeRemovals: [
      ...gone(current.tunnels.keys(), wanted.tunnels).map((mac) => `fdb del ${mac} ${device} self`),
      ...gone(current.ports, wanted.ports).map((mac) => `fdb del ${mac} ${device} master`),
    ],
    bridgeAdditions: [
      ...[...wanted.tunnels]
        .filter(([mac, node]) => current.tunnels.get(mac) !== node)
        .map(([mac, node]) => `fdb replace ${mac} ${device} dst ${node} self static`),
      ...gone(wanted.ports, current.ports).map(
        (mac) => `fdb replace ${mac} ${device} master static`,
      ),
    ],
    neighbourRemovals: left.map((address) => `neigh del ${address} dev ${VNET_BRIDGE}`),
    neighbourAdditions: came.map(
      ([address, mac]) => `neigh replace ${address} lladdr ${mac} dev ${VNET_BRIDGE} nud permanent`,
    ),
    movedAddresses: [...left, ...came.map(([address]) => address)],
  };
}
