import { describe, expect, onTestFinished, test, vi } from "vitest";
import {
  ComputeAgent,
  ComputeManager,
  type Hypervisor,
  systemClock,
  type Vm,
  type VmExit,
  type VmSpec,
} from "../../src/compute/index.ts";
import { asDocument, type ContainerStatus, keys, type NicGoal } from "../../src/model/documents.ts";
import { parseTenant } from "../../src/model/tenant.ts";
import { NetworkManager } from "../../src/nm/index.ts";
import { type FabricStore, openMemoryStore } from "../../src/store/index.ts";
import { createBootTrace } from "../../src/trace/index.ts";
import { temporaryFolder } from "../temporary-folder.ts";

const TENANT = parseTenant(
  {
    tenant: "lab",
    vnet: { name: "net", addressSpace: "10.20.0.0/24" },
    roles: [{ name: "web", app: "./app", settings: { COLOR: "blue" } }],
  },
  "test",
);
const CONTAINER = "lab.web_0";

/** A hypervisor whose one VM ends when the test says so. */
function fakeHypervisor(options: { prepareError?: Error } = {}) {
  const specs: VmSpec[] = [];
  const { promise: exited, resolve: exit } = Promise.withResolvers<VmExit>();
  const stop = vi.fn(async () => {
    exit({ kind: "stopped" });
    return "quit" as const;
  });
  const vm: Vm = {
    ...{ container: CONTAINER, attempt: 1, pid: 7, port: { namespace: "n", name: "p" } },
    ...{ consolePath: "/console", evidence: {}, exited, stop, release: () => undefined },
  };
  const hypervisor: Hypervisor = {
    kind: "netns",
    description: "a fake",
    adopt: async () => ({ running: [], ended: [] }),
    prepare: async () => {
      if (options.prepareError !== undefined) throw options.prepareError;
      return {
        evidence: {},
        boot: async (spec) => {
          specs.push(spec);
          return { ...vm, port: spec.port };
        },
      };
    },
  };
  return { hypervisor, specs, exit, stop };
}

/** Starts manager and agent over a memory store; the test plays network agent. */
async function startCompute(hypervisor: Hypervisor) {
  const store = openMemoryStore();
  const runDirectory = temporaryFolder("compute");
  const trace = createBootTrace({ store, now: Date.now });
  const errors: unknown[] = [];
  const agent = new ComputeAgent({
    ...{ store, hypervisor, trace, runDirectory },
    node: "node-1",
    namePrefix: "gs-test-",
    clock: systemClock(Date.now),
    onError: (_what, error) => errors.push(error),
  });
  const manager = new ComputeManager({
    ...{ store, trace },
    network: new NetworkManager({ store }),
    fabricId: "test",
    clock: { now: Date.now, startTimer: () => () => undefined },
    nodeGraceMs: 0,
    onError: (_what, error) => errors.push(error),
  });
  const node = { node: "node-1", faultDomain: "1", cpus: 8, memoryMib: 8192 };
  await store.txn({ success: [{ kind: "put", key: keys.node("node-1"), value: node }] });
  const stop = new AbortController();
  const running = Promise.all([agent.run(stop.signal), manager.run(stop.signal)]);
  onTestFinished(async () => {
    stop.abort();
    await running;
    await agent[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  });
  return { store, agent, manager, trace, errors };
}

async function statusOf(store: FabricStore): Promise<ContainerStatus | undefined> {
  const { kv } = await store.get(keys.containerStatus(CONTAINER));
  return kv === undefined ? undefined : asDocument<ContainerStatus>(kv.value);
}

function untilState(store: FabricStore, state: string): Promise<void> {
  return vi.waitFor(async () => expect((await statusOf(store))?.state).toBe(state), {
    timeout: 5_000,
    interval: 5,
  });
}

/** What the network agent does before the VM exists. */
async function prepareNetwork(store: FabricStore): Promise<void> {
  await untilState(store, "Allocated");
  const { kvs } = await store.list(keys.nics("lab.net"));
  const goal = asDocument<NicGoal>(kvs[0]?.value);
  const value = { kind: "blocked", namespace: "gs-test-lab.net", bridge: "br0" };
  await store.txn({ success: [{ kind: "put", key: keys.nicStatus("node-1", goal.mac), value }] });
}

describe("compute manager and agent", () => {
  test("wait for the network, then create the VM with its port in the VNET's namespace", async () => {
    const fake = fakeHypervisor();
    const { store, manager } = await startCompute(fake.hypervisor);
    expect(await manager.submit(TENANT, "/tenants/lab")).toEqual({
      outcome: "created",
      containers: [CONTAINER],
    });
    await untilState(store, "Allocated");
    expect(fake.specs).toEqual([]);
    await prepareNetwork(store);
    await untilState(store, "Booting");
    expect(fake.specs).toMatchObject([
      {
        name: "gs-test-lab.web_0",
        hostname: "web-0",
        port: { namespace: "gs-test-lab.net", name: (await statusOf(store))?.port },
      },
    ]);
    expect(fake.specs[0]!.port.name.length).toBeLessThan(16);
  });

  test("a goal's app folder is absolute, its identifiers are stable, its settings are kept", async () => {
    const { store, manager } = await startCompute(fakeHypervisor().hypervisor);
    await manager.submit(TENANT, "/tenants/lab");
    await untilState(store, "Allocated");
    const { kv } = await store.get(keys.containerGoal(CONTAINER));
    expect(kv?.value).toMatchObject({
      app: "/tenants/lab/app",
      address: "10.20.0.4",
      settings: { COLOR: "blue" },
      incarnation: 1,
      containerId: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
    });
  });

  test("go from lease to agent to Ready; what a guest says is stored before it is acknowledged", async () => {
    const { store, manager, agent } = await startCompute(fakeHypervisor().hypervisor);
    await manager.submit(TENANT, "/");
    await prepareNetwork(store);
    await untilState(store, "Booting");
    await agent.leased(CONTAINER);
    expect((await statusOf(store))?.state).toBe("AwaitingAgent");
    const provisioning = { state: "NotReady", subStatus: "Provisioning" } as const;
    await agent.reportHealth(CONTAINER, provisioning);
    expect(await statusOf(store)).toMatchObject({ state: "AwaitingAgent", health: provisioning });
    await agent.reportHealth(CONTAINER, { state: "Ready" });
    expect(await statusOf(store)).toMatchObject({ state: "Ready", health: { state: "Ready" } });
    const { rev } = await store.status();
    await agent.reportHealth(CONTAINER, { state: "Ready" });
    expect((await store.status()).rev).toBe(rev); // a heartbeat is not stored
    await agent.reportRole(CONTAINER, "Started");
    expect(await statusOf(store)).toMatchObject({ state: "Ready", role: "Started" });
  });

  test("a VM that ends by itself is Failed with the reason, and has no port any more", async () => {
    const fake = fakeHypervisor();
    const { store, manager } = await startCompute(fake.hypervisor);
    await manager.submit(TENANT, "/");
    await prepareNetwork(store);
    await untilState(store, "Booting");
    fake.exit({ kind: "failed", reason: "QEMU ended with SIGSEGV" });
    await untilState(store, "Failed");
    const status = await statusOf(store);
    expect(status?.detail).toBe("QEMU ended with SIGSEGV");
    expect(status).not.toHaveProperty("port");
  });

  test("an image that cannot be made is Failed with the reason", async () => {
    const fake = fakeHypervisor({ prepareError: new Error("no kernel") });
    const { store, manager, errors } = await startCompute(fake.hypervisor);
    await manager.submit(TENANT, "/");
    await prepareNetwork(store);
    await untilState(store, "Failed");
    expect((await statusOf(store))?.detail).toBe("no kernel");
    expect(errors).toHaveLength(1);
  });

  test("deleting a tenant stops its VM and takes goals and status back", async () => {
    const fake = fakeHypervisor();
    const { store, manager } = await startCompute(fake.hypervisor);
    await manager.submit(TENANT, "/");
    await prepareNetwork(store);
    await untilState(store, "Booting");
    await manager.deleteTenant("lab");
    await vi.waitFor(() => expect(fake.stop).toHaveBeenCalledOnce());
    await vi.waitFor(async () => expect((await store.list("/containers/")).kvs).toEqual([]));
    expect((await store.list("/vnets/")).kvs).toEqual([]);
    expect((await store.list("/on/")).kvs.map(({ key }) => key)).toHaveLength(1); // the network agent's own
    expect((await store.list("/tenants/")).kvs).toEqual([]);
  });
});
