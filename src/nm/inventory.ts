/** The inventory of `goalstate serve`: which MAC has which address, written by hand or by a fleet's tooling. */
import { z } from "zod";
import {
  type Assignment,
  type BootProfile,
  type ClasslessRoute,
  createOptionProfile,
  type OptionProfile,
  platformRoutes,
} from "../dhcp/index.ts";
import { FabricError } from "../model/errors.ts";
import {
  formatIpv4,
  formatSubnet,
  IPV4_UNSPECIFIED,
  type Ipv4Address,
  type Ipv4Subnet,
  ipv4Plus,
  isHostAddress,
  WIRE_SERVER_ADDRESS,
} from "../model/ipv4-address.ts";
import {
  formatMac,
  isGroupMac,
  MAC_SPACE,
  type MacAddress,
  macPlus,
} from "../model/mac-address.ts";
import { Ipv4Schema, MacSchema, SubnetSchema, validate } from "../model/schema.ts";
import { type BootFiles, BootSchema, bootProfileOf } from "./boot-description.ts";

const LEASE_INFINITE = 0xffff_ffff;
const RANGE_COUNT_MAX = 1_000_000;

const NetworkSchema = z.strictObject({
  subnet: SubnetSchema,
  gateway: Ipv4Schema.optional(),
  dns: z.array(Ipv4Schema).max(8).default([]),
  domain: z.string().max(253).optional(),
  leaseSeconds: z.int().min(60).max(LEASE_INFINITE).default(86_400),
  mtu: z.int().min(576).max(65_535).default(1500),
  /** Answer clients that speak BOOTP only. */
  bootp: z.boolean().default(false),
  /** Acknowledge a DHCPDISCOVER at once if it asks for that (RFC 4039). */
  rapidCommit: z.boolean().default(false),
  /** No other server answers here: a client that is not in the inventory is refused what only we could have given it. */
  refuseUnknown: z.boolean().default(false),
  /** What a client that declined its address gets next: an offer at once, or silence for a while. */
  decline: z.enum(["offer", "hold"]).default("offer"),
});

const HostnameSchema = z
  .string()
  .max(63)
  .regex(
    /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/i,
    "is not a host name: letters, digits, inner hyphens",
  );

const ContainerSchema = z
  .string()
  .max(127)
  .regex(/^[\w.-]+$/, "may hold letters, digits, '.', '_' and '-' only");

const NicSchema = z.strictObject({
  mac: MacSchema,
  address: Ipv4Schema,
  container: ContainerSchema.optional(),
  hostname: HostnameSchema.optional(),
});

const RangeSchema = z.strictObject({
  mac: MacSchema,
  address: Ipv4Schema,
  count: z.int().min(1).max(RANGE_COUNT_MAX),
});

/** A physical host; `boot` replaces the inventory's own, `{}` boots nothing. */
const HostSchema = NicSchema.omit({ container: true }).extend({ boot: BootSchema.optional() });

const InventorySchema = z.strictObject({
  network: NetworkSchema,
  /** Tenants' NICs. */
  nics: z.array(NicSchema).default([]),
  /** MAC n has address n. */
  ranges: z.array(RangeSchema).default([]),
  /** Physical hosts, answered by the hardware manager. */
  hosts: z.array(HostSchema).default([]),
  /** What hosts boot that say nothing else. */
  boot: BootSchema.optional(),
});

export type InventoryDescription = z.infer<typeof InventorySchema>;
type NicDescription = InventoryDescription["nics"][number];

/** A run of MACs and addresses; a NIC is a run of one. `place` is where it stands in the file. */
interface Run {
  readonly place: string;
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
  readonly count: number;
}

/**
 * Validates a parsed inventory file: its shape, that no MAC and no address is used twice, that all addresses are in
 * the subnet and none is the gateway's. What is named one by one may lie inside a range; see
 * {@link inventoryWarnings}.
 *
 * @throws FabricError ERR_USAGE_INVENTORY with one line that names the place and the fix
 */
export function parseInventory(data: unknown, source: string): InventoryDescription {
  const inventory = validate(InventorySchema, data, source, "ERR_USAGE_INVENTORY");
  const problem = findProblem(inventory);
  if (problem !== undefined) {
    throw new FabricError("ERR_USAGE_INVENTORY", `${source}: ${problem}`);
  }
  return inventory;
}

function findProblem(inventory: InventoryDescription): string | undefined {
  const { subnet, gateway } = inventory.network;
  if (gateway !== undefined && !isHostAddress(subnet, gateway)) {
    return `network.gateway: ${formatIpv4(gateway)} is not a host address of ${formatSubnet(subnet)}`;
  }
  const { named, ranges } = listRuns(inventory);
  for (const run of [...named, ...ranges]) {
    const problem = findRunProblem(run, subnet, gateway);
    if (problem !== undefined) return `${run.place}: ${problem}`;
  }
  return (
    findOverlap(named, "mac") ??
    findOverlap(named, "address") ??
    findOverlap(ranges, "mac") ??
    findOverlap(ranges, "address") ??
    findSharedContainer(inventory.nics)
  );
}

/** The runs of an inventory: what is named one by one, and the ranges. */
function listRuns(inventory: InventoryDescription): { named: Run[]; ranges: Run[] } {
  const { nics, ranges, hosts } = inventory;
  return {
    named: [
      ...nics.map((nic, index) => ({ ...nic, count: 1, place: `nics[${index}]` })),
      ...hosts.map((host, index) => ({ ...host, count: 1, place: `hosts[${index}]` })),
    ],
    ranges: ranges.map((range, index) => ({ ...range, place: `ranges[${index}]` })),
  };
}

/**
 * What is accepted but may surprise: an address of a range that is named one by one as well belongs to the named NIC,
 * and the range's MAC for it is left out (as a reservation inside a pool is on other servers).
 */
export function inventoryWarnings(inventory: InventoryDescription): string[] {
  const { named, ranges } = listRuns(inventory);
  return ranges.flatMap((range) =>
    named
      .filter(({ address }) => address >= range.address && address < range.address + range.count)
      .map(({ address, place, mac }) => {
        const left = macPlus(range.mac, address - range.address);
        const loser = left === mac ? "" : `; ${formatMac(left)} gets no answer`;
        return `${range.place}: address ${formatIpv4(address)} is ${place}'s${loser}`;
      }),
  );
}

function findRunProblem(run: Run, subnet: Ipv4Subnet, gateway?: Ipv4Address): string | undefined {
  const last = ipv4Plus(run.address, run.count - 1);
  for (const address of [run.address, last]) {
    if (!isHostAddress(subnet, address)) {
      const text = last > 0xffff_ffff ? "the range" : formatIpv4(address);
      return `address ${text} is not a host address of ${formatSubnet(subnet)} (network.subnet)`;
    }
  }
  if (gateway !== undefined && gateway >= run.address && gateway <= last) {
    return `address ${formatIpv4(gateway)} is the gateway's (network.gateway)`;
  }
  if (isGroupMac(run.mac)) return `mac ${formatMac(run.mac)} is a group address, no NIC has it`;
  if (run.mac === 0) return `mac ${formatMac(run.mac)} is all zero, no NIC has it`;
  if (run.mac + run.count > MAC_SPACE) return "count: runs past ff:ff:ff:ff:ff:ff";
  return undefined;
}

function findOverlap(runs: readonly Run[], field: "mac" | "address"): string | undefined {
  const sorted = [...runs].sort((a, b) => a[field] - b[field]);
  for (let index = 1; index < sorted.length; index += 1) {
    const before = sorted[index - 1]!;
    const after = sorted[index]!;
    if (before[field] + before.count <= after[field]) continue;
    const text = field === "mac" ? formatMac(after.mac) : formatIpv4(after.address);
    return `${after.place}: ${field} ${text} is taken by ${before.place} already; each ${field} may be used once`;
  }
  return undefined;
}

function findSharedContainer(nics: readonly NicDescription[]): string | undefined {
  const first = new Map<string, number>();
  for (const [index, { container }] of nics.entries()) {
    if (container === undefined) continue;
    const other = first.get(container);
    if (other !== undefined) {
      return `nics[${index}]: container ${container} is nics[${other}]'s already; a container has one NIC`;
    }
    first.set(container, index);
  }
  return undefined;
}

/** The bindings of an inventory, as the provider chain reads them. */
export interface InventoryResolver {
  findByMac(mac: MacAddress): Assignment | undefined;
  findHost(mac: MacAddress): Assignment | undefined;
  /** The NIC that has this address. */
  findNic(address: Ipv4Address): InventoryNic | undefined;
}

/** A NIC with the container that it belongs to. */
export interface InventoryNic {
  readonly container: string;
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
}

/**
 * Makes the lookups of an inventory: a map for NICs and hosts, arithmetic for ranges.
 *
 * @param isGateway - true if the gateway is our own interface: clients then reach the platform's addresses through
 *   it; else those addresses are on their own link
 */
export function createInventoryResolver(
  inventory: InventoryDescription,
  { isGateway }: { readonly isGateway: boolean },
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
  const containerOf = (mac: MacAddress) => nics.get(mac)?.container ?? unnamedContainer(mac);
  return {
    findHost: (mac) => hosts.get(mac),
    findNic: (address) => {
      const mac = macs.get(address) ?? findRangeMac(inventory.ranges, named, address);
      const container = mac === undefined ? undefined : containerOf(mac);
      return mac === undefined || container === undefined ? undefined : { container, mac, address };
    },
    findByMac: (mac) => {
      const nic = nics.get(mac);
      if (nic !== undefined) return nic;
      const address = findInRanges(ranges, mac);
      if (address === undefined || named.has(address)) return undefined;
      return new RangeAssignment(mac, address, tenants);
    },
  };
}

/** What a range assigns. Most such names are never read, and to make one costs as much as to decide the request. */
class RangeAssignment implements Assignment {
  readonly address: Ipv4Address;
  readonly profile: OptionProfile;
  readonly #mac: MacAddress;

  constructor(mac: MacAddress, address: Ipv4Address, profile: OptionProfile) {
    this.#mac = mac;
    this.address = address;
    this.profile = profile;
  }

  get container(): string {
    return unnamedContainer(this.#mac);
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
  nic: Omit<NicDescription, "container"> & { readonly container?: string | undefined },
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
