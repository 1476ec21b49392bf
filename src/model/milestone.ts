/** The steps of a boot, in the order in which a healthy one reaches them. */

/**
 * Every milestone, first to last. Names and order are a contract: scripts read them from `ps
 * --json`.
 */
export const MILESTONES = [
  "placed",
  "network-allocated",
  "image-ready",
  "vm-created",
  "port-programmed",
  "dhcp-discover",
  "dhcp-ack",
  "agent-contact",
  "goalstate-fetched",
  "config-fetched",
  "ready",
  "role-started",
  "endpoint-open",
] as const;

/** A step of a boot that can be reached. */
export type Milestone = (typeof MILESTONES)[number];

/** Position in {@link MILESTONES}, from 0. */
export function milestoneIndex(milestone: Milestone): number {
  return MILESTONES.indexOf(milestone);
}

/** The milestone with that name, or undefined. */
export function findMilestone(name: string): Milestone | undefined {
  return MILESTONES.find((milestone) => milestone === name);
}
