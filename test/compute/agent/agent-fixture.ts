/** An agent over a memory store and a simulated machine. The test plays compute manager and network agent. */
import { onTestFinished } from "vitest";
import {
  ComputeAgent,
  type ComputePolicy,
  type PrepareBootSource,
} from "../../../src/compute/index.ts";
import {
  asDocument,
  type ContainerGoal,
  type ContainerStatus,
  keys,
} from "../../../src/model/documents.ts";
import { deriveGuid } from "../../../src/model/names.ts";
import { type FabricStore, openMemoryStore } from "../../../src/store/index.ts";
import { createBootTrace } from "../../../src/trace/index.ts";
import { temporaryFolder } from "../../temporary-folder.ts";
import { ManualClock } from "./manual-clock.ts";
import { SimulatedMachine, type SimulatedMachineOptions, settle } from "./simulated-machine.ts";

export const NODE = "node-1";
export const CONTAINER = "lab.web_0";

export const POLICY: Partial<ComputePolicy> = {
  readyMs: 100_000,
  silenceMs: 10_000,
  leaseGraceMs: 20_000,
  agentStopMs: 5_000,
  acpiStopMs: 3_000,
  retryMs: 1_000,
};

/** MAC number n. */
export function macOf(container: string): string {
  const index = Number(container.split("_").at(-1));
  return `02:00:00:00:00:${index.toString(16).padStart(2, "0")}`;
}

export function goalOf(container: string, changes: Partial<ContainerGoal> = {}): ContainerGoal {
  return {
    container,
    containerId: deriveGuid("test", container),
    ...{ tenant: "lab", role: "web", instance: container.split(".")[1] ?? "", kind: "paas" },
    ...{ node: NODE, revision: 1, attempt: 1, boot: 1, deploymentId: deriveGuid("lab") },
    ...{ incarnation: 1, expectedState: "Started", cpus: 1, memoryMib: 128, vnet: "lab.net" },
    ...{ mac: macOf(container), address: "10.20.0.4", hostname: "web-0" },
    ...{ endpoints: [], settings: {}, recovery: { retries: 0, moves: 0, failedNodes: [] } },
    ...changes,
  };
}

/** What managers and the network agent do to the store. */
export class FabricScript {
  readonly store: FabricStore;

  constructor(store: FabricStore) {
    this.store = store;
  }

  async goal(container: string): Promise<ContainerGoal | undefined> {
    const { kv } = await this.store.get(keys.containerGoal(container));
    return kv === undefined ? undefined : asDocument<ContainerGoal>(kv.value);
  }

  async status(container: string): Promise<ContainerStatus | undefined> {
    const { kv } = await this.store.get(keys.containerStatus(container));
    return kv === undefined ? undefined : asDocument<ContainerStatus>(kv.value);
  }

  /** Writes a goal and the placements, as the compute manager does: in one transaction. */
  async put(container: string, changes: Partial<ContainerGoal> = {}): Promise<ContainerGoal> {
    const before = await this.goal(container);
    const revision = (before?.revision ?? 0) + 1;
    const goal = { ...(before ?? goalOf(container)), ...changes, revision };
    await this.store.txn({
      success: [
        { kind: "put", key: keys.containerGoal(container), value: goal },
        ...(before === undefined || before.node === goal.node || before.node === ""
          ? []
          : [{ kind: "delete", key: keys.placement(before.node, container) } as const]),
        ...(goal.node === ""
          ? []
          : [
              {
                kind: "put",
                key: keys.placement(goal.node, container),
                value: { revision },
              } as const,
            ]),
      ],
    });
    return goal;
  }

  async remove(container: string): Promise<void> {
    const before = await this.goal(container);
    if (before === undefined) return;
    await this.store.txn({
      success: [
        { kind: "delete", key: keys.containerGoal(container) },
        ...(before.node === ""
          ? []
          : [{ kind: "delete", key: keys.placement(before.node, container) } as const]),
      ],
    });
  }

  async network(container: string, isReady = true): Promise<void> {
    const key = keys.nicStatus(NODE, macOf(container));
    const value = { kind: "blocked", namespace: "gs-test-lab.net", bridge: "br0" };
    await this.store.txn({
      success: [isReady ? { kind: "put", key, value } : { kind: "delete", key }],
    });
  }
}

export interface FixtureOptions {
  readonly machine?: Omit<SimulatedMachineOptions, "clock">;
  readonly policy?: Partial<ComputePolicy>;
  readonly prepareSource?: PrepareBootSource;
}

/** Everything but a running agent. */
export function openFixture(options: FixtureOptions = {}) {
  const clock = new ManualClock();
  const store = openMemoryStore();
  onTestFinished(() => store[Symbol.asyncDispose]());
  const fabric = new FabricScript(store);
  const machine = new SimulatedMachine({ ...options.machine, clock });
  const runDirectory = temporaryFolder("compute-agent");
  const errors: unknown[] = [];
  const startAgent = (as: { readonly store?: FabricStore } = {}) => {
    const trace = createBootTrace({ store, now: () => clock.now() });
    const agent = new ComputeAgent({
      ...{ trace, runDirectory, clock, node: NODE, namePrefix: "gs-test-" },
      store: as.store ?? store,
      hypervisor: machine.hypervisor(),
      policy: { ...POLICY, ...options.policy },
      ...(options.prepareSource !== undefined && { prepareSource: options.prepareSource }),
      onError: (_what, error) => errors.push(error),
    });
    const stop = new AbortController();
    const running = agent.run(stop.signal);
    running.catch(() => undefined); // a test that cares awaits it
    /** As SIGTERM does: VMs run on. */
    const end = async () => {
      stop.abort();
      await running.catch(() => undefined);
      await agent[Symbol.asyncDispose]();
    };
    onTestFinished(end);
    return { agent, trace, running, end };
  };
  /** Lets time pass, and what it causes happen. */
  const pass = async (ms: number) => {
    clock.advance(ms);
    await settle();
  };
  return { clock, store, fabric, machine, runDirectory, errors, startAgent, pass };
}

/** A fixture whose agent runs a container that waits for its DHCP request. */
export async function startContainer(
  options: FixtureOptions = {},
  changes: Partial<ContainerGoal> = {},
) {
  const fixture = openFixture(options);
  const started = fixture.startAgent();
  await fixture.fabric.network(CONTAINER);
  await fixture.fabric.put(CONTAINER, changes);
  await settle();
  const status = () => fixture.fabric.status(CONTAINER);
  return { ...fixture, ...started, status };
}
