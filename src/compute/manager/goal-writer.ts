/** Writes containers' goals: each in one transaction with its placement and its NIC, and only over what we know. */
import { asDocument, type ContainerGoal, keys } from "../../model/documents.ts";
import type { KeyValue, Operation } from "../../store/index.ts";
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
    this.#state.nodes.assign(entry.container, shareOf(goal));
    const boot = await this.#options.trace.startBoot(entry.container);
    return this.write(entry, { ...goal, boot: boot ?? goal.boot });
  }

  /** Writes a goal; see {@link GoalWriter.begin}. */
  async write(entry: ContainerEntry, goal: ContainerGoal): Promise<boolean> {
    const { container, goal: before } = entry;
    const next = { ...goal, revision: (before?.revision ?? 0) + 1 };
    this.#state.nodes.assign(container, shareOf(next));
    if (next.node !== "" && (before?.node !== next.node || before.boot !== next.boot)) {
      this.#reach(next);
    }
    return this.#attempt(entry, next.node, async () => {
      const moves = before?.node !== next.node;
      const nic = moves ? await this.#options.network.place(next, next.node) : undefined;
      const success: Operation[] = [
        { kind: "put", key: keys.containerGoal(container), value: next },
        ...(nic === undefined ? [] : [nic.operation]),
        ...this.#point(before, next),
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

  /** Deletes a goal; its room is kept until its agent has taken its status back. */
  remove(entry: ContainerEntry, goal: ContainerGoal): Promise<boolean> {
    const { container } = entry;
    return this.#attempt(entry, goal.node, async () => {
      const key = keys.containerGoal(container);
      const { ok } = await this.#options.store.txn({
        compare: [{ key, modRev: entry.goalRev }],
        success: [{ kind: "delete", key }, ...this.#point(goal, undefined)],
      });
      if (ok) this.#state.setGoal(entry, undefined, 0);
      return ok;
    });
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
    }
  }

  async #reload(entry: ContainerEntry, reserved: string): Promise<void> {
    const { kv } = await this.#options.store.get(keys.containerGoal(entry.container));
    this.#state.setGoal(entry, kv && goalIn(kv), kv?.modRev ?? 0);
    if (kv === undefined) this.#state.nodes.release(entry.container);
    this.#onRoom(reserved);
  }

  /** The placement of the goal, which its node's agent follows. */
  #point(before: ContainerGoal | undefined, next: ContainerGoal | undefined): Operation[] {
    const operations: Operation[] = [];
    if (before !== undefined && before.node !== "" && before.node !== next?.node) {
      operations.push({ kind: "delete", key: keys.placement(before.node, before.container) });
    }
    if (next !== undefined && next.node !== "") {
      const key = keys.placement(next.node, next.container);
      operations.push({ kind: "put", key, value: { revision: next.revision } });
    }
    return operations;
  }

  #reach({ container, node, role, vnet, mac, address }: ContainerGoal): void {
    const { trace } = this.#options;
    trace.reach(container, "placed", { node, role });
    trace.reach(container, "network-allocated", { vnet, mac, address });
  }
}

function goalIn(kv: KeyValue): ContainerGoal {
  return asDocument<ContainerGoal>(kv.value);
}
