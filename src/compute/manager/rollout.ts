/** How an update goes through a tenant's update domains: a pure function of what its containers are doing. */
import type { ContainerGoal, ContainerStatus, Rollout } from "../../model/documents.ts";
import type { Change } from "./container-goals.ts";
import { containerView } from "./container-view.ts";
import { statusOf } from "./recovery.ts";

/** A container of a role that the update changes. */
export interface RolloutMember {
  readonly domain: number;
  /** What must still be done to its goal. */
  readonly change: Change;
  readonly goal: ContainerGoal;
  readonly status: ContainerStatus | undefined;
}

/** What to do about an update. */
export type RolloutStep =
  | { readonly kind: "wait" }
  /** Begin with this domain. */
  | { readonly kind: "advance"; readonly domain: number }
  | { readonly kind: "stop"; readonly reason: string }
  | { readonly kind: "done" };

/** Decides how an update goes on. */
export function planRollout(
  rollout: Rollout,
  members: readonly RolloutMember[],
  nowMs: number,
): RolloutStep {
  if (rollout.stopped !== undefined) return { kind: "wait" };
  const present = members.filter(({ domain }) => domain === rollout.domain);
  const open = present.filter((member) => member.change !== "none" || !isSettled(member));
  const failed = open.find(
    ({ change, goal }) => change === "none" && goal.recovery.gaveUp !== undefined,
  );
  if (failed !== undefined) return stop(rollout, failed);
  if (open.length > 0) {
    return nowMs < rollout.readyByMs ? { kind: "wait" } : stop(rollout, open[0]!);
  }
  const left = members.filter(({ change }) => change !== "none").map(({ domain }) => domain);
  if (left.length === 0) return { kind: "done" };
  const ahead = left.filter((domain) => domain > rollout.domain);
  return { kind: "advance", domain: Math.min(...(ahead.length > 0 ? ahead : left)) };
}

/** True if the container is as its goal says, as far as an update waits for it. */
function isSettled({ goal, status }: RolloutMember): boolean {
  if (goal.expectedState === "Stopped") return true;
  const own = statusOf(goal, status);
  if (own?.state !== "Ready") return false;
  return goal.kind === "iaas" || (own.fetchedIncarnation ?? 0) >= goal.incarnation;
}

function stop({ domain }: Rollout, { goal, status }: RolloutMember): RolloutStep {
  const { state, detail } = containerView(goal, status, undefined);
  const behind = state === "Ready" ? "Ready, but has not fetched its new settings" : state;
  const text = detail === "" || state === "Ready" ? behind : `${behind} (${detail})`;
  const reason = `update domain ${domain}: ${goal.container} is ${text}`;
  return { kind: "stop", reason };
}
