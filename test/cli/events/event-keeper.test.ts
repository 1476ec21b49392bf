/** Scheduled events from the command to the guest: the keeper, a node's view of it, and the control routes. */
import { pino } from "pino";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { createControlApp } from "../../../src/cli/control/control-server.ts";
import type { NewEvent } from "../../../src/cli/events/event-control.ts";
import { EventKeeper } from "../../../src/cli/events/event-keeper.ts";
import { eventRoutes } from "../../../src/cli/events/routes.ts";
import { startVnetEvents } from "../../../src/cli/events/vnet-events.ts";
import { keys } from "../../../src/model/documents.ts";
import { EVENTS_MAX } from "../../../src/model/scheduled-event.ts";
import { type FabricStore, openMemoryStore } from "../../../src/store/index.ts";

const REBOOT: NewEvent = {
  ...{ container: "hello.web_0", type: "Reboot", source: "Platform", description: "kernel" },
  ...{ noticeSeconds: 60, durationSeconds: 10, isActedOn: false },
};

async function createFabric() {
  const store = openMemoryStore();
  onTestFinished(() => store[Symbol.asyncDispose]());
  await store.txn({
    success: [
      {
        kind: "put",
        key: keys.containerGoal("hello.web_0"),
        value: { tenant: "hello", instance: "web_0" },
      },
      { kind: "put", key: keys.tenant("hello"), value: { phase: "accepted" } },
    ],
  });
  return store;
}

/** A keeper whose time passes by command. */
function startKeeper(store: FabricStore, acts: string[] = [], startMs = 1_000_000) {
  let nowMs = startMs;
  let lastId = 0;
  const timers = new Map<() => void, number>();
  const errors: string[] = [];
  const keeper = new EventKeeper({
    store,
    now: () => nowMs,
    startTimer: (milliseconds, callback) => {
      timers.set(callback, nowMs + milliseconds);
      return () => void timers.delete(callback);
    },
    createId: () => {
      lastId += 1;
      return `e-${startMs}-${lastId}`;
    },
    act: async (container, action) => void acts.push(`${action} ${container}`),
    onError: (what) => void errors.push(what),
  });
  const stop = new AbortController();
  const ended = keeper.run(stop.signal);
  const end = async () => {
    stop.abort();
    await ended;
  };
  onTestFinished(end);
  const pass = (seconds: number) => {
    nowMs += seconds * 1000;
    for (const [callback, atMs] of [...timers]) {
      if (atMs > nowMs || !timers.delete(callback)) continue;
      callback();
    }
  };
  /** Resolves when all that was begun is through: changes are made one after another. */
  const settled = () => keeper.clear("nobody");
  return { keeper, pass, settled, acts, errors, end };
}

function startGuestView(store: FabricStore, tenant = "hello") {
  const view = startVnetEvents({
    store,
    tenant,
    now: () => 5,
    onError: (error) => expect.fail(String(error)),
  });
  onTestFinished(() => view[Symbol.asyncDispose]());
  return view;
}

describe("a scheduled event", () => {
  test("is shown to the guests of its tenant, and to no others", async () => {
    const store = await createFabric();
    const { keeper } = startKeeper(store);
    const [guest, other] = [startGuestView(store), startGuestView(store, "hell")];
    expect(await guest.list("hello.web_0")).toEqual({ incarnation: 1, events: [] });
    const { id } = await keeper.add(REBOOT);
    await vi.waitFor(async () => {
      const { incarnation, events } = await guest.list("hello.web_0");
      expect(incarnation).toBe(2);
      expect(events).toEqual([
        {
          ...{ id, type: "Reboot", status: "Scheduled", source: "Platform", resources: ["web_0"] },
          ...{ notBeforeMs: 1_060_000, durationSeconds: 10, description: "kernel" },
        },
      ]);
    });
    expect(await other.list("hell.web_0")).toEqual({ incarnation: 1, events: [] });
    expect(await other.approve("hell.web_0", [id])).toBe(false);
  });

  test("starts at its time, is done then, and is over after its duration", async () => {
    const store = await createFabric();
    const { keeper, pass, settled, acts } = startKeeper(store);
    await keeper.add({ ...REBOOT, isActedOn: true });
    await settled();
    pass(59);
    expect((await keeper.list())[0]?.status).toBe("Scheduled");
    expect(acts).toEqual([]);
    pass(1);
    await vi.waitFor(async () => expect((await keeper.list())[0]?.status).toBe("Started"));
    expect(acts).toEqual(["restart hello.web_0"]);
    await settled();
    pass(10);
    await vi.waitFor(async () => expect(await keeper.list()).toEqual([]));
    expect(acts).toHaveLength(1);
  });

  test("starts when a guest approves it, once, and nothing is left of the approval", async () => {
    const store = await createFabric();
    const { keeper, pass, settled, acts } = startKeeper(store);
    const guest = startGuestView(store);
    const { id } = await keeper.add({ ...REBOOT, type: "Terminate", isActedOn: true });
    await vi.waitFor(async () => expect((await guest.list("")).events).toHaveLength(1));
    expect(await guest.approve("hello.web_1", [id, "unknown"])).toBe(false);
    expect(await guest.approve("hello.web_1", [id])).toBe(true);
    expect(await guest.approve("hello.web_0", [id])).toBe(true);
    await vi.waitFor(async () => expect((await guest.list("")).events[0]?.status).toBe("Started"));
    expect(acts).toEqual(["stop hello.web_0"]);
    await settled();
    pass(10);
    await vi.waitFor(async () => {
      expect(await keeper.list()).toEqual([]);
      expect((await store.list(keys.approvals)).kvs).toEqual([]);
    });
    expect(acts).toHaveLength(1);
  });

  test("that was approved while the control process was away starts when it is back", async () => {
    const store = await createFabric();
    const first = startKeeper(store);
    const { id } = await first.keeper.add(REBOOT);
    await first.end();
    const guest = startGuestView(store);
    expect(await guest.approve("hello.web_0", [id])).toBe(true);
    const second = startKeeper(store);
    await vi.waitFor(async () => expect((await second.keeper.list())[0]?.status).toBe("Started"));
  });

  test("that was due while the control process was away starts when it is back", async () => {
    const store = await createFabric();
    const first = startKeeper(store);
    await first.keeper.add({ ...REBOOT, isActedOn: true });
    await first.end();
    const second = startKeeper(store, [], 2_000_000);
    await vi.waitFor(async () => expect((await second.keeper.list())[0]?.status).toBe("Started"));
    expect(second.acts).toEqual(["restart hello.web_0"]);
  });

  test("is cleared by container, or by id", async () => {
    const store = await createFabric();
    const { keeper, acts } = startKeeper(store);
    const { id } = await keeper.add(REBOOT);
    await keeper.add({ ...REBOOT, type: "Freeze" });
    expect(await keeper.clear("hello.web_0", id)).toEqual({ cleared: 1 });
    expect((await keeper.list()).map(({ type }) => type)).toEqual(["Freeze"]);
    expect(await keeper.clear("hello.web_0")).toEqual({ cleared: 1 });
    expect(await keeper.clear("hello.web_0")).toEqual({ cleared: 0 });
    expect(acts).toEqual([]);
  });

  test("goes with its tenant, also if that went while the control process was away", async () => {
    const store = await createFabric();
    const first = startKeeper(store);
    await first.keeper.add(REBOOT);
    await first.keeper.forgetTenant("hello");
    expect((await store.list(keys.events)).kvs).toEqual([]);
    await first.keeper.add(REBOOT);
    await first.end();
    await store.txn({ success: [{ kind: "delete", key: keys.tenant("hello") }] });
    startKeeper(store);
    await vi.waitFor(async () => expect((await store.list(keys.events)).kvs).toEqual([]));
  });

  test("whose action fails is started all the same", async () => {
    const store = await createFabric();
    const acts: string[] = [];
    acts.push = () => {
      throw new Error("there is no such container");
    };
    const { keeper, pass, settled, errors } = startKeeper(store, acts);
    await keeper.add({ ...REBOOT, isActedOn: true });
    await settled();
    pass(60);
    await vi.waitFor(async () => expect((await keeper.list())[0]?.status).toBe("Started"));
    expect(errors).toEqual(["Reboot of hello.web_0 could not be done"]);
  });

  test("of too many of a tenant is refused", async () => {
    const store = await createFabric();
    const { keeper } = startKeeper(store);
    for (let count = 0; count < EVENTS_MAX; count += 1) await keeper.add(REBOOT);
    await expect(keeper.add(REBOOT)).rejects.toMatchObject({ code: "ERR_USAGE_EVENT" });
  });
});

describe("the control routes of events", () => {
  async function openRoutes() {
    const { keeper } = startKeeper(await createFabric());
    const app = createControlApp([eventRoutes(keeper)], pino({ level: "silent" }));
    onTestFinished(() => app.close());
    return app;
  }

  test("add with Azure's notice, list and clear", async () => {
    const app = await openRoutes();
    const payload = { container: "hello.web_0", type: "Preempt" };
    const added = await app.inject({ method: "POST", url: "/v1/events", payload });
    expect(added.json()).toMatchObject({
      ...{ tenant: "hello", status: "Scheduled", notBefore: "1970-01-01T00:17:10.000Z" },
      durationSeconds: -1,
    });
    expect((await app.inject("/v1/events")).json()).toEqual([added.json()]);
    const url = `/v1/containers/hello.web_0/events?id=${added.json().id}`;
    expect((await app.inject({ method: "DELETE", url })).json()).toEqual({ cleared: 1 });
  });

  for (const [name, payload, code] of [
    ["another container", { container: "no.web_0", type: "Reboot" }, "ERR_USAGE_CONTAINER_UNKNOWN"],
    ["another type", { container: "hello.web_0", type: "Reset" }, "ERR_USAGE_EVENT"],
    [
      "two days of notice",
      { container: "hello.web_0", type: "Reboot", noticeSeconds: 172_800 },
      "ERR_USAGE_EVENT",
    ],
    [
      "a long story",
      { container: "hello.web_0", type: "Reboot", description: "x".repeat(257) },
      "ERR_USAGE_EVENT",
    ],
    [
      "a freeze that is to be done",
      { container: "hello.web_0", type: "Freeze", isActedOn: true },
      "ERR_USAGE_EVENT",
    ],
  ] as const) {
    test(`refuse ${name}`, async () => {
      const app = await openRoutes();
      const answer = await app.inject({ method: "POST", url: "/v1/events", payload });
      expect(answer.statusCode).toBe(400);
      expect(answer.json().code).toBe(code);
    });
  }
});
