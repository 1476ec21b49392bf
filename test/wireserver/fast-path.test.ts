/** The goal state comes from bytes that are there already; nobody can tell by the answers. Over real sockets. */
import { once } from "node:events";
import { Agent, get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { goalStateOf } from "../../src/wireserver/documents.ts";
import { GOAL_STATES_MAX, GoalStateCache } from "../../src/wireserver/goal-state-cache.ts";
import {
  createWireServer,
  type WireContainer,
  type WireExchange,
  type WireFaults,
  type WireObserver,
  type WireServerOptions,
} from "../../src/wireserver/index.ts";
import { renderGoalState } from "../../src/wireserver/render-documents.ts";
import { CONTAINER, createDirectory, createRecorder, FULL } from "./fixtures.ts";

const AUTHORITY = { address: parseIpv4("168.63.129.16"), port: 80 };
const HERE = { ...CONTAINER, address: parseIpv4("127.0.0.1") };
const FAST = "/machine/?comp=goalstate";
/** The same in a spelling that takes the usual way. */
const USUAL = "/machine/?COMP=goalstate";

async function listen(options: Partial<WireServerOptions> = {}, observer?: Partial<WireObserver>) {
  const recorder = createRecorder();
  const directory = createDirectory(HERE);
  const app = createWireServer({
    directory,
    observer: { ...recorder, ...observer },
    endpoint: AUTHORITY.address,
    ...options,
  });
  await app.listen({ host: "127.0.0.1", port: 0 });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(async () => {
    agent.destroy();
    await app.close();
  });
  const { port } = app.server.address() as AddressInfo;
  const ask = async (path: string, headers: Record<string, string> = { "x-ms-version": "x" }) => {
    const request = get({ host: "127.0.0.1", port, path, headers, agent });
    const [response]: [IncomingMessage] = (await once(request, "response")) as [IncomingMessage];
    const body = (await response.setEncoding("utf8").toArray()).join("");
    const { date: _date, ...rest } = response.headers;
    return { status: response.statusCode, headers: rest, body };
  };
  return { ask, recorder, directory };
}

describe("the goal state, fast", () => {
  test("is the same answer as on the usual way, and as much is known of it", async () => {
    const { ask, recorder } = await listen();
    for (const url of [FAST, "/machine?comp=goalstate"]) {
      const fast = await ask(url);
      expect(fast.status).toBe(200);
      expect(fast).toEqual(await ask(USUAL));
      expect(recorder.lines.splice(0)).toEqual(Array(2).fill("hello.web_0 goalstate 3"));
    }
  });

  test("is another one at once when the goal is", async () => {
    const { ask, directory } = await listen();
    expect((await ask(FAST)).body).toContain("<Incarnation>3</Incarnation>");
    directory.replace({ ...HERE, incarnation: 4 });
    expect((await ask(FAST)).body).toContain("<Incarnation>4</Incarnation>");
    directory.replace({ ...HERE, name: "other.web_0", instanceId: "another" });
    expect((await ask(FAST)).body).toContain("<InstanceId>another</InstanceId>");
    directory.replace();
    expect((await ask(FAST)).status).toBe(403);
  });

  test("is refused as on the usual way without x-ms-version", async () => {
    const { ask, recorder } = await listen();
    const fast = await ask(FAST, {});
    expect(fast.status).toBe(400);
    expect(fast).toEqual(await ask(USUAL, {}));
    expect(recorder.lines[0]).toBe("127.0.0.1 refused version-header-missing");
  });

  test("is made wrong by a playbook as on the usual way", async () => {
    const faults: WireFaults = {
      isOn: () => true,
      next: () => ({ fault: "gone", step: { status: 410 } }),
      refuses: () => false,
    };
    const { ask } = await listen({ faults });
    expect((await ask(FAST)).status).toBe(410);
  });

  test("is a 500 if the observer fails, and the next is served", async () => {
    let calls = 0;
    const { ask } = await listen(
      {},
      {
        contact: () => {
          calls += 1;
          if (calls <= 2) throw new Error("no");
        },
      },
    );
    expect((await ask(FAST)).status).toBe(500);
    expect((await ask(FAST)).status).toBe(200);
  });

  test("is recorded", async () => {
    const exchanges: WireExchange[] = [];
    let now = 5;
    const recorder = { now: () => now++, record: (each: WireExchange) => exchanges.push(each) };
    const { ask } = await listen({ recorder });
    const { body } = await ask(FAST);
    await expect.poll(() => exchanges).toHaveLength(1);
    expect(exchanges[0]).toMatchObject({
      container: "hello.web_0",
      service: "wireServer",
      address: "127.0.0.1",
      startedMs: 5,
      request: { method: "GET", url: FAST },
      response: { status: 200, body: { bytes: Buffer.byteLength(body), text: body } },
    });
  });
});

describe("the cache of goal states", () => {
  test("has what would be rendered anew, whatever of a container changes", () => {
    const cache = new GoalStateCache(AUTHORITY, true);
    const { deployment } = FULL;
    const changes: Partial<WireContainer>[] = [
      {},
      { incarnation: 4 },
      { expectedState: "Stopped" },
      { containerId: "another" },
      { instanceId: "another" },
      { roleInstance: "web_1" },
      { deployment: { ...deployment, guid: "another" } },
      { users: [] },
      { extensions: [] },
      { address: 1 as WireContainer["address"] },
      { settings: { ANOTHER: "1" } },
      { deployment: { ...deployment, name: "another" } },
    ];
    for (const change of [...changes, ...changes.toReversed()]) {
      const container = { ...FULL, ...change };
      const expected = renderGoalState(goalStateOf(container, AUTHORITY, true));
      expect(String(cache.render(container).body)).toBe(expected);
    }
  });

  test("gives the same bytes for another object of the same state", () => {
    const cache = new GoalStateCache(AUTHORITY, false);
    expect(cache.render({ ...FULL }).body).toBe(cache.render({ ...FULL, instances: [] }).body);
    expect(GOAL_STATES_MAX).toBeGreaterThan(5_000);
  });
});
