import { describe, expect, test } from "vitest";
import { containerView } from "../../../src/compute/manager/container-view.ts";
import {
  decideRecovery,
  FAILED_NODES_MAX,
  REASON_CHARACTERS_MAX,
  type Situation,
} from "../../../src/compute/manager/recovery.ts";
import type { ContainerGoal, ContainerStatus, Recovery } from "../../../src/model/documents.ts";

const NOW_MS = Date.parse("2026-01-01T00:00:00Z");
const POLICY = {
  ...{ retries: 2, moves: 1, backOffMs: 1_000, backOffMaxMs: 3_000, stableMs: 60_000 },
};
const CLEAN: Recovery = { retries: 0, moves: 0, failedNodes: [] };

function goal(
  recovery: Partial<Recovery> = {},
  change: Partial<ContainerGoal> = {},
): ContainerGoal {
  return {
    ...{ container: "lab.web_0", containerId: "id", tenant: "lab", role: "web" },
    ...{ instance: "web_0", kind: "paas", node: "n1", revision: 1, attempt: 3, boot: 3 },
    ...{ deploymentId: "id", incarnation: 1, expectedState: "Started", cpus: 1 },
    ...{ memoryMib: 512, vnet: "lab.net", mac: "02:00:00:00:00:01", address: "10.0.0.4" },
    ...{ hostname: "web-0", endpoints: [], settings: {} },
    recovery: { ...CLEAN, ...recovery },
    ...change,
  } as ContainerGoal;
}

function status(state: ContainerStatus["state"], change: Partial<ContainerStatus> = {}) {
  return { state, node: "n1", attempt: 3, detail: "no disk", sinceMs: NOW_MS, ...change };
}

function decide(change: Partial<Situation>) {
  return decideRecovery({
    ...{ goal: goal(), status: undefined, node: "up", policy: POLICY, nowMs: NOW_MS },
    ...change,
  });
}

describe("decideRecovery", () => {
  test("backs off longer with each retry, up to the longest", () => {
    const failed = status("Failed");
    const retryAt = (retries: number, retriesMax: number) => {
      const policy = { ...POLICY, retries: retriesMax };
      const decision = decide({ goal: goal({ retries }), status: failed, policy });
      return decision.kind === "note" ? (decision.recovery.retryAtMs ?? 0) - NOW_MS : decision.kind;
    };
    expect([0, 1, 2, 60].map((retries) => retryAt(retries, 99))).toEqual([1000, 2000, 3000, 3000]);
  });

  test("counts a failure once: while it backs off, it waits", () => {
    const waiting = goal({ reason: "no disk", retryAtMs: NOW_MS + 5 });
    const failed = status("Failed");
    expect(decide({ goal: waiting, status: failed })).toEqual({
      kind: "wait",
      untilMs: NOW_MS + 5,
    });
    expect(decide({ goal: waiting, status: failed, nowMs: NOW_MS + 5 })).toEqual({
      kind: "retry",
      recovery: { ...CLEAN, retries: 1, reason: "no disk" },
    });
  });

  test("a status of another node or attempt, and one of a stopped container, says nothing", () => {
    const nothing = { kind: "nothing" };
    expect(decide({ status: status("Failed", { attempt: 2 }) })).toEqual(nothing);
    expect(decide({ status: status("Failed", { node: "n2" }) })).toEqual(nothing);
    const stopped = goal({}, { expectedState: "Stopped" });
    expect(decide({ goal: stopped, status: status("Failed") })).toEqual(nothing);
  });

  test("one that is Ready while it waits for its retry needs none", () => {
    const waiting = goal({ reason: "silent", retryAtMs: NOW_MS + 5 });
    expect(decide({ goal: waiting, status: status("Ready") })).toEqual({
      kind: "note",
      recovery: { ...CLEAN, reason: "silent" },
    });
  });

  test("a node that may come back is waited for, also by its failures; a lost one is left", () => {
    expect(decide({ node: "awaited" })).toEqual({ kind: "nothing" });
    expect(decide({ node: "gone", goal: goal({ retries: 1, moves: 1 }) })).toEqual({
      kind: "move",
      recovery: { ...CLEAN, moves: 1, reason: "node n1 is gone" },
    });
    expect(decide({ node: "gone", goal: goal({ gaveUp: "x" }) })).toEqual({ kind: "nothing" });
  });

  test("what it keeps is bounded", () => {
    const many = Array.from({ length: 100 }, (_, index) => `n${index + 2}`);
    const failed = status("Failed", { detail: "x".repeat(5_000) });
    const decision = decide({ goal: goal({ retries: 2, failedNodes: many }), status: failed });
    if (decision.kind !== "move") expect.unreachable();
    else {
      expect(decision.recovery.failedNodes).toHaveLength(FAILED_NODES_MAX);
      expect(decision.recovery.failedNodes).toContain("n1");
      expect(decision.recovery.reason).toHaveLength(REASON_CHARACTERS_MAX);
    }
  });
});

describe("containerView", () => {
  const cases: [string, ContainerGoal, ContainerStatus | undefined, string][] = [
    ["placed, no word yet", goal(), undefined, "Allocated: placed on n1"],
    ["of an earlier attempt", goal(), status("Ready", { attempt: 2 }), "Allocated: placed on n1"],
    ["as its agent says", goal(), status("Busy"), "Busy: no disk"],
    ["given up", goal({ gaveUp: "no more" }), status("Failed"), "Failed: no more"],
    ["no room", goal({ unplaced: "needs 9" }, { node: "" }), undefined, "Failed: needs 9"],
    [
      "backing off",
      goal({ reason: "no disk", retryAtMs: NOW_MS }),
      status("Failed"),
      "Failed: no disk; attempt 4 at 2026-01-01T00:00:00.000Z",
    ],
    [
      "stopped on no node",
      goal({ unplaced: "x" }, { node: "", expectedState: "Stopped" }),
      undefined,
      "Stopped: stopped as asked; no node has room for it now",
    ],
  ];
  for (const [name, wanted, said, expected] of cases) {
    test(`a container that is ${name}`, () => {
      const { state, detail } = containerView(wanted, said, undefined);
      expect(`${state}: ${detail}`).toBe(expected);
    });
  }

  test("has the names of ps --json, with what the guest said", () => {
    const said = status("Ready", {
      health: { state: "NotReady", subStatus: "Provisioning", description: "disk" },
    });
    expect(containerView(goal(), said, "ready")).toEqual({
      ...{ container: "lab.web_0", tenant: "lab", role: "web", node: "n1", state: "Ready" },
      ...{ milestone: "ready", mac: "02:00:00:00:00:01", address: "10.0.0.4", vnet: "lab.net" },
      ...{ health: "NotReady (Provisioning: disk)", since: "2026-01-01T00:00:00.000Z" },
      detail: "no disk",
      extensions: [],
    });
  });
});
