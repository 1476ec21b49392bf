import { describe, expect, test } from "vitest";
import { CaptureClock } from "../../src/cli/replay/capture-clock.ts";

describe("CaptureClock", () => {
  test("calls timers in the order in which they are due, at their own time", () => {
    const clock = new CaptureClock();
    const calls: string[] = [];
    const note = (name: string) => () => void calls.push(`${name} ${clock.now()}`);
    clock.startTimer(30, note("c"));
    clock.startTimer(10, () => {
      note("a")();
      clock.startTimer(10, note("b"));
    });
    clock.startTimer(31, note("d"));
    expect(clock.nextDueMs()).toBe(10);
    clock.advanceTo(30);
    expect(calls).toEqual(["a 10", "b 20", "c 30"]);
    expect([clock.now(), clock.nextDueMs()]).toEqual([30, 31]);
  });

  test("forgets a timer that is taken back", () => {
    const clock = new CaptureClock();
    const calls: number[] = [];
    clock.startTimer(5, () => void calls.push(5))();
    clock.advanceTo(10);
    expect([calls, clock.nextDueMs()]).toEqual([[], undefined]);
  });

  test("never goes back", () => {
    const clock = new CaptureClock();
    clock.advanceTo(10);
    clock.advanceTo(4);
    expect(clock.now()).toBe(10);
  });
});
