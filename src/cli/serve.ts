/** `goalstate serve`: DHCP, wire server and metadata on an interface that exists already. */
import { randomInt } from "node:crypto";
import type { Logger } from "pino";
import packageJson from "../../package.json" with { type: "json" };
import { type ContainerStatus, keys } from "../model/documents.ts";
import { formatIpv4 } from "../model/ipv4-address.ts";
import { findBridgePort } from "../net/bridge-port.ts";
import { type Link, listLinks } from "../net/iproute.ts";
import { Poller } from "../net/poller.ts";
import {
  type BindingTable,
  createInventoryResolver,
  type InventoryDescription,
  inventoryWarnings,
  parseInventory,
} from "../nm/index.ts";
import type { FabricStore } from "../store/index.ts";
import { createBootTrace } from "../trace/index.ts";
import { Journal } from "../wds/index.ts";
import type { WireObserver } from "../wireserver/index.ts";
import { aborted } from "./aborted.ts";
import { createReach, type Reach, reachByContact, reachByExchange } from "./boot-milestones.ts";
import { openControlServer } from "./control/control-server.ts";
import { fabricRoutes } from "./control/running-fabrics.ts";
import { type DataFolder, openDataFolder } from "./data-folder.ts";
import type { DhcpNetworkView } from "./dhcp/network-view.ts";
import { dhcpRoutes } from "./dhcp/routes.ts";
import { loadInventoryContainers } from "./inventory-containers.ts";
import { createInventoryServer } from "./inventory-server.ts";
import { loadBindings } from "./load-bindings.ts";
import { type NetworkServices, startNetworkServices } from "./network-services.ts";
import { holdPlatformAddresses } from "./platform-addresses.ts";
import { readYaml } from "./read-yaml.ts";
import { requireInterface } from "./require-interface.ts";
import { requireRoot } from "./require-root.ts";

export interface ServeOptions {
  readonly interfaceName: string;
  readonly inventoryPath: string;
  readonly data: string;
  readonly print: (line: string) => void;
  readonly log: Logger;
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

/**
 * Serves until the signal aborts, then takes away what it added.
 *
 * @throws FabricError ERR_USAGE_* for bad input, ERR_NET_* for what the machine refuses
 */
export async function runServe(options: ServeOptions): Promise<void> {
  const { interfaceName, inventoryPath, print, log, signal } = options;
  const inventory = parseInventory(readYaml(inventoryPath), inventoryPath);
  for (const warning of inventoryWarnings(inventory))
    log.warn({ inventory: inventoryPath }, warning);
  const bindings = loadBindings(inventory, inventoryPath);
  const link = await requireInterface(interfaceName);
  requireRoot("ERR_SERVE_PRIVILEGE", "Raw sockets and interface addresses");
  await using data = await openDataFolder(options.data);
  await using _addresses = await holdPlatformAddresses(data.store, interfaceName);
  const journal = new Journal({ now: Date.now, seed: randomInt(2 ** 32) });
  const served = { inventory, link, ...(bindings !== undefined && { bindings }) };
  await using services = await startServices(options, data, served, journal);
  const networks = [interfaceName];
  const info = { command: "serve", networks, pid: process.pid, version: packageJson.version };
  await using _control = await openControlServer({
    folder: data.path,
    routes: [fabricRoutes(info), dhcpRoutes(() => [services.view])],
    log,
  });
  print("ready");
  await Promise.race([aborted(signal), services.ended]);
  const drops = Object.fromEntries(services.counters.drops);
  log.info({ ...services.counters, drops }, "stopping");
}

/** What is served, and where. */
interface Served {
  readonly inventory: InventoryDescription;
  readonly bindings?: BindingTable;
  readonly link: Link;
}

async function startServices(
  options: ServeOptions,
  data: DataFolder,
  { inventory, link, ...bindings }: Served,
  journal: Journal,
): Promise<NetworkServices & { readonly view: DhcpNetworkView }> {
  const { interfaceName, log } = options;
  const { gateway } = inventory.network;
  const isGateway =
    gateway !== undefined && link.addresses.some((a) => a.startsWith(`${formatIpv4(gateway)}/`));
  const resolver = createInventoryResolver(inventory, { isGateway, ...bindings });
  const containers = await loadInventoryContainers(data, inventory, resolver);
  const trace = createBootTrace({
    store: data.store,
    now: Date.now,
    onError: (err, container) => log.error({ err, container }, "milestone not recorded"),
  });
  const reachOnce = createReach(trace);
  const reach: Reach = (container, milestone, evidence) => {
    // The NICs of a range or a bindings file may be many thousands: they are counted, not traced.
    if (!containers.isNamed(container)) return false;
    const isNew = reachOnce(container, milestone, evidence);
    if (isNew) log.info({ container, ...evidence() }, milestone);
    return isNew;
  };
  const { chain, rules } = createInventoryServer(inventory, resolver);
  const services = await startNetworkServices({
    interfaceName,
    poller: new Poller(),
    decide: chain.decide,
    ...rules,
    ...(link.kind === "bridge" && { findPort: (mac) => findBridgePort(interfaceName, mac) }),
    directory: containers,
    observer: observeGuests(data.store, reach, log),
    log,
    onExchange: (event) => {
      if (containers.isNamedMac(event.chaddr)) reachByExchange(reach, event);
    },
    observe: (event) => journal.observe(event),
  });
  const { counters, readSocketCounters } = services;
  const view: DhcpNetworkView = {
    ...{ name: interfaceName, counters, readSocketCounters },
    plugins: chain.counters,
    decisions: journal,
    listInterfaces: async () =>
      new Map((await listLinks()).map(({ ifindex, name }) => [ifindex, name])),
  };
  return { ...services, view };
}

/** Turns what guests ask and say into milestones and status. */
function observeGuests(store: FabricStore, reach: Reach, log: Logger): WireObserver {
  const healths = new Map<string, string>();
  return {
    contact: (container, { kind }) => reachByContact(reach, container, kind),
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
    health,
  };
  await store.txn({
    success: [{ kind: "put", key: keys.containerStatus(container), value: status }],
  });
}
