/** Reads what a plugin answered. Plugins may come from third parties, so their types are not to be trusted. */

import { type Assignment, LazyAssignment } from "../dhcp/index.ts";
import {
  type DecisionPhase,
  REASON_CHARACTERS_MAX,
  type ResolveVerdict,
  WHY_CHARACTERS_MAX,
} from "./plugin.ts";

const REASON_TEXT = /^[\w.-]+$/;

/** True for what a plugin may answer in a phase. Throws what a getter of the answer throws. */
export function isVerdict(phase: DecisionPhase, answer: unknown): answer is CheckedVerdict {
  if (typeof answer !== "object" || answer === null) return false;
  const { kind, why } = answer as { kind?: unknown; why?: unknown };
  if (why !== undefined && (typeof why !== "string" || why.length > WHY_CHARACTERS_MAX)) {
    return false;
  }
  switch (kind) {
    case "next":
      return true;
    case "assigned":
      return phase === "resolve" && isAssignment((answer as { assignment?: unknown }).assignment);
    case "unknown":
    case "wrong-network":
      return phase === "resolve";
    case "drop":
    case "error":
      return phase !== "options" && isReason((answer as { reason?: unknown }).reason);
    case "stop":
      return phase === "options";
    default:
      return false;
  }
}

/** The answer of any phase. */
export type CheckedVerdict = { readonly why?: string } & (
  | { readonly kind: "next" | "unknown" | "wrong-network" | "stop" }
  | { readonly kind: "assigned"; readonly assignment: Assignment }
  | { readonly kind: "drop" | "error"; readonly reason: string }
);

/** True for a text that may be a counter's name. */
export function isReason(value: unknown): value is string {
  return (
    typeof value === "string" && value.length <= REASON_CHARACTERS_MAX && REASON_TEXT.test(value)
  );
}

/** The shape only; the server refuses an address of 0 and options of another server. */
function isAssignment(value: unknown): value is Assignment {
  if (typeof value !== "object" || value === null) return false;
  const { address, profile, ifindex } = value as Record<string, unknown>;
  return (
    typeof address === "number" &&
    address >>> 0 === address &&
    typeof profile === "object" &&
    profile !== null &&
    (ifindex === undefined || typeof ifindex === "number") &&
    (value instanceof LazyAssignment || hasNames(value))
  );
}

function hasNames(value: object): boolean {
  const { hostname, container } = value as Record<string, unknown>;
  return (
    (hostname === undefined || typeof hostname === "string") &&
    (container === undefined || typeof container === "string")
  );
}

/** True for anything that can be waited for. Throws what a getter of the answer throws. */
export function isThenable(answer: unknown): answer is PromiseLike<unknown> {
  return (
    typeof answer === "object" &&
    answer !== null &&
    "then" in answer &&
    typeof answer.then === "function"
  );
}

/** For synchronous providers on the hot path: one verdict that is filled anew, as the chain looks at it at once. */
export function createReusedVerdict(why: string): (assignment: Assignment) => ResolveVerdict {
  let verdict: { kind: "assigned"; assignment: Assignment; why: string } | undefined;
  return (assignment) => {
    verdict ??= { kind: "assigned", assignment, why };
    verdict.assignment = assignment;
    return verdict;
  };
}
