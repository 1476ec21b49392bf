/** Which milestone is reached by what a guest does on the network: the same in a fabric and under `serve`. */
import { type ExchangeEvent, MESSAGE_TYPE } from "../dhcp/index.ts";
import { formatIpv4 } from "../model/ipv4-address.ts";
import type { Milestone } from "../model/milestone.ts";
import type { BootTrace, Evidence } from "../trace/index.ts";
import type { WireContainer, WireRequestKind } from "../wireserver/index.ts";

/**
 * Records a milestone once a boot. `evidence` is asked for only if it is new, for the DHCP server tells every reply.
 *
 * @returns true if it was new
 */
export type Reach = (container: string, milestone: Milestone, evidence: () => Evidence) => boolean;

/** Makes a {@link Reach} over a trace. */
export function createReach(trace: BootTrace): Reach {
  return (container, milestone, evidence) => {
    if (trace.hasReached(container, milestone)) return false;
    trace.reach(container, milestone, evidence());
    return true;
  };
}

/** A DHCP reply was sent. @returns true if it is the boot's first DHCPACK */
export function reachByExchange(
  reach: Reach,
  { container, requestType, replyType, address }: ExchangeEvent,
): boolean {
  if (container === undefined || replyType === "DHCPNAK") return false;
  if (requestType === MESSAGE_TYPE.DHCPDISCOVER) {
    reach(container, "dhcp-discover", () => ({ offered: formatIpv4(address) }));
    return false;
  }
  return reach(container, "dhcp-ack", () => ({ address: formatIpv4(address) }));
}

/** The wire server was asked for something. */
export function reachByContact(
  reach: Reach,
  { name, incarnation }: WireContainer,
  kind: WireRequestKind,
): void {
  reach(name, "agent-contact", () => ({ request: kind }));
  if (kind === "goalstate") reach(name, "goalstate-fetched", () => ({ incarnation }));
  if (kind === "sharedConfig") reach(name, "config-fetched", () => ({ incarnation }));
}
