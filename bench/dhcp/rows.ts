/** The rows of the table of targets: each measures something and says what it found. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  ADDRESS_BASE,
  bindingsInventory,
  longestPauseMs,
  RANGE_INVENTORY,
  startGoalstate,
  WIRE_SERVER_ADDRESS,
  writeBindings,
} from "./goalstate.ts";
import { findKeaVersion, KEA_VARIANTS, type KeaVariant, startKea } from "./kea.ts";
import { type Load, type Mode, runLoad, runPerfdhcp, type Target } from "./load.ts";
import {
  makeNetwork,
  NODE,
  residentMegabytes,
  SERVER_ADDRESS,
  SERVER_INTERFACE,
  type Server,
  startServer,
} from "./processes.ts";
import { type Finding, table } from "./report.ts";
import { formatSpread, medianOf, spreadOf } from "./statistics.ts";

/** What rows get: how much to measure, and where to write. */
export interface Bench {
  readonly rounds: number;
  /** Measured time of one sample. */
  readonly seconds: number;
  readonly folder: string;
  /** Says what is going on. */
  readonly say: (text: string) => void;
  /** The configuration of Kea to compare with; absent: the best one is looked for. */
  readonly keaVariant: string | undefined;
}

export interface RowResult {
  readonly findings: readonly Finding[];
  /** Markdown below the table. */
  readonly details: string;
}

export type Row = (bench: Bench) => Promise<RowResult>;

const RATE_RATIO = 3.3;
const CPU_RATIO = 1 / 4;
const GROWTH_MB_MAX = 5;
const WARM_UP_SECONDS = 0.5;

/** Windows that a rate is compared at, and all that are measured. */
const SATURATED = [16, 64];
const SAMPLES: readonly { readonly mode: Mode; readonly window: number }[] = [
  { mode: "direct", window: 1 },
  { mode: "direct", window: 16 },
  { mode: "direct", window: 64 },
  { mode: "direct", window: 256 },
  { mode: "relayed", window: 16 },
  { mode: "relayed", window: 64 },
];

function targetOf(network: ReturnType<typeof makeNetwork>, { pid }: Server): Target {
  return { network, pid, addressBase: ADDRESS_BASE, address: WIRE_SERVER_ADDRESS };
}

function keaTargetOf(network: ReturnType<typeof makeNetwork>, { pid }: Server): Target {
  return { network, pid, addressBase: undefined, address: SERVER_ADDRESS };
}

function assertClean(name: string, { wrong, naks, faults }: Load): void {
  if (wrong > 0 || naks > 0) throw new Error(`${name} answered wrongly: ${faults.join("; ")}`);
}

async function sample(bench: Bench, name: string, target: Target, mode: Mode, window: number) {
  const times = ["--warm-up", WARM_UP_SECONDS, "--seconds", bench.seconds];
  const load = await runLoad(target, mode, "--window", window, ...times);
  assertClean(name, load);
  return load;
}

/** Tries each configuration for a moment. */
async function findBestKea(bench: Bench): Promise<{ variant: KeaVariant; tried: string }> {
  const named = KEA_VARIANTS.find(({ name }) => name === bench.keaVariant);
  if (named !== undefined) return { variant: named, tried: "" };
  const tried: { variant: KeaVariant; rate: number; cpuUs: number }[] = [];
  using network = makeNetwork("kea");
  for (const variant of KEA_VARIANTS) {
    bench.say(`Kea: ${variant.name}`);
    await using kea = await startKea(network, join(bench.folder, "kea-tried"), variant, "raw");
    const target = keaTargetOf(network, kea);
    const loads: Load[] = [];
    for (let round = 0; round < 3; round++) {
      loads.push(await runLoad(target, "direct", "--window", 64, "--seconds", 1, "--warm-up", 0.5));
    }
    tried.push({
      variant,
      rate: spreadOf(loads.map((load) => load.exchangesPerSecond)).max,
      cpuUs: spreadOf(loads.map((load) => load.serverCpuUsPerExchange)).min,
    });
  }
  tried.sort((a, b) => b.rate - a.rate);
  const rows = tried.map(({ variant, rate, cpuUs }) => [
    variant.name,
    String(rate),
    cpuUs.toFixed(0),
  ]);
  const text = `Kea's configurations, best of three samples of one second, direct, window 64:\n\n${table(["Kea", "exchanges/s", "CPU us"], rows)}`;
  return { variant: tried[0]!.variant, tried: text };
}

/** Rates, CPU time and latencies beside Kea's. */
export const compare: Row = async (bench) => {
  if (findKeaVersion() === undefined) {
    throw new Error("Kea is missing: apt-get install kea-dhcp4-server, or leave out this row");
  }
  const { variant, tried } = await findBestKea(bench);
  using ours = makeNetwork("ours");
  using theirs = makeNetwork("kea");
  const folder = join(bench.folder, "compare");
  await using server = await startGoalstate(ours, folder, RANGE_INVENTORY);
  await using kea = await startKea(theirs, join(bench.folder, "kea"), variant, "raw");
  const results = SAMPLES.map((wanted) => ({ ...wanted, ours: [] as Load[], kea: [] as Load[] }));
  const witnesses = { ours: [] as number[], kea: [] as number[], lost: [] as number[] };
  for (let round = 1; round <= bench.rounds; round++) {
    bench.say(`beside Kea (${variant.name}): round ${round} of ${bench.rounds}`);
    for (const result of results) {
      const { mode, window } = result;
      result.ours.push(await sample(bench, "goalstate", targetOf(ours, server), mode, window));
      result.kea.push(await sample(bench, "Kea", keaTargetOf(theirs, kea), mode, window));
    }
    const rate = 20_000; // more than either perfdhcp or Kea can do
    const seen = await runPerfdhcp(targetOf(ours, server), rate, bench.seconds);
    const theirSeen = await runPerfdhcp(keaTargetOf(theirs, kea), rate, bench.seconds);
    witnesses.ours.push(seen.completedPerSecond);
    witnesses.kea.push(theirSeen.completedPerSecond);
  }
  const details = [
    tried,
    `Each cell: median (lowest to highest) of ${bench.rounds} interleaved rounds; Kea: ${variant.name}.`,
    comparisonTable(results),
    `perfdhcp, relayed, 20,000 exchanges/s offered: completed ${formatSpread(witnesses.ours)} here, ` +
      `${formatSpread(witnesses.kea)} by Kea. It is itself the bound of the former.`,
  ];
  return { findings: compareFindings(results), details: details.filter(Boolean).join("\n\n") };
};

type Compared = { mode: Mode; window: number; ours: Load[]; kea: Load[] };

function comparisonTable(results: readonly Compared[]): string {
  const rate = ({ exchangesPerSecond }: Load) => exchangesPerSecond;
  const cpu = ({ serverCpuUsPerExchange }: Load) => serverCpuUsPerExchange;
  const rows = results.flatMap(({ mode, window, ours, kea }) =>
    [
      { name: "goalstate", loads: ours },
      { name: "Kea", loads: kea },
    ].map(({ name, loads }) => [
      `${mode}, window ${window}`,
      name,
      formatSpread(loads.map(rate)),
      formatSpread(loads.map(cpu), 1),
      formatSpread(loads.map(({ latencyUs }) => latencyUs.p50)),
      formatSpread(loads.map(({ latencyUs }) => latencyUs.p99)),
      formatSpread(loads.map(({ generatorCpuShare }) => generatorCpuShare * 100)),
      String(loads.reduce((sum, { lost, retransmits }) => sum + lost + retransmits, 0)),
    ]),
  );
  const head = ["load", "server", "exchanges/s", "CPU us per exchange", "p50 us", "p99 us"];
  return table([...head, "generator's CPU, %", "lost or sent again"], rows);
}

function compareFindings(results: readonly Compared[]): Finding[] {
  const rates = (loads: readonly Load[]) => medianOf(loads, (load) => load.exchangesPerSecond);
  const cpus = (loads: readonly Load[]) => medianOf(loads, (load) => load.serverCpuUsPerExchange);
  const saturated = results.filter(({ window }) => SATURATED.includes(window));
  const findings: Finding[] = [];
  for (const mode of ["direct", "relayed"] as const) {
    const of = saturated.filter((result) => result.mode === mode);
    const best = Math.max(...of.map(({ kea }) => rates(kea)));
    const lowest = Math.min(...of.map(({ ours }) => rates(ours)));
    findings.push({
      what: `exchanges/s, ${mode}, windows 16 and 64: our lower against Kea's higher`,
      target: `at least ${RATE_RATIO} times`,
      found: `${(lowest / best).toFixed(1)} times`,
      isReached: lowest / best >= RATE_RATIO,
    });
    const theirCpu = Math.min(...of.map(({ kea }) => cpus(kea)));
    const ourCpu = Math.max(...of.map(({ ours }) => cpus(ours)));
    findings.push({
      what: `CPU time per exchange, ${mode}, windows 16 and 64: our higher against Kea's lower`,
      target: "at most 1/4",
      found: `1/${(theirCpu / ourCpu).toFixed(1)} (${ourCpu.toFixed(1)} us)`,
      isReached: ourCpu / theirCpu <= CPU_RATIO,
    });
  }
  const single = results.find(({ mode, window }) => mode === "direct" && window === 1)!;
  for (const rank of ["p50", "p99"] as const) {
    const [ours, theirs] = [single.ours, single.kea].map((loads) =>
      medianOf(loads, ({ latencyUs }) => latencyUs[rank]),
    ) as [number, number];
    findings.push({
      what: `latency of one exchange at a time, ${rank}`,
      target: "not above Kea's",
      found: `${(ours / theirs).toFixed(2)} of Kea's`,
      isReached: ours <= theirs,
    });
  }
  return findings;
}

/** A million bindings beside 50,000. */
export const bindings: Row = async (bench) => {
  const [few, many] = [50_000, 1_000_000];
  using fewNetwork = makeNetwork("few");
  using manyNetwork = makeNetwork("many");
  const start = async (count: number, network: ReturnType<typeof makeNetwork>) => {
    bench.say(`loading ${count} bindings`);
    const folder = join(bench.folder, `bindings-${count}`);
    return startGoalstate(network, folder, bindingsInventory(await writeBindings(folder, count)));
  };
  await using fewServer = await start(few, fewNetwork);
  await using manyServer = await start(many, manyNetwork);
  const results: { few: Load[]; many: Load[] } = { few: [], many: [] };
  const take = (network: ReturnType<typeof makeNetwork>, server: Server, count: number) => {
    const times = ["--seconds", bench.seconds, "--warm-up", WARM_UP_SECONDS];
    const target = targetOf(network, server);
    return runLoad(target, "direct", "--window", 64, "--clients", count, ...times);
  };
  for (let round = 1; round <= bench.rounds; round++) {
    bench.say(`bindings: round ${round} of ${bench.rounds}`);
    results.few.push(await take(fewNetwork, fewServer, few));
    results.many.push(await take(manyNetwork, manyServer, many));
  }
  [...results.few, ...results.many].forEach((load) => void assertClean("goalstate", load));
  const rates = (loads: readonly Load[]) => loads.map((load) => load.exchangesPerSecond);
  const cpu = (loads: readonly Load[]) => loads.map((load) => load.serverCpuUsPerExchange);
  const ratio = spreadOf(cpu(results.many)).median / spreadOf(cpu(results.few)).median;
  const rateRatio = spreadOf(rates(results.many)).median / spreadOf(rates(results.few)).median;
  const resident = residentMegabytes(manyServer.pid);
  const fewResident = residentMegabytes(fewServer.pid);
  return {
    findings: [
      {
        what: "1,000,000 bindings instead of 50,000, each with its names: exchanges/s",
        target: "at least 90 %",
        found: `${(rateRatio * 100).toFixed(0)} % (CPU per exchange ${(ratio * 100).toFixed(0)} %)`,
        isReached: rateRatio >= 0.9,
      },
      {
        what: "the same, resident memory",
        target: "under 300 MB",
        found: `${resident.toFixed(0)} MB (50,000: ${fewResident.toFixed(0)} MB)`,
        isReached: resident < 300,
      },
      {
        what: "the same, from start to ready",
        target: "under 5 s",
        found: `${manyServer.startSeconds.toFixed(1)} s (50,000: ${fewServer.startSeconds.toFixed(1)} s)`,
        isReached: manyServer.startSeconds < 5,
      },
    ],
    details: table(
      ["bindings", "exchanges/s", "CPU us per exchange"],
      [
        ["50,000", formatSpread(rates(results.few)), formatSpread(cpu(results.few), 1)],
        ["1,000,000", formatSpread(rates(results.many)), formatSpread(cpu(results.many), 1)],
      ],
    ),
  };
};

/** A million exchanges, then one million more. */
export const soak: Row = async (bench) => {
  using network = makeNetwork("soak");
  const folder = join(bench.folder, "soak");
  const gcFile = join(bench.folder, "pauses");
  await using server = await startGoalstate(network, folder, RANGE_INVENTORY, gcFile);
  const target = targetOf(network, server);
  const million = ["--window", 64, "--exchanges", 1_000_000, "--seconds", 600, "--warm-up", 0];
  const rounds: { megabytes: number; load: Load }[] = [];
  for (const name of ["first", "second"]) {
    bench.say(`the ${name} million`);
    const load = await runLoad(target, "direct", ...million);
    assertClean("goalstate", load);
    rounds.push({ load, megabytes: residentMegabytes(server.pid) });
  }
  const [first, second] = rounds as [(typeof rounds)[0], (typeof rounds)[0]];
  const growth = second.megabytes - first.megabytes;
  const pause = longestPauseMs(gcFile);
  const lost = rounds.reduce((sum, { load }) => sum + load.lost + load.retransmits, 0);
  return {
    findings: [
      {
        what: "one million exchanges, then one million more: growth of resident memory",
        target: `none (at most ${GROWTH_MB_MAX} MB)`,
        found: `${growth.toFixed(1)} MB (${first.megabytes.toFixed(0)} to ${second.megabytes.toFixed(0)} MB)`,
        isReached: growth <= GROWTH_MB_MAX,
      },
      {
        what: "the same, longest pause for garbage",
        target: "at most 10 ms",
        found: `${pause.toFixed(1)} ms`,
        isReached: pause <= 10,
      },
    ],
    details: `Two million exchanges: ${lost} lost or sent again. Pauses as Node's performance hooks tell them, from the first exchange on.`,
  };
};

/** Junk and strangers beside good clients. */
export const flood: Row = async (bench) => {
  using network = makeNetwork("flood");
  const folder = join(bench.folder, "flood");
  await using server = await startGoalstate(network, folder, RANGE_INVENTORY);
  const target = targetOf(network, server);
  const findings: Finding[] = [];
  for (const kind of ["unknown", "junk"]) {
    const loads: Load[] = [];
    for (let round = 1; round <= bench.rounds; round++) {
      bench.say(`flood (${kind}): round ${round} of ${bench.rounds}`);
      const rates = ["--rate", 1000, "--window", 512, "--flood", kind, "--flood-rate", 100_000];
      const times = ["--seconds", bench.seconds, "--warm-up", WARM_UP_SECONDS];
      loads.push(await runLoad(target, "direct", ...rates, ...times));
    }
    loads.forEach((load) => void assertClean("goalstate", load));
    const lost = loads.reduce((sum, load) => sum + load.lost + load.retransmits, 0);
    const flooded = medianOf(loads, (load) => load.flooded / load.seconds);
    const good = medianOf(loads, (load) => load.exchangesPerSecond);
    const p99 = medianOf(loads, ({ latencyUs }) => latencyUs.p99);
    findings.push({
      what: `${Math.round(flooded).toLocaleString("en")} frames/s (${kind}) beside ${good} good exchanges/s`,
      target: "no good exchange lost",
      found: `${lost} lost or sent again; p99 ${Math.round(p99)} us`,
      isReached: lost === 0 && flooded >= 95_000,
    });
  }
  return { findings, details: "" };
};

/** One slow plugin: what do the clients feel that it does not concern? */
export const slowPlugin: Row = async (bench) => {
  using network = makeNetwork("slow");
  using plainNetwork = makeNetwork("plain");
  const start = (where: typeof network, kind: string) => {
    const log = join(bench.folder, `${kind}.log`);
    const program = join(import.meta.dirname, "slow-plugin-server.ts");
    const command = [NODE, program, SERVER_INTERFACE, kind];
    writeFileSync(log, "");
    return startServer(where.host, command, log, () => readFileSync(log, "utf8").includes("ready"));
  };
  await using server = await start(network, "slow");
  await using plain = await start(plainNetwork, "none");
  const load = ["--rate", 2000, "--window", 1024, "--apart-every", 20];
  const times = ["--seconds", bench.seconds, "--warm-up", WARM_UP_SECONDS];
  const slowed: Load[] = [];
  const unslowed: Load[] = [];
  for (let round = 1; round <= bench.rounds; round++) {
    bench.say(`slow plugin: round ${round} of ${bench.rounds}`);
    slowed.push(await runLoad(targetOf(network, server), "direct", ...load, ...times));
    unslowed.push(await runLoad(targetOf(plainNetwork, plain), "direct", ...load, ...times));
  }
  [...slowed, ...unslowed].forEach((each) => void assertClean("goalstate", each));
  const p99s = (loads: readonly Load[]) => loads.map(({ latencyUs }) => latencyUs.p99);
  const p50s = (loads: readonly Load[]) => loads.map(({ latencyUs }) => latencyUs.p50);
  const difference = spreadOf(p99s(slowed)).median - spreadOf(p99s(unslowed)).median;
  const apart = medianOf(slowed, ({ apartLatencyUs }) => apartLatencyUs?.p50 ?? 0);
  const lost = slowed.reduce((sum, each) => sum + each.lost + each.retransmits, 0);
  return {
    findings: [
      {
        what: "a plugin that takes 50 ms over 5 % of the MACs: p99 of the others",
        target: "as without it (within 1 ms)",
        found: `${formatSpread(p99s(slowed))} us; without it ${formatSpread(p99s(unslowed))} us`,
        isReached: difference <= 1000 && lost === 0,
      },
    ],
    details: `p50 of the others ${formatSpread(p50s(slowed))} us, without the plugin ${formatSpread(p50s(unslowed))} us; of the slow 5 % ${Math.round(apart / 1000)} ms; ${lost} lost or sent again.`,
  };
};
