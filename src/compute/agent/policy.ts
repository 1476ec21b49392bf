/** How long the compute agent waits for what, in milliseconds, and how much it does at once. */

import type { ContainerGoal } from "../../model/documents.ts";

const SECOND_MS = 1_000;

export interface ComputePolicy {
  /** A `paas` guest that has not reported Ready so long after its start has failed. */
  readonly readyMs: number;
  /** A guest that was Ready and then says nothing for so long is Unresponsive. */
  readonly silenceMs: number;
  /** An `iaas` guest that runs so long without asking for an address counts as Ready: it may have one of its own. */
  readonly leaseGraceMs: number;
  /** A guest agent that is asked to stop may take so long to power its guest off. */
  readonly agentStopMs: number;
  /** The same for the power button. */
  readonly acpiStopMs: number;
  /** The same for the hypervisor, which then switches the guest off. */
  readonly quitMs: number;
  /** Between SIGTERM and SIGKILL for the hypervisor. */
  readonly terminateMs: number;
  /** After something failed that is no fault of the guest: the store, a stop. */
  readonly retryMs: number;
  /** VMs that are created at the same time. */
  readonly startsMax: number;
  /** A start that takes longer no longer counts among {@link startsMax}: others go on beside it. */
  readonly startSlotMs: number;
}

export const COMPUTE_POLICY: ComputePolicy = {
  readyMs: 300_000,
  silenceMs: 60_000, // four heartbeats of the guest agent
  leaseGraceMs: 60_000,
  agentStopMs: 30_000, // a poll each 6 s, 10 s for the role's program, and the guest's own shutdown
  acpiStopMs: 20_000,
  quitMs: 5_000,
  terminateMs: 2_000,
  retryMs: 1_000,
  startsMax: 8,
  startSlotMs: 60_000,
};

/** The policy of a container whose tenant wants other deadlines. */
export function policyFor(policy: ComputePolicy, goal: ContainerGoal | undefined): ComputePolicy {
  const deadlines = goal?.deadlines;
  if (deadlines === undefined) return policy;
  return {
    ...policy,
    readyMs: deadlines.readySeconds * SECOND_MS,
    silenceMs: deadlines.silenceSeconds * SECOND_MS,
    agentStopMs: deadlines.agentStopSeconds * SECOND_MS,
    acpiStopMs: deadlines.acpiStopSeconds * SECOND_MS,
  };
}
