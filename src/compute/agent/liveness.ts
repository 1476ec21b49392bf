/** Judges a running guest by what is known of it: a pure function. */
import type { ContainerState, ContainerStatus } from "../../model/documents.ts";
import type { ComputePolicy } from "./policy.ts";

/** What a guest said of itself. */
export type GuestHealth = NonNullable<ContainerStatus["health"]>;

/** A running VM and what is known of its guest. Times are of the monotonic clock. */
export interface GuestFacts {
  readonly startedMs: number;
  /** It has its address. */
  readonly leased: boolean;
  /** It reported Ready at least once. */
  readonly readyOnce: boolean;
  /** When it last said anything to the wire server; the start, if it has not yet. */
  readonly heardMs: number;
  readonly health?: GuestHealth;
  /** What its agent uploaded of itself. */
  readonly agent?: NonNullable<ContainerStatus["agent"]>;
}

/** What to say of a guest, and when that may change by itself. */
export type Liveness =
  | {
      readonly kind: "alive";
      readonly state: ContainerState;
      readonly detail: string;
      readonly untilMs: number;
    }
  /** It had its time to become Ready. */
  | { readonly kind: "late"; readonly reason: string };

/**
 * Judges.
 *
 * @param furthest - the last milestone of its boot, for people
 */
export function judgeGuest(
  kind: "paas" | "iaas",
  guest: GuestFacts,
  policy: ComputePolicy,
  nowMs: number,
  furthest: () => string | undefined,
): Liveness {
  if (kind === "iaas") return judgeByHypervisor(guest, policy, nowMs);
  return guest.readyOnce
    ? judgeVoice(guest, policy, nowMs)
    : judgeStart(guest, policy, nowMs, furthest);
}

/** Nothing is assumed about the guest: it runs, and has its address or does not ask for one. */
function judgeByHypervisor(
  { leased, startedMs, health }: GuestFacts,
  { leaseGraceMs }: ComputePolicy,
  nowMs: number,
): Liveness {
  const graceEndMs = startedMs + leaseGraceMs;
  const said = health === undefined ? "" : `; ${describeHealth(health)}`;
  if (leased) return alive("Ready", `runs and has its address${said}`);
  if (nowMs < graceEndMs) return alive("Booting", "runs; waiting for its DHCP request", graceEndMs);
  return alive("Ready", `runs; it has not asked for an address${said}`);
}

function judgeStart(
  { leased, startedMs, health }: GuestFacts,
  { readyMs }: ComputePolicy,
  nowMs: number,
  furthest: () => string | undefined,
): Liveness {
  const lateMs = startedMs + readyMs;
  if (nowMs >= lateMs) {
    const milestone = furthest();
    const seen = milestone === undefined ? "" : `; last milestone ${milestone}`;
    const said = health === undefined ? "" : `; ${describeHealth(health)}`;
    const reason = `its agent did not report Ready in ${seconds(readyMs)} s${seen}${said}`;
    return { kind: "late", reason };
  }
  if (health !== undefined) return alive("AwaitingAgent", describeHealth(health), lateMs);
  if (leased) return alive("AwaitingAgent", "has its address; waiting for its agent", lateMs);
  return alive("Booting", "runs; waiting for its DHCP request", lateMs);
}

function judgeVoice(
  { heardMs, health, agent }: GuestFacts,
  { silenceMs }: ComputePolicy,
  nowMs: number,
): Liveness {
  const silentMs = heardMs + silenceMs;
  if (nowMs >= silentMs) {
    return alive("Unresponsive", `its agent has said nothing for ${seconds(silenceMs)} s`);
  }
  if (agent !== undefined && isNotReady(agent)) {
    const said = agent.message === undefined ? "" : `: ${agent.message}`;
    return alive("Busy", `its agent uploads NotReady${said}`, silentMs);
  }
  if (health === undefined) return alive("Ready", "its agent reported Ready before", silentMs);
  return alive(health.state === "Ready" ? "Ready" : "Busy", describeHealth(health), silentMs);
}

function alive(
  state: ContainerState,
  detail: string,
  untilMs = Number.POSITIVE_INFINITY,
): Liveness {
  return { kind: "alive", state, detail, untilMs };
}

/** Agents write it so; clients are not relied on for their case. */
function isNotReady({ status }: { readonly status: string }): boolean {
  return status.toLowerCase() === "notready";
}

function describeHealth({ state, subStatus, description }: GuestHealth): string {
  if (state === "Ready") return "its agent reports Ready";
  const said = [subStatus, description].filter(Boolean).join(": ");
  return `its agent reports NotReady (${said || "no reason"})`;
}

function seconds(ms: number): number {
  return Math.round(ms / 1000);
}
