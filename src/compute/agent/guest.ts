/** A VM that runs, and what is known of its guest. */
import type { ContainerGoal, ContainerStatus } from "../../model/documents.ts";
import type { Vm } from "../hypervisor.ts";
import type { AgentClock } from "./clock.ts";
import { type GuestFacts, type GuestHealth, judgeGuest, type Liveness } from "./liveness.ts";
import { type ComputePolicy, policyFor } from "./policy.ts";

/** The facts change as the guest speaks. Times are of the monotonic clock. */
export interface Guest extends GuestFacts {
  readonly vm: Vm;
  leased: boolean;
  readyOnce: boolean;
  heardMs: number;
  health?: GuestHealth;
  role?: string;
  agent?: NonNullable<ContainerStatus["agent"]>;
  extensions?: NonNullable<ContainerStatus["extensions"]>;
  fetchedIncarnation?: number;
  /** The last goal of its attempt. */
  goal?: ContainerGoal;
}

/** One that was just started. */
export function newGuest(vm: Vm, nowMs: number): Guest {
  return { vm, startedMs: nowMs, leased: false, readyOnce: false, heardMs: nowMs };
}

/**
 * What an earlier agent wrote down of a VM that was found running. Its deadlines begin anew: nobody knows whether it
 * spoke while no agent listened.
 *
 * @param status - of the VM's attempt
 */
export function recallGuest(guest: Guest, status: ContainerStatus): void {
  const { state, health, role, agent, extensions, fetchedIncarnation } = status;
  if (health !== undefined) guest.health = health;
  if (role !== undefined) guest.role = role;
  if (agent !== undefined) guest.agent = agent;
  if (extensions !== undefined) guest.extensions = extensions;
  if (fetchedIncarnation !== undefined) guest.fetchedIncarnation = fetchedIncarnation;
  guest.readyOnce =
    health?.state === "Ready" || state === "Ready" || state === "Busy" || state === "Unresponsive";
  guest.leased = guest.readyOnce || state === "AwaitingAgent";
}

/**
 * The goal as a guest is to see it: one whose attempt is over sees Stopped.
 *
 * @param goal - what is wanted here
 * @param isEnding - it is to end although its attempt is wanted
 */
export function shownGoal(
  goal: ContainerGoal | undefined,
  guest: Guest | undefined,
  isEnding: boolean,
): ContainerGoal | undefined {
  if (guest === undefined) return goal;
  if (goal !== undefined && goal.attempt === guest.vm.attempt && !isEnding) return goal;
  const last = guest.goal ?? goal;
  if (last === undefined) return undefined;
  // A guest looks again only at an incarnation that it has not seen.
  return { ...last, expectedState: "Stopped", incarnation: last.incarnation + 1 };
}

/** Judges a guest whose attempt is wanted; of another there is nothing to say. */
export function judgeOwn(
  guest: Guest | undefined,
  goal: ContainerGoal | undefined,
  by: {
    readonly clock: AgentClock;
    readonly policy: ComputePolicy;
    readonly furthest: () => string | undefined;
  },
): Liveness | undefined {
  if (guest === undefined || guest.vm.attempt !== goal?.attempt) return undefined;
  const policy = policyFor(by.policy, goal);
  return judgeGuest(goal.kind, guest, policy, by.clock.monotonic(), by.furthest);
}

/** Its agent polls its goal state, and will see that it is Stopped. */
export function listens(guest: Guest, kind: "paas" | "iaas", nowMs: number, silenceMs: number) {
  if (kind === "iaas") return false;
  const spoke = guest.readyOnce || guest.heardMs > guest.startedMs;
  return spoke && nowMs < guest.heardMs + silenceMs;
}
