/** A node: the real agents over a simulated hypervisor and network, and guests that say what goalstate's own guest says. */
import { setTimeout as sleep } from "node:timers/promises";
import { ComputeAgent, systemClock } from "../../src/compute/index.ts";
import { keys, type NicGoal, type NodeStatus } from "../../src/model/documents.ts";
import { NetworkAgent, SimulatedNetwork } from "../../src/nm/index.ts";
import type { FabricStore } from "../../src/store/index.ts";
import { createBootTrace } from "../../src/trace/index.ts";
import { simulateVms } from "./simulated-vms.ts";

/** How often a guest's agent polls its goal state; a real one takes six times as long. */
const POLL_MS = 1_000;
const TTL_MS = 30_000;

/** What {@link startSimulatedNode} needs. */
export interface SimulatedNodeOptions {
  readonly store: FabricStore;
  readonly node: string;
  readonly faultDomain: string;
  /** Its containers' folders are in it. */
  readonly runDirectory: string;
  /** Milliseconds of the creation of a VM. */
  readonly createMs: number;
  /** Milliseconds of a guest from its port's opening to its DHCP request, and again to its report Ready. */
  readonly guestMs: number;
  /** A guest's report Ready is durable. */
  readonly onReady: (container: string) => void;
  readonly onError: (what: string, error: unknown) => void;
}

/** A running node. */
export interface SimulatedNode extends AsyncDisposable {
  /** As when its machine loses power: nothing is written any more, and its lease ends. @param onLost - called just before that */
  die(onLost: () => void): Promise<void>;
}

/** Starts a node; resolves when the fabric knows of it. */
export async function startSimulatedNode(options: SimulatedNodeOptions): Promise<SimulatedNode> {
  const { store, node, onError, guestMs } = options;
  const stop = new AbortController();
  const { signal } = stop;
  const trace = createBootTrace({ store, now: Date.now, onError: (error) => onError(node, error) });
  const guests = new Set<string>();
  using opened = new DisposableStack();
  const network = opened.use(new SimulatedNetwork());
  const vnetOf = (namespace: string) => namespace.slice(network.namespaceOf("").length);
  const vms = simulateVms({
    createMs: options.createMs,
    addPort: ({ port }) => {
      if (!network.addPort(vnetOf(port.namespace), port.name))
        throw new Error(`${port.namespace} is not on ${node}`);
    },
    removePort: ({ port }) => network.removePort(vnetOf(port.namespace), port.name),
    onEnd: ({ container }) => guests.delete(container),
  });
  const agent = new ComputeAgent({
    ...{ store, node, trace, onError },
    hypervisor: vms.hypervisor,
    namePrefix: "sim-",
    runDirectory: options.runDirectory,
    clock: systemClock(Date.now),
  });
  const networkAgent = new NetworkAgent({
    ...{ store, node, network, onError },
    now: () => performance.now(),
    startServices: async () => ({ [Symbol.asyncDispose]: async () => undefined }),
    onProgrammed: (goal, status) => {
      if (status.kind !== "programmed") return;
      const { container, mac, address } = goal;
      trace.reach(container, "port-programmed", { port: status.port, mac, address });
      if (guests.has(container)) return;
      guests.add(container);
      void playGuest(goal).catch((error: unknown) => {
        if (!signal.aborted) onError(container, error);
      });
    },
  });

  /** What services of a VNET tell the agent and the trace of a guest that boots. */
  async function playGuest({ container, address }: NicGoal): Promise<void> {
    await sleep(guestMs, undefined, { signal });
    if (!guests.has(container)) return;
    trace.reach(container, "dhcp-discover", { offered: address });
    trace.reach(container, "dhcp-ack", { address });
    await agent.leased(container);
    await sleep(guestMs, undefined, { signal });
    if (!guests.has(container)) return;
    const incarnation = agent.findGoal(container)?.incarnation ?? 0;
    agent.heard(container);
    agent.fetched(container, incarnation);
    trace.reach(container, "agent-contact", { request: "versions" });
    trace.reach(container, "goalstate-fetched", { incarnation });
    trace.reach(container, "config-fetched", { incarnation });
    await agent.reportHealth(container, { state: "Ready" });
    trace.reach(container, "ready", { incarnation });
    options.onReady(container);
  }

  const polls = setInterval(() => {
    for (const container of guests) {
      agent.heard(container);
      const goal = agent.findGoal(container);
      if (goal === undefined) continue;
      agent.fetched(container, goal.incarnation);
      if (goal.expectedState === "Stopped") vms.powerOff(container);
    }
  }, POLL_MS);
  const running = Promise.all([networkAgent.run(signal), agent.run(signal)]);
  running.catch((error: unknown) => onError(node, error));
  await agent.ready;
  const lease = await store.lease(TTL_MS);
  const status: NodeStatus = {
    ...{ node, faultDomain: options.faultDomain, cpus: 64, memoryMib: 65_536 },
    ...{ hypervisor: "simulated", version: "bench", pid: process.pid, sinceMs: Date.now() },
  };
  const key = keys.node(node);
  await store.txn({ success: [{ kind: "put", key, value: status, lease: lease.id }] });
  const kept = opened.move();
  const end = async () => {
    clearInterval(polls);
    stop.abort();
    await running.catch(() => undefined); // it was told
    await agent[Symbol.asyncDispose]();
    await networkAgent[Symbol.asyncDispose]();
    await trace.settled();
    kept.dispose();
  };
  return {
    die: async (onLost) => {
      await end();
      onLost();
      await lease.revoke();
    },
    [Symbol.asyncDispose]: end,
  };
}
