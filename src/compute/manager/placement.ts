/** Chooses nodes for containers: pure functions over what each node has free. */
import type { ContainerGoal } from "../../model/documents.ts";

/** What a container takes of a node. */
export interface Room {
  readonly cpus: number;
  readonly memoryMib: number;
}

/** A node that is up, as the placement of one role sees it. */
export interface Candidate {
  readonly node: string;
  readonly faultDomain: string;
  /** All that containers may take of it. */
  readonly total: Room;
  readonly free: Room;
  /** Containers of the role that are placed on it. */
  readonly ofRole: number;
}

/** Where to place a container, or why nowhere. */
export type Choice =
  | { readonly kind: "node"; readonly node: string }
  | { readonly kind: "none"; readonly reason: string };

/** Nodes that a reason names; of the others it says how many there are. */
export const NODES_NAMED_MAX = 8;

/** What a container asks of its node. */
export interface Need extends Room {
  /** Where it failed. */
  readonly failedNodes: readonly string[];
  /** Its role is spread over so many fault domains, and over more only if these have no room. */
  readonly faultDomains: number;
}

/**
 * Chooses a node: the fault domain with the fewest of the role, then the node with the fewest, then the one with the
 * most room; equal ones by name. A node where the container failed is taken only if no other could ever hold it.
 */
export function chooseNode(candidates: readonly Candidate[], need: Need): Choice {
  const { failedNodes, faultDomains } = need;
  const failed = new Set(failedNodes);
  const others = candidates.filter(({ node, total }) => !failed.has(node) && hasRoom(total, need));
  const allowed = others.length > 0 ? others : candidates;
  const roomy = allowed.filter(({ free }) => hasRoom(free, need));
  if (roomy.length === 0) return { kind: "none", reason: explain(candidates, need, failed) };
  const inDomain = countByDomain(candidates);
  const used = [...inDomain.values()].filter((count) => count > 0).length;
  const isBeyond = ({ faultDomain }: Candidate) =>
    used >= faultDomains && inDomain.get(faultDomain) === 0 ? 1 : 0;
  const best = roomy.reduce((a, b) => {
    return (isBeyond(a) - isBeyond(b) || compare(a, b, inDomain)) <= 0 ? a : b;
  });
  return { kind: "node", node: best.node };
}

/** True if `need` fits into `free`. */
export function hasRoom(free: Room, need: Room): boolean {
  return free.cpus >= need.cpus && free.memoryMib >= need.memoryMib;
}

/** What a container takes. */
export function needOf({ cpus, memoryMib }: ContainerGoal): Room {
  return { cpus, memoryMib };
}

function countByDomain(candidates: readonly Candidate[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { faultDomain, ofRole } of candidates) {
    counts.set(faultDomain, (counts.get(faultDomain) ?? 0) + ofRole);
  }
  return counts;
}

/** Negative if `a` is better. */
function compare(a: Candidate, b: Candidate, inDomain: ReadonlyMap<string, number>): number {
  return (
    inDomain.get(a.faultDomain)! - inDomain.get(b.faultDomain)! ||
    a.ofRole - b.ofRole ||
    roomShare(b) - roomShare(a) ||
    (a.node < b.node ? -1 : 1)
  );
}

/** The scarcer of CPUs and memory decides how much room a node has. */
function roomShare({ free, total }: Candidate): number {
  return Math.min(
    free.cpus / Math.max(1, total.cpus),
    free.memoryMib / Math.max(1, total.memoryMib),
  );
}

function explain(
  candidates: readonly Candidate[],
  need: Room,
  failed: ReadonlySet<string>,
): string {
  const wanted = `needs ${roomText(need)}`;
  if (candidates.length === 0) return `${wanted}; no node is up`;
  const nodes = candidates
    .toSorted((a, b) => roomShare(b) - roomShare(a) || (a.node < b.node ? -1 : 1))
    .slice(0, NODES_NAMED_MAX)
    .map(
      ({ node, free }) =>
        `${node} has ${roomText(free)} free${failed.has(node) ? ", but it failed there" : ""}`,
    );
  const more = candidates.length - nodes.length;
  return `${wanted}; ${nodes.join("; ")}${more > 0 ? `; ${more} more have less` : ""}`;
}

function roomText({ cpus, memoryMib }: Room): string {
  return `${cpus} CPU${cpus === 1 ? "" : "s"} and ${memoryMib} MiB`;
}
