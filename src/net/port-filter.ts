/**
 * The port program: what a container's port lets through. One nftables `bridge` table per VNET, replaced as a whole and
 * at once, so that there is no moment with half of it; its counters stay. What a port sends is judged before the bridge
 * learns its MAC (hook `prerouting`): a forged frame must not even draw another's traffic to its port. A port that is not
 * listed sends nothing and gets nothing. The overlay's port has a filter of its own.
 */
import { z } from "zod";
import {
  formatIpv4,
  type Ipv4Address,
  METADATA_ADDRESS,
  WIRE_SERVER_ADDRESS,
} from "../model/ipv4-address.ts";
import { formatMac, type MacAddress } from "../model/mac-address.ts";
import { applyNft } from "./nft.ts";
import { OVERLAY_PORT } from "./overlay-plan.ts";
import { runTool } from "./run-tool.ts";

/** A port that is open, and whose it is. */
export interface FilteredPort {
  readonly name: string;
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
}

/**
 * What became of a port's frames, each with a counter of its own. `mac`: the source is not its MAC. `arp`, `ip`: it speaks
 * for an address that is not its own. `platform`: for the gateway, the wire server or the metadata service. `dhcp`: it
 * plays DHCP server. `ipv6`: nothing here programs it. `ethertype`: a VLAN tag, or anything but IPv4 and ARP.
 */
export const PORT_COUNTERS = [
  "accepted",
  "mac",
  "arp",
  "ip",
  "platform",
  "dhcp",
  "ipv6",
  "ethertype",
] as const;

export type PortCounter = (typeof PORT_COUNTERS)[number];

/** Packets of a port, by what became of them. */
export type PortCounts = Readonly<Record<PortCounter, number>>;

/** What a table holds by name; a new one takes away what it does not name itself. */
export interface NamedParts {
  readonly chains: readonly string[];
  readonly counters: readonly string[];
}

const TABLE = "bridge goalstate";
const CHAIN_PREFIX = "port_";

/** What else {@link renderPortFilter} may know. */
export interface PortFilterOptions {
  /** Counted as `platform` if a port speaks for it, instead of as `ip`. */
  readonly gateway?: Ipv4Address;
  /** What the table holds now; parts of ports that are not listed any more are deleted. */
  readonly before?: NamedParts;
}

/**
 * Renders the filter as an nft script that replaces the rules at once. Counters of the same name go on counting: nft adds
 * one that exists without touching it.
 */
export function renderPortFilter(
  ports: readonly FilteredPort[],
  options: PortFilterOptions = {},
): string {
  const { gateway, before = { chains: [], counters: [] } } = options;
  const jumps = ports.map(({ name }) => `"${name}" : jump ${CHAIN_PREFIX}${name}`);
  const names = [...ports.map(({ name }) => `"${name}"`), `"${OVERLAY_PORT}"`];
  const listed = `{ ${names.join(", ")} }`;
  const platform = platformSet(gateway);
  const body = [
    ...ports.flatMap(({ name }) => PORT_COUNTERS.map((what) => `counter ${name}_${what} { }`)),
    ...ports.flatMap((port) => chain(`${CHAIN_PREFIX}${port.name}`, portRules(port, platform))),
    ...chain("prerouting", [
      hook("prerouting"),
      ...(jumps.length === 0 ? [] : [`iifname vmap { ${jumps.join(", ")} }`]),
      `iifname "${OVERLAY_PORT}" accept`,
    ]),
    ...chain("input", [
      hook("input"),
      // Most reserved group addresses (IEEE 802.1Q table 8-1) pass by the hook above. See no_linklocal_learn for LLDP.
      "ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 drop",
      `iifname ${listed} accept`,
    ]),
    ...chain("forward", [
      hook("forward"),
      // Only the platform serves DHCP, on each node: no guest hears what another asks for.
      "udp dport 67 drop",
      `oifname ${listed} accept`,
    ]),
    ...chain("output", [hook("output"), `oifname ${listed} accept`]),
  ];
  return [
    `add table ${TABLE}`,
    `flush table ${TABLE}`,
    `table ${TABLE} {`,
    ...body.map((line) => `  ${line}`),
    "}",
    ...deletions(namedParts(ports), before),
    "",
  ].join("\n");
}

function chain(name: string, rules: readonly string[]): string[] {
  return [`chain ${name} {`, ...rules.map((rule) => `  ${rule}`), "}"];
}

function hook(name: string): string {
  return `type filter hook ${name} priority 0; policy drop;`;
}

function platformSet(gateway: Ipv4Address | undefined): string {
  const all = [...(gateway === undefined ? [] : [gateway]), WIRE_SERVER_ADDRESS, METADATA_ADDRESS];
  return `{ ${all.map(formatIpv4).join(", ")} }`;
}

/** `ether type` is read from the frame itself, so a VLAN tag is seen, which the kernel has already taken out. */
function portRules({ name, mac, address }: FilteredPort, platform: string): string[] {
  const source = formatMac(mac);
  const ip = formatIpv4(address);
  const to = (what: PortCounter, verdict: "accept" | "drop") =>
    `counter name "${name}_${what}" ${verdict}`;
  return [
    `ether saddr != ${source} ${to("mac", "drop")}`,
    `ether type ip6 ${to("ipv6", "drop")}`,
    `ether type != { ip, arp } ${to("ethertype", "drop")}`,
    `ether type arp arp saddr ip ${platform} ${to("platform", "drop")}`,
    // 0.0.0.0: a client that probes whether its new address is free.
    `ether type arp arp operation { request, reply } arp saddr ether ${source} arp saddr ip { 0.0.0.0, ${ip} } ${to("accepted", "accept")}`,
    `ether type arp ${to("arp", "drop")}`,
    // The ports are in the first fragment, and without it nobody puts the others together.
    `udp sport 67 ${to("dhcp", "drop")}`,
    `udp dport 68 ${to("dhcp", "drop")}`,
    `ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 ${to("accepted", "accept")}`,
    `ip saddr ${ip} ${to("accepted", "accept")}`,
    `ip saddr ${platform} ${to("platform", "drop")}`,
    to("ip", "drop"),
  ];
}

function deletions(after: NamedParts, before: NamedParts): string[] {
  const [chains, counters] = [new Set(after.chains), new Set(after.counters)];
  return [
    ...before.chains
      .filter((name) => !chains.has(name))
      .map((name) => `delete chain ${TABLE} ${name}`),
    ...before.counters
      .filter((name) => !counters.has(name))
      .map((name) => `delete counter ${TABLE} ${name}`),
  ];
}

/** What the table holds after a filter for `ports` was applied. */
export function namedParts(ports: readonly FilteredPort[]): NamedParts {
  return {
    chains: [
      ...["prerouting", "input", "forward", "output"],
      ...ports.map(({ name }) => `${CHAIN_PREFIX}${name}`),
    ],
    counters: ports.flatMap(({ name }) => PORT_COUNTERS.map((what) => `${name}_${what}`)),
  };
}

/**
 * Replaces the port filter of a namespace.
 *
 * @param options.before - absent: the table is read first
 * @throws FabricError ERR_TOOL_FAILED, and then nothing has changed
 */
export async function applyPortFilter(
  namespace: string,
  ports: readonly FilteredPort[],
  options: PortFilterOptions = {},
): Promise<void> {
  const before = options.before ?? (await readNamedParts(namespace));
  await applyNft(namespace, renderPortFilter(ports, { ...options, before }));
}

const ListingSchema = z.object({
  nftables: z.array(
    z.looseObject({
      chain: z.looseObject({ table: z.string(), name: z.string() }).optional(),
      counter: z
        .looseObject({ table: z.string(), name: z.string(), packets: z.number() })
        .optional(),
    }),
  ),
});

const TABLE_NAME = "goalstate";

async function list(namespace: string, what: string): Promise<z.infer<typeof ListingSchema>> {
  const text = await runTool("nft", ["-j", "list", what, "bridge"], { namespace });
  return ListingSchema.parse(JSON.parse(text));
}

/** What the table of a namespace holds by name; nothing if there is no table. */
export async function readNamedParts(namespace: string): Promise<NamedParts> {
  const { nftables } = await list(namespace, "ruleset");
  const ours = ({ table }: { table: string }) => table === TABLE_NAME;
  return {
    chains: nftables.flatMap(({ chain: found }) => (found && ours(found) ? [found.name] : [])),
    counters: nftables.flatMap(({ counter }) => (counter && ours(counter) ? [counter.name] : [])),
  };
}

/** What the ports of a namespace sent, and what became of it, by port name. */
export async function readPortCounts(namespace: string): Promise<Map<string, PortCounts>> {
  const { nftables } = await list(namespace, "counters");
  const counts = new Map<string, Record<PortCounter, number>>();
  for (const { counter } of nftables) {
    if (counter?.table !== TABLE_NAME) continue;
    const split = counter.name.lastIndexOf("_");
    const what = PORT_COUNTERS.find((name) => name === counter.name.slice(split + 1));
    if (what === undefined) continue;
    const port = counter.name.slice(0, split);
    const entry = counts.get(port) ?? noCounts();
    entry[what] = counter.packets;
    counts.set(port, entry);
  }
  return counts;
}

function noCounts(): Record<PortCounter, number> {
  return { accepted: 0, mac: 0, arp: 0, ip: 0, platform: 0, dhcp: 0, ipv6: 0, ethertype: 0 };
}
