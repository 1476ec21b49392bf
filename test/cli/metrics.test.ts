/** The metrics of a server that was asked this and that, read as Prometheus reads them. */
import { execFileSync, spawnSync } from "node:child_process";
import { createServer } from "node:net";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { DROP_REASONS } from "../../src/cli/dhcp/reasons.ts";
import { createMetrics, openMetricsServer } from "../../src/cli/metrics/metrics.ts";
import { parseMetricsAddress } from "../../src/cli/metrics/metrics-address.ts";
import { octets, UNKNOWN_MAC } from "../dhcp/packets.ts";
import { startLookedAtServer } from "./looked-at-server.ts";

const log = pino({ level: "silent" });

/** One sample line: its name, labels and value. */
interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads the text format strictly: a line is a sample, HELP or TYPE of a metric, or nothing. */
function parse(text: string) {
  const types = new Map<string, string>();
  const helps = new Map<string, string>();
  const samples: Sample[] = [];
  for (const line of text.split("\n").filter((candidate) => candidate !== "")) {
    const comment = /^# (HELP|TYPE) (\w+) (.+)$/.exec(line);
    const sample = /^(\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)$/.exec(line);
    if (comment !== null) (comment[1] === "HELP" ? helps : types).set(comment[2]!, comment[3]!);
    else if (sample !== null) {
      const labels = [...(sample[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
      samples.push({
        name: sample[1]!,
        labels: Object.fromEntries(labels.map(([, label, value]) => [label!, value!])),
        value: Number(sample[3]),
      });
    } else throw new Error(`no metric: ${line}`);
  }
  return { types, helps, samples };
}

function scrape() {
  const server = startLookedAtServer();
  const metrics = createMetrics("1.2.3", () => [server.view]);
  const read = async () => parse(await metrics.metrics());
  return { ...server, metrics, read };
}

function findValue(
  { samples }: ReturnType<typeof parse>,
  name: string,
  labels: Readonly<Record<string, string>>,
): number | undefined {
  const wanted = JSON.stringify(labels);
  return samples.find((s) => s.name === name && JSON.stringify(s.labels) === wanted)?.value;
}

describe("the metrics", () => {
  test("say how often the wire process was started again", async () => {
    const wireProcess = { restarts: 2 };
    const metrics = createMetrics("1.2.3", () => [], wireProcess);
    expect(await metrics.metrics()).toContain("\ngoalstate_wire_process_restarts_total 2\n");
    wireProcess.restarts = 3;
    expect(await metrics.metrics()).toContain("\ngoalstate_wire_process_restarts_total 3\n");
  });

  test("are what the server counted, read anew at each scrape", async () => {
    const { send, read, counters } = scrape();
    const network = "br0";
    send({ type: "DHCPDISCOVER" });
    send({ type: "DHCPDISCOVER", mac: UNKNOWN_MAC });
    send({ type: "DHCPREQUEST", options: { 50: octets("192.168.7.4") } });
    counters.omittedByCode[15] = 3;
    counters.pending = 2;
    const first = await read();
    const want: readonly (readonly [string, Record<string, string>, number])[] = [
      ["frames_received_total", {}, 3],
      ["replies_total", { type: "DHCPOFFER" }, 1],
      ["replies_total", { type: "DHCPNAK" }, 1],
      ["replies_total", { type: "BOOTREPLY" }, 0],
      ["drops_total", { reason: "nic.unknown" }, 1],
      ["drops_total", { reason: "udp.csum" }, 0],
      ["notes_total", { note: "udp.srcport" }, 0],
      ["options_ignored_total", { reason: "opt.12" }, 0],
      ["options_omitted_total", { code: "15" }, 3],
      ["plugin_decisions_total", { plugin: "nm" }, 2],
      ["plugin_failures_total", { plugin: "nm" }, 0],
      ["plugin_timeouts_total", { plugin: "nm" }, 0],
      ["socket_frames_total", { outcome: "received" }, 3],
      ["socket_frames_total", { outcome: "dropped" }, 0],
      ["nak_copies_total", {}, 0],
      ["observer_errors_total", {}, 0],
      ["pending_requests", {}, 2],
    ];
    for (const [name, labels, value] of want) {
      const full = `goalstate_dhcp_${name}`;
      expect([full, labels, findValue(first, full, { network, ...labels })]).toEqual([
        full,
        labels,
        value,
      ]);
    }
    counters.pending = 0;
    send({ type: "DHCPDISCOVER" });
    expect(findValue(await read(), "goalstate_dhcp_frames_received_total", { network })).toBe(4);
  });

  test("have a help and a type each; what only grows is a counter and ends in _total", async () => {
    const { read } = scrape();
    const { types, helps, samples } = await read();
    const ours = [...types].filter(([name]) => name.startsWith("goalstate_"));
    expect(ours.length).toBeGreaterThan(12);
    for (const [name, type] of ours) {
      expect(helps.get(name)).toMatch(/^[A-Z0-9].*[.]$/);
      expect([name, type]).toEqual([name, name.endsWith("_total") ? "counter" : "gauge"]);
    }
    const process = ["process_cpu_seconds_total", "process_resident_memory_bytes"];
    const node = ["nodejs_eventloop_lag_p99_seconds", "nodejs_gc_duration_seconds"];
    for (const name of [...process, ...node]) expect(types.has(name)).toBe(true);
    expect(samples).toContainEqual({
      name: "goalstate_build_info",
      labels: { version: "1.2.3" },
      value: 1,
    });
  });

  test("have labels from closed sets only, whatever clients send", async () => {
    const { send, read } = scrape();
    const before = (await read()).samples.length;
    for (let client = 0; client < 500; client++) {
      const mac = (UNKNOWN_MAC - client) as typeof UNKNOWN_MAC;
      send({
        type: "DHCPDISCOVER",
        mac,
        xid: client,
        options: { 12: Buffer.from(`host-${client}`) },
      });
    }
    const after = await read();
    expect(after.samples.length).toBe(before);
    const reasons = after.samples
      .filter(({ name }) => name === "goalstate_dhcp_drops_total")
      .map(({ labels }) => labels["reason"]);
    expect(reasons.sort()).toEqual(Object.keys(DROP_REASONS).sort());
  });

  const hasPromtool = spawnSync("promtool", ["--version"]).status === 0;
  test.skipIf(!hasPromtool && !process.env["CI"])(
    "please promtool (needs prometheus)",
    async () => {
      const { send, metrics } = scrape();
      send({ type: "DHCPDISCOVER" });
      const text = await metrics.metrics();
      const ours = text.split("\n\n").filter((metric) => metric.includes(" goalstate_"));
      expect(execFileSync("promtool", ["check", "metrics"], { input: ours.join("\n\n") })).toEqual(
        Buffer.alloc(0),
      );
      // Of Node's own it may dislike names, which come from the library; 3 means that it could read all the same.
      expect([0, 3]).toContain(spawnSync("promtool", ["check", "metrics"], { input: text }).status);
    },
  );
});

describe("the metrics server", () => {
  test("serves metrics and nothing else, and is gone after it was closed", async () => {
    const { metrics } = scrape();
    const server = await openMetricsServer({ host: "127.0.0.1", port: 0 }, metrics, log);
    const url = `http://127.0.0.1:${server.port}`;
    const response = await fetch(`${url}/metrics`);
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(await response.text()).toContain("goalstate_dhcp_frames_received_total{");
    expect((await fetch(`${url}/v1/dhcp/counters`)).status).toBe(404);
    await server[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await expect(fetch(`${url}/metrics`)).rejects.toThrow();
  });

  test("says so if its address is taken", async () => {
    const { metrics } = scrape();
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void other.close());
    const address = other.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    await expect(
      openMetricsServer({ host: "127.0.0.1", port }, metrics, log),
    ).rejects.toMatchObject({
      code: "ERR_METRICS_LISTEN",
      isUsage: false,
    });
  });
});

describe("parseMetricsAddress()", () => {
  const right: readonly (readonly [string, string, number])[] = [
    ["127.0.0.1:9547", "127.0.0.1", 9547],
    ["[::1]:0", "::1", 0],
    ["localhost:65535", "localhost", 65_535],
  ];
  for (const [text, host, port] of right) {
    test(`reads ${text}`, () => expect(parseMetricsAddress(text)).toEqual({ host, port }));
  }
  for (const text of ["9547", ":9547", "127.0.0.1", "127.0.0.1:65536", "::1:9547", "a:b"]) {
    test(`refuses ${text}`, () => expect(() => parseMetricsAddress(text)).toThrow(SyntaxError));
  }
});
