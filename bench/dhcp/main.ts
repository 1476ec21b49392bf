/** `bench/dhcp/run`: see --help. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { positive } from "../arguments.ts";
import { findKeaVersion } from "./kea.ts";
import { describeMachine, type Finding, findingsTable, writeReport } from "./report.ts";
import { type Bench, bindings, compare, flood, type Row, slowPlugin, soak } from "./rows.ts";

const ROWS: Readonly<Record<string, Row>> = { compare, bindings, soak, flood, slow: slowPlugin };

interface Arguments {
  readonly rounds: number;
  readonly seconds: number;
  readonly rows: readonly string[];
  readonly kea?: string;
  readonly write: boolean;
}

function rowNames(text: string): string[] {
  const names = text.split(",");
  for (const name of names) {
    if (!(name in ROWS)) throw new InvalidArgumentError(`no row ${name}.`);
  }
  return names;
}

const program = new Command("bench/dhcp/run")
  .description(
    "Measures goalstate's DHCP server, beside Kea's where they can be compared, and prints Markdown. Everything runs on\n" +
      "this machine, in network namespaces that end with the run. Needs root, kea-dhcp4-server and perfdhcp.",
  )
  .option("--rounds <n>", "interleaved rounds; medians are told", positive, 5)
  .option("--seconds <s>", "measured time of one sample", positive, 2)
  .option("--rows <names>", `of ${Object.keys(ROWS).join(", ")}`, rowNames, Object.keys(ROWS))
  .option("--kea <variant>", "the configuration of Kea; without: the best one is looked for")
  .option("--write", "put the results into bench/README.md", false);

async function run(args: Arguments): Promise<void> {
  if (process.getuid?.() !== 0) program.error("must run as root");
  const folder = mkdtempSync(join(tmpdir(), "goalstate-bench-"));
  const beganAt = performance.now();
  const bench: Bench = {
    rounds: args.rounds,
    seconds: args.seconds,
    folder,
    keaVariant: args.kea,
    say: (text) => {
      const seconds = ((performance.now() - beganAt) / 1000).toFixed(0).padStart(4);
      process.stderr.write(`${seconds} s  ${text}\n`);
    },
  };
  const findings: Finding[] = [];
  const details: string[] = [];
  try {
    for (const name of args.rows) {
      const result = await ROWS[name]!(bench);
      findings.push(...result.findings);
      if (result.details !== "") details.push(`### ${name}\n\n${result.details}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const report = [
    `${describeMachine()}; Kea ${findKeaVersion() ?? "not installed"}; ${args.rounds} rounds of ${args.seconds} s.`,
    findingsTable(findings),
    ...details,
  ].join("\n\n");
  process.stdout.write(`${report}\n`);
  if (args.write) writeReport(report);
}

program.parse();
await run(program.opts<Arguments>());
