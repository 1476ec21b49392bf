/** What a client reads from a DHCPACK. */

import { IPV4_UNSPECIFIED, type Ipv4Address, maskOf } from "../model/ipv4-address.ts";
import { INFINITE_SECONDS } from "./header.ts";
import { addressListOption, addressOption, type DhcpMessage } from "./message.ts";
import { type ClasslessRoute, decodeRoutes, OPTION } from "./options.ts";

/** An address with everything that came with it. */
export interface DhcpLease {
  readonly address: Ipv4Address;
  readonly subnetMask: Ipv4Address;
  /** Option 3; a client with routes from option 121 must not use them. */
  readonly routers: readonly Ipv4Address[];
  readonly dns: readonly Ipv4Address[];
  /** Option 15, as the server sent it. */
  readonly domain: string | undefined;
  /** The routes to set: option 121, else 249, else one default route through the first of option 3. */
  readonly routes: readonly ClasslessRoute[];
  /** Option 245. */
  readonly wireServer: Ipv4Address | undefined;
  /** {@link INFINITE_SECONDS}: never ends; the same in the two below. */
  readonly leaseSeconds: number;
  /** When to renew. */
  readonly t1Seconds: number;
  /** When to ask every server. */
  readonly t2Seconds: number;
  readonly serverIdentifier: Ipv4Address;
  readonly mtu: number | undefined;
  readonly hostname: string | undefined;
}

/**
 * Reads the lease of a DHCPACK.
 *
 * @returns undefined if it gives no address, or lacks the lease time or the server identifier (RFC 2131 table 3)
 */
export function readLease(message: DhcpMessage): DhcpLease | undefined {
  const serverIdentifier = addressOption(message, OPTION.serverIdentifier);
  const leaseSeconds = addressOption(message, OPTION.leaseTime);
  if (!serverIdentifier || !leaseSeconds || message.yiaddr === IPV4_UNSPECIFIED) return undefined;
  const routers = addressListOption(message, OPTION.routers) ?? [];
  return {
    address: message.yiaddr,
    subnetMask: addressOption(message, OPTION.subnetMask) ?? classfulMask(message.yiaddr),
    routers,
    dns: addressListOption(message, OPTION.domainNameServers) ?? [],
    domain: readText(message, OPTION.domainName),
    routes: readRoutes(message, routers),
    wireServer: addressOption(message, OPTION.wireServer),
    leaseSeconds,
    ...readTimes(message, leaseSeconds),
    serverIdentifier,
    mtu: readMtu(message),
    hostname: readText(message, OPTION.hostname),
  };
}

/** What hosts assumed before option 1 (RFC 950 section 2.1). */
function classfulMask(address: Ipv4Address): Ipv4Address {
  const first = address >>> 24;
  if (first < 128) return maskOf(8);
  return first < 192 ? maskOf(16) : maskOf(24);
}

/** RFC 3442: option 3 counts only if option 121 is absent. */
function readRoutes(message: DhcpMessage, routers: readonly Ipv4Address[]): ClasslessRoute[] {
  const data =
    message.options.get(OPTION.classlessRoutes) ?? message.options.get(OPTION.microsoftRoutes);
  const routes = data === undefined ? undefined : decodeRoutes(data);
  if (routes !== undefined) return routes;
  const gateway = routers[0];
  if (gateway === undefined) return [];
  return [{ destination: { network: IPV4_UNSPECIFIED, prefixLength: 0 }, gateway }];
}

/** Options 58 and 59 if they are in order, else the defaults of RFC 2131 section 4.4.5. */
function readTimes(
  message: DhcpMessage,
  leaseSeconds: number,
): { t1Seconds: number; t2Seconds: number } {
  if (leaseSeconds === INFINITE_SECONDS) {
    return { t1Seconds: INFINITE_SECONDS, t2Seconds: INFINITE_SECONDS };
  }
  const t1Seconds = addressOption(message, OPTION.renewalTime) ?? Math.floor(leaseSeconds / 2);
  const t2Seconds =
    addressOption(message, OPTION.rebindingTime) ?? Math.floor((leaseSeconds * 7) / 8);
  if (t1Seconds > 0 && t1Seconds < t2Seconds && t2Seconds < leaseSeconds) {
    return { t1Seconds, t2Seconds };
  }
  return {
    t1Seconds: Math.floor(leaseSeconds / 2),
    t2Seconds: Math.floor((leaseSeconds * 7) / 8),
  };
}

function readMtu(message: DhcpMessage): number | undefined {
  const data = message.options.get(OPTION.interfaceMtu);
  return data?.length === 2 ? (data[0]! << 8) | data[1]! : undefined;
}

/** Cut at the first NUL, which some servers send. */
function readText(message: DhcpMessage, code: number): string | undefined {
  const data = message.options.get(code);
  if (data === undefined) return undefined;
  const end = data.indexOf(0);
  const text = new TextDecoder("latin1").decode(end < 0 ? data : data.subarray(0, end));
  return text === "" ? undefined : text;
}
