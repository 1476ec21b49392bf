/** Wires a whole fabric in one process: managers, agents, and the services of each VNET. */
import { randomInt } from "node:crypto";
import { join } from "node:path";
import type { Logger } from "pino";
import { ComputeAgent, ComputeManager, type Hypervisor } from "../compute/index.ts";
import type { ContainerGoal } from "../model/documents.ts";
import { type Ipv4Address, parseIpv4 } from "../model/ipv4-address.ts";
import { listLinks } from "../net/iproute.ts";
import { Poller } from "../net/poller.ts";
import { NetworkAgent, NetworkManager, type NodeVnet, probeEndpoint } from "../nm/index.ts";
import type { FabricStore } from "../store/index.ts";
import { type BootTrace, createBootTrace } from "../trace/index.ts";
import { createChain, Journal, loadChain } from "../wds/index.ts";
import type { WireContainer, WireObserver } from "../wireserver/index.ts";
import { createReach, type Reach, reachByContact, reachByExchange } from "./boot-milestones.ts";
import type { DhcpNetworkView } from "./dhcp/network-view.ts";
import { type NetworkServices, startNetworkServices } from "./network-services.ts";
import { wireContainerOf } from "./wire-view.ts";
import { writeLogTo } from "./write-log.ts";

const NODE = "node-1";
const PROBE_INTERVAL_MS = 200;
/** Of the decision journal of a VNET, whose ports are its NICs. */
const VNET_JOURNAL = { clients: 1_024, strangers: 256 };

export interface FabricOptions {
  readonly store: FabricStore;
  /** Starts the name of everything that the fabric makes on this machine. */
  readonly prefix: string;
  readonly fabricId: string;
  /** The data folder. */
  readonly folder: string;
  readonly hypervisor: Hypervisor;
  readonly canFilter: boolean;
  readonly log: Logger;
}

/** A running fabric. Disposing it stops its VMs and services; its namespaces are removed by `removeLeftovers`. */
export interface Fabric extends AsyncDisposable {
  readonly manager: ComputeManager;
  readonly agent: ComputeAgent;
  readonly trace: BootTrace;
  /** The VNETs that are answered now. */
  readonly listNetworks: () => readonly DhcpNetworkView[];
}

/** Starts managers and agents on one node, this machine. */
export async function startFabric(options: FabricOptions): Promise<Fabric> {
  const { store, fabricId, log, prefix } = options;
  await using opened = new AsyncDisposableStack();
  const stop = new AbortController();
  const trace = createBootTrace({
    store,
    now: Date.now,
    onError: (err, container) => log.error({ err, container }, "milestone not recorded"),
  });
  const onError = (what: string, err: unknown) => log.error({ err, what }, "agent failed");
  const reach = createReach(trace);
  const poller = new Poller();
  const views = new Map<string, DhcpNetworkView>();
  const agent = new ComputeAgent({
    ...{ store, trace, onError },
    node: NODE,
    hypervisor: options.hypervisor,
    namePrefix: prefix,
    runDirectory: join(options.folder, "run"),
    now: Date.now,
  });
  const networkAgent = new NetworkAgent({
    ...{ store, onError },
    node: NODE,
    namespacePrefix: prefix,
    canFilter: options.canFilter,
    startServices: (vnet) =>
      startVnet({ vnet, agent, reach, poller, log, views, signal: stop.signal }),
    onProgrammed: ({ container, mac, address }, status) => {
      if (status.kind !== "programmed") return;
      const { port, filter } = status;
      trace.reach(container, "port-programmed", { port, mac, address, filter });
    },
  });
  opened.use(networkAgent);
  opened.use(agent);
  const running = Promise.all([networkAgent.run(stop.signal), agent.run(stop.signal)]);
  running.catch((err: unknown) => log.error({ err }, "agents ended"));
  opened.defer(async () => {
    stop.abort();
    await running;
    await trace.settled();
  });
  const network = new NetworkManager({ store });
  const manager = new ComputeManager({ store, network, trace, fabricId, nodes: [NODE] });
  const kept = opened.move();
  const listNetworks = () => [...views.values()];
  return { manager, agent, trace, listNetworks, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

interface VnetParts {
  readonly vnet: NodeVnet;
  readonly agent: ComputeAgent;
  readonly reach: Reach;
  readonly poller: Poller;
  readonly log: Logger;
  /** Those of the VNETs that run, by name. */
  readonly views: Map<string, DhcpNetworkView>;
  readonly signal: AbortSignal;
}

async function startVnet(parts: VnetParts): Promise<NetworkServices> {
  const { vnet, agent, reach, poller, views } = parts;
  const log = parts.log.child({ vnet: vnet.vnet });
  const { plugins } = await loadChain(
    { file: "the chain of a VNET", folder: ".", chain: undefined },
    {
      hosts: { findHost: () => undefined },
      nics: vnet,
      now: () => performance.now(),
      log: writeLogTo(log),
      seed: randomInt(2 ** 32),
    },
  );
  const chain = createChain(plugins);
  const journal = new Journal({ now: Date.now, seed: randomInt(2 ** 32), ...VNET_JOURNAL });
  const services = await startNetworkServices({
    namespace: vnet.namespace,
    interfaceName: vnet.bridge,
    poller,
    admit: chain.admit,
    decide: chain.decide,
    observe: (event) => {
      journal.observe(event);
      chain.observe(event);
    },
    directory: { findByAddress: (address) => findWireContainer(parts, address) },
    observer: observeGuests(parts),
    log,
    onExchange: (event) => {
      const { container } = event;
      if (!reachByExchange(reach, event) || container === undefined) return;
      agent.leased(container).catch((err: unknown) => log.error({ err }, "status not recorded"));
    },
  });
  services.ended.catch(() => undefined); // logged by the services; the other VNETs go on
  const { counters, readSocketCounters } = services;
  views.set(vnet.vnet, {
    ...{ name: vnet.vnet, counters, readSocketCounters },
    plugins: chain.counters,
    decisions: journal,
    listInterfaces: async () =>
      new Map((await listLinks(vnet.namespace)).map(({ ifindex, name }) => [ifindex, name])),
  });
  return {
    ...services,
    [Symbol.asyncDispose]: () => {
      views.delete(vnet.vnet);
      return services[Symbol.asyncDispose]();
    },
  };
}

function findWireContainer(
  { vnet, agent }: VnetParts,
  address: Ipv4Address,
): WireContainer | undefined {
  const container = vnet.findContainer(address);
  const goal = container === undefined ? undefined : agent.findGoal(container);
  return goal === undefined ? undefined : wireContainerOf(goal, agent.listTenant(goal.tenant));
}

/** Turns what guests ask and say into milestones and status. */
function observeGuests(parts: VnetParts): WireObserver {
  const { agent, reach, log, vnet } = parts;
  return {
    contact: (container, { kind }) => reachByContact(reach, container, kind),
    health: async ({ name }, report) => {
      const { state, subStatus, description } = report;
      await agent.reportHealth(name, {
        state,
        ...(subStatus !== undefined && { subStatus }),
        ...(description !== undefined && { description }),
      });
      if (state === "Ready") reach(name, "ready", () => ({ incarnation: report.incarnation }));
    },
    roleProperties: async ({ name }, properties) => {
      const state = properties.get("RoleState");
      if (state === undefined) return;
      await agent.reportRole(name, state);
      if (!state.startsWith("Started") || !reach(name, "role-started", () => ({ state }))) return;
      const goal = agent.findGoal(name);
      if (goal !== undefined) void probeUntilOpen(parts, goal);
    },
    refused: (address, reason) => log.warn({ vnet: vnet.vnet, address, reason }, "caller refused"),
  };
}

/** Probes a role's endpoints, one after another, until all have answered. */
async function probeUntilOpen(parts: VnetParts, goal: ContainerGoal): Promise<void> {
  const { vnet, reach, signal } = parts;
  const answers: string[] = [];
  for (const { name, port, protocol } of goal.endpoints) {
    const target = { namespace: vnet.namespace, address: parseIpv4(goal.address), port, protocol };
    let result = await probeEndpoint(target);
    while (result.kind === "closed" && !signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, PROBE_INTERVAL_MS));
      if (signal.aborted) return;
      result = await probeEndpoint(target);
    }
    if (result.kind === "closed") return;
    answers.push(`${name} ${goal.address}:${port} "${result.answer}"`);
  }
  if (answers.length > 0) {
    reach(goal.container, "endpoint-open", () => ({ answer: answers.join(", ") }));
  }
}
