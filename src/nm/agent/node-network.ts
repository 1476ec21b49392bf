/** What the network agent asks of the machine. The real one is Linux; a simulated one lets many agents run without a kernel. */
import type { NodeNetworkStatus, VnetGoal } from "../../model/documents.ts";
import type { Ipv4Address } from "../../model/ipv4-address.ts";
import type { OverlayPeer } from "../../net/overlay-plan.ts";
import type { FilteredPort } from "../../net/port-filter.ts";

/** A port as it is now. It is open if it is up or attached; blocked if it is neither. */
export interface NodePort {
  readonly name: string;
  /** Another port of the same name has another one. */
  readonly ifindex: number;
  readonly isUp: boolean;
  readonly isAttached: boolean;
}

/** Why a change failed, by the port's index. */
export type PortFailures = ReadonlyMap<number, string>;

/** Firewalls of others that may hold up our traffic. */
export type ForeignFirewall = NodeNetworkStatus["foreignFirewalls"][number];

/** The networks of a node. */
export interface NodeNetwork extends Disposable {
  /** What opens a port: with a filter, or where nftables is missing, without. */
  readonly filter: "anti-spoofing" | "none";
  /** The name of each VNET's bridge. */
  readonly bridge: string;
  /** Absent where the node is alone. */
  readonly overlay?: NodeOverlay;
  namespaceOf(vnet: string): string;
  /** VNETs that are on the machine, whoever made them. */
  listVnets(): Promise<readonly string[]>;
  /** Makes the VNET, or makes what is there what it shall be. Ports that are open stay so; without a filter none can be. */
  ensureVnet(goal: VnetGoal): Promise<void>;
  /** Removes a VNET that has no ports. */
  removeVnet(vnet: string): Promise<void>;
  /** Tells at once when a port came, went or changed, until it is disposed. Must not throw. */
  watchPorts(vnet: string, onChange: () => void): Disposable;
  /** @returns undefined if the VNET is not on the machine, or not whole */
  listPorts(vnet: string): readonly NodePort[] | undefined;
  /** False if somebody else touched the rules since {@link NodeNetwork.applyFilter}. */
  isFilterIntact(vnet: string): boolean;
  /** Lets these ports through and no others, from one packet to the next. */
  applyFilter(vnet: string, ports: readonly FilteredPort[], gateway: Ipv4Address): Promise<void>;
  /** Attaches ports and brings them up, at once. */
  openPorts(vnet: string, ifindexes: readonly number[]): PortFailures;
  /** Takes ports down and off the bridge, at once. */
  closePorts(vnet: string, ifindexes: readonly number[]): PortFailures;
  findForeignFirewalls(vnets: readonly string[]): Promise<readonly ForeignFirewall[]>;
}

/** How a node takes part in networks that span nodes. */
export interface NodeOverlay {
  /** From other nodes nothing enters. */
  setLiveNodes(addresses: readonly Ipv4Address[]): Promise<void>;
  /** Makes guests on other nodes reachable, and no others; connects the VNET if it is not. */
  setPeers(
    goal: VnetGoal,
    peers: readonly OverlayPeer[],
    nodes: readonly Ipv4Address[],
  ): Promise<void>;
}
