/** How provisioning, extensions, users and the agent's channel travel from a submission to goals. */
import { describe, expect, onTestFinished, test } from "vitest";
import {
  asDocument,
  type ContainerStatus,
  keys,
  type TenantRecord,
} from "../../../src/model/documents.ts";
import { FakeFabric, tenant } from "./fake-fabric.ts";

const CONTAINER = "lab.web_0";
const ECHO = { name: "A.Echo", version: "1.0.0", source: "./echo", settings: { text: "a" } };
const PACKAGE = { sha256: "0".repeat(64), bytes: 10 };
const USER = { name: "jit", password: "p", expires: "2026-11-22T18:00:00Z" };

async function startFabric(): Promise<FakeFabric> {
  const fabric = new FakeFabric();
  onTestFinished(() => fabric[Symbol.asyncDispose]());
  await fabric.addNode("n1", { cpus: 16, memoryMib: 16_384 });
  fabric.startManager();
  await fabric.settle();
  return fabric;
}

interface Role {
  readonly extensions?: readonly { readonly name: string; readonly settings?: object }[];
  readonly users?: readonly object[];
  readonly agent?: object;
}

/** Submits `lab` with one role, and lets it come to its goals. */
async function submit(fabric: FakeFabric, role: Role, material: object = {}, instances = 1) {
  const packages = Object.fromEntries(
    (role.extensions ?? []).map(({ name }) => [name.toLowerCase(), PACKAGE]),
  );
  const web = { ...(role.extensions !== undefined && { packages }), ...material };
  const read = Object.keys(web).length > 0 ? { web } : {};
  const outcome = await fabric.manager.submit(tenant({ instances, role }), "/", read);
  await fabric.settle();
  if (fabric.fetches) await fabric.poll();
  await fabric.settle();
  return outcome;
}

async function goalAfter(fabric: FakeFabric, role: Role, material: object = {}) {
  await submit(fabric, role, material);
  return (await fabric.goal(CONTAINER))!;
}

/** What the node's agent writes when the guest's agent has uploaded its status. */
async function upload(fabric: FakeFabric, names: readonly string[]): Promise<void> {
  const goal = (await fabric.goal(CONTAINER))!;
  const key = keys.containerStatus(CONTAINER);
  const { kv } = await fabric.store.get(key);
  const value = {
    ...asDocument<ContainerStatus>(kv!.value),
    ...{ fetchedIncarnation: goal.incarnation, agent: { version: "2.7.3", status: "Ready" } },
    extensions: names.map((name) => ({ name, version: "1.0.0", handler: "Ready" })),
  };
  await fabric.store.txn({ success: [{ kind: "put", key, value }] });
  await fabric.settle();
}

describe("a container's goal", () => {
  test("has what its guest is to be given, with the data that was read", async () => {
    const fabric = await startFabric();
    const role: Role & { readonly provisioning: object } = {
      provisioning: {
        ...{ adminUsername: "lab", adminPassword: "p", guestAgent: false },
        ...{ customData: { file: "./data" }, userData: "text" },
      },
      ...{ extensions: [ECHO], users: [USER], agent: { fastTrack: true } },
    };
    const goal = await goalAfter(fabric, role, { customData: "eA==", userData: "dGV4dA==" });
    expect(goal.provisioning).toEqual({
      ...{ adminUsername: "lab", adminPassword: "p", sshKeys: [], guestAgent: false },
      ...{ customData: "eA==", userData: "dGV4dA==" },
    });
    const { source: _, ...echo } = ECHO;
    expect(goal.extensions).toEqual([
      { ...echo, state: "enabled", seqNo: 0, dependsOn: [], package: PACKAGE },
    ]);
    expect(goal).toMatchObject({
      ...{ users: [USER], agent: { fastTrack: true, statusBlob: "block" }, incarnation: 1 },
      extensionsChangedMs: fabric.clock.nowMs,
    });
  });

  test("has nothing of it where the role asks for nothing", async () => {
    const fabric = await startFabric();
    const goal = await goalAfter(fabric, {});
    for (const name of ["provisioning", "extensions", "extensionsChangedMs", "users", "agent"]) {
      expect(goal).not.toHaveProperty(name);
    }
    expect(await fabric.store.get(keys.tenant("lab"))).not.toHaveProperty("kv.value.material");
  });

  test.each<
    [
      string,
      Role & Readonly<Record<string, unknown>>,
      Role & Readonly<Record<string, unknown>>,
      object,
    ]
  >([
    [
      "an extension's settings",
      { extensions: [ECHO] },
      { extensions: [{ ...ECHO, settings: {} }] },
      {},
    ],
    ["an extension that is new", {}, { extensions: [ECHO] }, {}],
    ["an extension that is gone", { extensions: [ECHO] }, {}, {}],
    ["users", {}, { users: [USER] }, {}],
    ["users that are gone", { users: [USER] }, {}, {}],
    ["the agent's channel", {}, { agent: { statusBlob: "page" } }, {}],
    [
      "provisioning, for a guest that is there",
      { provisioning: { adminUsername: "a", adminPassword: "p" } },
      { provisioning: { adminUsername: "a", adminPassword: "p", userData: "x" } },
      { userData: "eA==" },
    ],
  ])(
    "changes with %s: one incarnation more, no restart",
    async (_name, before, after, material) => {
      const fabric = await startFabric();
      await submit(fabric, before);
      expect((await submit(fabric, after, material)).outcome).toBe("updated");
      expect(await fabric.goal(CONTAINER)).toMatchObject({ incarnation: 2, attempt: 1 });
      expect((await submit(fabric, after, material)).outcome).toBe("unchanged");
      const { kv } = await fabric.store.get(keys.tenant("lab"));
      expect(asDocument<TenantRecord>(kv!.value)).not.toHaveProperty("rollout");
    },
  );

  test("follows a package or data whose file has changed under the same name", async () => {
    const fabric = await startFabric();
    await submit(fabric, { extensions: [ECHO] });
    const changed = { ...PACKAGE, sha256: "1".repeat(64) };
    const material = { packages: { "a.echo": changed } };
    const goal = await goalAfter(fabric, { extensions: [ECHO] }, material);
    expect(goal).toMatchObject({ incarnation: 2, extensions: [{ seqNo: 1, package: changed }] });
  });

  test("by the fast track keeps its incarnation, and says when its extensions changed", async () => {
    const fabric = await startFabric();
    const agent = { fastTrack: true };
    const first = await goalAfter(fabric, { extensions: [ECHO], agent });
    fabric.clock.nowMs -= 10_000; // a clock that was set back
    const settings = { text: "b" };
    const next = await goalAfter(fabric, { extensions: [{ ...ECHO, settings }], agent });
    expect(next).toMatchObject({
      incarnation: 1,
      attempt: 1,
      extensions: [{ settings, seqNo: 1 }],
    });
    expect(next.extensionsChangedMs).toBe(first.extensionsChangedMs! + 1);
    const users = await goalAfter(fabric, {
      extensions: [{ ...ECHO, settings }],
      agent,
      users: [USER],
    });
    expect(users).toMatchObject({ incarnation: 2, extensionsChangedMs: next.extensionsChangedMs });
  });

  test("serves an extension that was taken out as uninstall until the agent does not list it", async () => {
    const fabric = await startFabric();
    await submit(fabric, { extensions: [ECHO] });
    await upload(fabric, ["A.Echo"]);
    const goal = await goalAfter(fabric, {});
    const leaving = [{ name: "A.Echo", state: "uninstall", seqNo: 1 }];
    expect(goal).toMatchObject({ incarnation: 2, extensions: leaving });
    await upload(fabric, ["A.Echo"]);
    expect(await fabric.goal(CONTAINER)).toMatchObject({ extensions: leaving });
    await upload(fabric, []);
    const last = (await fabric.goal(CONTAINER))!;
    expect(last).not.toHaveProperty("extensions");
    expect(last).toMatchObject({ incarnation: 2, extensionsChangedMs: goal.extensionsChangedMs });
  });

  test("keeps numbers and extensions over a restart, and over another node", async () => {
    const fabric = await startFabric();
    await submit(fabric, { extensions: [ECHO] });
    const goal = await goalAfter(fabric, { extensions: [{ ...ECHO, settings: {} }] });
    await fabric.manager.restart(CONTAINER);
    await fabric.settle();
    await fabric.addNode("n2");
    await fabric.killNode("n1");
    await fabric.settle();
    const moved = (await fabric.goal(CONTAINER))!;
    expect(moved.node).toBe("n2");
    expect(moved).toMatchObject({ extensions: goal.extensions });
    expect(moved.extensionsChangedMs).toBe(goal.extensionsChangedMs);
  });
});

describe("an update of extensions", () => {
  test("goes through update domains, and waits until each has fetched it", async () => {
    const fabric = await startFabric();
    await submit(fabric, { extensions: [ECHO] }, {}, 7);
    fabric.fetches = false;
    await submit(fabric, { extensions: [{ ...ECHO, settings: {} }] }, {}, 7);
    const changed = async () =>
      (await fabric.goals()).filter(({ incarnation }) => incarnation === 2);
    expect((await changed()).map(({ instance }) => instance)).toEqual(["web_0", "web_5"]);
    fabric.fetches = true;
    await fabric.poll();
    await fabric.settle();
    expect(await changed()).toHaveLength(7);
  });

  test("by the fast track goes through them too, and does not wait for an incarnation", async () => {
    const fabric = await startFabric();
    const agent = { fastTrack: true };
    await submit(fabric, { extensions: [ECHO], agent }, {}, 7);
    fabric.fetches = false;
    await submit(fabric, { extensions: [{ ...ECHO, settings: {} }], agent }, {}, 7);
    const numbers = (await fabric.goals()).map(({ extensions }) => extensions?.[0]?.seqNo);
    expect(numbers).toEqual(Array(7).fill(1));
  });
});

test("a submission without what its description names is refused whole", async () => {
  const fabric = await startFabric();
  const description = tenant({ role: { extensions: [ECHO] } });
  await expect(fabric.manager.submit(description, "/")).rejects.toThrow("no package of A.Echo");
  const provisioning = { adminUsername: "a", adminPassword: "p", customData: "x" };
  await expect(fabric.manager.submit(tenant({ role: { provisioning } }), "/")).rejects.toThrow(
    "its data was not read",
  );
  expect((await fabric.store.list("/tenants/")).kvs).toEqual([]);
});

test("an account that is over changes the incarnation, once: agents look at accounts at no other time", async () => {
  const fabric = await startFabric();
  const startMs = fabric.clock.nowMs;
  const at = (ms: number) => new Date(startMs + ms).toISOString();
  const users = [
    { ...USER, name: "over", expires: at(-60_000) },
    { ...USER, expires: at(60_000) },
    { ...USER, name: "later", expires: at(40 * 86_400_000) },
  ];
  expect((await goalAfter(fabric, { users })).incarnation).toBe(1);
  await fabric.pass(50_000);
  expect((await fabric.goal(CONTAINER))?.incarnation).toBe(1);
  await fabric.pass(20_000);
  const goal = await fabric.goal(CONTAINER);
  expect(goal).toMatchObject({ users, incarnation: 2, attempt: 1 });
  await fabric.pass(3_600_000);
  expect((await fabric.goal(CONTAINER))?.incarnation).toBe(2);
});
