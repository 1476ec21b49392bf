/** A VNET on a node as its services see it: who is behind an open port. */
import {
  type Assignment,
  createOptionProfile,
  type OptionProfile,
  platformRoutes,
} from "../../dhcp/index.ts";
import type { VnetGoal } from "../../model/documents.ts";
import {
  type Ipv4Address,
  parseIpv4,
  parseSubnet,
  WIRE_SERVER_ADDRESS,
} from "../../model/ipv4-address.ts";
import type { MacAddress } from "../../model/mac-address.ts";
import { internalDomain } from "../dns/name-zone.ts";
import type { PortProgram } from "./vnet-plan.ts";

const LEASE_SECONDS = 86_400;
const MTU_BYTES = 1500;

/** What answers on a VNET of this node: DHCP and the wire server. Disposing it stops them. */
export type VnetServices = AsyncDisposable;

/** A VNET on this node, as its services see it. */
export interface NodeVnet {
  readonly vnet: string;
  /** As it was when the services were started. */
  readonly goal: VnetGoal;
  readonly namespace: string;
  readonly bridge: string;
  /** What the NIC with this MAC is assigned; undefined while its port is blocked. */
  findByMac(mac: MacAddress): Assignment | undefined;
  /** The container that has this address, which the port filter makes unforgeable. */
  findContainer(address: Ipv4Address): string | undefined;
  /** Calls `onChange` for each that has an address now, and whenever one gets or loses its own, until it is disposed. */
  watchContainers(onChange: BindingChange): Disposable;
}

/** An address belongs to a container from now on; undefined: to none. */
export type BindingChange = (address: Ipv4Address, container: string | undefined) => void;

/** Starts the services of a VNET. */
export type StartVnetServices = (vnet: NodeVnet) => Promise<VnetServices>;

/** Who is answered on a VNET. */
export class Bindings {
  readonly #profile: OptionProfile;
  readonly #assignments = new Map<MacAddress, Assignment>();
  readonly #containers = new Map<Ipv4Address, string>();
  readonly #watchers = new Set<BindingChange>();

  constructor(goal: VnetGoal) {
    const gateway = parseIpv4(goal.gateway);
    this.#profile = createOptionProfile({
      subnet: parseSubnet(goal.addressSpace),
      gateway,
      dns: [WIRE_SERVER_ADDRESS],
      domain: internalDomain(goal.tenant),
      leaseSeconds: LEASE_SECONDS,
      mtu: MTU_BYTES,
      wireServer: WIRE_SERVER_ADDRESS,
      routes: platformRoutes(gateway),
      authoritative: true,
    });
  }

  bind({ port, nic, filtered }: PortProgram): void {
    const { mac, address } = filtered;
    const { hostname, container } = nic;
    const { ifindex } = port;
    const profile = this.#profile;
    this.#assignments.set(mac, { address, profile, hostname, container, ifindex });
    this.#containers.set(address, container);
    for (const tell of this.#watchers) tell(address, container);
  }

  unbind({ filtered }: PortProgram): void {
    this.#assignments.delete(filtered.mac);
    this.#containers.delete(filtered.address);
    for (const tell of this.#watchers) tell(filtered.address, undefined);
  }

  findByMac(mac: MacAddress): Assignment | undefined {
    return this.#assignments.get(mac);
  }

  findContainer(address: Ipv4Address): string | undefined {
    return this.#containers.get(address);
  }

  /** See {@link NodeVnet.watchContainers}. */
  watchContainers(onChange: BindingChange): Disposable {
    this.#watchers.add(onChange);
    for (const [address, container] of this.#containers) onChange(address, container);
    return { [Symbol.dispose]: () => void this.#watchers.delete(onChange) };
  }
}
