/** What is compared of a boot: steps that both sides have, and the fabric's own before them. */

/** Epoch milliseconds of each step. */
export type Times = ReadonlyMap<string, number>;

/** In the order of a boot; the names of the fabric's trace. */
export const COMMON = [
  "vm-created",
  "dhcp-discover",
  "dhcp-ack",
  "agent-contact",
  "goalstate-fetched",
  "ready",
] as const;

export const OWN = ["placed", "network-allocated", "image-ready", "port-programmed"] as const;

/** A boot: since when it is measured, and what was reached. */
export interface Boot {
  readonly beganMs: number;
  readonly times: Times;
}

/** Milliseconds from the begin of the boot. */
export function sinceBegin({ beganMs, times }: Boot, step: string): number {
  const at = times.get(step);
  if (at === undefined) throw new Error(`the boot did not reach ${step}: ${[...times.keys()]}`);
  return at - beganMs;
}
