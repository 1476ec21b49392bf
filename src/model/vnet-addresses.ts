/** Which addresses of a VNET's address space the fabric keeps, and which blocks can be no address space. */
import {
  formatSubnet,
  type Ipv4Subnet,
  METADATA_ADDRESS,
  parseSubnet,
  subnetContains,
  WIRE_SERVER_ADDRESS,
} from "./ipv4-address.ts";

/** The network's own address, the gateway's, and the next two, as on Azure. */
export const VNET_RESERVED_FIRST = 4;
/** The broadcast address. */
const VNET_RESERVED_LAST = 1;

/** A larger block is no tenant's. */
export const VNET_PREFIX_LENGTH_MIN = 8;
/** The smallest block with an address left for a NIC. */
export const VNET_PREFIX_LENGTH_MAX = 29;

/** Blocks that no guest could use as its network, and why. */
const RESERVED_BLOCKS = [
  { block: parseSubnet("0.0.0.0/8"), what: "this network" },
  { block: parseSubnet("127.0.0.0/8"), what: "loopback" },
  { block: parseSubnet("169.254.0.0/16"), what: "link-local, with the metadata service" },
  { block: { network: WIRE_SERVER_ADDRESS, prefixLength: 32 }, what: "the wire server" },
  { block: { network: METADATA_ADDRESS, prefixLength: 32 }, what: "the metadata service" },
  { block: parseSubnet("224.0.0.0/4"), what: "multicast" },
  { block: parseSubnet("240.0.0.0/4"), what: "reserved, with the broadcast address" },
];

/** How many NICs an address space of this prefix length has addresses for. */
export function nicCapacity(prefixLength: number): number {
  return 2 ** (32 - prefixLength) - VNET_RESERVED_FIRST - VNET_RESERVED_LAST;
}

/** The smallest block that has room for `nics` NICs, as a prefix length. */
export function prefixLengthFor(nics: number): number {
  let prefixLength = VNET_PREFIX_LENGTH_MAX;
  while (nicCapacity(prefixLength) < nics) prefixLength -= 1;
  return prefixLength;
}

/** Why `subnet` can be no VNET's address space, with the fix, or undefined if it can. */
export function addressSpaceFault(subnet: Ipv4Subnet): string | undefined {
  const { prefixLength } = subnet;
  if (prefixLength < VNET_PREFIX_LENGTH_MIN) {
    return `is larger than /${VNET_PREFIX_LENGTH_MIN}; use a smaller block, for example 10.0.0.0/16`;
  }
  if (prefixLength > VNET_PREFIX_LENGTH_MAX) {
    return `has no address for a NIC; use /${VNET_PREFIX_LENGTH_MAX} or larger`;
  }
  const reserved = RESERVED_BLOCKS.find(
    ({ block }) => subnetContains(block, subnet.network) || subnetContains(subnet, block.network),
  );
  if (reserved === undefined) return undefined;
  return `overlaps ${formatSubnet(reserved.block)} (${reserved.what}); use a private block, for example 10.0.0.0/16`;
}
