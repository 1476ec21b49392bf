/** `bench/boot/run`: see --help. */
import { mkdtempSync, rmSync } from "node:fs";
import { homedir, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { positive } from "../arguments.ts";
import { describeMachine, findingsTable, table, writeReport } from "../dhcp/report.ts";
import { formatSpread, medianOf, spreadOf } from "../dhcp/statistics.ts";
import { ByFabric } from "./by-fabric.ts";
import { ByHand } from "./by-hand.ts";
import { type Boot, COMMON, OWN, sinceBegin } from "./milestones.ts";

const MORE_MS_MAX = 300;

const program = new Command("bench/boot/run")
  .description(
    "Boots the same guest by `goalstate deploy` and by hand (bridge, dnsmasq, the same QEMU arguments), in turn, and\n" +
      "prints Markdown. Needs root, QEMU and dnsmasq.",
  )
  .option(
    "--rounds <n>",
    "boots of each; the first pair, which warms up, does not count",
    positive,
    5,
  )
  .option("--write", "put the results into bench/README.md", false);
program.parse();
const { rounds, write } = program.opts<{ rounds: number; write: boolean }>();

/** Both sides end what they made; a signal must not keep them from it. */
const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());

const folder = mkdtempSync(join(tmpdir(), "goalstate-bench-boot-"));
const boots: { readonly fabric: Boot; readonly hand: Boot }[] = [];
let hypervisor = "";
try {
  await using byFabric = await ByFabric.open(join(folder, "fabric"));
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  await using byHand = await ByHand.open(join(folder, "hand"), join(cache, "goalstate"));
  hypervisor = byHand.description;
  for (let round = 0; round <= rounds; round++) {
    stop.signal.throwIfAborted();
    // Whoever is second finds the machine as the first left it; so they change places.
    const first = round % 2 === 0 ? await byHand.boot() : undefined;
    const fabric = await byFabric.boot();
    const hand = first ?? (await byHand.boot());
    if (round > 0) boots.push({ fabric, hand });
    process.stderr.write(
      `fabric ${sinceBegin(fabric, "ready")} ms, by hand ${sinceBegin(hand, "ready")} ms\n`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Of each pair, so that what slows the machine for a while slows both. */
const more = (step: string) =>
  boots.map(({ fabric, hand }) => sinceBegin(fabric, step) - sinceBegin(hand, step));
const differences = more("ready");
const finding = {
  what: "`goalstate deploy` to Ready, more than the same guest by hand",
  target: `at most ${MORE_MS_MAX} ms`,
  found: `${formatSpread(differences)} ms`,
  isReached: spreadOf(differences).median <= MORE_MS_MAX,
};
const common = COMMON.map((step) => [
  step,
  formatSpread(boots.map(({ fabric }) => sinceBegin(fabric, step))),
  formatSpread(boots.map(({ hand }) => sinceBegin(hand, step))),
  formatSpread(more(step)),
]);
const own = OWN.map((step) => [
  step,
  formatSpread(boots.map(({ fabric }) => sinceBegin(fabric, step))),
  "—",
  "—",
]);
const at = (step: string | undefined) => medianOf(boots, ({ fabric }) => sinceBegin(fabric, step!));
const rows = [...own, ...common].sort(([a], [b]) => at(a) - at(b));
const report = [
  `${describeMachine()}; ${hypervisor}; ${rounds} pairs of boots; load average at the end ${loadavg()[0]!.toFixed(1)}.`,
  findingsTable([finding]),
  "Milliseconds from the start of the command `deploy`, and by hand from the making of the tap; the last column is the median of the pairs' differences.",
  table(["", "fabric", "by hand", "more"], rows),
].join("\n\n");
process.stdout.write(`${report}\n`);
if (write) writeReport(report, "boot");
