/** Who is calling: known by source address only, as on the real fabric, and resolved here and nowhere else. */

import { type Ipv4Address, parseIpv4 } from "../model/ipv4-address.ts";
import { refuse } from "./refusal.ts";
import type { WireContainer, WireDirectory } from "./wire-container.ts";

const IPV4_MAPPED = /^::ffff:/i;
/** Addresses of callers that were read before; more than a node has containers. */
const READ_MAX = 16_384;

const read = new Map<string, Ipv4Address>();

/**
 * The container that a source address belongs to.
 *
 * @param remoteAddress - as the socket tells it; an IPv4-mapped IPv6 address counts as the IPv4 address
 * @throws FabricError ERR_WIRE_UNKNOWN_CALLER
 */
export function requireCaller(directory: WireDirectory, remoteAddress: string): WireContainer {
  const container = findCaller(directory, remoteAddress);
  if (container !== undefined) return container;
  const text = remoteAddress.replace(IPV4_MAPPED, "");
  throw refuse(
    "ERR_WIRE_UNKNOWN_CALLER",
    `ValidateIpAddress: no container has the address ${text}; only containers of this node may ask`,
  );
}

/** As {@link requireCaller}; undefined for anybody else, also for a socket that is closed already and has no address. */
export function findCaller(
  directory: WireDirectory,
  remoteAddress: string,
): WireContainer | undefined {
  const address = read.get(remoteAddress) ?? readAddress(remoteAddress);
  return address === undefined ? undefined : directory.findByAddress(address);
}

function readAddress(remoteAddress: string): Ipv4Address | undefined {
  const text = remoteAddress.replace(IPV4_MAPPED, "");
  if (text === "" || text.includes(":")) return undefined;
  const address = parseIpv4(text);
  if (read.size >= READ_MAX) read.clear();
  read.set(remoteAddress, address);
  return address;
}
