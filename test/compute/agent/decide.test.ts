import { describe, expect, test } from "vitest";
import {
  decide,
  isStillRight,
  type Situation,
  type Wanted,
} from "../../../src/compute/agent/decide.ts";
import { recall } from "../../../src/compute/agent/recall.ts";
import type { ContainerState } from "../../../src/model/documents.ts";
import { CONTAINER, goalOf, NODE } from "./agent-fixture.ts";

const READY_NETWORK = { kind: "ready", namespace: "n" } as const;
const NO_NETWORK = { kind: "missing", reason: "waiting" } as const;
const here = (changes = {}): Wanted => ({ kind: "here", goal: goalOf(CONTAINER, changes) });
const GONE: Wanted = { kind: "gone" };
const MOVED: Wanted = { kind: "elsewhere", node: "node-2" };
const UNKNOWN: Wanted = { kind: "unknown" };
const STOPPED = here({ expectedState: "Stopped", attempt: 2 });
const failed = (attempt: number) => ({ attempt, reason: "why" });

interface Row {
  readonly is: string;
  readonly situation: Partial<Situation>;
  readonly step: object;
}

const rows: Row[] = [
  { is: "unknown", situation: { wanted: UNKNOWN, vm: { attempt: 1 } }, step: { kind: "rest" } },
  {
    is: "unknown on a node that stops",
    situation: { wanted: UNKNOWN, vm: { attempt: 1 }, suspended: "switch-off" },
    step: { kind: "stop", manner: "switch-off" },
  },
  { is: "new", situation: {}, step: { kind: "start", namespace: "n" } },
  { is: "without network", situation: { network: NO_NETWORK }, step: { kind: "rest" } },
  { is: "running", situation: { vm: { attempt: 2 } }, step: { kind: "rest" } },
  {
    is: "running without its network's status",
    situation: { vm: { attempt: 2 }, network: NO_NETWORK },
    step: { kind: "rest" },
  },
  {
    is: "late",
    situation: { vm: { attempt: 2 }, late: "slow" },
    step: { kind: "stop", manner: "switch-off", failure: { attempt: 2, reason: "slow" } },
  },
  {
    is: "failed, and its VM runs",
    situation: { vm: { attempt: 2 }, failure: failed(2) },
    step: { kind: "stop", manner: "switch-off", failure: failed(2) },
  },
  { is: "failed", situation: { failure: failed(2) }, step: { kind: "rest" } },
  { is: "wanted anew after a failure", situation: { failure: failed(1) }, step: { kind: "start" } },
  {
    is: "running in an older attempt",
    situation: { vm: { attempt: 1 } },
    step: { kind: "stop", manner: "ask" },
  },
  {
    is: "running in a later attempt",
    situation: { vm: { attempt: 3 } },
    step: { kind: "stop", manner: "ask" },
  },
  { is: "to be stopped", situation: { wanted: STOPPED }, step: { kind: "rest" } },
  {
    is: "to be stopped and runs",
    situation: { wanted: STOPPED, vm: { attempt: 2 } },
    step: { kind: "stop", manner: "ask" },
  },
  { is: "deleted", situation: { wanted: GONE }, step: { kind: "forget" } },
  {
    is: "deleted and runs",
    situation: { wanted: GONE, vm: { attempt: 2 } },
    step: { kind: "stop", manner: "ask" },
  },
  {
    is: "deleted and forgotten",
    situation: { wanted: GONE, hasPapers: false },
    step: { kind: "rest" },
  },
  { is: "moved", situation: { wanted: MOVED }, step: { kind: "forget" } },
  {
    is: "moved and runs",
    situation: { wanted: MOVED, vm: { attempt: 2 } },
    step: { kind: "stop", manner: "kill", detail: "killing its VM: it was moved to node-2" },
  },
  {
    is: "moved and runs, on a node that stops",
    situation: { wanted: MOVED, vm: { attempt: 2 }, suspended: "ask" },
    step: { kind: "stop", manner: "kill" },
  },
  {
    is: "placed nowhere and runs",
    situation: { wanted: { kind: "elsewhere", node: "" }, vm: { attempt: 2 } },
    step: { kind: "stop", manner: "kill", detail: "killing its VM: it is placed nowhere" },
  },
  { is: "new on a node that stops", situation: { suspended: "ask" }, step: { kind: "rest" } },
  {
    is: "running on a node that stops",
    situation: { suspended: "switch-off", vm: { attempt: 2 } },
    step: { kind: "stop", manner: "switch-off" },
  },
];

describe("decide(): a container that is", () => {
  for (const { is, situation, step } of rows) {
    test(is, () => {
      const base: Situation = {
        wanted: here({ attempt: 2 }),
        ...{ vm: undefined, late: undefined, failure: undefined },
        ...{ network: READY_NETWORK, hasPapers: true },
      };
      expect(decide({ ...base, ...situation })).toMatchObject(step);
    });
  }
});

describe("isStillRight()", () => {
  const start = { kind: "start", goal: goalOf(CONTAINER, { attempt: 2 }), namespace: "n" } as const;
  const stop = { kind: "stop", manner: "ask", detail: "" } as const;
  const cases: [string, Parameters<typeof isStillRight>[0], Wanted, boolean][] = [
    ["a start whose attempt is wanted", start, here({ attempt: 2, incarnation: 5 }), true],
    ["a start of another attempt", start, here({ attempt: 3 }), false],
    ["a start of what is to be stopped", start, STOPPED, false],
    ["a start of what was deleted", start, GONE, false],
    ["a start of what was moved", start, MOVED, false],
    ["a graceful stop of what was deleted", stop, GONE, true],
    ["a graceful stop of what is wanted again", stop, here({ attempt: 3 }), true],
    ["a graceful stop of what was moved", stop, MOVED, false],
    ["a kill of what was moved", { ...stop, manner: "kill" }, MOVED, true],
  ];
  for (const [name, step, wanted, right] of cases) {
    test(`${name}: ${right}`, () => expect(isStillRight(step, wanted)).toBe(right));
  }
});

describe("recall(): an attempt whose last status is", () => {
  const read = (state: ContainerState, runs: boolean, attempt = 2) =>
    recall(
      { state, node: NODE, attempt, detail: "said", sinceMs: 0 },
      goalOf(CONTAINER, { attempt: 2 }),
      runs,
      undefined,
    ).failure?.reason;
  const gone = "its VM was gone when the node's agent started again";
  const cases: [ContainerState, runs: boolean, string | undefined][] = [
    ["Allocated", false, undefined],
    ["Creating", false, undefined],
    ["Creating", true, undefined],
    ["Booting", false, gone],
    ["Booting", true, undefined],
    ["Ready", false, gone],
    ["Ready", true, undefined],
    ["Unresponsive", false, gone],
    ["Stopping", true, "said"],
    ["Stopping", false, undefined],
    ["Stopped", false, undefined],
    ["Failed", false, "said"],
    ["Failed", true, "said"],
  ];
  for (const [state, runs, reason] of cases) {
    const vm = runs ? "with its VM running" : "without a VM";
    test(`${state} ${vm}: ${reason === undefined ? "not failed" : "failed"}`, () =>
      expect(read(state, runs)).toBe(reason));
  }
  test("of an earlier attempt says nothing", () =>
    expect(read("Failed", false, 1)).toBeUndefined());
});
