import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pause } from "../../../src/compute/agent/clock.ts";
import { Deadlines } from "../../../src/compute/agent/deadlines.ts";
import { Slots } from "../../../src/compute/agent/slots.ts";
import { ManualClock } from "./manual-clock.ts";
import { settle } from "./simulated-machine.ts";

/** How late a deadline may come. */
const RESOLUTION_MS = 10;

describe("Deadlines", () => {
  test("have one timer, however many owners there are and however often they put theirs off", () => {
    const clock = new ManualClock();
    const due: number[] = [];
    const deadlines = new Deadlines<number>(clock, (owner) => due.push(owner));
    for (let owner = 0; owner < 1_000; owner++) deadlines.set(owner, 1_000 + owner);
    expect(clock.timerCount).toBe(1);
    for (let round = 1; round <= 100; round++) {
      clock.advance(100);
      for (let owner = 0; owner < 1_000; owner++) deadlines.set(owner, round * 100 + 1_000 + owner);
      expect(clock.timerCount).toBe(1);
    }
    expect(due).toEqual([]);
    clock.advance(3_000);
    expect(due).toEqual(Array.from({ length: 1_000 }, (_, owner) => owner));
    expect(clock.timerCount).toBe(0);
  });

  test("call each owner once, not early and not late, whatever was set and deleted before", () => {
    const act = fc.record({
      owner: fc.nat(5),
      inMs: fc.oneof(fc.nat(500), fc.constant(Number.POSITIVE_INFINITY)),
      passMs: fc.nat(120),
    });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const clock = new ManualClock();
        const wanted = new Map<number, number>();
        const deadlines = new Deadlines<number>(clock, (owner) => {
          const atMs = wanted.get(owner);
          expect(atMs).toBeLessThanOrEqual(clock.monotonic());
          expect(clock.monotonic()).toBeLessThanOrEqual((atMs ?? 0) + RESOLUTION_MS);
          wanted.delete(owner);
        });
        for (const { owner, inMs, passMs } of acts) {
          const atMs = clock.monotonic() + inMs;
          if (atMs === Number.POSITIVE_INFINITY) wanted.delete(owner);
          else wanted.set(owner, atMs);
          deadlines.set(owner, atMs);
          clock.advance(passMs);
        }
        clock.advance(1_000);
        expect([...wanted]).toEqual([]);
      }),
    );
  });

  test("are none any more once they are disposed", () => {
    const clock = new ManualClock();
    const deadlines = new Deadlines<number>(clock, () => expect.unreachable());
    deadlines.set(1, 10);
    deadlines[Symbol.dispose]();
    clock.advance(100);
    expect(clock.timerCount).toBe(0);
  });
});

describe("Slots", () => {
  const open = () => {
    const clock = new ManualClock();
    return { clock, slots: new Slots({ max: 2, heldMs: 1_000, clock }) };
  };

  test("let so much work run at a time, in order, also after some of it failed", async () => {
    const { slots, clock } = open();
    let running = 0;
    let most = 0;
    const order: number[] = [];
    const work = async (index: number) => {
      most = Math.max(most, ++running);
      order.push(index);
      await settle(1);
      running--;
      if (index % 3 === 0) throw new Error("failed");
    };
    const { signal } = new AbortController();
    await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => slots.run(signal, () => work(index))),
    );
    expect(most).toBe(2);
    expect(order).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect(clock.timerCount).toBe(0);
  });

  test("who waits may give up; who holds a place too long loses it", async () => {
    const { slots, clock } = open();
    const never = () => new Promise<never>(() => {});
    const { signal } = new AbortController();
    void slots.run(signal, never);
    void slots.run(signal, never);
    const impatient = new AbortController();
    const waiting = slots.run(impatient.signal, async () => "ran");
    impatient.abort(new Error("gave up"));
    await expect(waiting).rejects.toThrow("gave up");
    await expect(slots.run(impatient.signal, never)).rejects.toThrow("gave up");
    const patient = slots.run(signal, async () => "ran");
    clock.advance(1_000);
    expect(await patient).toBe("ran");
  });
});

test("pause() ends by time or by its signal, and leaves no timer", async () => {
  const clock = new ManualClock();
  const abort = new AbortController();
  const both = [pause(clock, 100, abort.signal), pause(clock, 1_000, abort.signal)];
  clock.advance(100);
  await both[0];
  abort.abort();
  await both[1];
  await pause(clock, 1_000, abort.signal);
  expect(clock.timerCount).toBe(0);
});
