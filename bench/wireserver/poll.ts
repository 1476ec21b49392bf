/** Simulated guests: each asks once in six seconds, on a connection of its own that is closed after it, as waagent does. */
import { get } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { GOAL_STATE_PATH, guestAddress } from "./guests.ts";

const [, , port = "", count = "", seconds = ""] = process.argv;
const PERIOD_MS = 6_000;
const TICK_MS = 20;
const DRAIN_MS = 10_000;

const guests = Number(count);
let answered = 0;
let failed = 0;
let next = 0;
const startedMs = performance.now();

function poll(index: number): void {
  const request = get({
    ...{ host: "127.0.0.1", port: Number(port), path: GOAL_STATE_PATH, agent: false },
    localAddress: guestAddress(index),
    headers: {
      "x-ms-version": "2012-11-30",
      "x-ms-agent-name": "WALinuxAgent",
      connection: "close",
    },
  });
  request.on("error", () => (failed += 1));
  request.on("response", (response) => {
    if (response.statusCode === 200) answered += 1;
    else failed += 1;
    response.resume();
  });
}

const timer = setInterval(() => {
  const elapsed = performance.now() - startedMs;
  const due = Math.floor((elapsed / PERIOD_MS) * guests);
  for (; next < due; next++) poll(1 + (next % guests));
  const isOver = elapsed >= Number(seconds) * 1_000;
  if (!isOver) return;
  clearInterval(timer);
  void report();
}, TICK_MS);

/** Waits for what is under way; on a busy machine the last answers come late. */
async function report(): Promise<void> {
  const deadlineMs = performance.now() + DRAIN_MS;
  while (answered + failed < next && performance.now() < deadlineMs) await delay(TICK_MS);
  process.send?.({ asked: next, answered }, () => process.exit());
}
