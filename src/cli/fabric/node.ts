/** A node: its agents, and what answers its guests. In a process of its own, or inside the demo. */
import { join } from "node:path";
import type { Logger } from "pino";
import {
  ComputeAgent,
  type Hypervisor,
  type ImageStore,
  imageBootSource,
  type PrepareBootSource,
  systemClock,
} from "../../compute/index.ts";
import type { NodeNamespace } from "../../net/node-network.ts";
import { Poller } from "../../net/poller.ts";
import { createLinuxNetwork, NetworkAgent, NodeVips } from "../../nm/index.ts";
import type { FabricStore } from "../../store/index.ts";
import type { BootTrace } from "../../trace/index.ts";
import type { WireArtifacts } from "../../wireserver/index.ts";
import { createAttester } from "../attestation.ts";
import { createNodeTrace, createReach } from "../boot-milestones.ts";
import type { DhcpNetworkView } from "../dhcp/network-view.ts";
import { startWireProcess, type WireProcess } from "../wire-process/wire-process.ts";
import { openTraceWriter, TRACE_FOLDER } from "../wire-trace/trace-writer.ts";
import { createIdentityVault } from "./identity-vault.ts";
import { startNodeFaults } from "./node-faults.ts";
import { type FindDiscFault, withProvisioningDisc } from "./provisioning.ts";
import { startVnet } from "./vnet-services.ts";
import type { ShownGoals } from "./wire-publisher.ts";

/** What {@link startNode} needs. */
export interface NodeOptions {
  readonly store: FabricStore;
  readonly trace: BootTrace;
  readonly node: string;
  /** Starts the name of everything that the node makes on this machine. */
  readonly prefix: string;
  /** What documents for guests point to. */
  readonly artifacts: WireArtifacts;
  /** Where the node keeps what is only for while it runs. */
  readonly folder: string;
  /** Where each container has a folder of its own. */
  readonly runDirectory: string;
  readonly hypervisor: Hypervisor;
  /** Where roles with an image get it from. */
  readonly images: ImageStore;
  readonly canFilter: boolean;
  /** Where it meets the other nodes; absent: it is alone, and nothing of it is public. */
  readonly namespace?: NodeNamespace;
  /** What becomes of its VMs when it is disposed. */
  readonly vmsAtEnd: "stop" | "leave";
  readonly log: Logger;
}

/** A running node. Disposing it stops its agents and services. */
export interface FabricNode extends AsyncDisposable {
  readonly agent: ComputeAgent;
  /** The VNETs that are answered now. */
  readonly listNetworks: () => readonly DhcpNetworkView[];
  readonly wireProcess: Pick<WireProcess, "pid" | "restarts">;
}

/** Starts the agents of a node, and the process that answers its guests. */
export async function startNode(options: NodeOptions): Promise<FabricNode> {
  const { store, log, prefix, node } = options;
  const trace = createNodeTrace(options.trace);
  const stop = new AbortController();
  const onError = (what: string, err: unknown) => log.error({ err, what }, "agent failed");
  const reach = createReach(trace);
  const poller = new Poller();
  const views = new Map<string, DhcpNetworkView>();
  const watchers = new Set<(container: string) => void>();
  const onChange = (container: string) => {
    for (const tell of watchers) tell(container);
  };
  const requests = openTraceWriter(join(options.folder, TRACE_FOLDER), (err) =>
    log.warn({ err }, "the trace of requests is not written"),
  );
  const wireProcess = await startWireProcess({
    ...{ label: prefix, folder: options.folder, log },
    vault: createIdentityVault({ store, now: Date.now }),
    attester: createAttester({
      ...{ store, now: Date.now },
      findVmId: (container) => agent.findGoal(container)?.containerId,
    }),
    artifacts: options.artifacts,
    takeTrace: (batch) => requests.take(batch),
  });
  const faults = startNodeFaults({
    ...{ store, onError, now: () => performance.now() },
    onSet: (container, playbook) => wireProcess.setFault(container, playbook),
  });
  const agent = new ComputeAgent({
    ...{ store, trace, onError, onChange, node },
    hypervisor: options.hypervisor,
    prepareSource: bootSourceFor(options, (container) => faults.book.discFault(container)),
    namePrefix: prefix,
    runDirectory: options.runDirectory,
    clock: systemClock(Date.now),
  });
  const network = createLinuxNetwork({
    namespacePrefix: prefix,
    canFilter: options.canFilter,
    poller,
    ...(options.namespace !== undefined && { underlay: options.namespace }),
  });
  const nodeVips =
    options.namespace && new NodeVips({ nodeNamespace: options.namespace.namespace, onError });
  const goals: ShownGoals = {
    findGoal: (container) => agent.findGoal(container),
    watchGoals: (tell) => {
      watchers.add(tell);
      return { [Symbol.dispose]: () => void watchers.delete(tell) };
    },
  };
  const networkAgent = new NetworkAgent({
    ...{ store, onError, node, network },
    now: () => performance.now(),
    startServices: (vnet) =>
      startVnet({
        ...{ store, node, vnet, agent, goals, wireProcess, reach, poller, log, views },
        signal: stop.signal,
        faults: faults.book,
        ...(nodeVips !== undefined && { nodeVips }),
      }),
    onProgrammed: ({ container, mac, address }, status) => {
      if (status.kind !== "programmed") return;
      const { port, filter } = status;
      trace.reach(container, "port-programmed", { port, mac, address, filter });
    },
  });
  const running = Promise.all([networkAgent.run(stop.signal), agent.run(stop.signal)]);
  running.catch((err: unknown) => log.error({ err }, "agents ended"));
  return {
    agent,
    wireProcess,
    listNetworks: () => [...views.values()],
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      await trace.settled();
      if (options.vmsAtEnd === "stop") await agent.stopAll();
      await agent[Symbol.asyncDispose]();
      await networkAgent[Symbol.asyncDispose]();
      await faults[Symbol.asyncDispose]();
      await wireProcess[Symbol.asyncDispose]();
      await requests[Symbol.asyncDispose]();
      await nodeVips?.[Symbol.asyncDispose]();
    },
  };
}

/** A guest that is a network namespace boots nothing: its image is named in the trace, and not used. */
function bootSourceFor(
  { hypervisor, images }: NodeOptions,
  findFault: FindDiscFault,
): PrepareBootSource {
  if (hypervisor.kind === "qemu") return withProvisioningDisc(imageBootSource(images), findFault);
  return async ({ goal }) => ({
    evidence: goal.image === undefined ? {} : { image: "not used by network namespaces" },
  });
}
