/** `bench/store/run`: see --help. */
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { startCompaction } from "../../src/store/index.ts";
import { positive } from "../arguments.ts";
import { describeMachine, type Finding, findingsTable, writeReport } from "../dhcp/report.ts";
import { formatSpread } from "../dhcp/statistics.ts";
import { median, note, samplesOf } from "../samples.ts";
import {
  compactionStops,
  listMicroseconds,
  openWatches,
  putsPerSecond,
  storeBytes,
  syncMilliseconds,
  watchLatency,
} from "./rows.ts";
import { SUBJECTS, type Subject, type SubjectName } from "./subject.ts";

const NAMES: readonly SubjectName[] = ["embedded", "socket"];
const PLACES: Readonly<Record<SubjectName, string>> = {
  embedded: "in its own process",
  socket: "through the socket",
};
const WATCHES = 1000;

const program = new Command("bench/store/run")
  .description(
    "Measures the SQLite store in its own process and through its socket, in a folder under the temporary one, and\n" +
      "prints Markdown.",
  )
  .option("--rounds <n>", "interleaved rounds; medians are told", positive, 5)
  .option("--seconds <s>", "measured time of one sample", positive, 2)
  .option("--write", "put the results into bench/README.md", false);

program.parse();
const { rounds, seconds, write } = program.opts<{
  rounds: number;
  seconds: number;
  write: boolean;
}>();

async function puts(name: SubjectName, subject: Subject): Promise<void> {
  const { perSecond, cpuUs } = await putsPerSecond(subject, seconds);
  note(`${name} puts`, perSecond);
  note(`${name} cpu`, cpuUs);
  const { p50, p99 } = await watchLatency(subject, seconds, 500);
  note(`${name} p50`, p50);
  note(`${name} p99`, p99);
}

async function putsBesideWatches(name: SubjectName, subject: Subject): Promise<void> {
  const stop = new AbortController();
  const watches = await openWatches(subject, WATCHES, stop.signal);
  const { perSecond, cpuUs } = await putsPerSecond(subject, seconds);
  note(`${name} puts beside watches`, perSecond);
  note(`${name} cpu beside watches`, cpuUs);
  stop.abort();
  await Promise.all(watches);
}

for (let round = 0; round < rounds; round++) {
  for (const name of NAMES) {
    for (const row of [puts, putsBesideWatches]) {
      await using subject = await SUBJECTS[name]();
      await row(name, subject);
    }
  }
  note("list few", await listMicroseconds(100, 1));
  note("list many", await listMicroseconds(50_000, 1));
  note("list deep", await listMicroseconds(100, 200));
  const folder = mkdtempSync(join(tmpdir(), "goalstate-bench-store-"));
  try {
    const sync = syncMilliseconds(folder);
    note("sync p50", sync.p50);
    note("sync p99", sync.p99);
    const file = join(folder, "fabric.sqlite");
    const startNow = (store: Parameters<typeof startCompaction>[0]["store"]) =>
      startCompaction({
        store,
        keepRevisions: 1,
        startTimer: (_milliseconds, callback) => {
          const immediate = setImmediate(callback);
          return () => clearImmediate(immediate);
        },
      });
    const stops = await compactionStops(50_000, startNow, file);
    note("compaction longest", stops.longestMs);
    note("compaction total", stops.totalMs);
    note("bytes", storeBytes(file));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const findings: Finding[] = [];
for (const name of NAMES) {
  const place = PLACES[name];
  findings.push({
    what: `durable single-key puts/s, 64 in flight, ${place}`,
    target: "at least 10,000",
    found: formatSpread(samplesOf(`${name} puts`)),
    isReached: median(`${name} puts`) >= 10_000,
  });
}
for (const name of NAMES) {
  findings.push({
    what: `from the call of a put to its item at a watch, 500 puts/s, p99, ${PLACES[name]}`,
    target: "under 5 ms",
    found: `${formatSpread(samplesOf(`${name} p99`), 1)} ms; p50 ${formatSpread(samplesOf(`${name} p50`), 1)} ms`,
    isReached: median(`${name} p99`) < 5,
  });
}
for (const name of NAMES) {
  const ratio = median(`${name} puts beside watches`) / median(`${name} puts`);
  findings.push({
    what: `the same puts/s beside ${WATCHES} watches, of which one gets the put, ${PLACES[name]}`,
    target: "—",
    found: `${formatSpread(samplesOf(`${name} puts beside watches`))}: ${(ratio * 100).toFixed(0)} %`,
    isReached: undefined,
  });
}
findings.push({
  what: "CPU time of a put in its own process, beside the watches against without",
  target: "—",
  found: `${formatSpread(samplesOf("embedded cpu beside watches"))} us against ${formatSpread(samplesOf("embedded cpu"))} us`,
  isReached: undefined,
});
findings.push({
  what: "writing 4 KiB to this disk and waiting for it (fdatasync), nothing else: p50, p99",
  target: "—",
  found: `${formatSpread(samplesOf("sync p50"), 1)} ms, ${formatSpread(samplesOf("sync p99"), 1)} ms`,
  isReached: undefined,
});
const lists = { many: "50,000 keys beside them", deep: "200 versions of each key in the history" };
for (const [row, what] of Object.entries(lists)) {
  findings.push({
    what: `a list of 50 keys, with ${what}, against one without`,
    target: "the same",
    found: `${formatSpread(samplesOf(`list ${row}`))} us against ${formatSpread(samplesOf("list few"))} us`,
    isReached: median(`list ${row}`) < 1.5 * median("list few"),
  });
}
findings.push({
  what: "longest stop of the event loop while 50,000 revisions of 10,000 keys are compacted",
  target: "—",
  found: `${formatSpread(samplesOf("compaction longest"), 1)} ms of ${formatSpread(samplesOf("compaction total"))} ms`,
  isReached: undefined,
});
findings.push({
  what: "file and log after 50,000 puts of 290 octets",
  target: "—",
  found: `${formatSpread(
    samplesOf("bytes").map((bytes) => bytes / 1e6),
    1,
  )} MB`,
  isReached: undefined,
});

const load = loadavg()[0]!.toFixed(1);
const report = [
  `${describeMachine()}; ${rounds} rounds of ${seconds} s; load average at the end ${load}.`,
  "Each cell: median (lowest to highest).",
  findingsTable(findings),
].join("\n\n");
process.stdout.write(`${report}\n`);
if (write) writeReport(report, "store");
