/** What there is: the documents in the store, and the processes, namespaces, ports and filters on the machine. */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { listProcesses } from "../../src/compute/index.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { listLinks } from "../../src/net/iproute.ts";
import { findNamespaceInode } from "../../src/net/namespace.ts";
import { probeEndpoint } from "../../src/nm/index.ts";
import type { FabricStore } from "../../src/store/index.ts";

const execute = promisify(execFile);
const GUEST = /^guest=(.+)$/;
const ATTEMPT = /^--attempt=(\d+)$/;
const JUMP = /"([^"]+)" : jump port_/g;
/** Links that each VNET namespace has of its own. */
const OWN_LINKS = new Set(["lo", "br0", "vxlan0", "vip0"]);
const NOBODY_PORT = 9;
const SETTLE_LOOKS_MAX = 50;
const SETTLE_LOOK_MS = 20;
const REFUSED = `errno ${constants.errno.ECONNREFUSED}`;

/** The init of a guest. */
export interface GuestFound {
  readonly pid: number;
  /** Name of its VM, which is its namespace too. */
  readonly name: string;
  readonly attempt: number;
}

/** A guest with the addresses that its NIC has, as ADDRESS/PREFIX. */
export interface GuestSeen extends GuestFound {
  readonly addresses: readonly string[];
}

/** A port in a VNET's namespace. */
export interface PortFound {
  readonly name: string;
  /** Up, or attached to a bridge. */
  readonly isOpen: boolean;
  /** The filter lets it through. */
  readonly isListed: boolean;
}

export interface World {
  readonly documents: ReadonlyMap<string, unknown>;
  readonly guests: readonly GuestSeen[];
  /** Those of the fabric, without its prefix. */
  readonly namespaces: readonly string[];
  /** By namespace, without the prefix; of those that are VNETs. */
  readonly ports: ReadonlyMap<string, readonly PortFound[]>;
  /** Folders of containers, as NODE/CONTAINER. */
  readonly folders: readonly string[];
}

/** The guests of a fabric now. */
export function findGuests(prefix: string): GuestFound[] {
  return listProcesses().flatMap(({ pid, args }) => {
    const name = args.map((arg) => GUEST.exec(arg)?.[1]).find((found) => found !== undefined);
    if (name?.startsWith(prefix) !== true) return [];
    const attempt = args.map((arg) => ATTEMPT.exec(arg)?.[1]).find((found) => found !== undefined);
    return [{ pid, name: name.slice(prefix.length), attempt: Number(attempt) }];
  });
}

/** As {@link findGuests}; an init that starts a program shows twice until that is what it is, and is waited for. */
async function findSettledGuests(prefix: string): Promise<GuestFound[]> {
  for (let looks = 1; ; looks += 1) {
    const found = findGuests(prefix);
    const names = new Set(found.map(({ name }) => name));
    if (names.size === found.length || looks === SETTLE_LOOKS_MAX) return found;
    await delay(SETTLE_LOOK_MS);
  }
}

/** All processes in a guest's namespace, init first. */
export function findInside(prefix: string, name: string): number[] {
  const inode = findNamespaceInode(`${prefix}${name}`);
  if (inode === undefined) return [];
  const pids = listProcesses().filter(({ networkNamespace }) => networkNamespace === inode);
  return pids.map(({ pid }) => pid).toSorted((a, b) => a - b);
}

/** Reads it all. What changes meanwhile may be seen half. */
export async function look(
  store: FabricStore,
  prefix: string,
  data: string,
  nodes: readonly string[],
): Promise<World> {
  const { kvs } = await store.list("/");
  const namespaces = readNamespaces(prefix);
  const found = await findSettledGuests(prefix);
  const guests = await Promise.all(
    found.map(async (guest) => ({ ...guest, addresses: await readAddresses(prefix, guest) })),
  );
  const names = new Set(guests.map(({ name }) => name));
  const vnets = namespaces.filter((name) => !names.has(name) && isVnet(name, nodes));
  const ports = await Promise.all(
    vnets.map(async (name) => [name, await readPorts(`${prefix}${name}`)] as const),
  );
  return {
    documents: new Map(kvs.map(({ key, value }) => [key, value])),
    ...{ guests, namespaces, ports: new Map(ports) },
    folders: nodes.flatMap((node) => readFolders(data, node)),
  };
}

/** VNETs are called NODE-TENANT.VNET, nodes' own namespaces NODE. */
function isVnet(name: string, nodes: readonly string[]): boolean {
  return nodes.some((node) => name.startsWith(`${node}-`)) && name.endsWith(".net");
}

function readNamespaces(prefix: string): string[] {
  const names = readdirSync("/run/netns").filter((name) => name.startsWith(prefix));
  return names.map((name) => name.slice(prefix.length)).toSorted();
}

function readFolders(data: string, node: string): string[] {
  try {
    const names = readdirSync(join(data, "nodes", node, "run"));
    return names.map((name) => `${node}/${name}`);
  } catch {
    return []; // the node has not run yet
  }
}

async function readPorts(namespace: string): Promise<PortFound[]> {
  try {
    const links = await run("ip", ["-n", namespace, "-j", "link", "show"]);
    const rules = await run("ip", [
      ...["netns", "exec", namespace, "nft", "list", "table", "bridge", "goalstate"],
    ]);
    const listed = new Set([...rules.matchAll(JUMP)].map((match) => match[1]));
    const found = JSON.parse(links) as { ifname: string; flags: string[]; master?: string }[];
    return found
      .filter(({ ifname }) => !OWN_LINKS.has(ifname))
      .map(({ ifname, flags, master }) => ({
        name: ifname,
        isOpen: flags.includes("UP") || master !== undefined,
        isListed: listed.has(ifname),
      }));
  } catch (error) {
    return [{ name: `unreadable: ${(error as Error).message}`, isOpen: true, isListed: false }];
  }
}

/** Empty while it has none, and when it ended meanwhile. */
async function readAddresses(prefix: string, { name }: GuestFound): Promise<readonly string[]> {
  try {
    const links = await listLinks(`${prefix}${name}`);
    return links.filter((link) => link.name !== "lo").flatMap(({ addresses }) => addresses);
  } catch {
    return [];
  }
}

/**
 * Which guests of a VNET do not reach which others of it: each connects to a port where nobody listens, and must be refused.
 *
 * @returns who does not reach whom and why, in words
 */
export async function findUnreachable(
  prefix: string,
  guests: readonly GuestSeen[],
): Promise<string[]> {
  const pairs = guests.flatMap((from) =>
    guests
      .filter((to) => to !== from && tenantOf(to) === tenantOf(from))
      .map((to) => ({ from, to })),
  );
  const results = await Promise.all(pairs.map(({ from, to }) => probe(prefix, from, to)));
  return results.flatMap((fault) => fault ?? []);
}

async function probe(prefix: string, from: GuestSeen, to: GuestSeen): Promise<string | undefined> {
  const address = parseIpv4(to.addresses[0]?.split("/")[0] ?? "");
  const namespace = `${prefix}${from.name}`;
  const result = await probeEndpoint({ namespace, address, port: NOBODY_PORT, protocol: "tcp" });
  if (result.kind === "closed" && result.reason.includes(REFUSED)) return undefined;
  return `${from.name} does not reach ${to.name}: ${result.kind === "closed" ? result.reason : "open"}`;
}

function tenantOf({ name }: GuestFound): string {
  return name.slice(name.indexOf("-") + 1, name.indexOf("."));
}

async function run(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = await execute(program, args);
  return stdout;
}
