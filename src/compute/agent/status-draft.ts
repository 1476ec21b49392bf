/** What a container's status says, as a function of what its node's agent knows. */
import type { ContainerGoal, ContainerState, ContainerStatus } from "../../model/documents.ts";
import type { Failure, NetworkView } from "./decide.ts";
import type { Liveness } from "./liveness.ts";

/** A status without the time since when it is so. */
export type StatusContent = Omit<ContainerStatus, "sinceMs">;

/** The parts of a status that a guest says of itself. */
export type GuestWords = Pick<
  ContainerStatus,
  "health" | "role" | "agent" | "extensions" | "fetchedIncarnation"
>;

export interface StatusFacts {
  readonly node: string;
  readonly goal: ContainerGoal;
  /** The step that is under way. */
  readonly activity: { readonly state: ContainerState; readonly detail: string } | undefined;
  /** The VM that runs. */
  readonly vm: { readonly attempt: number; readonly port: string } | undefined;
  /** What its guest said. */
  readonly said: GuestWords;
  /** Of the VM that runs. */
  readonly liveness: Liveness | undefined;
  readonly failure: Failure | undefined;
  /** How it was stopped. */
  readonly stopNote: string | undefined;
  readonly network: NetworkView;
  readonly isSuspended: boolean;
}

/** Drafts a status. Of a VM of another attempt it says nothing but that it is in the way. */
export function draftStatus(facts: StatusFacts): StatusContent {
  const { node, goal, vm, said } = facts;
  const isOwn = vm?.attempt === goal.attempt;
  return {
    ...draftState(facts),
    node,
    attempt: goal.attempt,
    ...(vm !== undefined && { port: vm.port }),
    ...(isOwn && wordsOf(said)),
  };
}

function wordsOf({ health, role, agent, extensions, fetchedIncarnation }: GuestWords): GuestWords {
  return {
    ...(health !== undefined && { health }),
    ...(role !== undefined && { role }),
    ...(agent !== undefined && { agent }),
    ...(extensions !== undefined && { extensions }),
    ...(fetchedIncarnation !== undefined && { fetchedIncarnation }),
  };
}

function draftState(facts: StatusFacts): Pick<StatusContent, "state" | "detail"> {
  const { goal, activity, vm, liveness, failure, stopNote, network, isSuspended } = facts;
  if (activity !== undefined) return activity;
  if (vm !== undefined) {
    if (vm.attempt !== goal.attempt) {
      return { state: "Stopping", detail: `its VM of attempt ${vm.attempt} still runs` };
    }
    if (goal.expectedState === "Stopped") {
      return { state: "Stopping", detail: "its VM still runs" };
    }
    if (liveness?.kind === "alive") return { state: liveness.state, detail: liveness.detail };
    return { state: "Stopping", detail: liveness?.reason ?? "its VM still runs" };
  }
  if (goal.expectedState === "Stopped") {
    return { state: "Stopped", detail: stopNote ?? "does not run, as asked" };
  }
  if (failure?.attempt === goal.attempt) return { state: "Failed", detail: failure.reason };
  if (isSuspended) return { state: "Allocated", detail: "its node was stopped" };
  if (network.kind === "missing") return { state: "Allocated", detail: network.reason };
  return { state: "Allocated", detail: "about to be started" };
}
