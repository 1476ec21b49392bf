/**
 * DHCP options: the table of those that goalstate knows, the walk over an option area, and the classless routes.
 *
 * @see RFC 2132 (options), RFC 3396 (long options), RFC 3442 (classless routes)
 */

import {
  type Ipv4Address,
  type Ipv4Subnet,
  networkOf,
  readIpv4,
  writeIpv4,
} from "../model/ipv4-address.ts";

/** Option codes by name. */
export const OPTION = {
  pad: 0,
  subnetMask: 1,
  routers: 3,
  domainNameServers: 6,
  hostname: 12,
  domainName: 15,
  interfaceMtu: 26,
  broadcastAddress: 28,
  vendorSpecific: 43,
  requestedAddress: 50,
  leaseTime: 51,
  overload: 52,
  messageType: 53,
  serverIdentifier: 54,
  parameterRequestList: 55,
  message: 56,
  maxMessageSize: 57,
  renewalTime: 58,
  rebindingTime: 59,
  vendorClass: 60,
  clientIdentifier: 61,
  tftpServerName: 66,
  bootFile: 67,
  userClass: 77,
  rapidCommit: 80,
  clientFqdn: 81,
  relayInformation: 82,
  authentication: 90,
  clientArchitecture: 93,
  clientInterface: 94,
  machineIdentifier: 97,
  ipv6OnlyPreferred: 108,
  captivePortal: 114,
  autoConfigure: 116,
  subnetSelection: 118,
  classlessRoutes: 121,
  vendorIdentifyingClass: 124,
  vendorIdentifyingInformation: 125,
  ipxeEncapsulated: 175,
  wireServer: 245,
  microsoftRoutes: 249,
  end: 255,
} as const;

/** One row of {@link OPTION_TABLE}. */
export interface OptionRow {
  readonly code: number;
  readonly name: keyof typeof OPTION;
  /** Where its format is written. */
  readonly source: string;
  /**
   * True if several equal instances count as one. RFC 3396 joins them, which would break a fixed-length option of a
   * client that sends it twice.
   */
  readonly joinsEqualCopies?: true;
}

/** Every option that goalstate reads or writes, by code. */
export const OPTION_TABLE: readonly OptionRow[] = [
  { code: 0, name: "pad", source: "RFC 2132 section 3.1" },
  { code: 1, name: "subnetMask", source: "RFC 2132 section 3.3" },
  { code: 3, name: "routers", source: "RFC 2132 section 3.5" },
  { code: 6, name: "domainNameServers", source: "RFC 2132 section 3.8" },
  { code: 12, name: "hostname", source: "RFC 2132 section 3.14", joinsEqualCopies: true },
  { code: 15, name: "domainName", source: "RFC 2132 section 3.17" },
  { code: 26, name: "interfaceMtu", source: "RFC 2132 section 5.1" },
  { code: 28, name: "broadcastAddress", source: "RFC 2132 section 5.3" },
  { code: 43, name: "vendorSpecific", source: "RFC 2132 section 8.4" },
  { code: 50, name: "requestedAddress", source: "RFC 2132 section 9.1", joinsEqualCopies: true },
  { code: 51, name: "leaseTime", source: "RFC 2132 section 9.2", joinsEqualCopies: true },
  { code: 52, name: "overload", source: "RFC 2132 section 9.3" },
  { code: 53, name: "messageType", source: "RFC 2132 section 9.6", joinsEqualCopies: true },
  { code: 54, name: "serverIdentifier", source: "RFC 2132 section 9.7", joinsEqualCopies: true },
  { code: 55, name: "parameterRequestList", source: "RFC 2132 section 9.8" },
  { code: 56, name: "message", source: "RFC 2132 section 9.9" },
  { code: 57, name: "maxMessageSize", source: "RFC 2132 section 9.10", joinsEqualCopies: true },
  { code: 58, name: "renewalTime", source: "RFC 2132 section 9.11" },
  { code: 59, name: "rebindingTime", source: "RFC 2132 section 9.12" },
  { code: 60, name: "vendorClass", source: "RFC 2132 section 9.13" },
  { code: 61, name: "clientIdentifier", source: "RFC 2132 section 9.14", joinsEqualCopies: true },
  { code: 66, name: "tftpServerName", source: "RFC 2132 section 9.4" },
  { code: 67, name: "bootFile", source: "RFC 2132 section 9.5" },
  { code: 77, name: "userClass", source: "RFC 3004" },
  { code: 80, name: "rapidCommit", source: "RFC 4039" },
  { code: 81, name: "clientFqdn", source: "RFC 4702" },
  { code: 82, name: "relayInformation", source: "RFC 3046" },
  { code: 90, name: "authentication", source: "RFC 3118" },
  { code: 93, name: "clientArchitecture", source: "RFC 4578", joinsEqualCopies: true },
  { code: 94, name: "clientInterface", source: "RFC 4578", joinsEqualCopies: true },
  { code: 97, name: "machineIdentifier", source: "RFC 4578" },
  { code: 108, name: "ipv6OnlyPreferred", source: "RFC 8925" },
  { code: 114, name: "captivePortal", source: "RFC 8910" },
  { code: 116, name: "autoConfigure", source: "RFC 2563" },
  { code: 118, name: "subnetSelection", source: "RFC 3011" },
  { code: 121, name: "classlessRoutes", source: "RFC 3442" },
  { code: 124, name: "vendorIdentifyingClass", source: "RFC 3925 section 3" },
  { code: 125, name: "vendorIdentifyingInformation", source: "RFC 3925 section 4" },
  { code: 175, name: "ipxeEncapsulated", source: "iPXE: https://ipxe.org/howto/dhcpd" },
  { code: 245, name: "wireServer", source: "Azure: address of the wire server, four octets" },
  { code: 249, name: "microsoftRoutes", source: "Microsoft: the octets of option 121" },
  { code: 255, name: "end", source: "RFC 2132 section 3.2" },
];

/** Most data octets of one instance of an option. */
export const OPTION_DATA_MAX = 255;

/** Most option instances in one message; 1,500 octets have room for 630 empty ones, which only an attacker sends. */
export const OPTION_INSTANCES_MAX = 128;

const JOINS_EQUAL_COPIES: readonly boolean[] = Array.from({ length: 256 }, (_, code) =>
  OPTION_TABLE.some((row) => row.code === code && row.joinsEqualCopies === true),
);

/**
 * True if equal instances of the option count as one. A full instance (255 octets) is never a copy: RFC 3396 cuts a
 * long option exactly there.
 */
export function joinsEqualCopies(code: number, instanceLength: number): boolean {
  return JOINS_EQUAL_COPIES[code]! && instanceLength < OPTION_DATA_MAX;
}

/** An option as it stands in a message: code, length, data of at most {@link OPTION_DATA_MAX} octets. */
export function encodeOption(code: number, data: Uint8Array): Uint8Array {
  return Uint8Array.of(code, data.length, ...data);
}

/** How a walk over an option area ended. */
export type WalkEnd =
  | { readonly kind: "end" }
  /** The area was over without an End option; everything in it was whole. */
  | { readonly kind: "no-end" }
  /** An option of this code ran past the area; those before it were whole. */
  | { readonly kind: "truncated"; readonly code: number }
  /** The visitor returned false. */
  | { readonly kind: "stopped" };

/**
 * Visits the options in `[start, end)` in wire order. Pad options are skipped, and nothing after End is looked at.
 *
 * @param visit - gets the code and the place of the data; return false to stop the walk
 * @see RFC 2132 section 2
 */
export function walkOptions(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (code: number, offset: number, length: number) => boolean,
): WalkEnd {
  let cursor = start;
  while (cursor < end) {
    const code = bytes[cursor++]!;
    if (code === OPTION.pad) continue;
    if (code === OPTION.end) return { kind: "end" };
    const length = cursor < end ? bytes[cursor++]! : Number.POSITIVE_INFINITY;
    if (cursor + length > end) return { kind: "truncated", code };
    if (!visit(code, cursor, length)) return { kind: "stopped" };
    cursor += length;
  }
  return { kind: "no-end" };
}

/** A route of option 121. Gateway 0.0.0.0 means that the destination is on the link. */
export interface ClasslessRoute {
  readonly destination: Ipv4Subnet;
  readonly gateway: Ipv4Address;
}

/** Encodes the data of option 121: prefix length, significant octets of the network without host bits, gateway. */
export function encodeRoutes(routes: readonly ClasslessRoute[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(routes.reduce((sum, route) => sum + routeLength(route), 0));
  let cursor = 0;
  for (const { destination, gateway } of routes) {
    const octets = significantOctets(destination.prefixLength);
    const network = networkOf(destination.network, destination.prefixLength);
    bytes[cursor++] = destination.prefixLength;
    for (let octet = 0; octet < octets; octet++) {
      bytes[cursor++] = network >>> (24 - 8 * octet);
    }
    writeIpv4(bytes, cursor, gateway);
    cursor += 4;
  }
  return bytes;
}

/** Octets that a route takes in the data of option 121. */
export function routeLength(route: ClasslessRoute): number {
  return 1 + significantOctets(route.destination.prefixLength) + 4;
}

/**
 * Decodes the data of option 121. Bits of a destination beyond its prefix are cleared, as RFC 3442 asks of clients.
 *
 * @returns undefined if a prefix is longer than 32 or the data ends inside a route
 */
export function decodeRoutes(bytes: Uint8Array): ClasslessRoute[] | undefined {
  const routes: ClasslessRoute[] = [];
  let cursor = 0;
  while (cursor < bytes.length) {
    const prefixLength = bytes[cursor++]!;
    const octets = significantOctets(prefixLength);
    if (prefixLength > 32 || cursor + octets + 4 > bytes.length) return undefined;
    const padded = new Uint8Array(4);
    padded.set(bytes.subarray(cursor, cursor + octets));
    const network = networkOf(readIpv4(padded, 0), prefixLength);
    routes.push({
      destination: { network, prefixLength },
      gateway: readIpv4(bytes, cursor + octets),
    });
    cursor += octets + 4;
  }
  return routes;
}

function significantOctets(prefixLength: number): number {
  return Math.ceil(prefixLength / 8);
}
