/** docs/protocols/dhcpv4-reasons.md has every reason of the DHCP server, in the words of the CLI, and no other. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { IGNORED_OPTIONS } from "../../src/cli/dhcp/ignored-options.ts";
import {
  DROP_REASONS,
  NAK_REASONS,
  PLUGIN_REASONS,
  REQUEST_NOTES,
  type ReasonText,
} from "../../src/cli/dhcp/reasons.ts";

const ROOT = join(import.meta.dirname, "../..");
const PAGE = join(ROOT, "docs/protocols/dhcpv4-reasons.md");

/** Rows of reasons that come with advice. */
const withAdvice = (reasons: Readonly<Record<string, ReasonText>>) =>
  Object.entries(reasons).map(([code, { meaning, advice }]) => [code, meaning, advice]);

const TABLES = [
  { head: ["dropped", "what it means", "what to do"], rows: withAdvice(DROP_REASONS) },
  {
    head: ["dropped by a plugin", "what it means", "what to do"],
    rows: withAdvice(PLUGIN_REASONS),
  },
  { head: ["refused", "what it means", "what to do"], rows: withAdvice(NAK_REASONS) },
  { head: ["ignored", "what it means"], rows: Object.entries(IGNORED_OPTIONS) },
  { head: ["noted", "what it means"], rows: Object.entries(REQUEST_NOTES) },
];

const escapeCell = (cell: string) => cell.replaceAll("|", "\\|");

/** The cells of the table with this first column, without the blanks that align it. */
function tableOnPage(page: string, column: string): string[][] {
  const lines = page.split("\n").map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()));
  const start = lines.findIndex((cells) => cells[1] === column);
  const end = lines.findIndex((cells, index) => index > start && cells.length === 1);
  return lines.slice(start + 2, end).map((cells) => cells.slice(1, -1));
}

test.each(TABLES)(
  "docs/protocols/dhcpv4-reasons.md has each reason that is $head.0",
  ({ head, rows }) => {
    const want = rows.map(([code, ...texts]) => [`\`${code}\``, ...texts.map(escapeCell)]);
    if (process.env["UPDATE_GOLDENS"] !== undefined) update(head, want);
    expect(tableOnPage(readFileSync(PAGE, "utf8"), head[0]!)).toEqual(want);
  },
);

/** Writes the table anew between the lines around it. */
function update(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const lines = readFileSync(PAGE, "utf8").split("\n");
  const start = lines.findIndex((line) => line.startsWith(`| ${head[0]} `));
  const end = lines.findIndex((line, index) => index > start && !line.startsWith("|"));
  const table = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  writeFileSync(PAGE, lines.toSpliced(start, end - start, ...table).join("\n"));
  execFileSync("npx", ["biome", "check", "--write", PAGE], { cwd: ROOT });
}
