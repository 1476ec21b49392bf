/** Tells the wire process which containers of a VNET are behind an open port, and what their guests are to see. */
import type { ContainerGoal } from "../../model/documents.ts";
import {
  type Ipv4Address,
  type Ipv4Subnet,
  parseIpv4,
  parseSubnet,
} from "../../model/ipv4-address.ts";
import type { NodeVnet } from "../../nm/index.ts";
import type { SharedContainer } from "../wire-process/messages.ts";
import type { WireVnet } from "../wire-process/wire-process.ts";
import { wireContainerOf, wireInstanceOf } from "../wire-view.ts";
import type { VnetDirectory } from "./vnet-directory.ts";

/** Who shows what the guests of this node are to see. */
export interface ShownGoals {
  findGoal(container: string): ContainerGoal | undefined;
  /** Calls `onChange` with a container whose goal may be another now, until it is disposed. */
  watchGoals(onChange: (container: string) => void): Disposable;
}

/** What {@link publishContainers} needs. */
export interface PublisherParts {
  readonly vnet: Pick<NodeVnet, "watchContainers" | "goal">;
  readonly goals: ShownGoals;
  readonly directory: Pick<VnetDirectory, "listInstances" | "watch">;
  readonly wire: Pick<WireVnet, "setInstances" | "setContainer" | "forget">;
}

/** Keeps the wire process told until it is disposed. What changes in one turn of the event loop is told together. */
export function publishContainers(parts: PublisherParts): Disposable {
  const { vnet, goals, directory, wire } = parts;
  const subnet = parseSubnet(vnet.goal.addressSpace);
  const bound = new Map<string, Ipv4Address>();
  const owners = new Map<Ipv4Address, string>();
  /** What was told last, by container. */
  const told = new Map<string, ContainerGoal>();
  const dirty = new Set<string>();
  let areInstancesDirty = true;
  let turn: NodeJS.Immediate | undefined;

  const publish = (): void => {
    turn = undefined;
    if (areInstancesDirty) wire.setInstances(directory.listInstances().map(wireInstanceOf));
    areInstancesDirty = false;
    const shown = [...dirty].map((name) => ({ name, goal: findShown(name) }));
    dirty.clear();
    // First who goes: the address may be another's now.
    for (const { name, goal } of shown) {
      if (goal === undefined && told.delete(name)) wire.forget(name);
    }
    for (const { name, goal } of shown) {
      if (goal === undefined || isSame(told.get(name), goal)) continue;
      told.set(name, goal);
      wire.setContainer(sharedOf(goal, subnet));
    }
  };
  const findShown = (name: string): ContainerGoal | undefined => {
    const address = bound.get(name);
    const goal = address === undefined ? undefined : goals.findGoal(name);
    // Guests are known by the address that the port filter lets through, and by nothing else.
    return goal !== undefined && parseIpv4(goal.address) === address ? goal : undefined;
  };
  const changed = (): void => {
    turn ??= setImmediate(publish);
  };
  const onGoal = (name: string): void => {
    if (!bound.has(name)) return;
    dirty.add(name);
    changed();
  };
  const onBinding = (address: Ipv4Address, container: string | undefined): void => {
    const before = owners.get(address);
    if (before !== undefined) {
      owners.delete(address);
      if (bound.get(before) === address) bound.delete(before);
      dirty.add(before);
    }
    if (container !== undefined) {
      owners.set(address, container);
      bound.set(container, address);
      dirty.add(container);
    }
    changed();
  };
  const watches = [
    vnet.watchContainers(onBinding),
    goals.watchGoals(onGoal),
    directory.watch(() => {
      areInstancesDirty = true;
      changed();
    }),
  ];
  changed();
  return {
    [Symbol.dispose]: () => {
      clearImmediate(turn);
      for (const watch of watches) watch[Symbol.dispose]();
    },
  };
}

/** Goals are read anew with every change of anything; most are what they were. */
function isSame(before: ContainerGoal | undefined, now: ContainerGoal): boolean {
  return before === now || (before !== undefined && JSON.stringify(before) === JSON.stringify(now));
}

function sharedOf(goal: ContainerGoal, subnet: Ipv4Subnet): SharedContainer {
  const { instances, ...container } = wireContainerOf(goal, [goal], subnet);
  const [self] = instances;
  if (self === undefined) throw new Error("a container is an instance");
  return { container, self };
}
