import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FaultStep, type Playbook, PlaybookSchema } from "../../../src/model/playbook.ts";
import {
  type Asked,
  type FaultState,
  nextAnswer,
  startOf,
} from "../../../src/wireserver/faults/fault-state.ts";
import { FaultBook } from "../../../src/wireserver/index.ts";

const GOAL_STATE: Asked = {
  service: "wireServer",
  endpoint: "goalstate",
  url: "/machine/?comp=goalstate",
};

function playbook(rules: unknown): Playbook {
  return PlaybookSchema.parse({ name: "test", rules });
}

/** What requests of goal states at these times meet: statuses, "pass", or "right" without any step. */
function meet(rules: unknown, timesMs: readonly number[], asked: Asked = GOAL_STATE): unknown[] {
  const parsed = playbook(rules).rules;
  let state: FaultState = startOf(parsed);
  return timesMs.map((nowMs) => {
    const result = nextAnswer(parsed, state, asked, nowMs);
    state = result.state;
    if (result.step === undefined) return "right";
    return result.step.status ?? (result.step.pass === true ? "pass" : result.step.delayMs);
  });
}

describe("a sequence", () => {
  test("is 500, then slow, then 410, then normal", () => {
    const answers = [{ status: 500 }, { delayMs: 10 }, { status: 410 }, { pass: true }];
    const rules = [{ endpoint: "goalstate", answers }];
    expect(meet(rules, [0, 1, 2, 3, 4])).toEqual([500, 10, 410, "pass", "pass"]);
  });

  test("counts what it was told to count", () => {
    const answers = [{ status: 500, repeat: 2 }, { status: 503 }];
    expect(meet([{ endpoint: "goalstate", answers }], [0, 1, 2, 3])).toEqual([500, 500, 503, 503]);
  });

  test("is over after a last step that was counted", () => {
    const rules = [{ endpoint: "goalstate", answers: [{ status: 500, repeat: 1 }] }];
    expect(meet(rules, [0, 1, 2])).toEqual([500, "right", "right"]);
  });

  test("lasts for seconds from its first request on, however late that is", () => {
    const rules = [{ endpoint: "goalstate", answers: [{ status: 410, forSeconds: 15 }] }];
    expect(meet(rules, [100_000, 114_999, 115_000])).toEqual([410, 410, "right"]);
  });

  test("begins again where it loops", () => {
    const answers = [{ status: 500 }, { pass: true }];
    const rules = [{ endpoint: "goalstate", answers, loop: true }];
    expect(meet(rules, [0, 1, 2, 3])).toEqual([500, "pass", 500, "pass"]);
  });

  test("makes room for the next rule when it is over", () => {
    const rules = [
      { endpoint: "goalstate", answers: [{ status: 500, repeat: 1 }] },
      { endpoint: "wireServer", answers: [{ status: 503 }] },
    ];
    expect(meet(rules, [0, 1])).toEqual([500, 503]);
  });
});

describe("a rule", () => {
  test("leaves other endpoints and services alone", () => {
    const rules = [{ endpoint: ["health", "hostPlugin"], answers: [{ status: 500 }] }];
    expect(meet(rules, [0])).toEqual(["right"]);
  });

  test("may ask for a part of the URL", () => {
    const rules = [{ endpoint: "goalstate", urlHas: "nothing", answers: [{ status: 500 }] }];
    expect(meet(rules, [0])).toEqual(["right"]);
  });

  test("for connections is not used up by requests of other services, nor other steps by connections", () => {
    const connection: Asked = { service: "hostPlugin" };
    const refusing = [{ endpoint: "hostPlugin", answers: [{ connection: "refuse", repeat: 1 }] }];
    const { rules } = playbook(refusing);
    const first = nextAnswer(rules, startOf(rules), GOAL_STATE, 0);
    expect(first.step).toBeUndefined();
    const second = nextAnswer(rules, first.state, connection, 0);
    expect(second.step?.connection).toBe("refuse");
    expect(nextAnswer(rules, second.state, connection, 0).step).toBeUndefined();
    const other = playbook([{ endpoint: "hostPlugin", answers: [{ status: 500 }] }]).rules;
    expect(nextAnswer(other, startOf(other), connection, 0)).toEqual({ state: startOf(other) });
  });
});

describe("for any sequence and any times", () => {
  const step = fc.oneof(
    fc.record({
      status: fc.integer({ min: 400, max: 599 }),
      repeat: fc.integer({ min: 1, max: 5 }),
    }),
    fc.record({
      status: fc.integer({ min: 400, max: 599 }),
      forSeconds: fc.integer({ min: 1, max: 9 }),
    }),
    fc.record({ status: fc.integer({ min: 400, max: 599 }) }),
  );
  const rule = fc.record({
    endpoint: fc.constant("goalstate" as const),
    answers: fc.array(step, { minLength: 1, maxLength: 6 }),
    loop: fc.boolean(),
  });
  const gaps = fc.array(fc.integer({ min: 0, max: 4_000 }), { maxLength: 60 });

  test("steps come in order, none is left out, and counted ones come as often as they say", () => {
    fc.assert(
      fc.property(rule, gaps, (raw, waits) => {
        const { rules } = playbook([raw]);
        let state = startOf(rules);
        let nowMs = 0;
        const met: FaultStep[] = [];
        for (const wait of waits) {
          nowMs += wait;
          const result = nextAnswer(rules, state, GOAL_STATE, nowMs);
          state = result.state;
          if (result.step === undefined) break;
          met.push(result.step);
        }
        const runs = runsOf(met);
        for (const [index, run] of runs.entries()) {
          const answers = rules[0]!.answers;
          expect(run.step).toBe(answers[index % answers.length]);
          const isWhole = index < runs.length - 1;
          if (isWhole && run.step.forSeconds === undefined) {
            expect(run.length).toBe(run.step.repeat ?? 1);
          }
        }
        const last = rules[0]!.answers.at(-1);
        const neverEnds =
          raw.loop || (last?.repeat === undefined && last?.forSeconds === undefined);
        if (neverEnds) expect(met.length).toBe(waits.length);
      }),
    );
  });

  test("the same requests at the same times meet the same", () => {
    fc.assert(
      fc.property(rule, gaps, (raw, waits) => {
        const times = waits.map((_wait, index) =>
          waits.slice(0, index + 1).reduce((sum, wait) => sum + wait, 0),
        );
        expect(meet([raw], times)).toEqual(meet([raw], times));
      }),
    );
  });
});

/** A loop of one step has runs that cannot be told apart by their step alone, so steps are compared by their count. */
function runsOf(met: readonly FaultStep[]): { step: FaultStep; length: number }[] {
  const runs: { step: FaultStep; length: number }[] = [];
  for (const step of met) {
    const run = runs.at(-1);
    const isFull =
      run !== undefined &&
      run.step.forSeconds === undefined &&
      run.length >= (run.step.repeat ?? Number.POSITIVE_INFINITY);
    if (run !== undefined && run.step === step && !isFull) run.length += 1;
    else runs.push({ step, length: 1 });
  }
  return runs;
}

describe("the book of a node", () => {
  test("begins a playbook again when it is set again, and forgets it when it is cleared", () => {
    const book = new FaultBook(() => 0);
    const rules = [{ endpoint: "goalstate", answers: [{ status: 410, repeat: 1 }] }];
    const ask = () =>
      book.next("a", { service: "wireServer", method: "GET", url: "/machine/?comp=GoalState" })
        ?.step.status;
    expect(book.isOn("a")).toBe(false);
    book.set("a", playbook(rules));
    expect([book.isOn("a"), book.isOn("b")]).toEqual([true, false]);
    expect([ask(), ask()]).toEqual([410, undefined]);
    book.set("a", playbook(rules));
    expect(ask()).toBe(410);
    book.set("a", undefined);
    expect([book.isOn("a"), ask()]).toEqual([false, undefined]);
  });

  test("counts DHCP replies of the kinds that are meant", () => {
    const book = new FaultBook(() => 0);
    const dhcp = { replies: ["offer"], silent: true, repeat: 2 };
    book.set("a", PlaybookSchema.parse({ name: "test", dhcp }));
    const next = (kind: "offer" | "ack") => book.nextReply("a", kind)?.silent;
    expect([next("ack"), next("offer"), next("offer"), next("offer")]).toEqual([
      undefined,
      true,
      true,
      undefined,
    ]);
    expect(book.nextReply("b", "offer")).toBeUndefined();
  });
});
