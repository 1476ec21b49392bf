/** `goalstate relay`: passes DHCP on between clients of this host's networks and servers elsewhere. */
import type { Logger } from "pino";
import {
  BOOTREPLY,
  BOOTREQUEST,
  type ClientPort,
  createRelayCounters,
  type RelayCounters,
  type RelayDropEvent,
  type RelayedNetwork,
  type RelayPolicy,
  relayDhcp,
  SERVER_PORT,
} from "../dhcp/index.ts";
import { FabricError } from "../model/errors.ts";
import {
  broadcastOf,
  formatIpv4,
  type Ipv4Address,
  METADATA_ADDRESS,
  networkOf,
  parseIpv4,
  WIRE_SERVER_ADDRESS,
} from "../model/ipv4-address.ts";
import { formatMac, type MacAddress } from "../model/mac-address.ts";
import { bootpDatagramFilter } from "../net/bpf.ts";
import { type BridgePort, findBridgePortOf } from "../net/bridge-port.ts";
import { openDatagramSocket } from "../net/datagram-socket.ts";
import { readHardwareAddress, readMtu } from "../net/interface-info.ts";
import { type Link, listLinks } from "../net/iproute.ts";
import { openPacketRing } from "../net/packet-ring.ts";
import { Poller } from "../net/poller.ts";
import { aborted } from "./aborted.ts";
import { requireInterface } from "./require-interface.ts";
import { requireRoot } from "./require-root.ts";

export interface RelayOptions {
  /** Interfaces or bridges that clients are behind. */
  readonly interfaceNames: readonly string[];
  readonly servers: readonly Ipv4Address[];
  readonly policy: RelayPolicy;
  /** An own address to relay from; absent: the interface's. */
  readonly giaddr?: Ipv4Address;
  /** An address of the clients' network, if `giaddr` is of another one. */
  readonly linkSelection?: Ipv4Address;
  /** What identifies a port to the server. */
  readonly circuitIdOf: (names: { interface: string; port: string }) => Uint8Array;
  /** Ports behind which something adds option 82 itself. */
  readonly trustedPorts: readonly string[];
  readonly print: (line: string) => void;
  readonly log: Logger;
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

/**
 * Relays until the signal aborts. Changes nothing on the host.
 *
 * @throws FabricError ERR_USAGE_* for bad input, ERR_NET_* for what the machine refuses
 */
export async function runRelay(options: RelayOptions): Promise<void> {
  const { interfaceNames, print, log, signal } = options;
  checkTogether(options);
  const networks: (RelayedNetwork & { link: Link })[] = [];
  for (const name of interfaceNames) networks.push(await describeNetwork(options, name));
  await checkOwnAddresses(options);
  requireRoot("ERR_RELAY_PRIVILEGE", "Raw sockets and UDP port 67");
  const counters = createRelayCounters();
  await using opened = new AsyncDisposableStack();
  const poller = new Poller();
  const ended: Promise<void>[] = [];
  for (const network of networks) {
    const { ended: networkEnded } = await startNetwork(options, network, counters, {
      opened,
      poller,
    });
    ended.push(networkEnded);
  }
  print("ready");
  for (const { link, giaddr } of networks) {
    log.info({ ifname: link.name, giaddr: formatIpv4(giaddr) }, "relaying");
  }
  await Promise.race([aborted(signal), ...ended]);
  log.info({ ...counters, drops: Object.fromEntries(counters.drops) }, "stopping");
}

/** What only makes sense for one network. */
function checkTogether({ interfaceNames, giaddr, linkSelection }: RelayOptions): void {
  if (interfaceNames.length === 1) return;
  if (giaddr === undefined && linkSelection === undefined) return;
  const option = giaddr === undefined ? "--link-selection" : "--giaddr";
  const message = `${option} is for one network; start one relay for each --interface`;
  throw new FabricError("ERR_USAGE_RELAY", message);
}

async function describeNetwork(
  options: RelayOptions,
  name: string,
): Promise<RelayedNetwork & { link: Link }> {
  const link = requireInterface(name, await listLinks());
  const addresses = link.addresses.map((text) => {
    const [address = "", prefix = ""] = text.split("/");
    return { address: parseIpv4(address), prefixLength: Number(prefix) };
  });
  const giaddr = options.giaddr ?? addresses.find(isNetworkAddress)?.address;
  if (giaddr === undefined) {
    const message =
      `--interface ${name} has no IPv4 address of its clients' network; ` +
      `add one with 'ip addr add ADDRESS/PREFIX dev ${name}', or name one with --giaddr`;
    throw new FabricError("ERR_USAGE_INTERFACE", message);
  }
  const broadcasts = addresses
    .filter(isNetworkAddress)
    .map(({ address, prefixLength }) =>
      broadcastOf({ network: networkOf(address, prefixLength), prefixLength }),
    );
  return {
    link,
    giaddr,
    addresses: [giaddr, ...addresses.map(({ address }) => address), ...broadcasts],
    hardwareAddress: readHardwareAddress(name),
    mtu: readMtu(name),
    ...(options.linkSelection !== undefined && { linkSelection: options.linkSelection }),
  };
}

/** The platform's addresses, and other single ones, say nothing about the network that clients are in. */
function isNetworkAddress(own: { address: Ipv4Address; prefixLength: number }): boolean {
  const { address, prefixLength } = own;
  const isPlatforms = address === WIRE_SERVER_ADDRESS || address === METADATA_ADDRESS;
  const isLoopback = address >>> 24 === 127;
  return prefixLength < 31 && !isPlatforms && !isLoopback;
}

/** --giaddr must be ours, and no server may be. */
async function checkOwnAddresses({ giaddr, servers }: RelayOptions): Promise<void> {
  const links = await listLinks();
  const own = links.flatMap(({ addresses }) => addresses.map((text) => text.split("/")[0]));
  if (giaddr !== undefined && !own.includes(formatIpv4(giaddr))) {
    const message = `--giaddr ${formatIpv4(giaddr)} is no address of this host; 'ip addr' lists them`;
    throw new FabricError("ERR_USAGE_RELAY", message);
  }
  const loop = servers.find((server) => own.includes(formatIpv4(server)));
  if (loop !== undefined) {
    const message = `--upstream ${formatIpv4(loop)} is this host itself; name a server elsewhere`;
    throw new FabricError("ERR_USAGE_RELAY", message);
  }
}

/** Opens a network's sockets and starts relaying; `ended` rejects if a socket fails. */
async function startNetwork(
  options: RelayOptions,
  network: RelayedNetwork & { link: Link },
  counters: RelayCounters,
  { opened, poller }: { opened: AsyncDisposableStack; poller: Poller },
): Promise<{ ended: Promise<void> }> {
  const { log, policy, servers } = options;
  const { name } = network.link;
  const filter = bootpDatagramFilter(BOOTREPLY);
  const upstream = opened.use(await openDatagramSocket(network.giaddr, SERVER_PORT, filter));
  const ring = { interfaceName: name, udpPort: SERVER_PORT, bootpOp: BOOTREQUEST, poller } as const;
  const socket = opened.use(openPacketRing(ring));
  const stop = new AbortController();
  const ended = relayDhcp({
    socket,
    upstream,
    network,
    policy,
    servers,
    findPort: createPortFinder(options, network.link),
    now: () => performance.now(),
    counters,
    onDrop: (event) => log.debug(describeDrop(event, name), "DHCP message dropped"),
    signal: stop.signal,
  }).catch((cause: unknown) => {
    throw new FabricError("ERR_RELAY_ENDED", `Relaying on ${name} ended`, { cause });
  });
  opened.defer(async () => {
    stop.abort();
    await ended.catch(() => undefined); // the race has it
  });
  return { ended };
}

/** The port of a client: the interface itself, or the port of the bridge that last saw the client. */
function createPortFinder(
  { circuitIdOf, trustedPorts }: RelayOptions,
  { name, ifindex, kind }: Link,
): (client: MacAddress) => ClientPort | undefined {
  const describe = (port: BridgePort): ClientPort => ({
    ifindex: port.ifindex,
    circuitId: circuitIdOf({ interface: name, port: port.name }),
    isTrusted: trustedPorts.includes(port.name),
  });
  const only = describe({ name, ifindex });
  if (kind !== "bridge") return () => only;
  return (client) => {
    const port = findBridgePortOf(name, client);
    return port === undefined ? undefined : describe(port);
  };
}

function describeDrop({ reason, chaddr, source }: RelayDropEvent, ifname: string) {
  return { reason, chaddr: formatMac(chaddr), source: formatIpv4(source), ifname };
}
