import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { keys } from "../../../src/model/documents.ts";
import type { FabricStore } from "../../../src/store/index.ts";
import { CONTAINER, NODE, openFixture, startContainer } from "./agent-fixture.ts";
import { settle } from "./simulated-machine.ts";

const READY = { state: "Ready" } as const;
const OTHER = "lab.web_1";

describe("a container", () => {
  test("waits for its network, then is created with its port, and says each step in its status", async () => {
    const { fabric, machine, startAgent } = openFixture();
    startAgent();
    await fabric.put(CONTAINER);
    await settle();
    expect(await fabric.status(CONTAINER)).toMatchObject({
      ...{ state: "Allocated", node: NODE, attempt: 1 },
      detail: "waiting for its network on this node",
    });
    expect(machine.vms).toEqual([]);
    await fabric.network(CONTAINER);
    await settle();
    expect(await fabric.status(CONTAINER)).toMatchObject({
      ...{ state: "Booting", port: "tap00000000", node: NODE, attempt: 1 },
    });
    expect(machine.vms.map(({ spec }) => spec)).toMatchObject([
      { name: `gs-test-${CONTAINER}`, attempt: 1, port: { namespace: "gs-test-lab.net" } },
    ]);
  });

  test("records image-ready and vm-created in the boot that its goal names", async () => {
    const { trace, store } = await startContainer({}, { boot: 7 });
    await trace.settled();
    const { kvs } = await store.list(`/trace/${CONTAINER}/`);
    expect(kvs.map(({ key }) => key.split("/").slice(3).join("/"))).toEqual([
      "00000007/03-image-ready",
      "00000007/04-vm-created",
    ]);
  });

  test("is Ready when its agent says so; a repeat and a heartbeat are not stored", async () => {
    const { agent, status, store, pass } = await startContainer();
    await agent.leased(CONTAINER);
    expect((await status())?.state).toBe("AwaitingAgent");
    await agent.reportHealth(CONTAINER, { state: "NotReady", subStatus: "Provisioning" });
    expect(await status()).toMatchObject({
      state: "AwaitingAgent",
      detail: "its agent reports NotReady (Provisioning)",
    });
    await agent.reportHealth(CONTAINER, READY);
    expect(await status()).toMatchObject({ state: "Ready", health: READY });
    await settle();
    const { rev } = await store.status();
    for (let heartbeat = 0; heartbeat < 5; heartbeat++) {
      await pass(6_000);
      agent.heard(CONTAINER);
      await agent.reportHealth(CONTAINER, READY);
    }
    await pass(6_000);
    expect((await store.status()).rev).toBe(rev);
    await agent.reportRole(CONTAINER, "Started");
    agent.fetched(CONTAINER, 3);
    await settle();
    expect(await status()).toMatchObject({ role: "Started", fetchedIncarnation: 3 });
  });

  test("is Busy when its agent takes Ready back, and Ready again", async () => {
    const { agent, status } = await startContainer();
    await agent.reportHealth(CONTAINER, READY);
    await agent.reportHealth(CONTAINER, { state: "NotReady", description: "updating" });
    expect(await status()).toMatchObject({
      state: "Busy",
      detail: "its agent reports NotReady (updating)",
    });
    await agent.reportHealth(CONTAINER, READY);
    expect((await status())?.state).toBe("Ready");
  });

  test("is Unresponsive once its agent is silent, and Ready again when it speaks", async () => {
    const { agent, status, pass, machine } = await startContainer();
    await agent.reportHealth(CONTAINER, READY);
    await pass(9_000);
    agent.heard(CONTAINER);
    await pass(9_000);
    expect((await status())?.state).toBe("Ready");
    await pass(2_000);
    expect(await status()).toMatchObject({
      state: "Unresponsive",
      detail: "its agent has said nothing for 10 s",
    });
    agent.heard(CONTAINER);
    await settle();
    expect((await status())?.state).toBe("Ready");
    expect(machine.vms).toHaveLength(1);
  });

  test("has failed if its agent is not Ready in time: the milestone that it came to is named, its VM is stopped", async () => {
    const { status, pass, machine } = await startContainer();
    await pass(99_000);
    expect((await status())?.state).toBe("Booting");
    await pass(2_000);
    expect(await status()).toMatchObject({
      state: "Failed",
      detail: "its agent did not report Ready in 100 s; last milestone vm-created",
    });
    expect(await status()).not.toHaveProperty("port");
    expect(machine.running()).toEqual([]);
    await pass(1_000_000);
    expect(machine.vms).toHaveLength(1);
  });

  test("of kind iaas is Ready by what the hypervisor knows: with its lease, or some time after it asked for none", async () => {
    const leased = await startContainer({}, { kind: "iaas" });
    expect((await leased.status())?.state).toBe("Booting");
    await leased.agent.leased(CONTAINER);
    expect((await leased.status())?.state).toBe("Ready");
    await leased.pass(1_000_000);
    expect((await leased.status())?.state).toBe("Ready");
    const quiet = await startContainer({}, { kind: "iaas" });
    await quiet.pass(21_000);
    expect(await quiet.status()).toMatchObject({
      state: "Ready",
      detail: "runs; it has not asked for an address",
    });
  });

  test("has the deadlines that its tenant wants", async () => {
    const deadlines = {
      ...{ readySeconds: 30, silenceSeconds: 5 },
      ...{ agentStopSeconds: 0, acpiStopSeconds: 7 },
    };
    const late = await startContainer({}, { deadlines });
    await late.pass(31_000);
    expect((await late.status())?.detail).toContain("did not report Ready in 30 s");
    const { agent, fabric, machine, pass, status } = await startContainer({}, { deadlines });
    await agent.reportHealth(CONTAINER, READY);
    await pass(6_000);
    expect((await status())?.state).toBe("Unresponsive");
    agent.heard(CONTAINER);
    await fabric.put(CONTAINER, { expectedState: "Stopped" });
    await settle();
    await pass(6_900);
    expect(machine.running()).toHaveLength(1);
    await pass(200);
    expect((await status())?.state).toBe("Stopped");
  });

  test("whose VM ends by itself is Failed with the reason, has no port any more, and is not started by itself", async () => {
    const { status, machine, pass } = await startContainer();
    machine.running()[0]?.end({ kind: "failed", reason: "QEMU ended with SIGSEGV" });
    await pass(60_000);
    expect(await status()).toMatchObject({ state: "Failed", detail: "QEMU ended with SIGSEGV" });
    expect(await status()).not.toHaveProperty("port");
    expect(machine.vms).toHaveLength(1);
  });

  test("whose guest powers off has failed too", async () => {
    const { status, machine } = await startContainer();
    machine.running()[0]?.end({ kind: "stopped" });
    await settle();
    expect(await status()).toMatchObject({ state: "Failed", detail: "its guest powered off" });
  });

  test("whose image cannot be made, or whose VM does not start, is Failed; its next attempt is tried", async () => {
    for (const at of ["prepare", "boot"] as const) {
      const { fabric, machine, startAgent, errors } = openFixture();
      startAgent();
      machine.failure = { at, error: new Error("no kernel") };
      await fabric.network(CONTAINER);
      await fabric.put(CONTAINER);
      await settle();
      expect(await fabric.status(CONTAINER)).toMatchObject({
        state: "Failed",
        detail: "no kernel",
      });
      expect(errors).toHaveLength(1);
      machine.failure = undefined;
      await fabric.put(CONTAINER, { attempt: 2 });
      await settle();
      expect(await fabric.status(CONTAINER)).toMatchObject({ state: "Booting", attempt: 2 });
    }
  });

  test("with a change that wants no new attempt keeps its VM; its guest sees the new goal", async () => {
    const { fabric, agent, machine, status } = await startContainer();
    await agent.reportHealth(CONTAINER, READY);
    await fabric.put(CONTAINER, { incarnation: 2, settings: { COLOR: "red" } });
    await settle();
    expect(machine.vms).toHaveLength(1);
    expect(agent.findGoal(CONTAINER)).toMatchObject({ incarnation: 2, settings: { COLOR: "red" } });
    await agent.reportRole(CONTAINER, "Started");
    expect(await status()).toMatchObject({ state: "Ready", role: "Started" });
  });
});

describe("a stop", () => {
  /** A guest agent that does what its goal state says. */
  async function untilShownStopped(fixture: Awaited<ReturnType<typeof startContainer>>) {
    await settle();
    const goal = fixture.agent.findGoal(CONTAINER);
    expect(goal?.expectedState).toBe("Stopped");
    return goal;
  }

  test("lets the guest's agent power it off", async () => {
    const fixture = await startContainer();
    const { agent, fabric, machine, status } = fixture;
    await agent.reportHealth(CONTAINER, READY);
    agent.heard(CONTAINER);
    await fabric.put(CONTAINER, { expectedState: "Stopped", incarnation: 2 });
    expect((await untilShownStopped(fixture))?.incarnation).toBe(2);
    expect(await status()).toMatchObject({
      state: "Stopping",
      detail: "stopping its VM, as asked",
      port: "tap00000000",
    });
    machine.running()[0]?.end({ kind: "stopped" });
    await settle();
    expect(await status()).toMatchObject({
      state: "Stopped",
      detail: "stopped as asked: powered off by its agent",
    });
    expect(await status()).not.toHaveProperty("port");
    await fabric.put(CONTAINER, { expectedState: "Started", attempt: 2, incarnation: 3 });
    await settle();
    expect(await status()).toMatchObject({ state: "Booting", attempt: 2 });
    expect(await status()).not.toHaveProperty("health"); // that of the VM before
  });

  test("presses the power button after that, and switches it off at last", async () => {
    for (const heedsAcpi of [true, false]) {
      const { agent, fabric, machine, status, pass } = await startContainer({
        machine: { heedsAcpi },
      });
      await agent.reportHealth(CONTAINER, READY);
      await fabric.put(CONTAINER, { expectedState: "Stopped" });
      await settle();
      await pass(4_900);
      expect(machine.running()).toHaveLength(1);
      await pass(200);
      if (!heedsAcpi) {
        expect(machine.running()).toHaveLength(1);
        await pass(3_000);
      }
      expect(machine.running()).toEqual([]);
      const how = heedsAcpi ? "powered off by its power button" : "switched off";
      expect(await status()).toMatchObject({
        state: "Stopped",
        detail: `stopped as asked: ${how}`,
      });
    }
  });

  test("does not wait for an agent that is silent, nor for one that is none of ours", async () => {
    const silent = await startContainer({ machine: { heedsAcpi: true } });
    await silent.agent.reportHealth(CONTAINER, READY);
    await silent.pass(11_000);
    await silent.fabric.put(CONTAINER, { expectedState: "Stopped" });
    await settle();
    expect((await silent.status())?.state).toBe("Stopped");
    const iaas = await startContainer({ machine: { heedsAcpi: true } }, { kind: "iaas" });
    iaas.agent.heard(CONTAINER);
    await iaas.fabric.put(CONTAINER, { expectedState: "Stopped" });
    await settle();
    expect((await iaas.status())?.state).toBe("Stopped");
  });

  test("comes before the next attempt of a restart, whose guest has seen nothing of Stopped", async () => {
    const fixture = await startContainer();
    const { agent, fabric, machine, status } = fixture;
    await agent.reportHealth(CONTAINER, READY);
    await fabric.put(CONTAINER, { attempt: 2, boot: 2 });
    expect((await untilShownStopped(fixture))?.incarnation).toBe(2); // one that it has not seen
    expect(await status()).toMatchObject({
      ...{ state: "Stopping", attempt: 2 },
      detail: "stopping its VM of attempt 1 before attempt 2",
    });
    await agent.reportHealth(CONTAINER, READY); // a last word of the old one
    expect((await status())?.state).toBe("Stopping");
    machine.running()[0]?.end({ kind: "stopped" });
    await settle();
    expect(await status()).toMatchObject({ state: "Booting", attempt: 2 });
    expect(agent.findGoal(CONTAINER)).toMatchObject({ expectedState: "Started", incarnation: 1 });
    expect(machine.running().map(({ spec }) => spec.attempt)).toEqual([2]);
  });

  test("of a container that was never started needs no VM", async () => {
    const { fabric, startAgent, machine } = openFixture();
    startAgent();
    await fabric.network(CONTAINER);
    await fabric.put(CONTAINER, { expectedState: "Stopped" });
    await settle();
    expect(await fabric.status(CONTAINER)).toMatchObject({ state: "Stopped" });
    expect(machine.vms).toEqual([]);
  });
});

describe("a container that is not wanted here any more", () => {
  test("is stopped gracefully if it was deleted; then its status goes, and its folder", async () => {
    const { agent, fabric, machine, status, runDirectory, trace } = await startContainer();
    await agent.reportHealth(CONTAINER, READY);
    expect(trace.furthest(CONTAINER)).toBe("vm-created");
    await fabric.remove(CONTAINER);
    await settle();
    expect(agent.findGoal(CONTAINER)).toMatchObject({ expectedState: "Stopped", incarnation: 2 });
    expect(await status()).toBeDefined();
    machine.running()[0]?.end({ kind: "stopped" });
    await vi.waitFor(async () => expect(await status()).toBeUndefined());
    await vi.waitFor(() => expect(existsSync(join(runDirectory, CONTAINER))).toBe(false));
    await vi.waitFor(() => expect(agent.findGoal(CONTAINER)).toBeUndefined());
    expect(trace.furthest(CONTAINER)).toBeUndefined(); // the next one of this name begins anew
  });

  test("is killed at once if it was moved, and its status is left to the other node", async () => {
    const { agent, fabric, machine, store, runDirectory } = await startContainer();
    await agent.reportHealth(CONTAINER, READY);
    await fabric.put(CONTAINER, { node: "node-2", attempt: 2 });
    const theirs = { state: "Creating", node: "node-2", attempt: 2, detail: "", sinceMs: 1 };
    await store.txn({
      success: [{ kind: "put", key: keys.containerStatus(CONTAINER), value: theirs }],
    });
    await settle();
    expect(machine.running()).toEqual([]);
    await vi.waitFor(() => expect(existsSync(join(runDirectory, CONTAINER))).toBe(false));
    expect(await fabric.status(CONTAINER)).toEqual(theirs);
  });

  test("takes its own status back if it was moved and nobody else has written yet", async () => {
    const { fabric, status } = await startContainer();
    await fabric.put(CONTAINER, { node: "" });
    await vi.waitFor(async () => expect(await status()).toBeUndefined());
  });

  test("is killed at once even if it is being stopped gracefully", async () => {
    const { agent, fabric, machine } = await startContainer();
    await agent.reportHealth(CONTAINER, READY);
    await fabric.put(CONTAINER, { expectedState: "Stopped" });
    await settle();
    expect(machine.running()).toHaveLength(1);
    await fabric.put(CONTAINER, { node: "node-2", attempt: 2 });
    await settle();
    expect(machine.running()).toEqual([]);
  });

  test("may come back while it goes, and is started then", async () => {
    const { agent, fabric, machine, status } = await startContainer();
    await agent.reportHealth(CONTAINER, READY);
    await fabric.remove(CONTAINER);
    await settle();
    await fabric.put(CONTAINER, { attempt: 1, incarnation: 1 });
    await settle();
    expect(machine.vms).toHaveLength(1); // it is the right one again
    await fabric.put(CONTAINER, { attempt: 2 });
    machine.running()[0]?.end({ kind: "stopped" });
    await vi.waitFor(async () =>
      expect(await status()).toMatchObject({ state: "Booting", attempt: 2 }),
    );
  });
});

describe("work that takes long", () => {
  test("a slow download is said each 10 %, and aborted when its container is deleted", async () => {
    let aborted = false;
    const { fabric, startAgent, store, machine } = openFixture({
      prepareSource: async ({ onProgress, signal, folder }) => {
        expect(existsSync(folder)).toBe(true);
        for (let percent = 0; percent <= 45; percent++) onProgress(percent << 20, 100 << 20);
        await new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            aborted = true;
            reject(signal.reason);
          });
        });
        return { evidence: {} };
      },
    });
    startAgent();
    await fabric.network(CONTAINER);
    await fabric.put(CONTAINER);
    await settle();
    expect(await fabric.status(CONTAINER)).toMatchObject({
      state: "Creating",
      detail: "getting its image: 40 % of 100 MiB",
    });
    expect((await store.status()).rev).toBeLessThan(9);
    await fabric.remove(CONTAINER);
    await vi.waitFor(async () => expect(await fabric.status(CONTAINER)).toBeUndefined());
    expect(aborted).toBe(true);
    expect(machine.vms).toEqual([]);
  });

  test("an image's source that does not heed its signal holds up no deletion", async () => {
    const { fabric, startAgent } = openFixture({ prepareSource: () => new Promise(() => {}) });
    startAgent();
    await fabric.network(CONTAINER);
    await fabric.put(CONTAINER);
    await settle();
    await fabric.remove(CONTAINER);
    await vi.waitFor(async () => expect(await fabric.status(CONTAINER)).toBeUndefined());
  });

  test("what the source makes reaches the hypervisor and the boot trace", async () => {
    const boot = { kind: "disk", disk: { path: "/overlay.qcow2", format: "qcow2" } } as const;
    const { machine, trace } = await startContainer({
      prepareSource: async () => ({
        boot,
        provisioningDisc: "/disc.iso",
        evidence: { image: "x.qcow2" },
      }),
    });
    expect(machine.vms[0]?.guest).toMatchObject({ boot, provisioningDisc: "/disc.iso" });
    await trace.settled();
    expect((await trace.timeline(CONTAINER))[0]?.evidence).toMatchObject({ image: "simulated" });
  });

  test("only so many VMs start at once, and one that hangs gives its place away", async () => {
    const { fabric, startAgent, machine, pass } = openFixture({
      machine: { bootMs: 1_000 },
      policy: { startsMax: 2, startSlotMs: 5_000 },
    });
    startAgent();
    const containers = Array.from({ length: 5 }, (_, index) => `lab.web_${index}`);
    for (const container of containers) {
      await fabric.network(container);
      await fabric.put(container);
    }
    await settle();
    await pass(1_000);
    expect(machine.vms).toHaveLength(2);
    machine.bootMs = 1_000_000;
    await pass(1_000);
    expect(machine.vms).toHaveLength(4); // the two were on their way
    await pass(1_000);
    machine.bootMs = 1_000;
    await pass(5_000); // the fifth hangs
    await fabric.network("lab.web_5");
    await fabric.put("lab.web_5");
    await settle();
    await pass(1_000);
    expect(machine.vms.map(({ spec }) => spec.container)).toContain("lab.web_5");
  });

  test("a container whose start hangs holds up no other", async () => {
    const { fabric, startAgent, machine } = openFixture({ machine: { bootMs: 1_000_000 } });
    startAgent();
    await fabric.network(CONTAINER);
    await fabric.put(CONTAINER);
    await settle();
    machine.bootMs = 0;
    await fabric.network(OTHER);
    await fabric.put(OTHER);
    await settle();
    expect((await fabric.status(OTHER))?.state).toBe("Booting");
    expect((await fabric.status(CONTAINER))?.state).toBe("Creating");
    await fabric.put(CONTAINER, { node: "node-2", attempt: 2 });
    await settle();
    expect(machine.running(CONTAINER)).toEqual([]);
  });
});

describe("an agent that starts again", () => {
  test("takes over the VM of the right attempt, and what its guest had said", async () => {
    const first = await startContainer();
    const { fabric, machine, startAgent, status, pass } = first;
    await first.agent.reportHealth(CONTAINER, READY);
    await first.agent.reportRole(CONTAINER, "Started");
    first.agent.fetched(CONTAINER, 1);
    await settle();
    const before = await status();
    await first.end();
    await pass(50_000);
    const second = startAgent();
    await second.agent.ready;
    await settle();
    expect(await status()).toEqual(before);
    expect(machine.vms).toHaveLength(1);
    expect(second.agent.findVm(CONTAINER)?.attempt).toBe(1);
    await pass(11_000);
    expect((await status())?.state).toBe("Unresponsive"); // it listens for itself
    await fabric.put(CONTAINER, { expectedState: "Stopped" });
    await settle();
    await pass(5_000); // for the power button
    expect((await status())?.state).toBe("Stopped");
  });

  test("stops the VM of an earlier attempt and starts the right one", async () => {
    const { end, fabric, machine, startAgent, status, pass } = await startContainer();
    await end();
    await fabric.put(CONTAINER, { attempt: 2 });
    startAgent();
    await settle();
    await pass(10_000);
    expect(machine.running().map(({ spec }) => spec.attempt)).toEqual([2]);
    expect(await status()).toMatchObject({ state: "Booting", attempt: 2 });
    expect(machine.violations).toEqual([]);
  });

  test("kills the VM of a container that was moved meanwhile before it is ready", async () => {
    const { end, fabric, machine, startAgent } = await startContainer();
    await end();
    await fabric.put(CONTAINER, { node: "node-2", attempt: 2 });
    const { agent } = startAgent();
    await agent.ready;
    expect(machine.running()).toEqual([]);
  });

  test("finishes a deletion: VM, status and folder go", async () => {
    const { end, fabric, machine, startAgent, status, pass, runDirectory } = await startContainer();
    await end();
    await fabric.remove(CONTAINER);
    startAgent();
    await settle();
    await pass(10_000);
    expect(machine.running()).toEqual([]);
    await vi.waitFor(async () => expect(await status()).toBeUndefined());
    await vi.waitFor(() => expect(existsSync(join(runDirectory, CONTAINER))).toBe(false));
  });

  test("deletes the status of a container that is gone and had no VM any more", async () => {
    const { end, fabric, machine, startAgent, status, runDirectory } = await startContainer();
    machine.running()[0]?.end({ kind: "failed", reason: "x" });
    await settle();
    await end();
    await fabric.remove(CONTAINER);
    mkdirSync(join(runDirectory, "old.web_9")); // of a container that nobody knows
    startAgent();
    await vi.waitFor(async () => expect(await status()).toBeUndefined());
    await vi.waitFor(() => expect(existsSync(join(runDirectory, "old.web_9"))).toBe(false));
    expect(existsSync(join(runDirectory, CONTAINER))).toBe(false);
  });

  test("says that a VM has failed which ended while no agent was there", async () => {
    const { agent, end, machine, startAgent, status, pass } = await startContainer();
    await agent.reportHealth(CONTAINER, READY);
    await end();
    machine.running()[0]?.end({ kind: "failed", reason: "x" });
    startAgent();
    await pass(1_000);
    expect(await status()).toMatchObject({
      state: "Failed",
      detail: "its VM was gone when the node's agent started again",
    });
    expect(machine.vms).toHaveLength(1);
  });

  test("starts what its predecessor had only begun to start, under the same attempt", async () => {
    const { end, fabric, machine, startAgent } = await startContainer({
      machine: { bootMs: 1_000 },
    });
    expect((await fabric.status(CONTAINER))?.state).toBe("Creating");
    await end();
    machine.bootMs = 0;
    startAgent();
    await settle();
    expect(await fabric.status(CONTAINER)).toMatchObject({ state: "Booting", attempt: 1 });
  });

  test("does not start an attempt that had failed, and leaves a stopped one as it was", async () => {
    const failed = await startContainer();
    failed.machine.running()[0]?.end({ kind: "failed", reason: "x" });
    await settle();
    const stopped = await startContainer({ machine: { heedsAcpi: true } }, { kind: "iaas" });
    await stopped.fabric.put(CONTAINER, { expectedState: "Stopped" });
    await settle();
    for (const { end, startAgent, status, machine, pass } of [failed, stopped]) {
      const before = await status();
      await end();
      startAgent();
      await pass(1_000);
      expect(await status()).toEqual(before);
      expect(machine.vms).toHaveLength(1);
    }
  });

  test("starts again what stopAll() stopped; containers are Allocated meanwhile", async () => {
    const { agent, end, fabric, machine, startAgent, status } = await startContainer();
    await agent.reportHealth(CONTAINER, READY);
    await agent.stopAll();
    expect(machine.running()).toEqual([]);
    expect(await status()).toMatchObject({ state: "Allocated", detail: "its node was stopped" });
    await fabric.network(OTHER);
    await fabric.put(OTHER);
    await settle();
    expect(machine.running()).toEqual([]);
    await end();
    startAgent();
    await settle();
    expect(await status()).toMatchObject({ state: "Booting", attempt: 1 });
    expect(machine.running()).toHaveLength(2);
  });
});

describe("the store", () => {
  /** A store that fails while it is told to. */
  function unreliable(store: FabricStore) {
    const state = { isDown: false };
    const check = () => {
      if (state.isDown) throw new Error("the store is away");
    };
    const proxy: FabricStore = {
      get: async (key, options) => {
        check();
        return store.get(key, options);
      },
      txn: async (transaction) => {
        check();
        return store.txn(transaction);
      },
      list: (prefix, options) => store.list(prefix, options),
      watch: (prefix, options) => store.watch(prefix, options),
      lease: (ttlMs, options) => store.lease(ttlMs, options),
      compact: (upTo) => store.compact(upTo),
      status: () => store.status(),
      [Symbol.asyncDispose]: async () => undefined,
    };
    return { state, proxy };
  }

  test("is asked again a little later when it fails, and what happened meanwhile is written then", async () => {
    const { fabric, machine, startAgent, store, pass, errors } = openFixture();
    const { state, proxy } = unreliable(store);
    const { agent } = startAgent({ store: proxy });
    await fabric.network(CONTAINER);
    await fabric.put(CONTAINER);
    await settle();
    state.isDown = true;
    await expect(agent.reportHealth(CONTAINER, READY)).rejects.toThrow("the store is away");
    await fabric.put(CONTAINER, { incarnation: 2 });
    await pass(5_000);
    expect((await fabric.status(CONTAINER))?.state).toBe("Booting");
    expect(errors.length).toBeGreaterThan(0);
    state.isDown = false;
    await pass(1_100);
    expect((await fabric.status(CONTAINER))?.state).toBe("Ready");
    expect(agent.findGoal(CONTAINER)?.incarnation).toBe(2);
    expect(machine.vms).toHaveLength(1);
  });

  test("a start waits for it, a kill of what was moved does not", async () => {
    const { fabric, machine, startAgent, store, pass } = openFixture();
    const { state, proxy } = unreliable(store);
    startAgent({ store: proxy });
    await fabric.put(CONTAINER);
    await settle();
    state.isDown = true;
    await fabric.network(CONTAINER);
    await pass(3_000);
    expect(machine.vms).toEqual([]);
    state.isDown = false;
    await pass(1_100);
    expect(machine.vms).toHaveLength(1);
  });

  test("takes no status of a goal that is another node's by now; the agent then reads it and obeys", async () => {
    const { fabric, agent, machine, store, status } = await startContainer();
    // Behind the agent's back: no placement tells it.
    const goal = { ...(await fabric.goal(CONTAINER)), node: "node-2", attempt: 2 };
    await store.txn({
      success: [{ kind: "put", key: keys.containerGoal(CONTAINER), value: goal }],
    });
    await agent.reportHealth(CONTAINER, READY);
    await vi.waitFor(async () => expect(await status()).toBeUndefined());
    expect(machine.running()).toEqual([]);
    await fabric.put(CONTAINER, { node: NODE, attempt: 3 });
    await vi.waitFor(async () => expect(await status()).toMatchObject({ state: "Booting" }));
    expect(await status()).toMatchObject({ node: NODE, attempt: 3 });
  });
});
