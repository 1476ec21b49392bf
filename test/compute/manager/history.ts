/** Reads a fabric's whole history back and checks at each revision what must never be otherwise. */
import {
  asDocument,
  type ContainerGoal,
  type NicGoal,
  type NodeStatus,
} from "../../../src/model/documents.ts";
import type { FabricStore, StoreEvent } from "../../../src/store/index.ts";

interface Seen {
  readonly goals: Map<string, ContainerGoal>;
  readonly nics: Map<string, NicGoal>;
  readonly nodes: Map<string, NodeStatus>;
  /** `node container` */
  readonly placements: Map<string, number>;
}

/** What was wrong in the history, with the revision. */
export async function historyFaults(store: FabricStore): Promise<string[]> {
  const stop = new AbortController();
  const seen: Seen = {
    ...{ goals: new Map(), nics: new Map(), nodes: new Map(), placements: new Map() },
  };
  const faults: string[] = [];
  for await (const item of store.watch("/", { from: 1, signal: stop.signal })) {
    if (item.kind === "progress") break;
    const placed = item.events.flatMap((event) => apply(seen, event));
    faults.push(...check(seen, placed).map((fault) => `${item.rev}: ${fault}`));
  }
  stop.abort();
  return faults;
}

/** Applies an event; tells the goal that takes room which it did not have. */
function apply(seen: Seen, event: StoreEvent): ContainerGoal[] {
  const key = event.kind === "put" ? event.kv.key : event.key;
  const value = event.kind === "put" ? event.kv.value : undefined;
  const [, kind, name = "", part, last = ""] = key.split("/");
  if (kind === "nodes") set(seen.nodes, name, value);
  if (kind === "vnets" && part === "nics") set(seen.nics, last, value);
  if (kind === "on" && part === "containers") {
    const placement = value === undefined ? undefined : asDocument<{ revision: number }>(value);
    set(seen.placements, `${name} ${last}`, placement?.revision);
  }
  if (kind !== "containers" || part !== "goal") return [];
  const before = seen.goals.get(name);
  set(seen.goals, name, value);
  const goal = seen.goals.get(name);
  if (goal === undefined || goal.node === "") return [];
  const grew = before === undefined || before.node !== goal.node || before.cpus < goal.cpus;
  return grew ? [goal] : [];
}

function set<T>(map: Map<string, T>, key: string, value: unknown): void {
  if (value === undefined) map.delete(key);
  else map.set(key, asDocument<T>(value));
}

function check(seen: Seen, placed: readonly ContainerGoal[]): string[] {
  const faults: string[] = [];
  for (const { node } of placed) {
    const status = seen.nodes.get(node);
    const goals = [...seen.goals.values()].filter((goal) => goal.node === node);
    const cpus = goals.reduce((sum, goal) => sum + goal.cpus, 0);
    if (status !== undefined && cpus > status.cpus) faults.push(`${node} has ${cpus} CPUs taken`);
  }
  for (const [placement, revision] of seen.placements) {
    const [node, container = ""] = placement.split(" ");
    const goal = seen.goals.get(container);
    if (goal === undefined) continue; // tells its node to take it away
    if (goal.node !== node || goal.revision !== revision) faults.push(`${placement} is no goal's`);
  }
  const addresses = new Set<string>();
  for (const { vnet, address, mac } of seen.nics.values()) {
    if (addresses.has(`${vnet} ${address}`)) faults.push(`${address} was given twice`);
    addresses.add(`${vnet} ${address}`);
    if ([...seen.nics.values()].filter((nic) => nic.mac === mac).length > 1) faults.push(mac);
  }
  for (const { container, mac, address, node, revision } of seen.goals.values()) {
    const nic = seen.nics.get(mac);
    if (nic?.container !== container || nic.address !== address || nic.node !== node) {
      faults.push(`the NIC of ${container} is not as its goal says`);
    }
    const isPlaced = seen.placements.get(`${node} ${container}`) === revision;
    if (node !== "" && !isPlaced) faults.push(`${container} has no placement`);
  }
  return faults;
}
