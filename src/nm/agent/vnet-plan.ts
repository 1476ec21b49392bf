/** What a VNET's ports need, as a pure function of goals, of what is there, and of what was programmed. */
import type { NicGoal } from "../../model/documents.ts";
import { errorText } from "../../model/errors.ts";
import { parseIpv4 } from "../../model/ipv4-address.ts";
import { parseMac } from "../../model/mac-address.ts";
import type { FilteredPort } from "../../net/port-filter.ts";
import type { NodePort } from "./node-network.ts";

/** Why a port stays blocked; a closed set. */
export const BLOCKED_REASONS = ["no-goal", "other-node", "failed", "no-vnet"] as const;

export type BlockedReason = (typeof BLOCKED_REASONS)[number];

/** A port with the NIC that it is programmed for. */
export interface PortProgram {
  readonly port: NodePort;
  readonly nic: NicGoal;
  readonly filtered: FilteredPort;
}

/** What was programmed, by port name. */
export type Programmed = ReadonlyMap<string, PortProgram>;

export interface VnetPlan {
  /** Open and must not be: first of all. */
  readonly close: readonly NodePort[];
  /** Programmed before, and not any more: their MACs are not answered. */
  readonly forget: readonly PortProgram[];
  /** Programmed and right. */
  readonly keep: readonly PortProgram[];
  /** To be programmed. */
  readonly open: readonly PortProgram[];
  /** NICs of this node without a port. */
  readonly waiting: readonly NicGoal[];
  /** NICs whose goal cannot be programmed, with the reason. */
  readonly invalid: readonly { readonly nic: NicGoal; readonly reason: string }[];
  readonly blocked: readonly { readonly port: NodePort; readonly reason: BlockedReason }[];
}

export interface VnetView {
  readonly node: string;
  /** All NICs of the VNET, here and elsewhere, by the names of their ports. */
  readonly nics: ReadonlyMap<string, NicGoal>;
  readonly ports: readonly NodePort[];
  readonly programmed: Programmed;
  /** True for a MAC that failed and is not to be tried yet. */
  readonly isHeld: (mac: string) => boolean;
}

/** Compares goals with ports. */
export function planVnet(view: VnetView): VnetPlan {
  const { node, nics, ports, programmed, isHeld } = view;
  const plan = {
    close: [] as NodePort[],
    keep: [] as PortProgram[],
    open: [] as PortProgram[],
    invalid: [] as { nic: NicGoal; reason: string }[],
    blocked: [] as { port: NodePort; reason: BlockedReason }[],
  };
  const block = (port: NodePort, reason: BlockedReason) => {
    if (port.isUp || port.isAttached) plan.close.push(port);
    plan.blocked.push({ port, reason });
  };
  for (const port of ports) {
    const nic = nics.get(port.name);
    if (nic === undefined) block(port, "no-goal");
    else if (nic.node !== node) block(port, "other-node");
    else if (isHeld(nic.mac)) block(port, "failed");
    else {
      const program = programOf(port, nic);
      if (typeof program === "string") {
        plan.invalid.push({ nic, reason: program });
        block(port, "failed");
      } else if (isRight(programmed.get(port.name), program)) plan.keep.push(program);
      else plan.open.push(program);
    }
  }
  const kept = new Set(plan.keep.map(({ port }) => port.name));
  const present = new Set(ports.map(({ name }) => name));
  return {
    ...plan,
    forget: [...programmed.values()].filter(({ port }) => !kept.has(port.name)),
    waiting: [...nics]
      .filter(([port, nic]) => nic.node === node && !present.has(port))
      .map(([, nic]) => nic),
  };
}

function programOf(port: NodePort, nic: NicGoal): PortProgram | string {
  try {
    const filtered = { name: port.name, mac: parseMac(nic.mac), address: parseIpv4(nic.address) };
    return { port, nic, filtered };
  } catch (error) {
    return errorText(error);
  }
}

/** True if the port is open, is the one that was programmed, and was programmed for what the goal says now. */
function isRight(before: PortProgram | undefined, { port, nic }: PortProgram): boolean {
  return (
    before !== undefined &&
    before.port.ifindex === port.ifindex &&
    port.isUp &&
    port.isAttached &&
    before.nic.address === nic.address &&
    before.nic.container === nic.container &&
    before.nic.hostname === nic.hostname
  );
}
