/** What answers the guests of one VNET on this node, and what is learnt from what they ask and say. */
import { randomInt } from "node:crypto";
import type { Logger } from "pino";
import type { ComputeAgent } from "../../compute/index.ts";
import type { ContainerGoal } from "../../model/documents.ts";
import { parseIpv4, parseSubnet } from "../../model/ipv4-address.ts";
import { listLinks } from "../../net/iproute.ts";
import type { Poller } from "../../net/poller.ts";
import { type NodeVips, type NodeVnet, probeEndpoint, VnetVips } from "../../nm/index.ts";
import type { FabricStore } from "../../store/index.ts";
import { createChain, Journal, loadChain } from "../../wds/index.ts";
import type { FaultBook, WireObserver } from "../../wireserver/index.ts";
import { type Reach, reachByContact, reachByExchange } from "../boot-milestones.ts";
import type { DhcpNetworkView } from "../dhcp/network-view.ts";
import { startVnetEvents } from "../events/vnet-events.ts";
import { type NetworkServices, startNetworkServices } from "../network-services.ts";
import type { WireProcess } from "../wire-process/wire-process.ts";
import { writeLogTo } from "../write-log.ts";
import { startDns } from "./dns-service.ts";
import { startVnetDirectory } from "./vnet-directory.ts";
import { publishContainers, type ShownGoals } from "./wire-publisher.ts";

const PROBE_INTERVAL_MS = 200;
/** Of the decision journal of a VNET, whose ports are its NICs. */
const VNET_JOURNAL = { clients: 1_024, strangers: 256 };

/** What {@link startVnet} needs. */
export interface VnetParts {
  readonly store: FabricStore;
  readonly node: string;
  /** Public addresses of the node; absent: nothing is public. */
  readonly nodeVips?: NodeVips;
  readonly vnet: NodeVnet;
  readonly agent: ComputeAgent;
  readonly goals: ShownGoals;
  readonly wireProcess: WireProcess;
  readonly reach: Reach;
  readonly poller: Poller;
  readonly log: Logger;
  /** Answers that are made wrong on purpose. */
  readonly faults: FaultBook;
  /** Those of the VNETs that run, by name. */
  readonly views: Map<string, DhcpNetworkView>;
  readonly signal: AbortSignal;
}

/** Starts DHCP and DNS in a VNET's namespace, and has the wire process listen there. */
export async function startVnet(parts: VnetParts): Promise<NetworkServices> {
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
  await using opened = new AsyncDisposableStack();
  const directory = opened.use(
    startVnetDirectory({
      ...{ store: parts.store, vnet: vnet.vnet, tenant: vnet.goal.tenant },
      onError: (err) => log.error({ err }, "the directory of a VNET ended"),
    }),
  );
  const events = opened.use(
    startVnetEvents({
      ...{ store: parts.store, tenant: vnet.goal.tenant, now: Date.now },
      onError: (err) => log.error({ err }, "the events of a VNET ended"),
    }),
  );
  const observer = observeGuests(parts);
  const { namespace } = vnet;
  const wire = opened.use(parts.wireProcess.openVnet({ namespace, observer, events }));
  opened.use(publishContainers({ vnet, goals: parts.goals, directory, wire }));
  const services = opened.use(
    startNetworkServices({
      namespace: vnet.namespace,
      interfaceName: vnet.bridge,
      poller,
      admit: chain.admit,
      decide: chain.decide,
      observe: (event) => {
        journal.observe(event);
        chain.observe(event);
      },
      findReplyFault: ({ container }, reply) =>
        container === undefined ? undefined : parts.faults.nextReply(container, reply),
      log,
      onExchange: (event) => {
        const { container } = event;
        if (!reachByExchange(reach, event) || container === undefined) return;
        agent.leased(container).catch((err: unknown) => log.error({ err }, "status not recorded"));
      },
    }),
  );
  const onError = (err: unknown) => log.error({ err }, "names of a VNET ended");
  opened.use(await startDns({ zone: directory.zone, namespace: vnet.namespace, onError }));
  if (parts.nodeVips !== undefined) {
    opened.use(startVips({ ...parts, nodeVips: parts.nodeVips }, log));
  }
  services.ended.catch(() => undefined); // logged by the services; the other VNETs go on
  const { counters, readSocketCounters } = services;
  views.set(vnet.vnet, {
    ...{ name: vnet.vnet, counters, readSocketCounters },
    plugins: chain.counters,
    decisions: journal,
    listInterfaces: async () =>
      new Map((await listLinks(vnet.namespace)).map(({ ifindex, name }) => [ifindex, name])),
  });
  opened.defer(() => void views.delete(vnet.vnet));
  const kept = opened.move();
  return { ...services, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function startVips(
  { store, node, vnet, nodeVips }: VnetParts & { readonly nodeVips: NodeVips },
  log: Logger,
): VnetVips {
  const { addressSpace, gateway, vni } = vnet.goal;
  return new VnetVips({
    ...{ store, node, nodeVips, vni, vnet: vnet.vnet, namespace: vnet.namespace },
    subnet: parseSubnet(addressSpace),
    gateway: parseIpv4(gateway),
    onError: (what, err) => log.error({ err, what }, "public endpoints failed"),
  });
}

/** Turns what guests ask and say into milestones and status. */
function observeGuests(parts: VnetParts): WireObserver {
  const { agent, reach, log, vnet } = parts;
  return {
    contact: (container, request) => {
      const { kind, incarnation } = request;
      reachByContact(reach, container, request);
      agent.heard(container.name);
      // The one that it was sent: there may be a newer one by now.
      if (kind === "goalstate" && incarnation !== undefined) {
        agent.fetched(container.name, incarnation);
      }
    },
    health: async ({ name }, report) => {
      const { state, subStatus, description } = report;
      await agent.reportHealth(name, {
        state,
        ...(subStatus !== undefined && { subStatus }),
        ...(description !== undefined && { description }),
      });
      if (state === "Ready") reach(name, "ready", () => ({ incarnation: report.incarnation }));
    },
    agentStatus: ({ name }, status) => agent.reportAgent(name, status),
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
