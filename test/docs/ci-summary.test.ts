/** The last line and the exit code of `.ci/run`, from small reports as vitest writes them. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";

const SUMMARY = join(import.meta.dirname, "../../tools/ci-summary.mjs");
const folder = mkdtempSync(join(tmpdir(), "ci-summary-"));
afterAll(() => rmSync(folder, { recursive: true }));

type Status = "passed" | "failed" | "skipped" | "pending" | "todo";

/** A report with one file that has one test per status. */
function reportOf(...statuses: readonly Status[]): string {
  const assertionResults = statuses.map((status, index) => ({ status, fullName: `test ${index}` }));
  const failed = statuses.includes("failed");
  return JSON.stringify({
    success: !failed,
    testResults: [
      { name: "a.test.ts", status: failed ? "failed" : "passed", message: "", assertionResults },
    ],
  });
}

function summarize(report: string | undefined, status = 0): { lastLine: string; code: number } {
  const path = join(folder, "report.json");
  rmSync(path, { force: true });
  if (report !== undefined) writeFileSync(path, report);
  const result = spawnSync(process.execPath, [SUMMARY, path, String(status)], { encoding: "utf8" });
  return { lastLine: result.stdout.trimEnd().split("\n").at(-1) ?? "", code: result.status ?? -1 };
}

describe("ci-summary", () => {
  const brokenFile = JSON.stringify({
    success: false,
    testResults: [
      { name: "b.test.ts", status: "failed", message: "Cannot find module", assertionResults: [] },
    ],
  });
  const failedAfterTests = JSON.stringify({ ...JSON.parse(reportOf("passed")), success: false });
  const rows = [
    ["all passed", reportOf("passed", "passed"), 0, "2 passed, 0 failed, 0 skipped", 0],
    ["one failed", reportOf("passed", "failed"), 1, "1 passed, 1 failed, 0 skipped", 1],
    ["failed, exit code lost", reportOf("passed", "failed"), 0, "1 passed, 1 failed, 0 skipped", 1],
    ["one skipped", reportOf("passed", "skipped"), 0, "1 passed, 0 failed, 1 skipped", 1],
    ["one pending", reportOf("passed", "pending"), 0, "1 passed, 0 failed, 1 skipped", 1],
    ["one to do", reportOf("passed", "todo"), 0, "1 passed, 0 failed, 1 skipped", 1],
    ["a file that does not load", brokenFile, 1, "0 passed, 1 failed, 0 skipped", 1],
    ["an unhandled error", failedAfterTests, 1, "1 passed, 0 failed, 0 skipped", 1],
    ["killed after the report", reportOf("passed"), 137, "1 passed, 0 failed, 0 skipped", 1],
    ["no test", JSON.stringify({ success: true }), 0, "0 passed, 0 failed, 0 skipped", 1],
    ["no report, as after npm ci failed", undefined, 1, "0 passed, 0 failed, 0 skipped", 1],
    ["no report although the command passed", undefined, 0, "0 passed, 0 failed, 0 skipped", 1],
    ["half a report", '{"success": tr', 0, "0 passed, 0 failed, 0 skipped", 1],
  ] as const;
  test.each(rows)("%s", (_name, report, status, lastLine, code) => {
    expect(summarize(report, status)).toEqual({ lastLine, code });
  });
});
