/** `tools/fuzz`: see --help. Prints one JSON document; exit code 1 if an answer was wrong. */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { decodeInput, encodeInput } from "./input.ts";
import { RelayTarget } from "./relay-target.ts";
import { runFuzz, type Target } from "./run.ts";
import { readSeeds } from "./seeds.ts";
import { FuzzTarget } from "./target.ts";

/** More than this in the second half of a run is a leak. */
const HEAP_GROWTH_MAX = 8 * 1024 * 1024;
/** One input of so many goes to the relay agent, the others to the servers. */
const RELAY_EVERY = 5;

interface Arguments {
  readonly seed: number;
  readonly inputs: number;
  readonly seconds: number;
  readonly guided: number;
  readonly failures: string;
  readonly replay?: string;
}

function number(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError("not a number from 0.");
  return value;
}

const program = new Command("fuzz")
  .description(
    "Feeds whole DHCP servers and a relay agent, on memory sockets, with changed frames: good ones of every kind and real clients',\n" +
      "changed blindly and by option. Every input must end in a right answer or in a counted drop; nothing may throw,\n" +
      "depend on octets outside the frame, or grow. The first inputs are guided by V8's block coverage. The same --seed\n" +
      "gives the same inputs as long as --guided is 0: what coverage finds new may differ a little between runs.",
  )
  .option("--seed <number>", "of the generator", number, 1)
  .option("--inputs <count>", "end after so many", number, 10_000_000)
  .option(
    "--seconds <seconds>",
    "end after so long at the latest",
    number,
    Number.POSITIVE_INFINITY,
  )
  .option("--guided <count>", "so many inputs under coverage, which is slow", number, 100_000)
  .option("--failures <folder>", "where an input goes whose answer was wrong", "fuzz-failures")
  .option("--replay <file>", "run such an input, alone")
  .parse();

const args = program.opts<Arguments>();
if (args.replay !== undefined) await replay(args.replay);
else await fuzz();

async function replay(file: string): Promise<void> {
  await using server = new FuzzTarget(true);
  await using relay = new RelayTarget();
  const input = decodeInput(readFileSync(file, "utf8"));
  await server.run(input);
  relay.run(input);
  const results = { ...server.results, relay: relay.results };
  console.log(JSON.stringify({ replayed: file, ...results }, undefined, 2));
}

async function fuzz(): Promise<void> {
  await using server = new FuzzTarget();
  await using relay = new RelayTarget();
  let turn = 0;
  const target: Target = {
    run: (input) => (turn++ % RELAY_EVERY === 0 ? relay.run(input) : server.run(input)),
  };
  const { gc } = globalThis;
  if (gc === undefined) throw new Error("run tools/fuzz, which starts Node with --expose-gc");
  let told = 0;
  const result = await runFuzz({
    target,
    seeds: await readSeeds(),
    seed: args.seed,
    inputs: args.inputs,
    secondsMax: args.seconds,
    guided: args.guided,
    now: () => performance.now(),
    collect: gc,
    onProgress: (done, seconds) => {
      if (seconds < told + 10) return;
      told = seconds;
      console.error(`${done} inputs, ${Math.round(done / seconds)} a second`);
    },
  });
  const { failure, ...numbers } = result;
  const results = { ...server.results, relay: relay.results };
  const hasGrown = result.heapGrowth > HEAP_GROWTH_MAX;
  const wrong = failure?.error.stack ?? (hasGrown ? "the heap grew" : undefined);
  console.log(JSON.stringify({ seed: args.seed, ...numbers, ...results, wrong }, undefined, 2));
  if (failure !== undefined) {
    mkdirSync(args.failures, { recursive: true });
    const file = join(args.failures, `seed-${args.seed}-input-${failure.number}.json`);
    writeFileSync(file, encodeInput(failure.input));
    console.error(`wrong answer to input ${failure.number}: ${failure.error.message}`);
    console.error(`run it again with: tools/fuzz --replay ${file}`);
  }
  if (wrong !== undefined) process.exitCode = 1;
}
