/**
 * Says what a test run came to: `node tools/ci-summary.mjs REPORT STATUS`, with vitest's JSON report and the exit
 * code of the test command. Its last line is `N passed, N failed, N skipped`; it exits 0 only if the command did, at
 * least one test ran, none failed and none was skipped. Plain JavaScript, because it must also work where `npm ci`
 * failed and the machine's own Node cannot run TypeScript.
 */
import { existsSync, readFileSync } from "node:fs";

const [path = "", statusText = "1"] = process.argv.slice(2);

/** @returns the report, or undefined with the reason printed */
function readReport() {
  if (!existsSync(path)) {
    say("there is no test report: the tests did not start, or did not get to their end");
    return undefined;
  }
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    say(
      `the test report ${path} cannot be read: ${error instanceof Error ? error.message : error}`,
    );
    return undefined;
  }
}

function say(text) {
  process.stdout.write(`ci-summary: ${text}\n`);
}

/** Counts tests by what the report says of each one. A file that fails as a whole counts as one failure. */
function count(report) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const file of report.testResults ?? []) {
    const tests = file.assertionResults ?? [];
    for (const { status, fullName } of tests) {
      const kind = status === "passed" || status === "failed" ? status : "skipped";
      counts[kind] += 1;
      if (kind !== "passed") say(`${kind}: ${file.name}: ${fullName}`);
    }
    if (file.status === "failed" && !tests.some(({ status }) => status === "failed")) {
      counts.failed += 1;
      say(`failed: ${file.name}: ${String(file.message).split("\n")[0]}`);
    }
  }
  return counts;
}

const report = readReport();
const { passed, failed, skipped } = count(report ?? {});
const status = Number(statusText);
const ranAndPassed = passed > 0 && failed === 0 && report?.success === true;
if (status !== 0) say(`the test command exited with ${statusText}`);
if (skipped > 0)
  say("a skipped test fails the run: here every package and privilege must be there");
process.exitCode = status === 0 && ranAndPassed && skipped === 0 ? 0 : 1;
process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
