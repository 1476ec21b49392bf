/** Says in one sentence what a container waits for: a pure function of its timeline. */
import { MILESTONES, type Milestone, milestoneIndex } from "../model/milestone.ts";
import type { TimelineEntry } from "./boot-trace.ts";

/** What is known in advance about a step that has not happened. */
interface StepHelp {
  /** Completes "waits for ...". */
  readonly event: string;
  /** Who must act. */
  readonly actor: string;
  /** Why it usually does not happen. */
  readonly cause: string;
  /** Where to look. */
  readonly look: string;
}

const HELP: Readonly<Record<Milestone, StepHelp>> = {
  placed: {
    event: "a node",
    actor: "the compute manager",
    cause: "no node has room for its size",
    look: "the fabric's log (--log-level info)",
  },
  "network-allocated": {
    event: "an address and a MAC",
    actor: "the network manager",
    cause: "the VNET's address space is used up",
    look: "the fabric's log (--log-level info) and the tenant's vnet.addressSpace",
  },
  "image-ready": {
    event: "its disk image",
    actor: "the compute agent",
    cause: "the image is missing, or is still being built or copied",
    look: "the role's image in the tenant file, and free disk space",
  },
  "vm-created": {
    event: "its VM process",
    actor: "the hypervisor",
    cause: "QEMU refused its arguments or /dev/kvm is not usable",
    look: "QEMU's log, beside the guest's console",
  },
  "port-programmed": {
    event: "its port to be unblocked",
    actor: "the network agent",
    cause: "the port program was refused, so the port stays blocked",
    look: "the fabric's log (--log-level info)",
  },
  "dhcp-discover": {
    event: "the guest's first DHCP message",
    actor: "the guest's boot loader or kernel",
    cause:
      "the guest has not started its network, has no driver for the NIC, or sends from another MAC",
    look: "the guest's console, and a capture on the VNET's bridge",
  },
  "dhcp-ack": {
    event: "a DHCP lease",
    actor: "the DHCP server, then the guest",
    cause: "no binding for the MAC, or the guest ignored the offer",
    look: "a capture on the VNET's bridge",
  },
  "agent-contact": {
    event: "the first request to the wire server",
    actor: "the guest agent",
    cause: "the agent is not installed, or the guest has no route to 168.63.129.16",
    look: "the guest's console, and /var/log/waagent.log in the guest",
  },
  "goalstate-fetched": {
    event: "the guest agent to fetch its goal state",
    actor: "the guest agent",
    cause: "it does not support the wire server's protocol version",
    look: "/var/log/waagent.log in the guest",
  },
  "config-fetched": {
    event: "the guest agent to fetch its configuration",
    actor: "the guest agent",
    cause: "it could not read the goal state",
    look: "/var/log/waagent.log in the guest",
  },
  ready: {
    event: "the health report Ready",
    actor: "the guest agent",
    cause: "provisioning inside the guest has failed or is not finished",
    look: "the guest's console, /var/log/waagent.log and /var/log/cloud-init.log in the guest",
  },
  "role-started": {
    event: "the role's program to start",
    actor: "the guest agent",
    cause: "the program is missing or exits at once",
    look: "the guest's console",
  },
  "endpoint-open": {
    event: "its endpoint to answer",
    actor: "the role's program",
    cause: "it listens on another port, or on 127.0.0.1 only",
    look: "the guest's console and the role's endpoints in the tenant file",
  },
};

/** Why a container is where it is, in parts. */
export interface Wait {
  /** The step that comes next. */
  readonly next: Milestone;
  /** The furthest step reached; undefined if none was. */
  readonly last: TimelineEntry | undefined;
  /** How long ago `last` was reached. */
  readonly waitedMs: number;
  /** What is expected to happen. */
  readonly event: string;
  readonly actor: string;
  readonly cause: string;
  readonly look: string;
}

/**
 * The step that the container waits for, or undefined if it has reached the last expected one. A
 * step that was passed over (a container without guest agent never fetches a goal state) is not
 * waited for.
 *
 * @param expected - the milestones that this container can reach, in order
 */
export function findWait(
  timeline: readonly TimelineEntry[],
  nowMs: number,
  expected: readonly Milestone[] = MILESTONES,
): Wait | undefined {
  const last = furthest(timeline);
  const reached = last === undefined ? -1 : milestoneIndex(last.milestone);
  const next = expected.find((milestone) => milestoneIndex(milestone) > reached);
  if (next === undefined) return undefined;
  const waitedMs = last === undefined ? 0 : Math.max(0, nowMs - last.atMs);
  return { next, last, waitedMs, ...HELP[next] };
}

/**
 * One sentence: what the container waits for, for how long, who must act, the usual cause, the
 * evidence of the last step, and where to look.
 *
 * @param expected - the milestones that this container can reach, in order
 */
export function why(
  timeline: readonly TimelineEntry[],
  nowMs: number,
  expected: readonly Milestone[] = MILESTONES,
): string {
  const wait = findWait(timeline, nowMs, expected);
  if (wait === undefined) return finished(timeline);
  const { next, last, event, actor, cause, look } = wait;
  const since =
    last === undefined
      ? "and nothing has happened yet"
      : `for ${durationText(wait.waitedMs)}, since ${last.milestone}${evidenceText(last)}`;
  return `It waits for ${event} (${next}) ${since}: ${actor} must act; usually ${cause}; look at ${look}.`;
}

function finished(timeline: readonly TimelineEntry[]): string {
  const last = furthest(timeline);
  if (last === undefined) return "It waits for nothing: no milestone is expected of it.";
  const took = durationText(last.sinceStartMs);
  return `It waits for nothing: ${last.milestone} was reached ${took} after the start${evidenceText(last)}.`;
}

function furthest(timeline: readonly TimelineEntry[]): TimelineEntry | undefined {
  let best: TimelineEntry | undefined;
  for (const entry of timeline) {
    const further =
      best === undefined || milestoneIndex(entry.milestone) > milestoneIndex(best.milestone);
    if (further) best = entry;
  }
  return best;
}

function evidenceText({ evidence }: TimelineEntry): string {
  const facts = Object.entries(evidence).map(([name, value]) => `${name} ${value}`);
  return facts.length === 0 ? "" : ` (${facts.join(", ")})`;
}

/** `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`. */
function durationText(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
