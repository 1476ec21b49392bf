/** What the compute agent does next for one container: a pure function of what should be and what is. */
import type { ContainerGoal } from "../../model/documents.ts";

/** What should be, as far as this node is concerned. */
export type Wanted =
  /** Not read yet, or not readable now. */
  | { readonly kind: "unknown" }
  | { readonly kind: "here"; readonly goal: ContainerGoal }
  /** Its goal was deleted. */
  | { readonly kind: "gone" }
  /** Its goal is another node's, or nobody's: a successor may run. */
  | { readonly kind: "elsewhere"; readonly node: string };

/** An attempt that came to nothing. */
export interface Failure {
  readonly attempt: number;
  /** For people. */
  readonly reason: string;
}

/** The container's network on this node. */
export type NetworkView =
  | { readonly kind: "ready"; readonly namespace: string }
  | { readonly kind: "missing"; readonly reason: string };

export const NO_NETWORK: NetworkView = {
  kind: "missing",
  reason: "waiting for its network on this node",
};

export interface Situation {
  readonly wanted: Wanted;
  /** The VM that runs. */
  readonly vm: { readonly attempt: number } | undefined;
  /** Why the VM that runs counts as failed: it had its time to become Ready. */
  readonly late: string | undefined;
  /** The last attempt that failed. */
  readonly failure: Failure | undefined;
  readonly network: NetworkView;
  /** The node stops: no VM runs on, and none is started. */
  readonly suspended?: "ask" | "switch-off";
  /** A folder or a status of it may be left here. */
  readonly hasPapers: boolean;
}

/** How a VM is stopped. */
export type StopManner =
  /** Its agent is told through its goal state; then the power button; then it is switched off. */
  | "ask"
  /** The guest would not listen. */
  | "switch-off"
  /** Its successor may run. */
  | "kill";

export type Step =
  | { readonly kind: "rest" }
  | { readonly kind: "start"; readonly goal: ContainerGoal; readonly namespace: string }
  | {
      readonly kind: "stop";
      readonly manner: StopManner;
      /** For people. */
      readonly detail: string;
      /** The attempt has failed with that. */
      readonly failure?: Failure;
    }
  /** Nothing of it is left here but papers. */
  | { readonly kind: "forget" };

const REST: Step = { kind: "rest" };

/** The next step; each is decided anew after the one before it. */
export function decide(situation: Situation): Step {
  const { wanted, vm, hasPapers, suspended } = situation;
  switch (wanted.kind) {
    case "unknown":
      return vm === undefined || suspended === undefined ? REST : suspension(suspended);
    case "gone":
      if (vm === undefined) return hasPapers ? { kind: "forget" } : REST;
      return { kind: "stop", manner: "ask", detail: "stopping its VM: it was deleted" };
    case "elsewhere":
      if (vm === undefined) return hasPapers ? { kind: "forget" } : REST;
      return { kind: "stop", manner: "kill", detail: `killing its VM: ${whither(wanted.node)}` };
    case "here":
      return vm === undefined
        ? decideStart(wanted.goal, situation)
        : decideStop(wanted.goal, vm, situation);
    default:
      throw wanted satisfies never;
  }
}

function decideStart(goal: ContainerGoal, { failure, network, suspended }: Situation): Step {
  if (suspended !== undefined) return REST;
  if (goal.expectedState === "Stopped") return REST;
  if (failure?.attempt === goal.attempt) return REST; // the compute manager decides what becomes of it
  if (network.kind === "missing") return REST;
  return { kind: "start", goal, namespace: network.namespace };
}

function decideStop(
  goal: ContainerGoal,
  vm: { readonly attempt: number },
  { late, failure, suspended }: Situation,
): Step {
  if (suspended !== undefined) return suspension(suspended);
  if (goal.expectedState === "Stopped") {
    return { kind: "stop", manner: "ask", detail: "stopping its VM, as asked" };
  }
  if (vm.attempt !== goal.attempt) {
    const detail = `stopping its VM of attempt ${vm.attempt} before attempt ${goal.attempt}`;
    return { kind: "stop", manner: "ask", detail };
  }
  const { attempt } = vm;
  const reason = late ?? (failure?.attempt === attempt ? failure.reason : undefined);
  if (reason === undefined) return REST;
  return { kind: "stop", manner: "switch-off", detail: reason, failure: { attempt, reason } };
}

function suspension(manner: StopManner): Step {
  return { kind: "stop", manner, detail: "stopping its VM: its node stops" };
}

function whither(node: string): string {
  return node === "" ? "it is placed nowhere" : `it was moved to ${node}`;
}

/**
 * True if a step that is under way is still right; if not, it is interrupted: a start is given up, and a stop does not
 * wait for the guest any more.
 */
export function isStillRight(step: Step, wanted: Wanted): boolean {
  if (wanted.kind === "unknown") return true;
  if (step.kind === "stop") return wanted.kind !== "elsewhere" || step.manner === "kill";
  if (step.kind !== "start") return true;
  if (wanted.kind !== "here" || wanted.goal.expectedState === "Stopped") return false;
  return wanted.goal.attempt === step.goal.attempt;
}
