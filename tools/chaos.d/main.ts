/** `tools/chaos`: see --help. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { Random } from "../fuzz.d/random.ts";
import { runChaos } from "./run.ts";

interface Arguments {
  readonly seed: number;
  readonly kills: number;
  readonly ttl: number;
  readonly rest: number;
  readonly up: boolean;
  readonly data?: string;
}

function number(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError("not a number from 0.");
  return value;
}

const program = new Command("chaos")
  .description(
    "Runs a fabric of three nodes whose guests are network namespaces, asks it for tenants, updates, stops, moves and\n" +
      "deletions, and kills one of its processes with SIGKILL at a random moment of each: control, a node, a guest. What\n" +
      "was killed is started again. Every few kills it waits until the fabric is at rest and compares the store and the\n" +
      "machine with what was accepted. Exit code 1 if something is wrong. The same --seed gives the same operations,\n" +
      "victims and delays, not the same course. Needs root.",
  )
  .option("--seed <number>", "of the generator", number, 1)
  .option("--kills <count>", "end after so many", number, 200)
  .option("--ttl <seconds>", "how long a node may be silent until it is given up", number, 3)
  .option("--rest <seconds>", "longest wait for rest", number, 60)
  .option("--up", "let 'goalstate up' start the nodes, and kill that too", false)
  .option(
    "--data <dir>",
    "new folder for data and logs, which then stays (default: a temporary one)",
  )
  .parse();

const { seed, kills, ttl, rest, up, data } = program.opts<Arguments>();
const say = (text: string) => void process.stdout.write(`${text}\n`);
const folder = data === undefined ? mkdtempSync(join(tmpdir(), "goalstate-chaos-")) : resolve(data);
const startMs = performance.now();
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());
const outcome = await runChaos({
  ...{ random: new Random(seed), kills, folder, say, signal: stop.signal },
  ...{ ttlSeconds: ttl, restSeconds: rest, manner: up ? "up" : "apart" },
});
const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
const list = (counts: ReadonlyMap<string, number>) =>
  [...counts].map(([what, times]) => `${times} ${what}`).join(", ");
say(`kills: ${list(outcome.kills)}`);
say(`operations: ${list(outcome.operations)}`);
say(`processes that ended by themselves: ${outcome.ownEnds}`);
const { violation } = outcome;
const done = [...outcome.kills.values()].reduce((sum, times) => sum + times, 0);
if (violation === undefined) {
  say(`seed ${seed}: all right after ${done} kills in ${seconds} s`);
  if (data === undefined) rmSync(folder, { recursive: true });
} else {
  say(`seed ${seed}, step ${violation.step}: WRONG; logs are in ${folder}/logs`);
  for (const fault of violation.faults) say(`  ${fault}`);
  for (const line of violation.diagnosis) say(`  | ${line}`);
  process.exitCode = 1;
}
