/** What a run found, as Markdown. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { arch, cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { ROOT } from "./processes.ts";

/** One row of the table of targets. */
export interface Finding {
  readonly what: string;
  readonly target: string;
  readonly found: string;
  /** Undefined where there is no target, or nothing to compare with. */
  readonly isReached: boolean | undefined;
}

export function yesOrNo(isReached: boolean | undefined): string {
  if (isReached === undefined) return "—";
  return isReached ? "yes" : "**no**";
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

export function findingsTable(findings: readonly Finding[]): string {
  const rows = findings.map(({ what, target, found, isReached }) => [
    what,
    target,
    found,
    yesOrNo(isReached),
  ]);
  return table(["", "target", "found", "reached"], rows);
}

/** The machine that the numbers come from; they mean nothing without it. */
export function describeMachine(): string {
  const [cpu] = cpus();
  const gigabytes = (totalmem() / 1e9).toFixed(0);
  const node = readFileSync(join(ROOT, "node_modules/node/package.json"), "utf8");
  const { version } = JSON.parse(node) as { version: string };
  const date = new Date().toISOString().slice(0, 16).replace("T", " ");
  return `${date} UTC, ${cpus().length} x ${cpu?.model} (${arch()}), ${gigabytes} GB, Linux ${release()}, Node ${version}`;
}

const beginOf = (bench: string) => `<!-- results: written by bench/${bench}/run --write -->`;
const END = "<!-- end of results -->";

/** Puts the report of a bench into bench/README.md, in place of the one before. */
export function writeReport(report: string, bench = "dhcp"): void {
  const path = join(ROOT, "bench/README.md");
  const text = readFileSync(path, "utf8");
  const begin = beginOf(bench);
  const start = text.indexOf(begin);
  const end = text.indexOf(END, start);
  if (start < 0 || end < 0) throw new Error(`${path} has no place for results of bench/${bench}`);
  const [before, after] = [text.slice(0, start), text.slice(end)];
  writeFileSync(path, `${before}${begin}\n\n${report}\n\n${after}`);
  execFileSync(join(ROOT, "node_modules/.bin/biome"), ["format", "--write", path], {
    stdio: "ignore",
  });
}
