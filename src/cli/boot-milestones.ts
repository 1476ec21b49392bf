/** Which milestone is reached by what a guest does on the network: the same in a fabric and under `serve`. */
import { type ExchangeEvent, MESSAGE_TYPE } from "../dhcp/index.ts";
import { formatIpv4 } from "../model/ipv4-address.ts";
import { type Milestone, milestoneIndex } from "../model/milestone.ts";
import type { BootTrace, Evidence } from "../trace/index.ts";
import type { WireContainer, WireRequestKind } from "../wireserver/index.ts";

/**
 * Records a milestone once a boot. `evidence` is asked for only if it is new, for the DHCP server tells every reply.
 *
 * @returns true if it was new
 */
export type Reach = (container: string, milestone: Milestone, evidence: () => Evidence) => boolean;

/** Makes a {@link Reach} over a trace. */
export function createReach(trace: Pick<BootTrace, "reach" | "hasReached">): Reach {
  return (container, milestone, evidence) => {
    if (trace.hasReached(container, milestone)) return false;
    trace.reach(container, milestone, evidence());
    return true;
  };
}

/** The parts of a trace that a node uses. */
type NodeTrace = Pick<
  BootTrace,
  "reach" | "hasReached" | "joinBoot" | "furthest" | "leave" | "settled"
>;

/**
 * A trace in which a port is not said to be programmed before its VM is said to be created. The network agent sees the
 * port itself, which is made first, and is often done before the hypervisor says that the VM runs.
 */
export function createNodeTrace(trace: NodeTrace): NodeTrace {
  const held = new Map<string, Evidence>();
  const tell = (container: string) => {
    const evidence = held.get(container);
    held.delete(container);
    if (evidence !== undefined) trace.reach(container, "port-programmed", evidence);
  };
  return {
    reach: (container, milestone, evidence) => {
      const order = milestoneIndex(milestone) - milestoneIndex("vm-created");
      const isEarly = milestone === "port-programmed" && !trace.hasReached(container, "vm-created");
      if (isEarly) held.set(container, evidence);
      // A later one says that the VM runs, whoever created it.
      if (!isEarly && order > 0) tell(container);
      if (!isEarly) trace.reach(container, milestone, evidence);
      if (order === 0) tell(container);
    },
    hasReached: (container, milestone) => trace.hasReached(container, milestone),
    joinBoot: (container, boot) => trace.joinBoot(container, boot),
    furthest: (container) => trace.furthest(container),
    leave: (container) => {
      held.delete(container);
      trace.leave(container);
    },
    settled: () => trace.settled(),
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
  { name }: WireContainer,
  { kind, incarnation }: { readonly kind: WireRequestKind; readonly incarnation?: number },
): void {
  reach(name, "agent-contact", () => ({ request: kind }));
  if (incarnation === undefined) return;
  if (kind === "goalstate") reach(name, "goalstate-fetched", () => ({ incarnation }));
  if (kind === "sharedConfig") reach(name, "config-fetched", () => ({ incarnation }));
}
