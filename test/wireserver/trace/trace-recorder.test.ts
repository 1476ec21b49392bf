import { describe, expect, test } from "vitest";
import {
  type TraceBatch,
  type TraceLine,
  TraceLineSchema,
  TraceRecorder,
  type WireExchange,
} from "../../../src/wireserver/index.ts";
import { TRACE_PENDING_BYTES_MAX } from "../../../src/wireserver/trace/trace-recorder.ts";

const POLL: WireExchange = {
  container: "hello.web_0",
  service: "wireServer",
  address: "10.20.0.4",
  startedMs: 1_000,
  waitMs: 0.5,
  durationMs: 0.75,
  request: {
    method: "GET",
    url: "/machine/?comp=goalstate",
    httpVersion: "1.1",
    headers: ["Host", "168.63.129.16", "x-ms-version", "2012-11-30"],
    body: { bytes: 0 },
  },
  response: {
    status: 200,
    headers: ["content-type", "text/xml; charset=utf-8"],
    body: { bytes: 4, sha256: "0".repeat(64), text: "<a/>" },
  },
};

/** A recorder whose timer goes off when a test says so. */
function record(take: (batch: TraceBatch) => boolean = () => true, fileBytesMax?: number) {
  const batches: TraceBatch[] = [];
  const timers = new Set<() => void>();
  const recorder = new TraceRecorder({
    now: () => 0,
    ...(fileBytesMax !== undefined && { fileBytesMax }),
    startTimer: (_milliseconds, callback) => {
      timers.add(callback);
      return () => timers.delete(callback);
    },
    take: (batch) => {
      const isTaken = take(batch);
      if (isTaken) batches.push(batch);
      return isTaken;
    },
  });
  const elapse = () => {
    for (const callback of [...timers]) {
      timers.delete(callback);
      callback();
    }
  };
  const lines = (): TraceLine[] =>
    batches
      .flatMap(({ text }) => text.trimEnd().split("\n"))
      .map((line) => TraceLineSchema.parse(JSON.parse(line)));
  return { recorder, batches, timers, elapse, lines };
}

describe("the recorder", () => {
  test("writes a head and a body once, and then a short line for each poll", () => {
    const { recorder, batches, elapse, lines } = record();
    recorder.record(POLL);
    recorder.record({ ...POLL, startedMs: 7_000, fault: "goalstate-410" });
    expect(batches).toEqual([]);
    elapse();
    expect(batches.map(({ begins }) => begins)).toEqual([true]);
    expect(lines().map(({ t }) => t)).toEqual(["q", "r", "b", "x", "x"]);
    expect(lines().at(-1)).toEqual({
      t: "x",
      c: "hello.web_0",
      at: 7_000,
      s: "wireServer",
      a: "10.20.0.4",
      q: 0,
      r: 1,
      rb: 2,
      w: 0.5,
      d: 0.75,
      f: "goalstate-410",
    });
    const last = batches[0]?.text.trimEnd().split("\n").at(-1) ?? "";
    expect(last.length).toBeLessThan(300);
  });

  test("keeps nothing of a caller that is no container", () => {
    const { recorder, elapse, batches, timers } = record();
    const { container: _none, ...stranger } = POLL;
    recorder.record(stranger);
    expect(timers.size).toBe(0);
    elapse();
    expect(batches).toEqual([]);
  });

  test("hands a batch on when it is long, and begins a file in time, with names of its own", () => {
    const fileBytesMax = 1024 * 1024;
    const { recorder, batches } = record(() => true, fileBytesMax);
    const text = "x".repeat(8_000);
    const rounds = Math.ceil((fileBytesMax * 1.5) / text.length);
    for (let index = 0; index < rounds; index += 1) {
      const sha256 = index.toString(16).padStart(64, "0");
      const response = { ...POLL.response!, body: { bytes: 8_000, sha256, text } };
      recorder.record({ ...POLL, response });
    }
    expect(batches.filter(({ begins }) => begins)).toHaveLength(2);
    const [, second] = batches.filter(({ begins }) => begins);
    const first = second?.text.split("\n")[0] ?? "";
    expect(JSON.parse(first)).toMatchObject({ t: "q", id: 0 });
  });

  test("keeps the text of an upload once a minute, its length and hash each time, and all reports", () => {
    const { recorder, elapse, lines } = record();
    const body = { bytes: 3, sha256: "1".repeat(64), text: "abc" };
    for (const [method, startedMs] of [
      ["PUT", 0],
      ["PUT", 59_999],
      ["PUT", 60_000],
      ["POST", 60_000],
      ["POST", 60_001],
    ] as const) {
      recorder.record({ ...POLL, startedMs, request: { ...POLL.request, method, body } });
    }
    elapse();
    const bodies = lines().flatMap((line) => (line.t === "x" ? [line.qb] : []));
    const { text: _text, ...thin } = body;
    expect(bodies).toEqual([body, thin, body, body, body]);
  });

  test("begins a file when it is told, whatever waits", () => {
    const { recorder, elapse, batches, lines } = record();
    recorder.record(POLL);
    elapse();
    recorder.record(POLL);
    recorder.beginFile();
    recorder.record(POLL);
    elapse();
    expect(batches.map(({ begins }) => begins)).toEqual([true, true]);
    expect(
      lines()
        .map(({ t }) => t)
        .join(""),
    ).toBe("qrbxqrbx");
  });

  test("drops and counts what nobody takes, and says so when it goes on", () => {
    let isTaken = false;
    const { recorder, elapse, lines } = record(() => isTaken);
    const url = `/${"x".repeat(4_000)}`;
    const rounds = 2 * Math.ceil(TRACE_PENDING_BYTES_MAX / url.length);
    for (let index = 0; index < rounds; index += 1) {
      recorder.record({ ...POLL, request: { ...POLL.request, url: url + index } });
    }
    isTaken = true;
    elapse();
    recorder.record(POLL);
    elapse();
    const exchanges = lines().filter(({ t }) => t === "x").length;
    const dropped = lines().find((line) => line.t === "d");
    expect(dropped?.n).toBe(rounds + 1 - exchanges);
    expect(dropped?.n).toBeGreaterThan(rounds / 3);
  });
});
