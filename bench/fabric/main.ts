/** `bench/fabric/run`: see --help. */
import { execFile } from "node:child_process";
import { loadavg } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Command } from "commander";
import { positive } from "../arguments.ts";
import {
  describeMachine,
  type Finding,
  findingsTable,
  table,
  writeReport,
} from "../dhcp/report.ts";
import { formatSpread, spreadOf } from "../dhcp/statistics.ts";
import type { Sample, SampleOptions, WholeSample } from "./sample.ts";

const NODES = 200;
const SIZES = [100, 1000, 10_000];
const PER_NODE = 50;
const GROWTH_MAX = 1.5;

const program = new Command("bench/fabric/run")
  .description(
    "Deploys 100, 1,000 and 10,000 containers to managers and agents of up to 200 nodes, over the store on disk, with\n" +
      "simulated VMs and networks, each size in a process of its own, and prints Markdown.",
  )
  .option("--rounds <n>", "interleaved rounds of the smaller sizes; medians are told", positive, 3)
  .option("--full-rounds <n>", "rounds of the full size", positive, 1)
  .option("--create-ms <ms>", "time that the creation of a VM takes", positive, 10)
  .option(
    "--guest-ms <ms>",
    "time of a guest to its DHCP request, and again to Ready",
    positive,
    100,
  )
  .option("--write", "put the results into bench/README.md", false);
program.parse();
const options = program.opts<{
  rounds: number;
  fullRounds: number;
  createMs: number;
  guestMs: number;
  write: boolean;
}>();

interface Size {
  readonly containers: number;
  readonly nodes: number;
}

const sizes: Size[] = [
  ...SIZES.map((containers) => ({ containers, nodes: containers / PER_NODE })),
  ...SIZES.slice(0, -1).map((containers) => ({ containers, nodes: NODES })),
];
const isFull = ({ containers }: Size) => containers === SIZES.at(-1);
const samples = new Map<Size, Sample[]>(sizes.map((size) => [size, []]));

async function takeSample(size: Size): Promise<void> {
  const { createMs, guestMs } = options;
  const asked: SampleOptions = {
    ...{ ...size, createMs, guestMs, warmUp: 600, isWhole: isFull(size) },
  };
  const script = join(import.meta.dirname, "sample.ts");
  const { stdout } = await promisify(execFile)(process.execPath, [
    "--expose-gc",
    script,
    JSON.stringify(asked),
  ]);
  const sample = JSON.parse(stdout) as Sample;
  samples.get(size)!.push(sample);
  const perContainer = (sample.cpuMs / size.containers).toFixed(2);
  process.stderr.write(
    `${size.containers} on ${size.nodes}: ${(sample.readyMs / 1000).toFixed(1)} s, ${perContainer} ms of CPU each\n`,
  );
}

for (let round = 0; round < Math.max(options.rounds, options.fullRounds); round++) {
  for (const size of sizes) {
    if (round < (isFull(size) ? options.fullRounds : options.rounds)) await takeSample(size);
  }
}

const values = (size: Size, value: (sample: Sample) => number) => samples.get(size)!.map(value);
const median = (size: Size, value: (sample: Sample) => number) =>
  spreadOf(values(size, value)).median;
const COSTS: readonly {
  readonly what: string;
  readonly digits: number;
  readonly unit: string;
  readonly of: (sample: Sample, containers: number) => number;
  readonly hasTarget: boolean;
  /** The smallest size at which it can be told: the store's log has 4 MB that are written again and again. */
  readonly from?: number;
}[] = [
  { what: "CPU", unit: "ms", digits: 2, of: (s, n) => s.cpuMs / n, hasTarget: true },
  { what: "heap", unit: "kB", digits: 1, of: (s, n) => s.heapBytes / n / 1000, hasTarget: true },
  {
    what: "store",
    unit: "kB",
    digits: 1,
    of: (s, n) => s.storeBytes / n / 1000,
    hasTarget: true,
    from: 1000,
  },
  { what: "revisions", unit: "", digits: 1, of: (s, n) => s.revisions / n, hasTarget: true },
  { what: "RSS", unit: "kB", digits: 1, of: (s, n) => s.rssBytes / n / 1000, hasTarget: false },
];

const full = sizes.find(isFull)!;
const findings: Finding[] = [];
for (const { what, unit, digits, of, hasTarget, from = SIZES[0]! } of COSTS) {
  const cost = (size: Size) => median(size, (sample) => of(sample, size.containers));
  for (const smallest of sizes.filter(({ containers }) => containers === from)) {
    const { nodes } = smallest;
    const growth = cost(full) / cost(smallest);
    const place = nodes === NODES ? `on ${NODES} nodes each time` : `on ${nodes} to ${NODES} nodes`;
    findings.push({
      what: `${what} per container, ${from.toLocaleString("en")} to 10,000, ${place}`,
      target: hasTarget ? `grows at most ${GROWTH_MAX} times` : "—",
      found: `${growth.toFixed(2)} times (${cost(smallest).toFixed(digits)} to ${cost(full).toFixed(digits)} ${unit})`,
      isReached: hasTarget ? growth <= GROWTH_MAX : undefined,
    });
  }
}

const wholes = samples.get(full)!.map(({ whole }) => whole!);
const spread = (value: (whole: WholeSample) => number, digits = 0) =>
  formatSpread(wholes.map(value), digits);
const told: readonly (readonly [string, string])[] = [
  ["a node of 200 dies: its containers", spread(({ moved }) => moved)],
  [
    "from the end of its lease to all of them Ready elsewhere",
    `${spread(({ movedMs }) => movedMs)} ms, CPU ${spread(({ movedCpuMs }) => movedCpuMs)} ms`,
  ],
  [
    "the managers start again: from start to answering",
    `${spread(({ restartMs }) => restartMs)} ms`,
  ],
  [
    "the same, CPU until nothing is left to do; revisions that they wrote",
    `${spread(({ restartCpuMs }) => restartCpuMs)} ms; ${spread(({ restartRevisions }) => restartRevisions)}`,
  ],
  [
    "all tenants deleted (a guest looks once a second)",
    `${spread(({ deleteMs }) => deleteMs / 1000, 1)} s, CPU ${spread(({ deleteCpuMs }) => deleteCpuMs / 1000, 1)} s`,
  ],
  ["`ps` of all containers, in the manager", `${spread(({ psMs }) => psMs)} ms`],
  [
    "CPU of a second in which nothing happens, all managers and nodes",
    `${spread(({ idleCpuMs }) => idleCpuMs)} ms`,
  ],
];

const rows = sizes.map((size) => [
  size.containers.toLocaleString("en"),
  `${size.nodes}`,
  formatSpread(
    values(size, ({ readyMs }) => readyMs / 1000),
    1,
  ),
  formatSpread(values(size, ({ readyMs }) => (size.containers * 1000) / readyMs)),
  ...COSTS.map(({ of, digits }) =>
    formatSpread(
      values(size, (sample) => of(sample, size.containers)),
      digits,
    ),
  ),
]);
const head = COSTS.map(({ what, unit }) => `${what} each${unit === "" ? "" : `, ${unit}`}`);
const { rounds, fullRounds, createMs, guestMs } = options;
const report = [
  `${describeMachine()}; ${rounds} rounds, ${fullRounds} of the full size; a VM is created in ${createMs} ms, its guest needs twice ${guestMs} ms; load average at the end ${loadavg()[0]!.toFixed(1)}.`,
  findingsTable(findings),
  table(["containers", "nodes", "s to all Ready", "Ready/s", ...head], rows),
  "With 10,000 containers on 200 nodes:",
  table(["", "found"], told),
].join("\n\n");
process.stdout.write(`${report}\n`);
if (options.write) writeReport(report, "fabric");
