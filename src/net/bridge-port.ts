/** Which port of a bridge a station is behind, from the bridge's own forwarding table. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type MacAddress, readMac } from "../model/mac-address.ts";
import type { Link } from "./link-messages.ts";

/** struct __fdb_entry: address, low and high octet of the port number, and whether the address is the bridge's own. */
const ENTRY = { bytes: 16, portLow: 6, isLocal: 7, portHigh: 12 };

/** A port of a bridge: the interface that is enslaved to it. */
export interface BridgePort {
  readonly name: string;
  readonly ifindex: number;
}

/**
 * The interface index of the port that `mac` was last seen on, or undefined if the bridge does not know: its entry has
 * aged out, or /sys shows another network namespace.
 *
 * @see Linux include/uapi/linux/if_bridge.h
 */
export function findBridgePort(bridge: string, mac: MacAddress): number | undefined {
  return findBridgePortOf(bridge, mac)?.ifindex;
}

/** As {@link findBridgePort}, with the port's name. */
export function findBridgePortOf(bridge: string, mac: MacAddress): BridgePort | undefined {
  const folder = join("/sys/class/net", bridge);
  try {
    const port = findPortNumber(readFileSync(join(folder, "brforward")), mac);
    return port === undefined ? undefined : findPortByNumber(join(folder, "brif"), port);
  } catch {
    return undefined;
  }
}

/**
 * True if a station whose frames are seen on the interface `ifindex` is behind the port of this name: the interface
 * itself, or the port of it, if it is a bridge, that the station was last seen on.
 */
export function isBehindPort(
  links: ReadonlyMap<number, Link>,
  port: string,
  ifindex: number,
  mac: MacAddress,
): boolean {
  const link = links.get(ifindex);
  if (link === undefined || link.name === port) return link !== undefined;
  if (link.kind !== "bridge") return false;
  const seenOn = findBridgePort(link.name, mac);
  return seenOn !== undefined && links.get(seenOn)?.name === port;
}

function findPortNumber(table: Uint8Array, mac: MacAddress): number | undefined {
  for (let offset = 0; offset + ENTRY.bytes <= table.length; offset += ENTRY.bytes) {
    if (readMac(table, offset) !== mac || table[offset + ENTRY.isLocal] !== 0) continue;
    return (table[offset + ENTRY.portHigh]! << 8) | table[offset + ENTRY.portLow]!;
  }
  return undefined;
}

function findPortByNumber(folder: string, port: number): BridgePort | undefined {
  const name = readdirSync(folder).find(
    (candidate) => readNumber(join(folder, candidate, "port_no")) === port,
  );
  if (name === undefined) return undefined;
  return { name, ifindex: readNumber(join("/sys/class/net", name, "ifindex")) };
}

function readNumber(path: string): number {
  return Number(readFileSync(path, "utf8").trim());
}
