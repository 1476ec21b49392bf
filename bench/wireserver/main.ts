/** `bench/wireserver/run`: see --help. */
import { loadavg } from "node:os";
import { Command } from "commander";
import { positive } from "../arguments.ts";
import { describeMachine, type Finding, findingsTable, writeReport } from "../dhcp/report.ts";
import { formatSpread } from "../dhcp/statistics.ts";
import { median, note, samplesOf } from "../samples.ts";
import { loadWithWrk, pollAsGuests, startSubject } from "./subject.ts";

const GUESTS = 5_000;
/** As WALinuxAgent. */
const POLL_SECONDS = 6;
const KINDS = ["plain", "wireserver"] as const;

const program = new Command("bench/wireserver/run")
  .description(
    "Measures goal states of the wire server beside those of plain node:http with the same constant bytes, asked by\n" +
      "wrk, and what 5,000 guests cost that poll every six seconds; prints Markdown.",
  )
  .option("--rounds <n>", "interleaved rounds; medians are told", positive, 5)
  .option("--seconds <s>", "measured time of one sample", positive, 2)
  .option("--poll-seconds <s>", "measured time of the polling guests", positive, 18)
  .option("--write", "put the results into bench/README.md", false);

program.parse();
const { rounds, seconds, pollSeconds, write } = program.opts<{
  rounds: number;
  seconds: number;
  pollSeconds: number;
  write: boolean;
}>();

{
  await using plain = await startSubject("plain");
  await using wireserver = await startSubject("wireserver");
  const subjects = { plain, wireserver };
  // What is compiled late is compiled before it is measured.
  for (const kind of KINDS) await loadWithWrk(subjects[kind].port, 64, seconds, false);
  for (let round = 0; round < rounds; round++) {
    for (const kind of round % 2 === 0 ? KINDS : KINDS.toReversed()) {
      const { port, usage } = subjects[kind];
      for (const [way, isClosed] of [
        ["kept", false],
        ["closed", true],
      ] as const) {
        const before = await usage(false);
        const load = await loadWithWrk(port, 64, seconds, isClosed);
        const after = await usage(false);
        note(`${kind} ${way} rate`, load.perSecond);
        note(`${kind} ${way} p50`, load.p50Ms);
        note(`${kind} ${way} p99`, load.p99Ms);
        note(`${kind} ${way} cpu`, (after.cpuUs - before.cpuUs) / load.requests);
      }
    }
  }
}

{
  await using plain = await startSubject("plain");
  await pollAsGuests(plain.port, GUESTS, 7);
  const before = await plain.usage(false);
  const { answered } = await pollAsGuests(plain.port, GUESTS, pollSeconds);
  const after = await plain.usage(false);
  note("poll cpu each, plain", (after.cpuUs - before.cpuUs) / answered);
}
{
  await using subject = await startSubject("wireserver", GUESTS + 1);
  const idle = await subject.usage(true);
  await pollAsGuests(subject.port, GUESTS, 7);
  const before = await subject.usage(false);
  const counts = await pollAsGuests(subject.port, GUESTS, pollSeconds);
  const after = await subject.usage(false);
  const collected = await subject.usage(true);
  note("polls asked", counts.asked);
  note("polls answered", counts.answered);
  const cpuUs = (after.cpuUs - before.cpuUs) / counts.answered;
  note("poll cpu each", cpuUs);
  // Not by the time that has passed: on a busy machine the guests are late, and ask less often.
  note("poll cpu", ((cpuUs * GUESTS) / POLL_SECONDS / 1e6) * 100);
  note("heap each", (collected.heapBytes - idle.heapBytes) / GUESTS / 1_000);
}
{
  await using none = await startSubject("wireserver", 1);
  await using full = await startSubject("wireserver", GUESTS + 1);
  const [without, containers] = [await none.usage(true), await full.usage(true)];
  note("containers each", (containers.heapBytes - without.heapBytes) / GUESTS / 1_000);
}

const ratio = (of: string) => median(`wireserver ${of}`) / median(`plain ${of}`);
const bothOf = (of: string, unit: string, digits = 0) =>
  `${formatSpread(samplesOf(`wireserver ${of}`), digits)}${unit} against ${formatSpread(samplesOf(`plain ${of}`), digits)}${unit}`;
const heap = median("heap each") + median("containers each");
const findings: Finding[] = [
  {
    what: "goal states/s, 64 connections that stay open, against node:http",
    target: "at least 0.8 times",
    found: `${ratio("kept rate").toFixed(2)} times: ${bothOf("kept rate", "")}`,
    isReached: ratio("kept rate") >= 0.8,
  },
  {
    what: "the same, p99",
    target: "at most 1.5 times",
    found: `${ratio("kept p99").toFixed(2)} times: ${bothOf("kept p99", " ms", 1)}`,
    isReached: ratio("kept p99") <= 1.5,
  },
  {
    what: "the same, p50",
    target: "—",
    found: bothOf("kept p50", " ms", 1),
    isReached: undefined,
  },
  {
    what: "CPU time of the server for each, connections stay open",
    target: "—",
    found: `${ratio("kept cpu").toFixed(2)} times: ${bothOf("kept cpu", " us", 1)}`,
    isReached: undefined,
  },
  {
    what: "CPU time of the server for each, a connection for each request",
    target: "—",
    found: `${ratio("closed cpu").toFixed(2)} times: ${bothOf("closed cpu", " us", 1)}`,
    isReached: undefined,
  },
  {
    what: `${GUESTS.toLocaleString("en")} guests, each from its own address, poll every 6 s: CPU time of the server`,
    target: "under 15 % of a core",
    found: `${median("poll cpu").toFixed(1)} %; ${median("poll cpu each").toFixed(0)} us a poll, plain node:http ${median("poll cpu each, plain").toFixed(0)} us; ${median("polls answered")} of ${median("polls asked")} answered`,
    isReached: median("poll cpu") < 15 && median("polls answered") === median("polls asked"),
  },
  {
    what: "memory of the server for each guest: its container, its goal state, what it asked",
    target: "under 20 kB",
    found: `${heap.toFixed(1)} kB, of which the container ${median("containers each").toFixed(1)} kB`,
    isReached: heap < 20,
  },
];

const load = loadavg()[0]!.toFixed(1);
const report = [
  `${describeMachine()}; ${rounds} rounds of ${seconds} s; load average at the end ${load}.`,
  "Each cell: median (lowest to highest).",
  findingsTable(findings),
].join("\n\n");
process.stdout.write(`${report}\n`);
if (write) writeReport(report, "wireserver");
