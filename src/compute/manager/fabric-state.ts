/** What the compute manager knows, built from the store alone: tenants, containers, nodes, and who waits for room. */
import type { ContainerGoal, ContainerStatus, TenantRecord } from "../../model/documents.ts";
import { NodeTable, type Share } from "./node-table.ts";
import { hasRoom, needOf } from "./placement.ts";

/** A container: one that has a goal, will have one, or whose agent has not taken its status back yet. */
export interface ContainerEntry {
  readonly container: string;
  readonly tenant: string;
  goal: ContainerGoal | undefined;
  /** Revision of the goal's last write; 0 while there is none. */
  goalRev: number;
  /** What is being written over it now. */
  writing: ContainerGoal | undefined;
  status: ContainerStatus | undefined;
  /** Nodes that are told to take it away: their placements stay until its status is gone. */
  readonly farewells: Set<string>;
  /** The goal that it gets once nothing is left of an earlier one. */
  draft: ContainerGoal | undefined;
}

/** A tenant, as it is in the store. */
export interface TenantEntry {
  record: TenantRecord;
  /** Containers that are gone and whose NICs are not released; unknown until the NICs are listed. */
  retired: Set<string> | undefined;
}

/** See the file's comment. */
export class FabricState {
  readonly tenants = new Map<string, TenantEntry>();
  readonly containers = new Map<string, ContainerEntry>();
  readonly nodes = new NodeTable();
  /** Containers that no node takes; who waits longest comes first. */
  readonly unplaced = new Set<string>();
  /** Containers whose goal is gone and whose status is not. */
  readonly leaving = new Set<string>();
  readonly #ofTenant = new Map<string, Set<string>>();

  /** The containers of a tenant that are known. */
  containersOf(tenant: string): ContainerEntry[] {
    return [...(this.#ofTenant.get(tenant) ?? [])].map((name) => this.containers.get(name)!);
  }

  /** The container's entry, which is made if need be. */
  ensure(container: string): ContainerEntry {
    const known = this.containers.get(container);
    if (known !== undefined) return known;
    const tenant = container.slice(0, Math.max(0, container.indexOf(".")));
    const entry: ContainerEntry = {
      ...{ container, tenant, goal: undefined, goalRev: 0 },
      ...{ writing: undefined, status: undefined, draft: undefined, farewells: new Set() },
    };
    this.containers.set(container, entry);
    const siblings = this.#ofTenant.get(tenant) ?? new Set();
    this.#ofTenant.set(tenant, siblings.add(container));
    return entry;
  }

  /** The goal as it is in the store now. */
  setGoal(entry: ContainerEntry, goal: ContainerGoal | undefined, goalRev: number): void {
    const { container } = entry;
    entry.goal = goal;
    entry.goalRev = goalRev;
    if (goal === undefined) this.#noteLeaving(entry);
    else {
      this.leaving.delete(container);
      this.nodes.assign(container, shareOf(goal));
    }
    if (goal?.node === "") this.unplaced.add(container);
    else this.unplaced.delete(container);
  }

  setStatus(entry: ContainerEntry, status: ContainerStatus | undefined): void {
    entry.status = status;
    this.#noteLeaving(entry);
  }

  /** Nothing is left of the container; tells the node that has more room now. */
  drop({ container, tenant }: ContainerEntry): string | undefined {
    this.containers.delete(container);
    this.leaving.delete(container);
    this.unplaced.delete(container);
    const siblings = this.#ofTenant.get(tenant);
    siblings?.delete(container);
    if (siblings?.size === 0) this.#ofTenant.delete(tenant);
    return this.nodes.release(container);
  }

  /** Those of the unplaced containers that the room of a node may be enough for, in turn. */
  findTakers(node: string): string[] {
    const free = this.nodes.free(node);
    if (free === undefined) return [];
    let { cpus, memoryMib } = free;
    const takers: string[] = [];
    for (const container of this.unplaced) {
      if (cpus <= 0 || memoryMib <= 0) break;
      const need = needOf(this.containers.get(container)!.goal!);
      if (!hasRoom({ cpus, memoryMib }, need)) continue;
      cpus -= need.cpus;
      memoryMib -= need.memoryMib;
      takers.push(container);
    }
    return takers;
  }

  #noteLeaving({ container, goal, status }: ContainerEntry): void {
    if (goal === undefined && status !== undefined) this.leaving.add(container);
    else this.leaving.delete(container);
  }
}

/** What is spread over the fabric together. */
export function groupOf({ tenant, role }: ContainerGoal): string {
  return `${tenant}/${role}`;
}

/** What a goal takes of its node. */
export function shareOf(goal: ContainerGoal): Share {
  return { node: goal.node, group: groupOf(goal), ...needOf(goal) };
}
