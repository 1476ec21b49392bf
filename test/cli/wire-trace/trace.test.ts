/** From a guest's request over a real socket to the files of a node, and back to what the command prints. */
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { harOf } from "../../../src/cli/wire-trace/har.ts";
import { showRequests } from "../../../src/cli/wire-trace/show-requests.ts";
import { ExchangeSchema, HarSchema } from "../../../src/cli/wire-trace/trace-document.ts";
import { listTraceFolders, TraceReader } from "../../../src/cli/wire-trace/trace-reader.ts";
import {
  listTraceFiles,
  openTraceWriter,
  TRACE_FILES_MAX,
} from "../../../src/cli/wire-trace/trace-writer.ts";
import { parseIpv4 } from "../../../src/model/ipv4-address.ts";
import { PlaybookSchema } from "../../../src/model/playbook.ts";
import { createWireServer, FaultBook, TraceRecorder } from "../../../src/wireserver/index.ts";
import harSpecification from "../../fixtures/har/har-1.2.schema.json" with { type: "json" };
import { temporaryFolder } from "../../temporary-folder.ts";
import { CONTAINER, createDirectory, createRecorder } from "../../wireserver/fixtures.ts";

/** HAR 1.2 as its specification has it, beside our own schema. */
const SPECIFICATION = z.fromJSONSchema(harSpecification as Parameters<typeof z.fromJSONSchema>[0]);

/** A wire server whose exchanges are kept in a data folder. */
async function serve() {
  const data = temporaryFolder("trace");
  const folder = join(data, "nodes", "node-1", "requests");
  const writer = openTraceWriter(folder, (error) => {
    throw error;
  });
  onTestFinished(() => writer[Symbol.asyncDispose]());
  const recorder = new TraceRecorder({
    now: () => performance.timeOrigin + performance.now(),
    startTimer: (milliseconds, callback) => {
      const timer = setTimeout(callback, milliseconds);
      return () => clearTimeout(timer);
    },
    take: (batch) => writer.take(batch),
  });
  const faults = new FaultBook(() => performance.now());
  const app = createWireServer({
    directory: createDirectory({ ...CONTAINER, address: parseIpv4("127.0.0.1") }),
    observer: createRecorder(),
    endpoint: parseIpv4("127.0.0.1"),
    faults,
    recorder,
  });
  await app.listen({ host: "127.0.0.1", port: 0 });
  onTestFinished(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  const headers = { "x-ms-version": "2012-11-30" };
  const ask = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers, ...init });
    return [response.status, await response.text()] as const;
  };
  const reader = new TraceReader(folder, CONTAINER.name);
  /** All that is kept, once so many are. */
  const kept = async (count: number) => {
    const exchanges: ReturnType<TraceReader["read"]>["exchanges"][number][] = [];
    await expect
      .poll(() => {
        recorder.flush();
        exchanges.push(...reader.read().exchanges);
        return exchanges.length;
      })
      .toBe(count);
    return exchanges;
  };
  return { data, folder, port, ask, kept, faults, recorder };
}

const GOAL_STATE = "/machine/?comp=goalstate";

describe("the trace of a container", () => {
  test("has the request as it was sent, and the answer as it was given", async () => {
    const { port, kept } = await serve();
    const socket = connect(port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.write(
      `GET ${GOAL_STATE} HTTP/1.1\r\nHost: a\r\nX-MS-Version: 2012-11-30\r\nx-ms-agent-name: WALinuxAgent\r\n\r\n`,
    );
    const [exchange] = await kept(1);
    expect(ExchangeSchema.parse(exchange)).toEqual(exchange);
    expect(exchange).toMatchObject({
      container: "hello.web_0",
      service: "wireServer",
      address: "127.0.0.1",
      request: {
        method: "GET",
        url: GOAL_STATE,
        httpVersion: "1.1",
        headers: [
          { name: "Host", value: "a" },
          { name: "X-MS-Version", value: "2012-11-30" },
          { name: "x-ms-agent-name", value: "WALinuxAgent" },
        ],
        body: { bytes: 0 },
      },
      response: { status: 200 },
    });
    expect(exchange?.response?.body.text).toContain("<Incarnation>3</Incarnation>");
    const names = exchange?.response?.headers.map(({ name }) => name.toLowerCase());
    expect(names).toEqual(expect.arrayContaining(["content-type", "content-length", "connection"]));
    expect(exchange?.durationMs).toBeGreaterThanOrEqual(exchange?.waitMs ?? Number.NaN);
  });

  test("has posted bodies, refusals with their reason, and answers that a playbook made", async () => {
    const { ask, kept, faults } = await serve();
    await ask(GOAL_STATE, { headers: {} });
    await ask("/machine?comp=health", { method: "POST", body: "<Health/>" });
    const rules = [{ endpoint: "goalstate", answers: [{ status: 410 }, { connection: "reset" }] }];
    faults.set(CONTAINER.name, PlaybookSchema.parse({ name: "mine", rules }));
    await ask(GOAL_STATE);
    await expect(ask(GOAL_STATE)).rejects.toThrow();
    const [noVersion, health, gone, reset] = await kept(4);
    expect([noVersion?.response?.status, noVersion?.refusal]).toEqual([
      400,
      "version-header-missing",
    ]);
    expect(health?.request.body).toMatchObject({ bytes: 9, text: "<Health/>" });
    expect([gone?.response?.status, gone?.fault, gone?.refusal]).toEqual([410, "mine", undefined]);
    expect([reset?.response, reset?.fault]).toEqual([undefined, "mine"]);
  });

  test("has no text of documents with secrets, but their length and hash", async () => {
    const { ask, kept, folder } = await serve();
    const path = "/machine/a/b?comp=certificates&incarnation=3";
    const [, text] = await ask(path);
    const [exchange] = await kept(1);
    expect(exchange?.response?.body).toMatchObject({ bytes: Buffer.byteLength(text) });
    expect(exchange?.response?.body.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(exchange?.response?.body.text).toBeUndefined();
    const file = readFileSync(join(folder, listTraceFiles(folder)[0]!), "utf8");
    expect(file).not.toContain("</Message>");
  });

  test("is nothing of what others ask", async () => {
    const { ask, kept, folder } = await serve();
    await ask(GOAL_STATE);
    await kept(1);
    expect(new TraceReader(folder, "hello.web_1").read().exchanges).toEqual([]);
  });
});

describe("the files", () => {
  test("go on with a new one after a restart, and are never more than so many", async () => {
    const folder = join(temporaryFolder("trace"), "requests");
    const fail = (error: unknown) => {
      throw error;
    };
    for (let restart = 0; restart < 2; restart += 1) {
      await using writer = openTraceWriter(folder, fail);
      for (let file = 0; file < TRACE_FILES_MAX; file += 1) {
        expect(writer.take({ text: `{"t":"d","n":${file + 1}}\n`, begins: true })).toBe(true);
        expect(writer.take({ text: `{"t":"d","n":100}\n`, begins: false })).toBe(true);
      }
    }
    expect(listTraceFiles(folder)).toHaveLength(TRACE_FILES_MAX);
    expect(listTraceFiles(folder).at(-1)).toBe(
      `${String(2 * TRACE_FILES_MAX).padStart(8, "0")}.jsonl`,
    );
    const sum = (TRACE_FILES_MAX * (TRACE_FILES_MAX + 1)) / 2;
    expect(new TraceReader(folder, "a").read().dropped).toBe(sum + 100 * TRACE_FILES_MAX);
  });

  test("that end in half a line, or hold another's, cost that line alone", async () => {
    const { ask, kept, folder } = await serve();
    await ask(GOAL_STATE);
    await kept(1);
    const [file = ""] = listTraceFiles(folder);
    appendFileSync(
      join(folder, file),
      '{"t":"x","c":"hello.web_0","at":1}\nnonsense\n{"t":"x","c":"hel',
    );
    writeFileSync(join(folder, "00000009.jsonl"), '{"t":"d","n":1}\n');
    const { exchanges, unreadable, dropped } = new TraceReader(folder, CONTAINER.name).read();
    expect([exchanges.length, unreadable, dropped]).toEqual([1, 3, 1]);
  });

  test("are found in a data folder, of a node and of its own", async () => {
    const { data, ask, kept, folder } = await serve();
    await ask(GOAL_STATE);
    await kept(1);
    expect(listTraceFolders(data)).toEqual([folder]);
  });
});

describe("goalstate requests", () => {
  const run = async (data: string, args: object) => {
    const lines: string[] = [];
    const warnings: string[] = [];
    await showRequests(
      CONTAINER.name,
      { data, ...args },
      {
        environment: {},
        print: (line) => void lines.push(line),
        warn: (line) => void warnings.push(line),
        signal: AbortSignal.timeout(900),
      },
    );
    return { lines, warnings };
  };

  test("prints a table, lines of JSON, an archive, and what comes", async () => {
    const { data, ask, kept, faults, recorder } = await serve();
    await ask("/?comp=versions");
    faults.set(
      CONTAINER.name,
      PlaybookSchema.parse({
        name: "mine",
        rules: [{ endpoint: "health", answers: [{ status: 503 }] }],
      }),
    );
    await ask("/machine?comp=health", { method: "POST", body: "<Health/>" });
    await kept(2);
    const table = (await run(data, {})).lines;
    expect(table).toHaveLength(3);
    expect(table[1]).toMatch(/^\d{4}-.*Z +200 .* ms +\d+ {2}GET \/\?comp=versions$/);
    expect(table[2]).toMatch(/ 503 .* POST \/machine\?comp=health {2}\[fault mine\]$/);
    const json = (await run(data, { json: true })).lines;
    expect(json.map((line) => ExchangeSchema.parse(JSON.parse(line)).fault)).toEqual([
      undefined,
      "mine",
    ]);
    const output = join(data, "out.har");
    expect((await run(data, { har: true, output })).lines).toEqual([]);
    const archive: unknown = JSON.parse(readFileSync(output, "utf8"));
    const har = HarSchema.parse(archive);
    SPECIFICATION.parse(archive);
    const broken = { log: { ...har.log, entries: [{ ...har.log.entries[0], timings: {} }] } };
    expect(SPECIFICATION.safeParse(broken).success).toBe(false);
    expect(har.log.entries.map(({ request }) => request.url)).toEqual([
      "http://168.63.129.16/?comp=versions",
      "http://168.63.129.16/machine?comp=health",
    ]);
    expect((await run(data, { json: true, since: 0.000_001 })).lines).toEqual([]);
    const following = run(data, { json: true, follow: true });
    await ask("/?comp=versions");
    recorder.flush();
    expect((await following).lines).toHaveLength(3);
  });

  test("refuses options that contradict each other", async () => {
    await expect(run("/nowhere", { har: true, json: true })).rejects.toThrow(/exclude/);
    await expect(run("/nowhere", { har: true, follow: true })).rejects.toThrow(/has an end/);
  });
});

test("an archive of no exchanges is one", () => {
  expect(HarSchema.parse(harOf([], "1.0"))).toEqual(harOf([], "1.0"));
});
