/** The options of a network, encoded once when its description is read, so that a reply is a few copies. */

import {
  broadcastOf,
  IPV4_UNSPECIFIED,
  type Ipv4Address,
  type Ipv4Subnet,
  isHostAddress,
  METADATA_ADDRESS,
  maskOf,
  subnetContains,
  WIRE_SERVER_ADDRESS,
  writeIpv4,
} from "../model/ipv4-address.ts";
import { INFINITE_SECONDS } from "./header.ts";
import {
  type ClasslessRoute,
  encodeOption,
  encodeRoutes,
  OPTION,
  OPTION_DATA_MAX,
  routeLength,
} from "./options.ts";

/** Shortest lease in seconds; below it, old clients renew without pause. */
export const LEASE_SECONDS_MIN = 60;

const ETHERNET_MTU = 1500;
/** Below it no reply of 576 octets fits; systemd refuses such an MTU as well. */
const MTU_MIN = 576;
const MTU_MAX = 65_535;
const ALL_PREFIX = 32;

/** A network as its owner describes it. */
export interface OptionProfileSpec {
  readonly subnet: Ipv4Subnet;
  /** Option 3; absent for an isolated network. */
  readonly gateway?: Ipv4Address;
  /** Option 6, in order of preference; not sent if empty. */
  readonly dns: readonly Ipv4Address[];
  /** At least {@link LEASE_SECONDS_MIN}; {@link INFINITE_SECONDS} never ends. */
  readonly leaseSeconds: number;
  /** Of the network in octets, 576..65535. Option 26 is sent if it is not 1500 or if the client asks. */
  readonly mtu: number;
  /** Option 15, ASCII, sent if the client asks. */
  readonly domain?: string;
  /** Option 54, default 168.63.129.16: the same on every node, so that a lease survives a move. */
  readonly serverIdentifier?: Ipv4Address;
  /** Option 245; absent means that it is not sent. */
  readonly wireServer?: Ipv4Address;
  /**
   * Options 121 and 249, the latter to clients with option 55; none are sent if empty. Clients that read them ignore option 3, so the default route must
   * be among them (RFC 3442); see {@link platformRoutes}.
   */
  readonly routes: readonly ClasslessRoute[];
  /** True if we alone may answer on this network: addresses that we do not know of are refused, not ignored. */
  readonly authoritative: boolean;
}

/** The encoded options of a network. Make it with {@link createOptionProfile}. */
export interface OptionProfile {
  readonly subnet: Ipv4Subnet;
  readonly serverIdentifier: Ipv4Address;
  readonly leaseSeconds: number;
  readonly mtu: number;
  readonly authoritative: boolean;
  /** Option 15 as text. */
  readonly domain?: string;
  /** Whole options (code, length, data) that every client gets, in order; together they are `fixedOctets`. */
  readonly fixed: readonly Uint8Array[];
  readonly fixedOctets: Uint8Array;
  /**
   * As {@link OptionProfile.fixedOctets}, for a client that says nothing of what it wants, without option 249: WALinuxAgent
   * 2.7.3 is such a client, and ends with an exception at the first route that it reads there.
   */
  readonly unaskedOctets: Uint8Array;
  /** Whole options that a client gets if it asks for the code. */
  readonly onRequest: ReadonlyMap<number, Uint8Array>;
}

/**
 * Encodes the options of a network.
 *
 * @throws RangeError naming the value that no reply could carry
 */
export function createOptionProfile(spec: OptionProfileSpec): OptionProfile {
  assertSpec(spec);
  const fixed = encodeFixed(spec);
  return {
    subnet: spec.subnet,
    serverIdentifier: spec.serverIdentifier ?? WIRE_SERVER_ADDRESS,
    leaseSeconds: spec.leaseSeconds,
    mtu: spec.mtu,
    authoritative: spec.authoritative,
    ...(spec.domain !== undefined && { domain: spec.domain }),
    fixed,
    fixedOctets: concatenate(fixed),
    unaskedOctets: concatenate(fixed.filter((option) => option[0] !== OPTION.microsoftRoutes)),
    onRequest: encodeOnRequest(spec),
  };
}

/**
 * The routes of a platform network: default, wire server and metadata service, all through `gateway`.
 *
 * @param subnet - if given and `gateway` is outside, a host route to the gateway comes first (RFC 3442, gateway 0)
 */
export function platformRoutes(gateway: Ipv4Address, subnet?: Ipv4Subnet): ClasslessRoute[] {
  const host = (network: Ipv4Address) => ({ network, prefixLength: ALL_PREFIX });
  const isReachable = subnet === undefined || subnetContains(subnet, gateway);
  return [
    ...(isReachable ? [] : [{ destination: host(gateway), gateway: IPV4_UNSPECIFIED }]),
    { destination: { network: IPV4_UNSPECIFIED, prefixLength: 0 }, gateway },
    { destination: host(WIRE_SERVER_ADDRESS), gateway },
    { destination: host(METADATA_ADDRESS), gateway },
  ];
}

function assertSpec(spec: OptionProfileSpec): void {
  assertWithin("leaseSeconds", spec.leaseSeconds, LEASE_SECONDS_MIN, INFINITE_SECONDS);
  assertWithin("mtu", spec.mtu, MTU_MIN, MTU_MAX);
  assertWithin("number of dns addresses", spec.dns.length, 0, Math.floor(OPTION_DATA_MAX / 4));
  if (spec.domain !== undefined) assertAscii("domain", spec.domain);
  if (spec.serverIdentifier === IPV4_UNSPECIFIED) {
    throw new RangeError("serverIdentifier must not be 0.0.0.0: clients ignore such offers");
  }
}

function assertWithin(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} is ${value}; it must be a whole number from ${min} to ${max}`);
  }
}

/** Printable ASCII without blanks, as it will be an option of its own. */
function assertAscii(name: string, text: string): void {
  if (!/^[!-~]{1,255}$/.test(text)) {
    throw new RangeError(`${name} must be 1 to 255 printable ASCII characters without blanks`);
  }
}

/**
 * Every client gets these, asked or not: Azure's agent sends a DHCPDISCOVER without option 55 and reads the routes
 * and the wire server from the offer. The subnet mask comes before the routers (RFC 2132 section 3.3).
 */
function encodeFixed(spec: OptionProfileSpec): Uint8Array[] {
  const options = [encodeAddresses(OPTION.subnetMask, [maskOf(spec.subnet.prefixLength)])];
  if (spec.gateway !== undefined) options.push(encodeAddresses(OPTION.routers, [spec.gateway]));
  const dns = [...new Set(spec.dns)];
  if (dns.length > 0) options.push(encodeAddresses(OPTION.domainNameServers, dns));
  if (spec.mtu !== ETHERNET_MTU) options.push(encodeMtu(spec.mtu));
  if (spec.routes.length > 0) {
    options.push(encodeRoutesOption(OPTION.classlessRoutes, spec.routes));
    options.push(encodeRoutesOption(OPTION.microsoftRoutes, spec.routes));
  }
  if (spec.wireServer !== undefined) {
    options.push(encodeAddresses(OPTION.wireServer, [spec.wireServer]));
  }
  return options;
}

function encodeOnRequest(spec: OptionProfileSpec): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  if (spec.domain !== undefined) {
    const domain = new TextEncoder().encode(spec.domain);
    options.set(OPTION.domainName, encodeOption(OPTION.domainName, domain));
  }
  if (spec.mtu === ETHERNET_MTU) options.set(OPTION.interfaceMtu, encodeMtu(spec.mtu));
  // A /31 or /32 has no broadcast address (RFC 3021).
  const broadcast = broadcastOf(spec.subnet);
  if (!isHostAddress(spec.subnet, broadcast)) {
    options.set(OPTION.broadcastAddress, encodeAddresses(OPTION.broadcastAddress, [broadcast]));
  }
  return options;
}

/** Cuts long routes between routes, so that clients which do not join instances still read each one. */
function encodeRoutesOption(code: number, routes: readonly ClasslessRoute[]): Uint8Array {
  const pieces: ClasslessRoute[][] = [[]];
  let length = 0;
  for (const route of routes) {
    if (length + routeLength(route) > OPTION_DATA_MAX) {
      pieces.push([]);
      length = 0;
    }
    pieces.at(-1)?.push(route);
    length += routeLength(route);
  }
  return concatenate(pieces.map((piece) => encodeOption(code, encodeRoutes(piece))));
}

function encodeAddresses(code: number, addresses: readonly Ipv4Address[]): Uint8Array {
  const data = new Uint8Array(4 * addresses.length);
  addresses.forEach((address, index) => {
    writeIpv4(data, 4 * index, address);
  });
  return encodeOption(code, data);
}

function encodeMtu(mtu: number): Uint8Array {
  return encodeOption(OPTION.interfaceMtu, Uint8Array.of(mtu >>> 8, mtu));
}

function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
}
