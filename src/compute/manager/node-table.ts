/** The nodes, and what containers take of them: kept up with each change, so that a decision looks at nodes only. */
import type { NodeStatus } from "../../model/documents.ts";
import { type Candidate, hasRoom, type Room } from "./placement.ts";

/** A container's share of a node. */
export interface Share extends Room {
  readonly node: string;
  /** What is spread over the fabric: a tenant's role. */
  readonly group: string;
}

interface NodeEntry {
  /** Absent while the node is down. */
  status: NodeStatus | undefined;
  cpus: number;
  memoryMib: number;
  readonly containers: Set<string>;
}

/** See the file's comment. */
export class NodeTable {
  readonly #nodes = new Map<string, NodeEntry>();
  readonly #shares = new Map<string, Share>();
  /** Containers of each group on each node. */
  readonly #groups = new Map<string, Map<string, number>>();

  /** The node is up, or has changed. */
  put(status: NodeStatus): void {
    this.#entry(status.node).status = status;
  }

  /** The node is down; its containers' shares stay until they are placed elsewhere. */
  remove(node: string): void {
    const entry = this.#nodes.get(node);
    if (entry === undefined) return;
    entry.status = undefined;
    this.#tidy(node, entry);
  }

  isUp(node: string): boolean {
    return this.#nodes.get(node)?.status !== undefined;
  }

  /** Nodes that have containers, up or down. */
  containersOn(node: string): readonly string[] {
    return [...(this.#nodes.get(node)?.containers ?? [])];
  }

  /** Names of nodes that are down and have containers. */
  listDown(): readonly string[] {
    return [...this.#nodes].filter(([, { status }]) => status === undefined).map(([name]) => name);
  }

  /** What is free on a node that is up; undefined if it is down. */
  free(node: string): Room | undefined {
    const entry = this.#nodes.get(node);
    return entry?.status === undefined ? undefined : freeOf(entry, entry.status);
  }

  /** True if the container fits on a node, its present share there given back. */
  fits(container: string, node: string, need: Room): boolean {
    const free = this.free(node);
    const held = this.#shares.get(container);
    if (free === undefined) return false;
    if (held?.node !== node) return hasRoom(free, need);
    const { cpus, memoryMib } = held;
    return hasRoom({ cpus: free.cpus + cpus, memoryMib: free.memoryMib + memoryMib }, need);
  }

  /** The nodes that are up, as the placement of a group's container sees them: its own share does not count. */
  candidates(group: string, container: string): Candidate[] {
    const counts = this.#groups.get(group);
    const held = this.#shares.get(container);
    const found: Candidate[] = [];
    for (const [node, entry] of this.#nodes) {
      const { status } = entry;
      if (status === undefined) continue;
      const own = held?.node === node ? held : undefined;
      const free = freeOf(entry, status);
      found.push({
        node,
        faultDomain: status.faultDomain,
        total: { cpus: status.cpus, memoryMib: status.memoryMib },
        free: {
          cpus: free.cpus + (own?.cpus ?? 0),
          memoryMib: free.memoryMib + (own?.memoryMib ?? 0),
        },
        ofRole: (counts?.get(node) ?? 0) - (own?.group === group ? 1 : 0),
      });
    }
    return found;
  }

  /** Gives a container its share, in place of the one that it had. A share of no node is no share. */
  assign(container: string, share: Share): void {
    this.release(container);
    if (share.node === "") return;
    const entry = this.#entry(share.node);
    entry.cpus += share.cpus;
    entry.memoryMib += share.memoryMib;
    entry.containers.add(container);
    this.#count(share, 1);
    this.#shares.set(container, share);
  }

  /** Gives a container's share back; tells where it was. */
  release(container: string): string | undefined {
    const share = this.#shares.get(container);
    if (share === undefined) return undefined;
    this.#shares.delete(container);
    this.#count(share, -1);
    const entry = this.#entry(share.node);
    entry.cpus -= share.cpus;
    entry.memoryMib -= share.memoryMib;
    entry.containers.delete(container);
    this.#tidy(share.node, entry);
    return share.node;
  }

  #entry(node: string): NodeEntry {
    const entry = this.#nodes.get(node) ?? {
      status: undefined,
      cpus: 0,
      memoryMib: 0,
      containers: new Set(),
    };
    this.#nodes.set(node, entry);
    return entry;
  }

  #count({ group, node }: Share, change: number): void {
    const counts = this.#groups.get(group) ?? new Map<string, number>();
    const count = (counts.get(node) ?? 0) + change;
    if (count > 0) counts.set(node, count);
    else counts.delete(node);
    if (counts.size > 0) this.#groups.set(group, counts);
    else this.#groups.delete(group);
  }

  #tidy(node: string, entry: NodeEntry): void {
    if (entry.status === undefined && entry.containers.size === 0) this.#nodes.delete(node);
  }
}

function freeOf(entry: NodeEntry, { cpus, memoryMib }: NodeStatus): Room {
  return { cpus: cpus - entry.cpus, memoryMib: memoryMib - entry.memoryMib };
}
