/** Folders that go when the test that made them has ended, also when it failed. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Makes an empty folder; call it while a test runs. */
export function temporaryFolder(label: string): string {
  const folder = mkdtempSync(join(tmpdir(), `goalstate-${label}-`));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
