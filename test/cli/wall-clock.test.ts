import { expect, test } from "vitest";
import { wallClock } from "../../src/cli/wall-clock.ts";

test("differences are exact, and a corrected wall clock is followed within a minute", () => {
  let wallMs = 1_000_000;
  let monotonicMs = 5;
  const now = wallClock(
    () => wallMs,
    () => monotonicMs,
  );
  expect(now()).toBe(1_000_000);
  monotonicMs += 0.25;
  expect(now()).toBe(1_000_000.25);
  wallMs += 3_000; // a correction
  monotonicMs += 10;
  expect(now()).toBe(1_000_010.25);
  monotonicMs += 60_000;
  wallMs += 60_010;
  expect(now()).toBe(wallMs);
});
