import { describe, expect, test } from "vitest";
import { advanceEvents, type ScheduledEvent } from "../../src/model/scheduled-event.ts";

const EVENT: ScheduledEvent = {
  ...{ id: "e-1", container: "hello.web_0", instance: "web_0", type: "Reboot" },
  ...{ source: "Platform", description: "", notBeforeMs: 10_000, durationSeconds: 5 },
  isActedOn: false,
};
const NOBODY = new Set<string>();

function recordOf(...events: readonly ScheduledEvent[]) {
  return { tenant: "hello", incarnation: 3, events };
}

describe("an event", () => {
  test("is scheduled until its time", () => {
    const step = advanceEvents(recordOf(EVENT), NOBODY, 9_999);
    expect(step).toEqual({ started: [], ended: [], nextMs: 10_000 });
  });

  test("starts at its time, and is over after its duration", () => {
    const { record, started, nextMs } = advanceEvents(recordOf(EVENT), NOBODY, 10_000);
    expect(started).toEqual([EVENT]);
    expect(record).toEqual({ ...recordOf({ ...EVENT, startedMs: 10_000 }), incarnation: 4 });
    expect(nextMs).toBe(15_000);
    const later = advanceEvents(record!, NOBODY, 15_000);
    expect(later).toEqual({
      record: { ...recordOf(), incarnation: 5 },
      started: [],
      ended: ["e-1"],
    });
  });

  test("starts at once when a guest approves", () => {
    const { record, started } = advanceEvents(recordOf(EVENT), new Set(["e-1"]), 2_000);
    expect(started).toEqual([EVENT]);
    expect(record?.events[0]?.startedMs).toBe(2_000);
  });

  test("is not started a second time by a late approval", () => {
    const running = recordOf({ ...EVENT, startedMs: 1_000 });
    const step = advanceEvents(running, new Set(["e-1"]), 2_000);
    expect(step).toEqual({ started: [], ended: [], nextMs: 6_000 });
  });

  test("of unknown duration is shown as started for a minute", () => {
    const running = recordOf({ ...EVENT, startedMs: 1_000, durationSeconds: -1 });
    expect(advanceEvents(running, NOBODY, 60_999).ended).toEqual([]);
    expect(advanceEvents(running, NOBODY, 61_000).ended).toEqual(["e-1"]);
  });

  test("without an interruption starts and is over in one step", () => {
    const step = advanceEvents(recordOf({ ...EVENT, durationSeconds: 0 }), NOBODY, 10_000);
    expect(step.started).toHaveLength(1);
    expect(step.ended).toEqual(["e-1"]);
  });
});
