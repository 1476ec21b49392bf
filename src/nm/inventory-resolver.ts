/** Who is who by an inventory: the lookups that the provider chain and the wire server use. */
import {
  type Assignment,
  type BootProfile,
  type ClasslessRoute,
  createOptionProfile,
  LazyAssignment,
  type OptionProfile,
  platformRoutes,
} from "../dhcp/index.ts";
import {
  IPV4_UNSPECIFIED,
  type Ipv4Address,
  ipv4Plus,
  WIRE_SERVER_ADDRESS,
} from "../model/ipv4-address.ts";
import { type MacAddress, macPlus } from "../model/mac-address.ts";
import type { BindingTable } from "./binding-table.ts";
import { type BootFiles, bootProfileOf } from "./boot-description.ts";
import type { InventoryDescription, NicDescription } from "./inventory.ts";

/** The bindings of an inventory, as the provider chain reads them. */
export interface InventoryResolver {
  findByMac(mac: MacAddress): Assignment | undefined;
  findHost(mac: MacAddress): Assignment | undefined;
  /** True if the inventory names a NIC's port, and it is not behind that one, seen on the interface `ifindex`. */
  isElsewhere(mac: MacAddress, ifindex: number): boolean;
  /** The NIC that has this address. */
  findNic(address: Ipv4Address): InventoryNic | undefined;
}

/** A NIC with the container that it belongs to. */
export interface InventoryNic {
  readonly container: string;
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
}

/** What an inventory does not say itself. */
export interface InventorySurroundings {
  /**
   * True if the gateway is our own: clients then reach the platform's addresses through it; else those addresses are on
   * their own link.
   */
  readonly isGateway: boolean;
  /** What the inventory's bindings file says. */
  readonly bindings?: BindingTable;
  /** True if a station that is seen on the interface `ifindex` is behind the port of this name; absent: of any. */
  readonly isBehind?: (port: string, ifindex: number, mac: MacAddress) => boolean;
}

/**
 * Makes the lookups of an inventory: a map for NICs and hosts, a table for the bindings file, arithmetic for ranges.
 */
export function createInventoryResolver(
  inventory: InventoryDescription,
  { isGateway, bindings, isBehind }: InventorySurroundings,
): InventoryResolver {
  const tenants = profileOf(inventory, platformRoutesOf(inventory, isGateway));
  const nics = new Map(inventory.nics.map((nic) => [nic.mac, assignmentOf(nic, tenants)]));
  const hostProfile = profileOf(inventory, undefined);
  const boots = createBootProfiles(inventory.boot);
  const hosts = new Map(
    inventory.hosts.map((host) => [host.mac, assignmentOf(host, hostProfile, boots(host.boot))]),
  );
  const ranges = [...inventory.ranges].sort((a, b) => a.mac - b.mac);
  const named = new Set([...inventory.nics, ...inventory.hosts].map(({ address }) => address));
  const macs = new Map(inventory.nics.map(({ mac, address }) => [address, mac]));
  const ports = new Map(inventory.nics.map(({ mac, port }) => [mac, port]));
  const file = bindings === undefined ? undefined : new BoundNics(bindings, tenants);
  const containerOf = (mac: MacAddress) => nics.get(mac)?.container ?? unnamedContainer(mac);
  return {
    findHost: (mac) => hosts.get(mac),
    isElsewhere: (mac, ifindex) => {
      const port = ports.get(mac);
      return port !== undefined && isBehind?.(port, ifindex, mac) === false;
    },
    findNic: (address) => {
      const bound = file?.findNic(address);
      if (bound !== undefined) return bound;
      const mac = macs.get(address) ?? findRangeMac(inventory.ranges, named, address);
      const container = mac === undefined ? undefined : containerOf(mac);
      return mac === undefined || container === undefined ? undefined : { container, mac, address };
    },
    findByMac: (mac) => {
      const nic = nics.get(mac);
      if (nic !== undefined) return nic;
      const bound = file?.findByMac(mac);
      if (bound !== undefined) return bound;
      const address = findInRanges(ranges, mac);
      if (address === undefined || named.has(address) || file?.has(address)) return undefined;
      return new RangeAssignment(mac, address, tenants);
    },
  };
}

/** What a range assigns. */
class RangeAssignment extends LazyAssignment {
  readonly #mac: MacAddress;

  constructor(mac: MacAddress, address: Ipv4Address, profile: OptionProfile) {
    super(address, profile);
    this.#mac = mac;
  }

  get hostname(): undefined {
    return undefined;
  }

  get container(): string {
    return unnamedContainer(this.#mac);
  }
}

/** The NICs of a bindings file. */
class BoundNics {
  readonly #table: BindingTable;
  readonly #profile: OptionProfile;

  constructor(table: BindingTable, profile: OptionProfile) {
    this.#table = table;
    this.#profile = profile;
  }

  has(address: Ipv4Address): boolean {
    return this.#table.findByAddress(address) >= 0;
  }

  findByMac(mac: MacAddress): Assignment | undefined {
    const index = this.#table.find(mac);
    return index < 0 ? undefined : new BoundAssignment(this.#table, index, this.#profile);
  }

  findNic(address: Ipv4Address): InventoryNic | undefined {
    const index = this.#table.findByAddress(address);
    if (index < 0) return undefined;
    const mac = this.#table.macOf(index);
    return { container: this.#table.containerOf(index) ?? unnamedContainer(mac), mac, address };
  }
}

/** What a line of a bindings file assigns. */
class BoundAssignment extends LazyAssignment {
  readonly #table: BindingTable;
  readonly #index: number;

  constructor(table: BindingTable, index: number, profile: OptionProfile) {
    super(table.addressOf(index), profile);
    this.#table = table;
    this.#index = index;
  }

  get hostname(): string | undefined {
    return this.#table.hostnameOf(this.#index);
  }

  get container(): string {
    const name = this.#table.containerOf(this.#index);
    return name ?? unnamedContainer(this.#table.macOf(this.#index));
  }
}

/** What a host boots: its own description, else the common one, which is encoded once. */
function createBootProfiles(
  common: BootFiles | undefined,
): (own: BootFiles | undefined) => BootProfile | undefined {
  const shared = common && bootProfileOf(common);
  return (own) => (own === undefined ? shared : bootProfileOf(own));
}

function assignmentOf(
  nic: Omit<NicDescription, "container" | "port"> & { readonly container?: string | undefined },
  profile: OptionProfile,
  boot?: BootProfile,
): Assignment {
  const { address, hostname, container } = nic;
  return {
    address,
    profile,
    ...(hostname !== undefined && { hostname }),
    ...(boot !== undefined && { boot }),
    container: container ?? unnamedContainer(nic.mac),
  };
}

/** Option 121 replaces option 3 (RFC 3442), so the default route is among the routes. */
function platformRoutesOf(
  { network: { gateway } }: InventoryDescription,
  isGateway: boolean,
): ClasslessRoute[] {
  if (gateway !== undefined && isGateway) return platformRoutes(gateway);
  const onLink = platformRoutes(IPV4_UNSPECIFIED).filter(
    ({ destination }) => destination.prefixLength > 0,
  );
  const anywhere = { network: IPV4_UNSPECIFIED, prefixLength: 0 };
  return gateway === undefined ? onLink : [{ destination: anywhere, gateway }, ...onLink];
}

/** @param platform - the platform's routes, for tenants; absent for physical hosts, which have no wire server */
function profileOf(
  { network }: InventoryDescription,
  platform: readonly ClasslessRoute[] | undefined,
): OptionProfile {
  const { subnet, gateway, dns, domain, leaseSeconds, mtu } = network;
  return createOptionProfile({
    subnet,
    dns,
    leaseSeconds,
    mtu,
    routes: platform ?? [],
    // A MAC that is in the inventory is ours to refuse a wrong address; one that is not never gets here.
    authoritative: true,
    ...(gateway !== undefined && { gateway }),
    ...(domain !== undefined && { domain }),
    ...(platform !== undefined && { wireServer: WIRE_SERVER_ADDRESS }),
  });
}

function findInRanges(
  ranges: InventoryDescription["ranges"],
  mac: MacAddress,
): Ipv4Address | undefined {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]!.mac <= mac) low = middle + 1;
    else high = middle;
  }
  const range = ranges[low - 1];
  if (range === undefined || mac >= range.mac + range.count) return undefined;
  return ipv4Plus(range.address, mac - range.mac);
}

function findRangeMac(
  ranges: InventoryDescription["ranges"],
  named: ReadonlySet<Ipv4Address>,
  address: Ipv4Address,
): MacAddress | undefined {
  if (named.has(address)) return undefined;
  const range = ranges.find((r) => address >= r.address && address < r.address + r.count);
  return range === undefined ? undefined : macPlus(range.mac, address - range.address);
}

/** The container name of a NIC that the inventory names only by its MAC. */
function unnamedContainer(mac: MacAddress): string {
  return `nic-${mac.toString(16).padStart(12, "0")}`;
}
