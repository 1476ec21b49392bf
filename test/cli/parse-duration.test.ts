import { expect, test } from "vitest";
import { parseDuration } from "../../src/cli/parse-duration.ts";

test("a duration has a unit, or is in seconds", () => {
  const texts = ["90", "90s", "1.5m", "2h", "250ms", "0"];
  expect(texts.map(parseDuration)).toEqual([90, 90, 90, 7200, 0.25, 0]);
});

test("what is no duration is refused", () => {
  for (const text of ["", "m", "-1", "1d", "1m30s", "1e9", "Infinity"]) {
    expect(() => parseDuration(text), text).toThrow("30s, 5m or 1h");
  }
});
