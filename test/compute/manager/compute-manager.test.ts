import { setImmediate } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type ContainerGoal,
  keys,
  type NicGoal,
  type TenantRecord,
} from "../../../src/model/documents.ts";
import { FakeFabric, NODE_GRACE_MS, tenant } from "./fake-fabric.ts";

/** A fabric with a running manager and these nodes. */
async function startFabric(...nodes: string[]): Promise<FakeFabric> {
  const fabric = new FakeFabric();
  onTestFinished(() => fabric[Symbol.asyncDispose]());
  for (const node of nodes) await fabric.addNode(node);
  fabric.startManager();
  await fabric.settle();
  return fabric;
}

async function views(fabric: FakeFabric): Promise<string[]> {
  const rows = await fabric.manager.listContainers();
  return rows.map(({ container, node, state }) => `${container} ${node} ${state}`);
}

async function recordOf(fabric: FakeFabric, name = "lab"): Promise<TenantRecord | undefined> {
  const { kv } = await fabric.store.get(keys.tenant(name));
  return kv?.value as TenantRecord | undefined;
}

describe("submit", () => {
  test("is accepted with its whole network, then its containers come", async () => {
    const fabric = await startFabric("n1", "n2");
    const submitted = await fabric.manager.submit(tenant({ instances: 3 }), "/tenants/lab");
    expect(submitted).toEqual({
      outcome: "created",
      containers: ["lab.web_0", "lab.web_1", "lab.web_2"],
    });
    expect(await recordOf(fabric)).toMatchObject({ phase: "accepted", revision: 1 });
    expect(await fabric.list<NicGoal>(keys.nics("lab.net"))).toHaveLength(3);
    await fabric.settle();
    expect(await views(fabric)).toEqual([
      "lab.web_0 n1 Ready",
      "lab.web_1 n2 Ready",
      "lab.web_2 n1 Ready",
    ]);
    const goal = (await fabric.goal("lab.web_0"))!;
    expect(goal).toMatchObject({ attempt: 1, boot: 1, revision: 1, incarnation: 1 });
    const placement = (await fabric.store.get(keys.placement("n1", "lab.web_0"))).kv?.value;
    expect(placement).toEqual({ revision: 1 });
    const nic = (await fabric.store.get(keys.nic(goal.vnet, goal.mac))).kv?.value;
    expect(nic).toMatchObject({ container: "lab.web_0", node: "n1", address: goal.address });
    expect(fabric.errors).toEqual([]);
  });

  test("leaves nothing of a tenant whose network does not fit", async () => {
    const fabric = await startFabric("n1");
    const small = tenant({ instances: 3, addressSpace: "10.20.0.0/29" });
    const large = { ...small, roles: small.roles.map((role) => ({ ...role, instances: 9 })) };
    await expect(fabric.manager.submit(large, "/")).rejects.toMatchObject({
      code: "ERR_NM_ADDRESS_SPACE_FULL",
    });
    for (const prefix of ["/tenants/", "/vnets/", "/macs/", "/containers/"]) {
      expect((await fabric.store.list(prefix)).kvs).toEqual([]);
    }
    await fabric.manager.submit(small, "/");
    await fabric.settle();
    await expect(fabric.manager.submit(large, "/")).rejects.toMatchObject({
      code: "ERR_NM_ADDRESS_SPACE_FULL",
    });
    expect(await recordOf(fabric)).toMatchObject({ phase: "accepted", revision: 1 });
    expect(await recordOf(fabric)).not.toHaveProperty("pending");
    expect(await fabric.list<NicGoal>(keys.nics("lab.net"))).toHaveLength(3);
    expect(await fabric.goals()).toHaveLength(3);
  });

  test("an update cannot move the tenant to another VNET", async () => {
    const fabric = await startFabric("n1");
    await fabric.manager.submit(tenant({}), "/");
    const moved = fabric.manager.submit(tenant({ addressSpace: "10.30.0.0/24" }), "/");
    await expect(moved).rejects.toMatchObject({ code: "ERR_USAGE_TENANT_VNET" });
  });

  test("two at once are done one after the other", async () => {
    const fabric = await startFabric("n1");
    const { manager } = fabric;
    const both = [tenant({ instances: 4 }), tenant({ instances: 2 })];
    const outcomes = await Promise.all(both.map((one) => manager.submit(one, "/")));
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(["created", "updated"]);
    await fabric.settle();
    expect(await views(fabric)).toEqual(["lab.web_0 n1 Ready", "lab.web_1 n1 Ready"]);
    expect(await fabric.list<NicGoal>(keys.nics("lab.net"))).toHaveLength(2);
    expect((await fabric.store.list("/macs/")).kvs).toHaveLength(2);
  });

  test("a tenant that was not accepted before a crash is rolled back, an accepted one goes on", async () => {
    const fabric = new FakeFabric();
    onTestFinished(() => fabric[Symbol.asyncDispose]());
    await fabric.addNode("n1");
    fabric.startManager({ at: 4, isDone: false }); // record, VNET, NICs, then the acceptance
    void fabric.manager.submit(tenant({}), "/");
    await fabric.settle();
    expect(fabric.isDead).toBe(true);
    expect(await recordOf(fabric)).toMatchObject({ phase: "allocating" });
    fabric.startManager({ at: 7, isDone: true });
    await fabric.settle();
    expect((await fabric.store.list("/vnets/")).kvs).toEqual([]);
    expect(await recordOf(fabric)).toBeUndefined();
    void fabric.manager.submit(tenant({}), "/");
    await fabric.settle();
    expect(fabric.isDead).toBe(true);
    expect(await recordOf(fabric)).toMatchObject({ phase: "accepted" });
    expect(await fabric.goals()).toEqual([]);
    fabric.startManager();
    await fabric.settle();
    expect(await views(fabric)).toEqual(["lab.web_0 n1 Ready"]);
  });
});

describe("a container that fails", () => {
  test("is retried with a growing back-off, then moved, then given up with the reason", async () => {
    const fabric = await startFabric("n1", "n2");
    fabric.behave = () => ({ kind: "fails", reason: "no disk" });
    await fabric.manager.submit(tenant({}), "/");
    await fabric.settle();
    const [view] = await fabric.manager.listContainers();
    expect(view).toMatchObject({ node: "n1", state: "Failed" });
    expect(view?.detail).toBe("no disk; attempt 2 at 2026-01-01T00:00:01.000Z");
    await fabric.pass(999);
    expect(await fabric.goal("lab.web_0")).toMatchObject({ attempt: 1 });
    await fabric.pass(1);
    expect(await fabric.goal("lab.web_0")).toMatchObject({ attempt: 2, boot: 2 });
    await fabric.pass(6_000);
    expect(await fabric.goal("lab.web_0")).toMatchObject({
      node: "n2",
      attempt: 5,
      recovery: { retries: 0, moves: 1, failedNodes: ["n1"], reason: "no disk" },
    });
    await fabric.pass(600_000);
    const goal = (await fabric.goal("lab.web_0"))!;
    expect(goal.recovery).toMatchObject({ moves: 2, retries: 3 });
    expect(goal.attempt).toBe(12);
    expect(await fabric.manager.listContainers()).toMatchObject([
      { state: "Failed", detail: expect.stringMatching(/^given up after .*: no disk$/) },
    ]);
    fabric.behave = () => ({ kind: "ready" });
    await fabric.manager.start("lab.web_0");
    await fabric.settle();
    expect(await fabric.goal("lab.web_0")).toMatchObject({
      recovery: { retries: 0, moves: 0, failedNodes: [] },
    });
    expect(await fabric.manager.listContainers()).toMatchObject([{ state: "Ready" }]);
  });

  test("is forgiven when it was Ready for long enough", async () => {
    const fabric = await startFabric("n1", "n2");
    await fabric.manager.submit(tenant({}), "/");
    await fabric.settle();
    await fabric.endGuest("lab.web_0", "Failed", "QEMU ended");
    await fabric.pass(10_000);
    expect(await fabric.goal("lab.web_0")).toMatchObject({ node: "n1", recovery: { retries: 1 } });
    await fabric.pass(600_000);
    expect((await fabric.goal("lab.web_0"))?.recovery).toEqual({
      retries: 0,
      moves: 0,
      failedNodes: [],
    });
  });

  test("one that powered itself off is started again", async () => {
    const fabric = await startFabric("n1");
    await fabric.manager.submit(tenant({}), "/");
    await fabric.settle();
    await fabric.endGuest("lab.web_0", "Stopped", "powered off");
    await fabric.settle();
    expect((await fabric.goal("lab.web_0"))?.recovery.reason).toBe("it powered itself off");
    await fabric.pass(1_000);
    expect(await views(fabric)).toEqual(["lab.web_0 n1 Ready"]);
  });

  test("a restarted manager waits for the same retry", async () => {
    const fabric = await startFabric("n1");
    await fabric.manager.submit(tenant({}), "/");
    await fabric.settle();
    await fabric.endGuest("lab.web_0", "Failed", "QEMU ended");
    await fabric.pass(600);
    await fabric.stopManager();
    fabric.startManager();
    await fabric.pass(399);
    expect(await fabric.goal("lab.web_0")).toMatchObject({ attempt: 1 });
    await fabric.pass(1);
    expect(await fabric.goal("lab.web_0")).toMatchObject({ attempt: 2 });
  });
});

describe("nodes", () => {
  test("the containers of a node that is lost move at once, and it gets nothing back", async () => {
    const fabric = await startFabric("n1", "n2");
    await fabric.manager.submit(tenant({ instances: 2 }), "/");
    await fabric.settle();
    await fabric.killNode("n1");
    await fabric.settle();
    expect(await views(fabric)).toEqual(["lab.web_0 n2 Ready", "lab.web_1 n2 Ready"]);
    const goal = (await fabric.goal("lab.web_0"))!;
    expect(goal.recovery).toMatchObject({ retries: 0, moves: 0, reason: "node n1 is gone" });
    expect((await fabric.store.list(keys.placements("n1"))).kvs).toEqual([]);
    expect((await fabric.store.get(keys.nic(goal.vnet, goal.mac))).kv?.value).toMatchObject({
      node: "n2",
    });
    await fabric.addNode("n1");
    await fabric.pass(60_000);
    expect(await views(fabric)).toEqual(["lab.web_0 n2 Ready", "lab.web_1 n2 Ready"]);
  });

  test("without room anywhere the reason names need and room; who waits longest is placed first", async () => {
    const fabric = await startFabric();
    await fabric.addNode("n1", { cpus: 1 });
    await fabric.manager.submit(tenant({ instances: 3 }), "/");
    await fabric.settle();
    const rows = await fabric.manager.listContainers();
    expect(rows.map(({ state }) => state)).toEqual(["Ready", "Failed", "Failed"]);
    expect(rows[1]?.detail).toBe("needs 1 CPU and 512 MiB; n1 has 0 CPUs and 3584 MiB free");
    expect(rows.map(({ milestone }) => milestone)).toEqual(["network-allocated", "", ""]);
    await fabric.addNode("n2", { cpus: 1 });
    await fabric.settle();
    expect((await fabric.manager.listContainers())[1]?.milestone).toBe("network-allocated");
    expect(await views(fabric)).toEqual([
      "lab.web_0 n1 Ready",
      "lab.web_1 n2 Ready",
      "lab.web_2  Failed",
    ]);
    await fabric.manager.submit(tenant({ name: "other" }), "/");
    await fabric.settle();
    await fabric.addNode("n3", { cpus: 1 });
    await fabric.settle();
    expect(await views(fabric)).toContain("lab.web_2 n3 Ready");
    await fabric.manager.deleteTenant("lab");
    await fabric.settle();
    expect(await views(fabric)).toEqual([expect.stringMatching(/^other.web_0 n\d Ready$/)]);
  });

  test("after its own start the manager gives nodes time to come back", async () => {
    const fabric = await startFabric("n1", "n2");
    await fabric.manager.submit(tenant({ instances: 2 }), "/");
    await fabric.settle();
    await fabric.stopManager();
    await fabric.killNode("n1");
    await fabric.killNode("n2");
    fabric.startManager();
    await fabric.pass(NODE_GRACE_MS - 1);
    await fabric.addNode("n1");
    expect((await fabric.goals()).map(({ node }) => node)).toEqual(["n1", "n2"]);
    await fabric.pass(1);
    expect((await fabric.goals()).map(({ node }) => node)).toEqual(["n1", "n1"]);
    expect(await fabric.goal("lab.web_0")).toMatchObject({ attempt: 1 });
    expect(await fabric.goal("lab.web_1")).toMatchObject({ attempt: 2 });
  });
});

describe("stop, start and restart", () => {
  test("are written into the goal, and one that is as asked is left alone", async () => {
    const fabric = await startFabric("n1");
    await fabric.manager.submit(tenant({}), "/");
    await fabric.settle();
    const { manager } = fabric;
    await manager.start("lab.web_0");
    expect(await fabric.goal("lab.web_0")).toMatchObject({ revision: 1 });
    await manager.stop("lab.web_0");
    await fabric.settle();
    expect(await views(fabric)).toEqual(["lab.web_0 n1 Stopped"]);
    expect(await fabric.goal("lab.web_0")).toMatchObject({ attempt: 1, incarnation: 2 });
    await fabric.pass(600_000);
    expect(await views(fabric)).toEqual(["lab.web_0 n1 Stopped"]);
    await expect(manager.restart("lab.web_0")).rejects.toMatchObject({
      code: "ERR_USAGE_CONTAINER_STOPPED",
    });
    await manager.start("lab.web_0");
    await fabric.settle();
    expect(await fabric.goal("lab.web_0")).toMatchObject({ attempt: 2, boot: 2 });
    await manager.restart("lab.web_0");
    await fabric.settle();
    expect(await fabric.goal("lab.web_0")).toMatchObject({ attempt: 3, boot: 3 });
    expect(await views(fabric)).toEqual(["lab.web_0 n1 Ready"]);
  });

  test("of what is not there are refused", async () => {
    const fabric = await startFabric("n1");
    const { manager } = fabric;
    const unknown = { code: "ERR_USAGE_CONTAINER_UNKNOWN" };
    await expect(manager.stop("lab.web_0")).rejects.toMatchObject(unknown);
    await expect(manager.start("lab.web_0")).rejects.toMatchObject(unknown);
    await expect(manager.restart("lab.web_0")).rejects.toMatchObject(unknown);
    await expect(manager.deleteTenant("lab")).rejects.toMatchObject({
      code: "ERR_USAGE_TENANT_UNKNOWN",
    });
  });
});

describe("a manager that has ended", () => {
  test("takes no orders, and tells who waits", async () => {
    const fabric = await startFabric("n1");
    await fabric.manager.submit(tenant({}), "/");
    await fabric.settle();
    fabric.nodes.get("n1")?.stop.abort(); // its agent does not take the status back
    await fabric.manager.deleteTenant("lab");
    const deleted = fabric.manager.whenDeleted("lab");
    const ended = { code: "ERR_COMPUTE_MANAGER_ENDED" };
    await Promise.all([expect(deleted).rejects.toMatchObject(ended), fabric.stopManager()]);
    await expect(fabric.manager.submit(tenant({}), "/")).rejects.toMatchObject(ended);
    await expect(fabric.manager.stop("lab.web_0")).rejects.toMatchObject(ended);
  });
});

describe("delete", () => {
  test("leaves nothing, not even of a node that died", async () => {
    const fabric = await startFabric("n1", "n2");
    await fabric.manager.submit(tenant({ instances: 3 }), "/");
    await fabric.settle();
    await fabric.stopManager();
    await fabric.killNode("n2");
    fabric.startManager();
    await fabric.manager.deleteTenant("lab");
    const deleted = fabric.manager.whenDeleted("lab");
    await fabric.settle();
    expect(await recordOf(fabric)).toMatchObject({ phase: "deleting" });
    await expect(fabric.manager.submit(tenant({}), "/")).rejects.toMatchObject({
      code: "ERR_USAGE_TENANT_DELETING",
    });
    expect((await fabric.store.list("/vnets/")).kvs).not.toEqual([]); // n2 may come back
    await fabric.pass(NODE_GRACE_MS);
    await deleted;
    const { kvs } = await fabric.store.list("/");
    expect(kvs.map(({ key }) => key)).toEqual(["/nodes/n1"]);
    expect(fabric.errors).toEqual([]);
  });
});

describe("the certificate of a VM", () => {
  const put = async (fabric: FakeFabric, container: string) => {
    const key = keys.containerIdentity(container);
    await fabric.store.txn({ success: [{ kind: "put", key, value: { thumbprint: container } }] });
    return key;
  };

  test("stays over restarts and moves, and goes with its container alone", async () => {
    const fabric = await startFabric("n1", "n2");
    await fabric.manager.submit(tenant({ instances: 2 }), "/");
    await fabric.settle();
    const [kept, gone] = [await put(fabric, "lab.web_0"), await put(fabric, "lab.web_1")];
    await fabric.manager.restart("lab.web_0");
    await fabric.settle();
    await fabric.killNode("n1");
    await fabric.pass(NODE_GRACE_MS);
    await fabric.settle();
    expect((await fabric.goal("lab.web_0"))?.node).toBe("n2");
    await fabric.manager.submit(tenant({ instances: 1 }), "/");
    await fabric.settle();
    expect((await fabric.store.get(kept)).kv?.value).toEqual({ thumbprint: "lab.web_0" });
    expect((await fabric.store.get(gone)).kv).toBeUndefined();
  });

  test("goes in the same step as the goal, also where no node is left to say farewell", async () => {
    const fabric = await startFabric("n1");
    await fabric.manager.submit(tenant({ instances: 1 }), "/");
    await fabric.settle();
    const identity = await put(fabric, "lab.web_0");
    const seen: string[] = [];
    const stop = new AbortController();
    const from = (await fabric.store.get(identity)).rev + 1;
    const watched = fabric.store.watch("/containers/", { from, signal: stop.signal });
    const watching = (async () => {
      for await (const item of watched) {
        if (item.kind !== "events") continue;
        const gone = item.events.filter(({ kind }) => kind === "delete");
        seen.push(gone.map((event) => (event.kind === "delete" ? event.key : "")).join(" "));
      }
    })().catch(() => undefined);
    await fabric.manager.deleteTenant("lab");
    const deleted = fabric.manager.whenDeleted("lab");
    await fabric.settle();
    await deleted;
    stop.abort();
    await watching;
    expect(seen).toContain([keys.containerGoal("lab.web_0"), identity].join(" "));
  });
});

describe("an update", () => {
  test("adds and removes instances, and gives their addresses back", async () => {
    const fabric = await startFabric("n1", "n2");
    await fabric.manager.submit(tenant({ instances: 2 }), "/");
    await fabric.settle();
    await fabric.manager.submit(tenant({ instances: 4 }), "/");
    await fabric.settle();
    expect(await views(fabric)).toHaveLength(4);
    await fabric.manager.submit(tenant({ instances: 1 }), "/");
    await fabric.settle();
    expect(await views(fabric)).toEqual(["lab.web_0 n1 Ready"]);
    expect(await fabric.goal("lab.web_0")).toMatchObject({ revision: 1 });
    expect(await fabric.list<NicGoal>(keys.nics("lab.net"))).toHaveLength(1);
    expect((await fabric.store.list("/macs/")).kvs).toHaveLength(1);
    expect((await fabric.store.list("/trace/lab.web_3")).kvs).toEqual([]);
  });

  test("brings new settings to one update domain after another, without a restart", async () => {
    const fabric = await startFabric("n1", "n2");
    await fabric.manager.submit(tenant({ instances: 7 }), "/");
    await fabric.settle();
    fabric.fetches = false;
    await fabric.manager.submit(tenant({ instances: 7, settings: { COLOR: "red" } }), "/");
    await fabric.settle();
    const colored = async () =>
      (await fabric.goals()).filter(({ settings }) => settings["COLOR"] === "red");
    expect((await colored()).map(({ instance }) => instance)).toEqual(["web_0", "web_5"]);
    expect(await recordOf(fabric)).toMatchObject({ rollout: { roles: ["web"], domain: 0 } });
    await fabric.pass(599_999);
    expect(await colored()).toHaveLength(2);
    await fabric.pass(1);
    expect((await recordOf(fabric))?.rollout?.stopped).toMatch(
      /^update domain 0: lab\.web_\d is Ready, but has not fetched its new settings$/,
    );
    await fabric.pass(600_000);
    expect(await colored()).toHaveLength(2);
    fabric.fetches = true;
    await fabric.manager.submit(tenant({ instances: 7, settings: { COLOR: "red" } }), "/");
    await fabric.settle();
    expect(await colored()).toHaveLength(2);
    await fabric.poll();
    await fabric.settle();
    expect(await colored()).toHaveLength(7);
    expect(await recordOf(fabric)).not.toHaveProperty("rollout");
    for (const goal of await fabric.goals())
      expect(goal).toMatchObject({ attempt: 1, incarnation: 2 });
  });

  test("that is taken back while it is being written is taken back whole", async () => {
    for (let turns = 0; turns < 24; turns += 1) {
      const fabric = await startFabric("n1", "n2");
      const [small, large] = [1, 2].map((cpus) =>
        tenant({ instances: 3, size: { cpus, memoryMib: 512 } }),
      );
      await fabric.manager.submit(small!, "/");
      await fabric.settle();
      await fabric.manager.submit(large!, "/");
      for (let turn = 0; turn < turns; turn += 1) await setImmediate();
      await fabric.manager.submit(small!, "/");
      await fabric.settle();
      expect([turns, ...(await fabric.goals()).map(({ cpus }) => cpus)]).toEqual([turns, 1, 1, 1]);
      expect(await recordOf(fabric)).not.toHaveProperty("rollout");
    }
  });

  test("of public ports and deadlines changes goals, and neither guest nor VM", async () => {
    const fabric = await startFabric("n1");
    const endpoint = { name: "http", port: 80 };
    await fabric.manager.submit(tenant({ role: { endpoints: [endpoint] } }), "/");
    await fabric.settle();
    const role = {
      endpoints: [{ ...endpoint, public: 8080 }],
      recovery: { readySeconds: 7, retries: 0 },
    };
    await fabric.manager.submit(tenant({ role }), "/");
    await fabric.settle();
    expect(await fabric.goal("lab.web_0")).toMatchObject({
      ...{ attempt: 1, incarnation: 1, revision: 2 },
      endpoints: [{ port: 80, public: 8080 }],
      deadlines: { readySeconds: 7, silenceSeconds: 60, agentStopSeconds: 30, acpiStopSeconds: 20 },
    });
    expect(await recordOf(fabric)).not.toHaveProperty("rollout");
  });

  test("of the size makes a new VM, elsewhere if need be, and stops at the first that fails", async () => {
    const fabric = await startFabric("n1", "n2");
    await fabric.manager.submit(tenant({ instances: 2 }), "/");
    await fabric.settle();
    fabric.behave = (goal) =>
      goal.cpus === 2 ? { kind: "fails", reason: "too large" } : { kind: "ready" };
    await fabric.manager.submit(tenant({ instances: 2, size: { cpus: 2, memoryMib: 512 } }), "/");
    await fabric.pass(590_000);
    const stopped = (await recordOf(fabric))?.rollout?.stopped;
    expect(stopped).toMatch(/^update domain 0: lab\.web_0 is Failed \(given up .*too large\)$/);
    expect(await fabric.goal("lab.web_1")).toMatchObject({ cpus: 1, attempt: 1 });
    fabric.behave = () => ({ kind: "ready" });
    await fabric.manager.submit(tenant({ instances: 2, size: { cpus: 3, memoryMib: 512 } }), "/");
    await fabric.settle();
    expect((await fabric.goals()).map(({ cpus }: ContainerGoal) => cpus)).toEqual([3, 3]);
    expect((await fabric.manager.listContainers()).map(({ state }) => state)).toEqual([
      "Ready",
      "Ready",
    ]);
    expect(await recordOf(fabric)).not.toHaveProperty("rollout");
  });
});
