/** IPv4 addresses and subnets: unsigned 32-bit numbers, text only at the edges. */

/** An unsigned 32-bit number, first octet most significant. Only {@link parseIpv4} and the readers below make one. */
export type Ipv4Address = number & { readonly __brand: "Ipv4Address" };

/** An address block: `network` has no bit set beyond `prefixLength`. */
export interface Ipv4Subnet {
  readonly network: Ipv4Address;
  /** 0..32 */
  readonly prefixLength: number;
}

export const IPV4_UNSPECIFIED = 0 as Ipv4Address;
export const IPV4_BROADCAST = 0xffff_ffff as Ipv4Address;

/** The platform's wire server: the same address on every node. DHCP option 245 names it. */
export const WIRE_SERVER_ADDRESS = 0xa83f_8110 as Ipv4Address; // 168.63.129.16

/** The instance metadata service. */
export const METADATA_ADDRESS = 0xa9fe_a9fe as Ipv4Address; // 169.254.169.254

/**
 * Parses dotted decimal with four parts and no leading zeros.
 *
 * @throws SyntaxError naming the text
 */
export function parseIpv4(text: string): Ipv4Address {
  const parts = text.split(".");
  const valid =
    parts.length === 4 &&
    parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
  if (!valid) throw new SyntaxError(`"${text}" is not an IPv4 address; write it as 10.0.0.4`);
  return parts.reduce((value, part) => value * 256 + Number(part), 0) as Ipv4Address;
}

export function formatIpv4(address: Ipv4Address): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Reads four octets at `offset`, network byte order. The caller has checked the bounds. */
export function readIpv4(bytes: Uint8Array, offset: number): Ipv4Address {
  return (((bytes[offset]! << 24) |
    (bytes[offset + 1]! << 16) |
    (bytes[offset + 2]! << 8) |
    bytes[offset + 3]!) >>>
    0) as Ipv4Address;
}

/** Writes four octets at `offset`, network byte order. The caller has checked the bounds. */
export function writeIpv4(bytes: Uint8Array, offset: number, address: Ipv4Address): void {
  bytes[offset] = address >>> 24;
  bytes[offset + 1] = address >>> 16;
  bytes[offset + 2] = address >>> 8;
  bytes[offset + 3] = address;
}

/**
 * Parses `10.77.0.0/16`.
 *
 * @throws SyntaxError if it is not ADDRESS/PREFIX or if the address has bits set beyond the prefix
 */
export function parseSubnet(text: string): Ipv4Subnet {
  const [address = "", prefix = "", ...rest] = text.split("/");
  if (rest.length > 0 || !/^(?:\d|[12]\d|3[0-2])$/.test(prefix)) {
    throw new SyntaxError(`"${text}" is not a subnet; write it as 10.77.0.0/16`);
  }
  const prefixLength = Number(prefix);
  const network = networkOf(parseIpv4(address), prefixLength);
  if (network !== parseIpv4(address)) {
    throw new SyntaxError(
      `"${text}" has host bits set; the subnet is ${formatIpv4(network)}/${prefixLength}`,
    );
  }
  return { network, prefixLength };
}

export function formatSubnet(subnet: Ipv4Subnet): string {
  return `${formatIpv4(subnet.network)}/${subnet.prefixLength}`;
}

/** The netmask of a prefix length 0..32. */
export function maskOf(prefixLength: number): Ipv4Address {
  return (prefixLength === 0 ? 0 : (0xffff_ffff << (32 - prefixLength)) >>> 0) as Ipv4Address;
}

/** The first address of the block that `address` is in. */
export function networkOf(address: Ipv4Address, prefixLength: number): Ipv4Address {
  return ((address & maskOf(prefixLength)) >>> 0) as Ipv4Address;
}

/** The last address of the block (the subnet broadcast address up to /30). */
export function broadcastOf(subnet: Ipv4Subnet): Ipv4Address {
  return ((subnet.network | ~maskOf(subnet.prefixLength)) >>> 0) as Ipv4Address;
}

export function subnetContains(subnet: Ipv4Subnet, address: Ipv4Address): boolean {
  return networkOf(address, subnet.prefixLength) === subnet.network;
}

/** True if one of the subnets contains the address. Allocates nothing. */
export function anySubnetContains(subnets: readonly Ipv4Subnet[], address: Ipv4Address): boolean {
  for (const subnet of subnets) if (subnetContains(subnet, address)) return true;
  return false;
}

/** True if a host may use the address: inside, and neither the network nor the broadcast address (RFC 3021 for /31). */
export function isHostAddress(subnet: Ipv4Subnet, address: Ipv4Address): boolean {
  if (!subnetContains(subnet, address)) return false;
  if (subnet.prefixLength >= 31) return true;
  return address !== subnet.network && address !== broadcastOf(subnet);
}

/** The address `count` after `address`. The caller stays inside the 32-bit space. */
export function ipv4Plus(address: Ipv4Address, count: number): Ipv4Address {
  return (address + count) as Ipv4Address;
}
