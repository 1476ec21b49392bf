/** Kills processes of a fabric at random moments; what it must come back to is told in tools/chaos.d/invariants.ts. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { canMakeNamespaces } from "../../net/namespaces.ts";
import { run } from "../processes.ts";

const CHAOS = join(import.meta.dirname, "../../../tools/chaos");
/** Others by hand: `GOALSTATE_CHAOS_SEED=7 GOALSTATE_CHAOS_KILLS=1000 npx vitest run test/e2e/fabric/chaos.test.ts`. */
const SEED = process.env["GOALSTATE_CHAOS_SEED"] ?? "1";
const KILLS = Number(process.env["GOALSTATE_CHAOS_KILLS"] ?? 200);
/** Of the course before a failure; what follows it explains it. */
const LINES_BEFORE = 40;
/** A bound for a machine that is busy; on a quiet one a kill takes about a second, with the wait for rest. */
const TEST_TIMEOUT_MS = 120_000 + KILLS * 6_000;

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("a fabric (needs root)", () => {
  test(
    "is what was asked for after any one of its processes was killed at any moment, and what ran runs on",
    async () => {
      await using chaos = run([CHAOS, "--seed", SEED, "--kills", String(KILLS)]);
      const code = await chaos.ended;
      const lines = chaos.stdout().trim().split("\n");
      const end = lines.findIndex((line) => line.includes("WRONG"));
      const told = lines.slice(Math.max(0, (end < 0 ? lines.length : end) - LINES_BEFORE));
      expect([code, chaos.stderr()], told.join("\n")).toEqual([0, ""]);
      process.stdout.write(`${lines.slice(-4).join("\n")}\n`);
    },
    TEST_TIMEOUT_MS,
  );
});
