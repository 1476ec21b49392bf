/** The inventory of `goalstate serve`: which MAC has which address, written by hand or by a fleet's tooling. */
import { z } from "zod";
import {
  formatIpv4,
  formatSubnet,
  type Ipv4Address,
  type Ipv4Subnet,
  ipv4Plus,
  isHostAddress,
} from "../model/ipv4-address.ts";
import {
  formatMac,
  isGroupMac,
  MAC_SPACE,
  type MacAddress,
  macPlus,
} from "../model/mac-address.ts";
import {
  Ipv4Schema,
  MacSchema,
  problemsError,
  type Source,
  SubnetSchema,
  validate,
} from "../model/schema.ts";
import type { BindingRules } from "./bindings-file.ts";
import { BootSchema } from "./boot-description.ts";

const LEASE_INFINITE = 0xffff_ffff;
const RANGE_COUNT_MAX = 1_000_000;
/** Each relayed request is compared with all of them. */
const RELAYS_MAX = 256;

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

const PortSchema = z
  .string()
  .min(1)
  .max(15)
  .regex(/^[^\s/]+$/, "is not the name of an interface");

const NicSchema = z.strictObject({
  mac: MacSchema,
  address: Ipv4Schema,
  container: ContainerSchema.optional(),
  hostname: HostnameSchema.optional(),
  /** The interface that it is behind: seen anywhere else, it gets no answer. */
  port: PortSchema.optional(),
});

const RangeSchema = z.strictObject({
  mac: MacSchema,
  address: Ipv4Schema,
  count: z.int().min(1).max(RANGE_COUNT_MAX),
});

/** A physical host; `boot` replaces the inventory's own, `{}` boots nothing. */
const HostSchema = NicSchema.omit({ container: true, port: true }).extend({
  boot: BootSchema.optional(),
});

/** An address or a subnet. */
const RelaySchema = z
  .string()
  .transform((text) => (text.includes("/") ? text : `${text}/32`))
  .pipe(SubnetSchema);

const InventorySchema = z.strictObject({
  network: NetworkSchema,
  /** Relay agents that are answered beside those in the network's subnet, by giaddr or by the address they send from. */
  relays: z.array(RelaySchema).max(RELAYS_MAX).default([]),
  /** Tenants' NICs. */
  nics: z.array(NicSchema).default([]),
  /** MAC n has address n. */
  ranges: z.array(RangeSchema).default([]),
  /** A file of further NICs, one a line; a relative path starts at the inventory's folder. */
  bindings: z.string().min(1).optional(),
  /** Physical hosts, answered by the hardware manager. */
  hosts: z.array(HostSchema).default([]),
  /** What hosts boot that say nothing else. */
  boot: BootSchema.optional(),
  /** The DHCP chain's plugins, or the file that lists them; whoever makes the chain checks it. */
  chain: z.unknown().optional(),
});

export type InventoryDescription = z.infer<typeof InventorySchema>;
export type NicDescription = InventoryDescription["nics"][number];

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
 * @throws FabricError ERR_USAGE_INVENTORY that names the place and the fix; with a {@link Source}, line and column too
 */
export function parseInventory(data: unknown, source: string | Source): InventoryDescription {
  const inventory = validate(InventorySchema, data, source, "ERR_USAGE_INVENTORY");
  const problem = findProblem(inventory);
  if (problem !== undefined) {
    const path = pathOf(problem.slice(0, problem.indexOf(":")));
    const place = typeof source === "string" ? undefined : source.locate(path, "value");
    throw problemsError([{ place, text: problem }], source, "ERR_USAGE_INVENTORY");
  }
  return inventory;
}

/** `nics[3]`, as problems begin with it. */
function pathOf(place: string): (string | number)[] {
  return [...place.matchAll(/\[(\d+)\]|[^.[\]]+/g)].map(([name, index]) =>
    index === undefined ? name : Number(index),
  );
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

/** What a bindings file may not say again. */
export function bindingRulesOf(inventory: InventoryDescription): BindingRules {
  const { network, nics } = inventory;
  const { named } = listRuns(inventory);
  const containers = nics.flatMap(({ container }, index) =>
    container === undefined ? [] : [[container, `nics[${index}]`] as const],
  );
  return {
    subnet: network.subnet,
    gateway: network.gateway,
    macs: new Map(named.map(({ mac, place }) => [mac, place])),
    addresses: new Map(named.map(({ address, place }) => [address, place])),
    containers: new Map(containers),
  };
}
