/** Writes containers' goals: each in one transaction with its placement and its NIC, and only over what we know. */
import { asDocument, type ContainerGoal, keys } from "../../model/documents.ts";
import { deleteKeys, type KeyValue, type Operation } from "../../store/index.ts";
import type { Reached } from "../../trace/index.ts";
import { type ContainerEntry, type FabricState, shareOf } from "./fabric-state.ts";
import type { ComputeManagerOptions } from "./manager-context.ts";

/** See the file's comment. */
export class GoalWriter {
  readonly #options: ComputeManagerOptions;
  readonly #state: FabricState;
  /** Called with a node that has more room now. */
  readonly #onRoom: (node: string) => void;

  constructor(options: ComputeManagerOptions, state: FabricState, onRoom: (node: string) => void) {
    this.#options = options;
    this.#state = state;
    this.#onRoom = onRoom;
  }

  /**
   * Writes a goal with a new boot of the trace. Its room is taken before anything is awaited.
   *
   * @returns false if the goal in the store was not the one that we knew; now we know it
   */
  async begin(entry: ContainerEntry, goal: ContainerGoal): Promise<boolean> {
    entry.writing = goal;
    this.#state.nodes.assign(entry.container, shareOf(goal));
    const { trace } = this.#options;
    const boot = await trace.startBoot(entry.container, goal.node === "" ? [] : reached(goal));
    return this.write(entry, { ...goal, boot: boot ?? goal.boot });
  }

  /** Writes a goal; see {@link GoalWriter.begin}. */
  async write(entry: ContainerEntry, goal: ContainerGoal): Promise<boolean> {
    const { container, goal: before } = entry;
    const next = { ...goal, revision: (before?.revision ?? 0) + 1 };
    entry.writing = next;
    this.#state.nodes.assign(container, shareOf(next));
    if (next.node !== "" && before?.node !== next.node) this.#reach(next);
    return this.#attempt(entry, next.node, async () => {
      const moves = before?.node !== next.node;
      const nic = moves ? await this.#options.network.place(next, next.node) : undefined;
      const success: Operation[] = [
        { kind: "put", key: keys.containerGoal(container), value: next },
        ...(nic === undefined ? [] : [nic.operation]),
        ...placementOf(before, next),
      ];
      const compare = [
        { key: keys.containerGoal(container), modRev: entry.goalRev },
        ...(nic === undefined ? [] : [nic.compare]),
      ];
      const { ok, rev } = await this.#options.store.txn({ compare, success });
      if (ok) this.#state.setGoal(entry, next, rev);
      if (ok && before !== undefined) this.#onRoom(before.node);
      return ok;
    });
  }

  /**
   * Deletes a goal, and with it the VM's certificate and key. Its room is kept until its agent has taken its status back, and so are the placements: an agent that
   * starts again meanwhile learns from them what to take away.
   */
  remove(entry: ContainerEntry, goal: ContainerGoal): Promise<boolean> {
    const { container } = entry;
    return this.#attempt(entry, goal.node, async () => {
      const key = keys.containerGoal(container);
      const nodes = nodesOf(entry);
      const value = { revision: goal.revision + 1 };
      const { ok } = await this.#options.store.txn({
        compare: [{ key, modRev: entry.goalRev }],
        success: [
          { kind: "delete", key },
          { kind: "delete", key: keys.fault(container) },
          { kind: "delete", key: keys.containerIdentity(container) },
          ...nodes.map((node): Operation => {
            return { kind: "put", key: keys.placement(node, container), value };
          }),
        ],
      });
      if (ok) this.#noteGone(entry, nodes);
      return ok;
    });
  }

  /** Once its status is gone; true if nothing is left of the container in the store but its network and its trace. */
  async clear({ container, farewells }: ContainerEntry): Promise<boolean> {
    const { store } = this.#options;
    // A status that was written before its goal was deleted may still be on its way to us.
    if ((await store.get(keys.containerStatus(container))).kv !== undefined) return false;
    const placements = [...farewells].map((node) => keys.placement(node, container));
    await deleteKeys(store, placements);
    farewells.clear();
    return true;
  }

  /** Whatever goes wrong, what we know is what is in the store. */
  async #attempt(
    entry: ContainerEntry,
    node: string,
    work: () => Promise<boolean>,
  ): Promise<boolean> {
    let done = false;
    try {
      done = await work();
      return done;
    } finally {
      if (!done) await this.#reload(entry, node);
      entry.writing = undefined;
    }
  }

  async #reload(entry: ContainerEntry, reserved: string): Promise<void> {
    const { kv } = await this.#options.store.get(keys.containerGoal(entry.container));
    if (kv !== undefined) this.#state.setGoal(entry, goalIn(kv), kv.modRev);
    else {
      this.#noteGone(entry, nodesOf(entry));
      this.#state.nodes.release(entry.container);
    }
    this.#onRoom(reserved);
  }

  /** Of a boot that began on no node; of others it is known, and nothing is written. */
  #reach(goal: ContainerGoal): void {
    for (const { milestone, evidence } of reached(goal)) {
      this.#options.trace.reach(goal.container, milestone, evidence);
    }
  }

  #noteGone(entry: ContainerEntry, nodes: readonly string[]): void {
    this.#state.setGoal(entry, undefined, 0);
    for (const node of nodes) entry.farewells.add(node);
  }
}

/** What has happened to a container that has a node. */
function reached({ node, role, vnet, mac, address }: ContainerGoal): Reached[] {
  return [
    { milestone: "placed", evidence: { node, role } },
    { milestone: "network-allocated", evidence: { vnet, mac, address } },
  ];
}

/** Nodes that may have something of a container. */
function nodesOf({ goal, status }: ContainerEntry): string[] {
  const nodes = [goal?.node ?? "", status?.node ?? ""];
  return [...new Set(nodes)].filter((node) => node !== "");
}

/** The placement of a goal, which its node's agent follows. */
function placementOf(before: ContainerGoal | undefined, next: ContainerGoal): Operation[] {
  const { container, node, revision } = next;
  const operations: Operation[] = [];
  if (before !== undefined && before.node !== "" && before.node !== node) {
    operations.push({ kind: "delete", key: keys.placement(before.node, container) });
  }
  if (node === "") return operations;
  const key = keys.placement(node, container);
  return [...operations, { kind: "put", key, value: { revision } }];
}

function goalIn(kv: KeyValue): ContainerGoal {
  return asDocument<ContainerGoal>(kv.value);
}
