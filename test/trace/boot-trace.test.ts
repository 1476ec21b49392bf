import { describe, expect, test } from "vitest";
import { FabricError } from "../../src/model/errors.ts";
import { MILESTONES } from "../../src/model/milestone.ts";
import { type FabricStore, openMemoryStore } from "../../src/store/index.ts";
import { BOOTS_KEPT, createBootTrace } from "../../src/trace/index.ts";

function setUp(store: FabricStore = openMemoryStore()) {
  const clock = { nowMs: 1_000 };
  const errors: unknown[] = [];
  const now = () => clock.nowMs;
  const trace = createBootTrace({ store, now, onError: (error) => errors.push(error) });
  return { store, clock, errors, trace };
}

async function keysOf(store: FabricStore, prefix = "/trace/"): Promise<string[]> {
  return (await store.list(prefix)).kvs.map((kv) => kv.key);
}

describe("createBootTrace()", () => {
  test("stores each milestone once per boot, under its number", async () => {
    const { store, clock, trace } = setUp();
    expect(await trace.startBoot("web_0")).toBe(1);
    clock.nowMs = 3_000;
    for (let n = 0; n < 3; n++) trace.reach("web_0", "dhcp-ack", { address: "10.0.0.4", n });
    clock.nowMs = 4_000;
    trace.reach("web_0", "placed", {});
    await trace.settled();
    expect(await keysOf(store)).toEqual([
      "/trace/web_0/00000001/00-start",
      "/trace/web_0/00000001/01-placed",
      "/trace/web_0/00000001/07-dhcp-ack",
    ]);
    expect(await trace.timeline("web_0")).toEqual([
      {
        milestone: "dhcp-ack",
        atMs: 3_000,
        sinceStartMs: 2_000,
        evidence: { address: "10.0.0.4", n: 0 },
      },
      { milestone: "placed", atMs: 4_000, sinceStartMs: 3_000, evidence: {} },
    ]);
    expect((await store.status()).rev).toBe(3);
  });

  test("a boot that begins with milestones is one write, and they are not stored again", async () => {
    const { store, trace } = setUp();
    const evidence = { node: "n1" };
    expect(await trace.startBoot("c", [{ milestone: "placed", evidence }])).toBe(1);
    trace.reach("c", "placed", { node: "other" });
    await trace.settled();
    expect((await store.status()).rev).toBe(1);
    expect(await trace.timeline("c")).toEqual([
      { milestone: "placed", atMs: 1_000, sinceStartMs: 0, evidence },
    ]);
  });

  test("a new boot starts empty and at once; old boots are deleted", async () => {
    const { store, trace } = setUp();
    for (let n = 1; n <= BOOTS_KEPT + 2; n++) {
      const started = trace.startBoot("c");
      expect(trace.hasReached("c", "ready")).toBe(false);
      trace.reach("c", "ready", { n });
      expect(trace.hasReached("c", "ready")).toBe(true);
      expect(await started).toBe(n);
      await trace.settled();
    }
    expect((await trace.timeline("c")).map((entry) => entry.evidence)).toEqual([{ n: 7 }]);
    expect((await keysOf(store)).length).toBe(2 * BOOTS_KEPT);
  });

  test("another process joins a boot: its milestones count from that boot's start, none is stored twice", async () => {
    const manager = setUp();
    expect(await manager.trace.startBoot("c")).toBe(1);
    manager.trace.reach("c", "placed", {});
    await manager.trace.settled();
    const agent = setUp(manager.store);
    await agent.trace.joinBoot("c", 1);
    expect(agent.trace.hasReached("c", "placed")).toBe(true);
    expect(agent.trace.furthest("c")).toBe("placed");
    agent.clock.nowMs = 1_500;
    agent.trace.reach("c", "vm-created", {});
    await agent.trace.joinBoot("c", 1); // the present one: nothing is forgotten
    expect(agent.trace.furthest("c")).toBe("vm-created");
    await agent.trace.settled();
    expect((await agent.trace.timeline("c")).at(-1)).toMatchObject({ sinceStartMs: 500 });
    expect(await manager.trace.startBoot("c")).toBe(2);
    const joined = agent.trace.joinBoot("c", 2);
    expect(agent.trace.hasReached("c", "vm-created")).toBe(false);
    agent.trace.reach("c", "vm-created", {}); // before memory knows the boot
    await joined;
    await agent.trace.settled();
    expect(await keysOf(manager.store, "/trace/c/00000002/")).toEqual([
      "/trace/c/00000002/00-start",
      "/trace/c/00000002/04-vm-created",
    ]);
    await agent.trace.joinBoot("c", 9); // one whose start is not stored
    agent.trace.reach("c", "ready", {});
    await agent.trace.settled();
    expect((await agent.trace.timeline("c")).at(-1)).toMatchObject({ sinceStartMs: 0 });
    expect(agent.errors).toEqual([]);
  });

  test("a process that left a container records the first boot of the next one of this name", async () => {
    const manager = setUp();
    const agent = setUp(manager.store);
    for (let container = 1; container <= 2; container++) {
      expect(await manager.trace.startBoot("c")).toBe(1);
      await agent.trace.joinBoot("c", 1);
      agent.trace.reach("c", "ready", { container });
      await agent.trace.settled();
      expect(await manager.trace.timeline("c")).toMatchObject([
        { milestone: "ready", evidence: { container } },
      ]);
      agent.trace.leave("c");
      await manager.trace.forget("c");
    }
  });

  test("continues a boot after a restart, without storing a milestone twice", async () => {
    const first = setUp();
    await first.trace.startBoot("c");
    first.trace.reach("c", "dhcp-ack", { n: 1 });
    await first.trace.settled();
    const second = setUp(first.store);
    second.clock.nowMs = 9_000;
    second.trace.reach("c", "dhcp-ack", { n: 2 });
    second.trace.reach("c", "ready", {});
    await second.trace.settled();
    expect(await second.trace.timeline("c")).toEqual([
      { milestone: "dhcp-ack", atMs: 1_000, sinceStartMs: 0, evidence: { n: 1 } },
      { milestone: "ready", atMs: 9_000, sinceStartMs: 8_000, evidence: {} },
    ]);
    expect(await second.trace.startBoot("c")).toBe(2);
  });

  test("a milestone of a container that nobody started opens its first boot", async () => {
    const { store, trace } = setUp();
    trace.reach("c", "dhcp-discover", {});
    await trace.settled();
    expect(await keysOf(store)).toEqual([
      "/trace/c/00000001/00-start",
      "/trace/c/00000001/06-dhcp-discover",
    ]);
  });

  test("containers whose names begin alike stay apart, and one can be forgotten", async () => {
    const { store, trace } = setUp();
    trace.reach("web_1", "placed", { of: 1 });
    trace.reach("web_10", "placed", { of: 10 });
    await trace.settled();
    expect((await trace.timeline("web_1")).map((entry) => entry.evidence)).toEqual([{ of: 1 }]);
    await trace.forget("web_1");
    expect(await trace.timeline("web_1")).toEqual([]);
    expect(await keysOf(store, "/trace/web_10/")).toHaveLength(2);
  });

  test("follow() gives milestones of one container as they come, and ends on abort", async () => {
    const { store, trace } = setUp();
    trace.reach("c", "placed", {});
    await trace.settled();
    const stop = new AbortController();
    const seen: string[] = [];
    const following = (async () => {
      for await (const { container, boot, milestone } of trace.follow("c", stop.signal))
        seen.push(`${container} ${boot} ${milestone}`);
    })();
    await expect.poll(async () => (await store.status()).watchCount).toBe(1);
    trace.reach("other", "placed", {});
    trace.reach("c", "image-ready", {});
    await trace.startBoot("c");
    trace.reach("c", "placed", {});
    await expect.poll(() => seen.length).toBe(2);
    stop.abort();
    await following;
    expect(seen).toEqual(["c 1 image-ready", "c 2 placed"]);
  });

  test("a failure to store is reported, never thrown, and tried again", async () => {
    const { store, errors, trace } = setUp();
    await trace.startBoot("c");
    await store[Symbol.asyncDispose]();
    trace.reach("c", "placed", {});
    trace.reach("new", "placed", {});
    await trace.settled();
    expect(errors).toMatchObject([{ code: "ERR_STORE_CLOSED" }, { code: "ERR_STORE_CLOSED" }]);
    expect(trace.hasReached("c", "placed")).toBe(false);
    expect(trace.hasReached("new", "placed")).toBe(false);
    expect(await trace.startBoot("c")).toBeUndefined();
  });

  test("a name that cannot be a key is reported", async () => {
    const { errors, trace } = setUp();
    trace.reach("a/b", "placed", {});
    await trace.settled();
    expect(errors).toMatchObject([{ code: "ERR_TRACE_BAD_CONTAINER" }]);
    expect(errors[0]).toBeInstanceOf(FabricError);
  });

  test("repeats store nothing and leave nothing pending", async () => {
    const { store, trace } = setUp();
    for (const milestone of MILESTONES) trace.reach("c", milestone, {});
    await trace.settled();
    const { rev } = await store.status();
    const evidence = {};
    for (let n = 0; n < 100_000; n++) trace.reach("c", "dhcp-ack", evidence);
    await trace.settled();
    expect((await store.status()).rev).toBe(rev);
    expect((await trace.timeline("c")).map((entry) => entry.milestone)).toEqual(MILESTONES);
  });
});
