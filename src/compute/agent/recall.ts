/** What a restarted agent can tell from the status that the one before it wrote: a pure function. */
import type { ContainerGoal, ContainerState, ContainerStatus } from "../../model/documents.ts";
import type { Failure } from "./decide.ts";

/** States of a container whose VM runs. */
const RUNNING: ReadonlySet<ContainerState> = new Set([
  "Booting",
  "AwaitingAgent",
  "Ready",
  "Busy",
  "Unresponsive",
]);

/** What is known of an attempt from before this agent was there. */
export interface Recollection {
  readonly failure: Failure | undefined;
  /** How it was stopped, if it was to be. */
  readonly stopNote: string | undefined;
}

const NOTHING: Recollection = { failure: undefined, stopNote: undefined };

/**
 * Reads the last status of an earlier agent.
 *
 * @param status - of this node
 * @param runs - the VM of the status's attempt was found running
 * @param endedReason - why it was found ended, if that is known
 */
export function recall(
  status: ContainerStatus,
  goal: ContainerGoal | undefined,
  runs: boolean,
  endedReason: string | undefined,
): Recollection {
  if (goal?.attempt !== status.attempt) return NOTHING;
  if (goal.expectedState === "Started") {
    return { failure: failureOf(status, runs, endedReason), stopNote: undefined };
  }
  return { failure: undefined, stopNote: status.state === "Stopped" ? status.detail : undefined };
}

function failureOf(
  status: ContainerStatus,
  runs: boolean,
  reason: string | undefined,
): Failure | undefined {
  const { attempt, state, detail } = status;
  if (state === "Failed") return { attempt, reason: detail };
  // Only a VM that had its time is stopped while its attempt is wanted.
  if (runs) return state === "Stopping" ? { attempt, reason: detail } : undefined;
  if (!RUNNING.has(state)) return undefined; // its start was interrupted: it is started
  return { attempt, reason: reason ?? "its VM was gone when the node's agent started again" };
}
