/** What is done when a container is not as its goal says: pure functions of goal, status, node and time. */
import type { ContainerGoal, ContainerStatus, Recovery } from "../../model/documents.ts";
import type { RecoveryLimits } from "./policies.ts";

/** A container that has not failed since it was last stable. */
export const UNTROUBLED: Recovery = { retries: 0, moves: 0, failedNodes: [] };

/** Longest reason that is kept of a failure, in characters. */
export const REASON_CHARACTERS_MAX = 500;

/** Nodes where a container failed that are remembered. */
export const FAILED_NODES_MAX = 32;

/** What is known of a container. */
export interface Situation {
  readonly goal: ContainerGoal;
  readonly status: ContainerStatus | undefined;
  /** `awaited`: it is not there, but may come back. */
  readonly node: "up" | "awaited" | "gone";
  readonly policy: RecoveryLimits;
  /** Epoch milliseconds. */
  readonly nowMs: number;
}

/** What to do about a container. */
export type Decision =
  | { readonly kind: "nothing" }
  /** Look again at this time. */
  | { readonly kind: "wait"; readonly untilMs: number }
  /** Only note this. */
  | { readonly kind: "note"; readonly recovery: Recovery }
  /** A new attempt on the same node. */
  | { readonly kind: "retry"; readonly recovery: Recovery }
  /** A new attempt on a node that has room. */
  | { readonly kind: "move"; readonly recovery: Recovery }
  /** It is on no node: the attempt that it waits for may begin. */
  | { readonly kind: "place" };

/** A status that is about this goal; others say nothing of it. */
export function statusOf(
  goal: ContainerGoal,
  status: ContainerStatus | undefined,
): ContainerStatus | undefined {
  return status?.node === goal.node && status.attempt === goal.attempt ? status : undefined;
}

/** Decides what the state of a container asks for. */
export function decideRecovery(situation: Situation): Decision {
  const { goal, node } = situation;
  const { recovery } = goal;
  if (recovery.gaveUp !== undefined) return { kind: "nothing" };
  if (goal.node === "") return { kind: "place" };
  if (node === "gone") {
    const reason = `node ${goal.node} is gone`;
    return { kind: "move", recovery: { ...withoutWait(recovery), retries: 0, reason } };
  }
  if (goal.expectedState === "Stopped") return { kind: "nothing" };
  const status = statusOf(goal, situation.status);
  const failure = status && failureOf(status);
  if (failure !== undefined) return onFailure(situation, failure.slice(0, REASON_CHARACTERS_MAX));
  if (status?.state === "Ready") return onReady(situation, status);
  return recovery.retryAtMs === undefined ? { kind: "nothing" } : onBackOff(situation);
}

/** Why a container that should run does not; undefined if it may. */
function failureOf({ state, detail }: ContainerStatus): string | undefined {
  if (state === "Failed") return detail;
  return state === "Stopped" ? "it powered itself off" : undefined;
}

function onFailure(situation: Situation, reason: string): Decision {
  const { goal, policy, nowMs } = situation;
  const { recovery } = goal;
  if (recovery.retryAtMs !== undefined) return onBackOff(situation);
  if (recovery.retries < policy.retries) {
    const retryAtMs = nowMs + backOff(policy, recovery.retries);
    return { kind: "note", recovery: { ...recovery, reason, retryAtMs } };
  }
  const nodes = [...new Set([...recovery.failedNodes, goal.node])];
  const failedNodes = nodes.slice(-FAILED_NODES_MAX);
  if (recovery.moves < policy.moves) {
    const moves = recovery.moves + 1;
    return { kind: "move", recovery: { retries: 0, moves, failedNodes, reason } };
  }
  const gaveUp = `given up after it failed on ${nodes.join(", ")} (${text(policy)}): ${reason}`;
  return { kind: "note", recovery: { ...recovery, failedNodes, reason, gaveUp } };
}

function text({ retries, moves }: RecoveryLimits): string {
  return `${retries} retries on a node, ${moves} moves`;
}

function onBackOff({ goal, nowMs }: Situation): Decision {
  const { recovery } = goal;
  const untilMs = recovery.retryAtMs ?? nowMs;
  if (nowMs < untilMs) return { kind: "wait", untilMs };
  const retries = recovery.retries + 1;
  return { kind: "retry", recovery: { ...withoutWait(recovery), retries } };
}

/** Ready for long enough, its failures are forgotten; Ready while it waited for a retry, it needs none. */
function onReady({ goal, policy, nowMs }: Situation, { sinceMs }: ContainerStatus): Decision {
  const { recovery } = goal;
  if (isUntroubled(recovery)) return { kind: "nothing" };
  const stableAtMs = sinceMs + policy.stableMs;
  if (nowMs >= stableAtMs) return { kind: "note", recovery: UNTROUBLED };
  if (recovery.retryAtMs !== undefined) return { kind: "note", recovery: withoutWait(recovery) };
  return { kind: "wait", untilMs: stableAtMs };
}

/** True if nothing is remembered of failures. */
export function isUntroubled({
  retries,
  moves,
  failedNodes,
  reason,
  retryAtMs,
}: Recovery): boolean {
  const counted = retries + moves + failedNodes.length;
  return counted === 0 && reason === undefined && retryAtMs === undefined;
}

function withoutWait({ retryAtMs: _, unplaced: __, ...rest }: Recovery): Recovery {
  return rest;
}

/** 1, 2, 4, ... times the first wait. */
function backOff({ backOffMs, backOffMaxMs }: RecoveryLimits, retries: number): number {
  return Math.min(backOffMaxMs, backOffMs * 2 ** Math.min(retries, 30));
}
