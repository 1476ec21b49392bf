/** docs/faults.md lists every playbook that is shipped, in its own words, and every endpoint. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { listPlaybooks } from "../../src/cli/faults/playbooks.ts";
import { FAULT_ENDPOINTS } from "../../src/model/playbook.ts";

const ROOT = join(import.meta.dirname, "../..");
const PAGE = join(ROOT, "docs/faults.md");
const HEAD = ["playbook", "what happened", "what clients do"];

const rows = () =>
  listPlaybooks().map(({ name, story, clients }) => [`\`${name}\``, story, clients]);

/** The cells of the table with this first column. */
function tableOnPage(column: string): string[][] {
  const lines = readFileSync(PAGE, "utf8")
    .split("\n")
    .map((line) => line.split("|").map((cell) => cell.trim()));
  const start = lines.findIndex((cells) => cells[1] === column);
  const end = lines.findIndex((cells, index) => index > start && cells.length === 1);
  return lines.slice(start + 2, end).map((cells) => cells.slice(1, -1));
}

test("docs/faults.md has each playbook that is shipped", () => {
  if (process.env["UPDATE_GOLDENS"] !== undefined) update();
  expect(tableOnPage(HEAD[0]!)).toEqual(rows());
});

test("docs/faults.md has each endpoint that a rule may name", () => {
  const listed = tableOnPage("service").map(([service, endpoints]) => [
    service?.replaceAll("`", ""),
    [...(endpoints ?? "").matchAll(/`(\w+)`/g)].map((match) => match[1]),
  ]);
  expect(Object.fromEntries(listed)).toEqual(FAULT_ENDPOINTS);
});

/** Writes the table anew below its marker. */
function update(): void {
  const table = [HEAD, HEAD.map(() => "---"), ...rows()].map((cells) => `| ${cells.join(" | ")} |`);
  const lines = readFileSync(PAGE, "utf8").split("\n");
  const marker = lines.indexOf("<!-- playbooks -->");
  const end = lines.findIndex((line, index) => index > marker && line.startsWith("## "));
  writeFileSync(PAGE, lines.toSpliced(marker + 1, end - marker - 1, "", ...table, "").join("\n"));
  execFileSync("npx", ["biome", "check", "--write", PAGE], { cwd: ROOT });
}
