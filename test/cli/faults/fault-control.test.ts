import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { createControlApp } from "../../../src/cli/control/control-server.ts";
import { startNodeFaults } from "../../../src/cli/fabric/node-faults.ts";
import {
  createFaultControl,
  FaultsSchema,
  FaultViewSchema,
  faultSentence,
} from "../../../src/cli/faults/fault-control.ts";
import { faultRoutes } from "../../../src/cli/faults/routes.ts";
import { keys } from "../../../src/model/documents.ts";
import { openMemoryStore } from "../../../src/store/index.ts";

const CONTAINER = "hello.web_0";
const PATH = `/v1/containers/${CONTAINER}/fault`;
const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);

/** A store with one container, the control socket's routes over it, and a node that follows it. */
async function setUp() {
  const store = openMemoryStore();
  onTestFinished(() => store[Symbol.asyncDispose]());
  await store.txn({ success: [{ kind: "put", key: keys.containerGoal(CONTAINER), value: {} }] });
  const app = createControlApp(
    [faultRoutes(createFaultControl(store, () => NOW))],
    pino({ level: "silent" }),
  );
  onTestFinished(() => app.close());
  const node = startNodeFaults({ store, onError: () => undefined, now: () => 0 });
  onTestFinished(() => node[Symbol.asyncDispose]());
  const request = {
    service: "wireServer",
    method: "GET",
    url: "/machine/?comp=goalstate",
  } as const;
  const status = () => node.book.next(CONTAINER, request)?.step.status;
  return { store, app, node, status };
}

describe("the control socket", () => {
  test("sets a shipped playbook by its name; nodes have it, and why says so", async () => {
    const { app, store, status } = await setUp();
    const response = await app.inject({
      method: "POST",
      url: PATH,
      payload: { name: "goalstate-500" },
    });
    expect(FaultViewSchema.parse(response.json())).toEqual({
      container: CONTAINER,
      playbook: "goalstate-500",
      since: "2026-01-02T03:04:05.000Z",
    });
    await expect.poll(status).toBe(500);
    expect(await faultSentence(store, CONTAINER)).toBe(
      "Fault goalstate-500 is on: its answers are made wrong on purpose; goalstate fault clear hello.web_0 ends it.",
    );
    const list = FaultsSchema.parse((await app.inject("/v1/faults")).json());
    expect(list.on.map(({ playbook }) => playbook)).toEqual(["goalstate-500"]);
    expect(list.playbooks.map(({ name }) => name)).toContain("goalstate-410");
  });

  test("sets a playbook that is sent, in place of the one before, and clears it", async () => {
    const { app, node, status } = await setUp();
    await app.inject({ method: "POST", url: PATH, payload: { name: "goalstate-500" } });
    const rules = [{ endpoint: "goalstate", answers: [{ status: 418 }] }];
    await app.inject({ method: "POST", url: PATH, payload: { playbook: { name: "mine", rules } } });
    await expect.poll(status).toBe(418);
    const cleared = await app.inject({ method: "DELETE", url: PATH });
    expect(cleared.json()).toEqual({ cleared: true });
    await expect.poll(() => node.book.isOn(CONTAINER)).toBe(false);
    expect((await app.inject({ method: "DELETE", url: PATH })).json()).toEqual({ cleared: false });
  });

  for (const [what, url, payload, text] of [
    ["a wrong playbook", PATH, { playbook: { name: "mine" } }, /does nothing/],
    ["an unknown name", PATH, { name: "nothing" }, /There is no playbook nothing/],
    ["neither", PATH, {}, /needs a \\?"playbook/],
    [
      "an unknown container",
      "/v1/containers/a.b_0/fault",
      { name: "health-500" },
      /no container a\.b_0/,
    ],
  ] as const) {
    test(`refuses ${what}`, async () => {
      const { app, store } = await setUp();
      const response = await app.inject({ method: "POST", url, payload });
      expect(response.statusCode).toBe(400);
      expect(response.body).toMatch(text);
      expect((await store.list(keys.faults)).kvs).toEqual([]);
      expect(await faultSentence(store, CONTAINER)).toBeUndefined();
    });
  }
});
