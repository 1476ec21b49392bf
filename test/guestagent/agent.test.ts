/** The agent against a real wire server on loopback, with a real role program. */

import { readFile, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { runAgent } from "../../src/guestagent/agent.ts";
import { createWireClient } from "../../src/guestagent/wire-client.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { createWireServer, type WireContainer } from "../../src/wireserver/index.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { CONTAINER, createDirectory, createRecorder } from "../wireserver/fixtures.ts";
import { createTestEdge } from "./test-edge.ts";

const LOOPBACK = parseIpv4("127.0.0.1");
const WEB: WireContainer = { ...CONTAINER, address: LOOPBACK };
const FAST_RETRY = {
  triesMax: 6,
  backoff: { baseMs: 10, maxMs: 20 },
  instanceTriesMax: 6,
  instanceWaitMs: 5,
};
const STAY = "console.log(process.env.SETTING_GREETING); setInterval(() => {}, 1000);";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function folderWith(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = temporaryFolder("agent");
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

function appFiles(program: string) {
  return { "app.json": '{"command":["node","app.mjs"]}', "app.mjs": program };
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server, 0);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function listen(server: ReturnType<typeof createServer>, port: number): Promise<number> {
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

async function startFabric(container: WireContainer, wantedPort?: number) {
  const port = wantedPort ?? (await freePort());
  const directory = createDirectory(container);
  const recorder = createRecorder();
  const app = createWireServer({ directory, observer: recorder, endpoint: LOOPBACK, port });
  await app.ready();
  await listen(app.server, port);
  cleanups.push(() => app.close());
  return { directory, port, app, ...recorder };
}

/** A wire server that is not ours, for what ours does not do. */
async function startStranger(listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  return listen(server, 0);
}

async function startAgent(
  port: number,
  files: Readonly<Record<string, string>>,
  heartbeatMs = 60_000,
) {
  const appFolder = await folderWith(files);
  const stateFolder = join(appFolder, "state");
  const { edge, lines } = createTestEdge();
  const stop = new AbortController();
  const client = createWireClient({
    authority: `127.0.0.1:${port}`,
    edge,
    signal: stop.signal,
    retryPolicy: FAST_RETRY,
  });
  const done = runAgent({
    client,
    appFolder,
    stateFolder,
    environment: {},
    edge,
    signal: stop.signal,
    intervals: { pollMs: 25, heartbeatMs },
    supervisorPolicy: {
      backoff: { baseMs: 10, maxMs: 20 },
      stableMs: 60_000,
      graceMs: 300,
    },
  });
  const halt = async () => {
    stop.abort();
    await done;
  };
  cleanups.push(halt);
  return { lines, halt, done, stateFolder };
}

function until(check: () => void): Promise<void> {
  return vi.waitFor(check, { timeout: 10_000, interval: 10 });
}

function count(lines: readonly string[], text: string): number {
  return lines.filter((line) => line.includes(text)).length;
}

function withoutRepeats(lines: readonly string[]): string[] {
  return lines.filter((line, at) => line !== lines[at - 1]);
}

describe("guest agent", () => {
  test("goes from versions to Ready in the fabric's order, and stops its role at the end", async () => {
    const fabric = await startFabric(WEB);
    const agent = await startAgent(fabric.port, appFiles(STAY));
    await until(() => expect(fabric.reports.at(-1)?.state).toBe("Ready"));
    const web = "hello.web_0";
    const want = [
      `${web} versions`,
      `${web} goalstate 3`,
      `${web} hostingEnvironmentConfig 3`,
      `${web} sharedConfig 3`,
      `${web} health 3`,
      `${web} reports NotReady Provisioning`,
    ];
    expect(fabric.lines.slice(0, want.length)).toEqual(want);
    expect(fabric.reports[0]).toEqual({
      state: "NotReady",
      subStatus: "Provisioning",
      description: "Starting",
      incarnation: 3,
    });
    await until(() => expect(fabric.properties.get("RoleState")).toBe("Started"));
    expect(fabric.lines.indexOf(`${web} RoleState=Started`)).toBeGreaterThan(
      fabric.lines.indexOf(`${web} reports Ready`),
    );
    await until(() => expect(agent.lines).toContain(`role: ${WEB.settings["GREETING"]}`));
    await until(() => expect(count(fabric.lines, "goalstate 3")).toBeGreaterThan(3));
    // Polls fetch the goal state only, and say nothing while nothing is new.
    expect(count(fabric.lines, "sharedConfig")).toBe(1);
    expect(count(fabric.lines, "reports Ready")).toBe(1);
    const state = JSON.parse(await readFile(join(agent.stateFolder, "agent.json"), "utf8"));
    expect(state).toMatchObject({ incarnation: "3", health: { state: "Ready" }, role: "Started" });
    const pid = Number(/pid (\d+)/.exec(agent.lines.join("\n"))?.[1]);
    await agent.halt();
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });

  test("repeats Ready as a heartbeat", async () => {
    const fabric = await startFabric(WEB);
    await startAgent(fabric.port, {}, 20);
    await until(() => expect(count(fabric.lines, "reports Ready")).toBeGreaterThan(3));
  });

  test("refetches on another incarnation, larger or smaller, and restarts the role only for new settings", async () => {
    const fabric = await startFabric(WEB);
    const agent = await startAgent(fabric.port, appFiles(STAY));
    await until(() => expect(fabric.reports.at(-1)?.state).toBe("Ready"));
    fabric.directory.replace({ ...WEB, incarnation: 2 });
    await until(() => expect(fabric.reports.at(-1)).toEqual({ state: "Ready", incarnation: 2 }));
    expect(count(fabric.lines, "sharedConfig 2")).toBe(1);
    expect(count(agent.lines, "role program started")).toBe(1);
    fabric.directory.replace({ ...WEB, incarnation: 4, settings: { GREETING: "again" } });
    await until(() => expect(agent.lines).toContain("role: again"));
    await until(() => expect(fabric.reports.at(-1)?.incarnation).toBe(4));
    expect(count(agent.lines, "role program started")).toBe(2);
    expect(count(fabric.lines, "NotReady")).toBe(1);
  });

  test("stops the role when it is expected to be stopped, reports that, and ends", async () => {
    const fabric = await startFabric(WEB);
    const agent = await startAgent(fabric.port, appFiles(STAY));
    await until(() => expect(fabric.properties.get("RoleState")).toBe("Started"));
    fabric.directory.replace({ ...WEB, incarnation: 4, expectedState: "Stopped" });
    expect(await agent.done).toBe("stopped");
    expect(fabric.properties.get("RoleState")).toBe("Stopped");
    expect(count(agent.lines, "stopping the role program")).toBe(1);
  });

  test("reports to the new container after its id changed", async () => {
    const fabric = await startFabric(WEB);
    await startAgent(fabric.port, appFiles(STAY));
    await until(() => expect(count(fabric.lines, "RoleState=Started")).toBe(1));
    fabric.directory.replace({ ...WEB, containerId: "00000000-0000-4000-8000-000000000001" });
    await until(() => expect(count(fabric.lines, "reports Ready")).toBe(2));
    await until(() => expect(count(fabric.lines, "RoleState=Started")).toBe(2));
  });

  test("a role that crashes is reported and started again; the container stays Ready", async () => {
    const fabric = await startFabric(WEB);
    const agent = await startAgent(
      fabric.port,
      appFiles("setTimeout(() => process.exit(7), 100);"),
    );
    await until(() => expect(count(agent.lines, "role program started")).toBeGreaterThan(2));
    await until(() => {
      expect(withoutRepeats(fabric.lines)).toContain(
        "hello.web_0 RoleState=Crashed exited with code 7",
      );
    });
    expect(fabric.reports.at(-1)?.state).toBe("Ready");
  });

  test("a role that ignores SIGTERM is killed", async () => {
    const fabric = await startFabric(WEB);
    const program =
      'process.on("SIGTERM", () => {}); console.log("deaf"); setInterval(() => {}, 1000);';
    const agent = await startAgent(fabric.port, appFiles(program));
    await until(() => expect(agent.lines).toContain("role: deaf"));
    await agent.halt();
    const pid = Number(/pid (\d+)/.exec(agent.lines.join("\n"))?.[1]);
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });

  for (const [name, manifest, text] of [
    ["a program that does not exist", '{"command":["./nothing"]}', /did not start: .*ENOENT/],
    ["a broken app.json", "{", /app\.json is not JSON/],
  ] as const) {
    test(`${name} is not Ready, and the report says why`, async () => {
      const fabric = await startFabric(WEB);
      await startAgent(fabric.port, { "app.json": manifest });
      await until(() => expect(fabric.reports.at(-1)?.description).toMatch(text));
      expect(fabric.reports.at(-1)).toMatchObject({ state: "NotReady", subStatus: "Provisioning" });
      await until(() => expect(fabric.properties.get("RoleState")).toMatch(/^Crashed /));
    });
  }

  test("without app.json the container is Ready and says that it has no program", async () => {
    const fabric = await startFabric(WEB);
    await startAgent(fabric.port, {});
    await until(() => expect(fabric.reports.at(-1)?.state).toBe("Ready"));
    await until(() => expect(fabric.properties.get("RoleState")).toBe("NoProgram"));
  });

  test("waits for a wire server that comes late", async () => {
    const port = await freePort();
    const agent = await startAgent(port, {});
    await until(() => expect(count(agent.lines, "failed 6 times")).toBeGreaterThan(0));
    const fabric = await startFabric(WEB, port);
    await until(() => expect(fabric.reports.at(-1)?.state).toBe("Ready"));
  });

  test("asks for the goal state again when its documents are gone", async () => {
    const fabric = await startFabric(WEB);
    // Between goal state and configuration the incarnation rises, once.
    let asked = 0;
    const directory = {
      findByAddress: () => {
        asked++;
        return asked <= 2 ? WEB : { ...WEB, incarnation: 9 };
      },
    };
    const port = await freePort();
    const app = createWireServer({ directory, observer: fabric, endpoint: LOOPBACK, port });
    await app.ready();
    await listen(app.server, port);
    cleanups.push(() => app.close());
    const agent = await startAgent(port, {});
    await until(() => expect(fabric.reports.at(-1)).toEqual({ state: "Ready", incarnation: 9 }));
    expect(count(fabric.lines, "refused stale-resource")).toBe(1);
    expect(count(agent.lines, "changed while it was read")).toBe(1);
  });

  test("survives 5xx with HTML, HTML with 200, a late RoleInstance, and a 403", async () => {
    const fabric = await startFabric(WEB);
    const html = "<html><body><h1>Service Unavailable</h1><br></body></html>";
    const tricks: ((url: string) => [number, string] | undefined)[] = [
      () => [503, html],
      () => [500, html],
      () => [200, html],
      () => [204, ""],
      (url) =>
        url.includes("goalstate") ? [200, "<GoalState><Container/></GoalState>"] : undefined,
      (url) =>
        url.includes("goalstate")
          ? [200, "<GoalState><Container><RoleInstanceList/></Container></GoalState>"]
          : undefined,
      () => [403, "<Error/>"],
      () => [404, html],
    ];
    const port = await startStranger(async (request, response) => {
      const trick = tricks[0]?.(request.url ?? "");
      if (trick !== undefined) {
        tricks.shift();
        response.statusCode = trick[0];
        response.end(trick[1]);
        return;
      }
      const chunks: Uint8Array[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const answer = await fetch(`http://127.0.0.1:${fabric.port}${request.url}`, {
        method: request.method ?? "GET",
        headers: { "x-ms-version": "2012-11-30" },
        ...(request.method === "POST" ? { body: Buffer.concat(chunks) } : {}),
      });
      response.statusCode = answer.status;
      response.end(await answer.text());
    });
    await startAgent(port, {});
    await until(() => expect(tricks).toEqual([]));
    await until(() => expect(fabric.reports.at(-1)?.state).toBe("Ready"));
  });
});

describe("wire client", () => {
  async function ask(listener: RequestListener) {
    const { edge } = createTestEdge();
    const port = await startStranger(listener);
    const { signal } = new AbortController();
    const authority = `127.0.0.1:${port}`;
    const client = createWireClient({ authority, edge, signal, retryPolicy: FAST_RETRY });
    return client.fetchDocument(`http://${authority}/x?y=%5F`).then(
      () => "done",
      (error: { code: string }) => error.code,
    );
  }

  for (const [status, tries, code] of [
    [200, 1, "done"],
    [202, 1, "done"],
    [204, 1, "ERR_AGENT_REQUEST_REFUSED"],
    [302, 1, "ERR_AGENT_REQUEST_REFUSED"],
    [400, 1, "ERR_AGENT_REQUEST_REFUSED"],
    [403, 6, "ERR_AGENT_WIRE_SERVER_UNREACHABLE"],
    [404, 1, "ERR_AGENT_REQUEST_REFUSED"],
    [410, 1, "ERR_AGENT_RESOURCE_GONE"],
    [429, 6, "ERR_AGENT_WIRE_SERVER_UNREACHABLE"],
    [503, 6, "ERR_AGENT_WIRE_SERVER_UNREACHABLE"],
  ] as const) {
    test(`status ${status}: ${tries} tries, ${code}`, async () => {
      const urls: (string | undefined)[] = [];
      const outcome = await ask((request, response) => {
        urls.push(request.url);
        expect(request.headers["x-ms-version"]).toBe("2012-11-30");
        expect(request.headers["x-ms-agent-name"]).toBe("goalstate-agent");
        response.statusCode = status;
        response.end();
      });
      expect(outcome).toBe(code);
      expect(urls).toEqual(Array(tries).fill("/x?y=%5F"));
    });
  }

  test("a body without end is refused", async () => {
    const outcome = await ask((_request, response) => {
      response.write(Buffer.alloc(1024 * 1024 + 1));
    });
    expect(outcome).toBe("ERR_AGENT_WIRE_SERVER_UNREACHABLE");
  });
});
