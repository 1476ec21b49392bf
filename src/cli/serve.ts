/** `goalstate serve`: DHCP, wire server and metadata on interfaces that are not ours. */
import { randomInt } from "node:crypto";
import type { Logger } from "pino";
import packageJson from "../../package.json" with { type: "json" };
import { createDhcpCounters, type DhcpCounters } from "../dhcp/index.ts";
import { type ContainerStatus, keys } from "../model/documents.ts";
import {
  formatIpv4,
  type Ipv4Address,
  type Ipv4Subnet,
  parseIpv4,
  subnetContains,
} from "../model/ipv4-address.ts";
import { isBehindPort } from "../net/bridge-port.ts";
import { type InterfaceSelector, parseInterfaceSelector } from "../net/interface-selection.ts";
import { type Link, listLinks } from "../net/iproute.ts";
import { openLinkMonitor } from "../net/link-monitor.ts";
import { Poller } from "../net/poller.ts";
import type { FabricStore } from "../store/index.ts";
import { createBootTrace } from "../trace/index.ts";
import { Journal } from "../wds/index.ts";
import type { WireObserver } from "../wireserver/index.ts";
import { aborted } from "./aborted.ts";
import { createAttester, openAuthority } from "./attestation.ts";
import { authorityRoutes } from "./authority-command.ts";
import { createReach, type Reach, reachByContact, reachByExchange } from "./boot-milestones.ts";
import { openControlServer } from "./control/control-server.ts";
import { fabricRoutes } from "./control/running-fabrics.ts";
import { type DataFolder, openDataFolder } from "./data-folder.ts";
import { readCounters } from "./dhcp/counters-document.ts";
import type { DhcpNetworkView } from "./dhcp/network-view.ts";
import { dhcpRoutes } from "./dhcp/routes.ts";
import { type DhcpNetwork, holdServerPort } from "./dhcp-service.ts";
import { createMemoryVault } from "./fabric/identity-vault.ts";
import { startHttpServices } from "./http-services.ts";
import { INVENTORY_PLACE, type InventoryContainers, vmIdOf } from "./inventory-containers.ts";
import { createMetrics, metricsRoutes, openMetricsServer } from "./metrics/metrics.ts";
import type { MetricsAddress } from "./metrics/metrics-address.ts";
import { openPlatformAddresses } from "./platform-addresses.ts";
import { requireInterface } from "./require-interface.ts";
import { requireRoot } from "./require-root.ts";
import { ServedInterfaces } from "./served-interfaces.ts";
import { type InventoryFile, readInventoryFile, ServedInventory } from "./served-inventory.ts";
import { openLocalRecorder } from "./wire-trace/local-recorder.ts";
import { writeLogTo } from "./write-log.ts";

export interface ServeOptions {
  /** Names of interfaces, and patterns; at least one. */
  readonly interfaces: readonly string[];
  /** Frames that each interface's ring holds; absent: as many as suit it. */
  readonly ringFrames?: number;
  readonly inventoryPath: string;
  /** Where metrics are served on TCP, beside the control socket. */
  readonly metrics?: MetricsAddress;
  readonly data: string;
  readonly print: (line: string) => void;
  readonly log: Logger;
  /** Calls back on SIGHUP, which otherwise ends the process, until it is disposed. */
  readonly onHangup: (reload: () => void) => Disposable;
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

/**
 * Serves until the signal aborts, then takes away what it added.
 *
 * @throws FabricError ERR_USAGE_* for bad input, ERR_NET_* for what the machine refuses
 */
export async function runServe(options: ServeOptions): Promise<void> {
  const { inventoryPath, print, log, signal } = options;
  const selectors = options.interfaces.map(parseInterfaceSelector);
  const file = readInventoryFile(inventoryPath, log);
  const links = await listLinks();
  for (const { text, isPattern } of selectors) if (!isPattern) requireInterface(text, links);
  requireRoot("ERR_SERVE_PRIVILEGE", "Raw sockets and interface addresses");
  await using data = await openDataFolder(options.data);
  const journal = new Journal({ now: Date.now, seed: randomInt(2 ** 32) });
  await using running = await startServices({ options, selectors, links, data, file, journal });
  using _hangup = options.onHangup(() => void running.inventory.reload());
  const networks = [...options.interfaces];
  const { version } = packageJson;
  const info = { command: "serve", networks, pid: process.pid, version };
  const views = () => [running.view];
  const metrics = createMetrics(version, views);
  await using _control = await openControlServer({
    folder: data.path,
    routes: [
      fabricRoutes(() => info),
      dhcpRoutes(views),
      metricsRoutes(metrics),
      authorityRoutes(() => openAuthority(data.store, Date.now)),
    ],
    log,
  });
  await using opened = new AsyncDisposableStack();
  if (options.metrics !== undefined) {
    opened.use(await openMetricsServer(options.metrics, metrics, log));
  }
  print("ready");
  await Promise.race([aborted(signal), running.served.ended]);
  await running.served[Symbol.asyncDispose]();
  log.info(readCounters(views()).networks[0], "stopping");
}

interface ServiceParts {
  readonly options: ServeOptions;
  readonly selectors: readonly InterfaceSelector[];
  /** As they are at the start. */
  readonly links: readonly Link[];
  readonly data: DataFolder;
  readonly file: InventoryFile;
  readonly journal: Journal;
}

/** What runs under `serve`. Disposing stops it, and takes away the addresses that were added. */
interface RunningServices extends AsyncDisposable {
  readonly counters: DhcpCounters;
  readonly inventory: ServedInventory;
  readonly served: ServedInterfaces;
  readonly view: DhcpNetworkView;
}

async function startServices(parts: ServiceParts): Promise<RunningServices> {
  const { data, journal, links, selectors } = parts;
  const { log, ringFrames } = parts.options;
  await using opened = new AsyncDisposableStack();
  const poller = new Poller();
  let served: ServedInterfaces | undefined;
  const monitor = opened.use(openLinkMonitor({ poller, onChange: () => served?.update() }));
  const inventory = await ServedInventory.open({
    ...{ file: parts.file, data, log },
    isOwnAddress: (address) => isOwnAddress(address, links),
    isElsewhere: (subnet) => isElsewhere(subnet, parts),
    resolver: { isBehind: (port, ifindex, mac) => isBehindPort(monitor.links, port, ifindex, mac) },
    plugins: {
      now: () => performance.now(),
      log: writeLogTo(log),
      seed: randomInt(2 ** 32),
      isPort: (ifindex) => monitor.links.get(ifindex)?.kind === "tun",
    },
  });
  const { chain, containers, rules } = inventory;
  const reach = createInventoryReach(data.store, containers, log);
  const network: DhcpNetwork = {
    poller,
    admit: chain.admit,
    decide: chain.decide,
    ...rules,
    counters: createDhcpCounters(),
    log,
    onExchange: (event) => {
      if (containers.isNamedMac(event.chaddr)) reachByExchange(reach, event);
    },
    observe: (event) => {
      journal.observe(event);
      chain.observe(event);
    },
  };
  const addresses = opened.use(await openPlatformAddresses(data.store));
  const { recorder } = opened.use(openLocalRecorder(data.path, log));
  const http = await startHttpServices({
    // They come with the interfaces, and those may come later.
    mayPrecedeAddresses: true,
    directory: containers,
    observer: observeGuests(data.store, reach, log),
    recorder,
    vault: createMemoryVault(Date.now),
    attester: createAttester({
      ...{ store: data.store, now: Date.now },
      findVmId: (container) => vmIdOf(data.fabricId, container),
    }),
    log,
  });
  opened.use(http);
  opened.use(holdServerPort(undefined, log));
  const interfaces = opened.use(
    new ServedInterfaces({
      ...{ selectors, monitor, addresses, network, log },
      ...(ringFrames !== undefined && { ringFrames }),
    }),
  );
  served = interfaces;
  await interfaces.start();
  const { counters } = network;
  const view: DhcpNetworkView = {
    name: parts.options.interfaces.join(),
    counters,
    readSocketCounters: () => interfaces.readFrames(),
    plugins: chain.counters,
    decisions: journal,
    listInterfaces: async () =>
      new Map([...monitor.links.values()].map(({ ifindex, name }) => [ifindex, name])),
  };
  const kept = opened.move();
  return {
    counters,
    inventory,
    served: interfaces,
    view,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** True if an interface of this machine has the address: guests then reach all of the machine's addresses through it. */
function isOwnAddress(address: Ipv4Address, links: readonly Link[]): boolean {
  const start = `${formatIpv4(address)}/`;
  return links.some(({ addresses }) => addresses.some((own) => own.startsWith(start)));
}

/**
 * True if the interfaces have addresses, and none of the network's: its clients are behind a relay agent, and reach this
 * machine through their gateway as well.
 */
function isElsewhere(subnet: Ipv4Subnet, { selectors, links }: ServiceParts): boolean {
  const served = links.filter(({ name }) =>
    selectors.some(({ text, isPattern }) => !isPattern && text === name),
  );
  const own = served.flatMap(({ addresses }) => addresses.filter((text) => !text.endsWith("/32")));
  const isOfNetwork = (text: string) => subnetContains(subnet, parseIpv4(text.split("/")[0] ?? ""));
  return own.length > 0 && !own.some(isOfNetwork);
}

/** Milestones of the containers that have a name. */
function createInventoryReach(
  store: FabricStore,
  containers: InventoryContainers,
  log: Logger,
): Reach {
  const trace = createBootTrace({
    store,
    now: Date.now,
    onError: (err, container) => log.error({ err, container }, "milestone not recorded"),
  });
  const reachOnce = createReach(trace);
  return (container, milestone, evidence) => {
    // The NICs of a range or a bindings file may be many thousands: they are counted, not traced.
    if (!containers.isNamed(container)) return false;
    const isNew = reachOnce(container, milestone, evidence);
    if (isNew) log.info({ container, ...evidence() }, milestone);
    return isNew;
  };
}

/** Turns what guests ask and say into milestones and status. */
function observeGuests(store: FabricStore, reach: Reach, log: Logger): WireObserver {
  const healths = new Map<string, string>();
  return {
    contact: (container, request) => reachByContact(reach, container, request),
    health: async ({ name }, { incarnation, ...health }) => {
      // Transitions are stored, heartbeats are not.
      const text = JSON.stringify(health);
      if (healths.get(name) !== text) {
        await storeHealth(store, name, health);
        healths.set(name, text);
        log.info({ container: name, ...health }, "health");
      }
      if (health.state === "Ready") reach(name, "ready", () => ({ incarnation }));
    },
    roleProperties: async ({ name }, properties) => {
      const state = properties.get("RoleState");
      if (state?.startsWith("Started")) reach(name, "role-started", () => ({ state }));
    },
    refused: (address, reason) => log.warn({ address, reason }, "caller refused"),
  };
}

async function storeHealth(
  store: FabricStore,
  container: string,
  health: NonNullable<ContainerStatus["health"]>,
): Promise<void> {
  const status: ContainerStatus = {
    state: health.state === "Ready" ? "Ready" : "AwaitingAgent",
    detail: `its agent reports ${health.state}`,
    sinceMs: Date.now(),
    ...INVENTORY_PLACE,
    health,
  };
  await store.txn({
    success: [{ kind: "put", key: keys.containerStatus(container), value: status }],
  });
}
