/** One container's goal as this node sees it, read anew whenever somebody says that it changed. */
import { asDocument, type ContainerGoal, keys } from "../../model/documents.ts";
import type { FabricStore, KeyValue } from "../../store/index.ts";
import type { Wanted } from "./decide.ts";

export interface GoalReaderOptions {
  readonly store: FabricStore;
  readonly node: string;
  readonly container: string;
  /** Called after each read; with the status too after the first. */
  readonly onRead: (first: { readonly status: KeyValue | undefined } | undefined) => void;
}

/** Owns what was read last. One read after another. */
export class GoalReader {
  readonly #options: GoalReaderOptions;
  #wanted: Wanted = { kind: "unknown" };
  #modRev = 0;
  #reading: Promise<void> | undefined;
  #again: Promise<void> | undefined;

  constructor(options: GoalReaderOptions) {
    this.#options = options;
  }

  get wanted(): Wanted {
    return this.#wanted;
  }

  /** The goal, if it is this node's. */
  get goal(): ContainerGoal | undefined {
    return this.#wanted.kind === "here" ? this.#wanted.goal : undefined;
  }

  /** The goal's revision in the store; 0: there is none. */
  get modRev(): number {
    return this.#modRev;
  }

  get isReading(): boolean {
    return this.#reading !== undefined;
  }

  /** Resolves when the goal was read at some moment after the call. Rejects as the store. */
  refresh(): Promise<void> {
    if (this.#reading === undefined) return this.#begin();
    // The one under way may have read too early.
    this.#again ??= this.#reading
      .catch(() => undefined)
      .then(() => {
        this.#again = undefined;
        return this.#begin();
      });
    return this.#again;
  }

  #begin(): Promise<void> {
    const reading = this.#read().finally(() => {
      this.#reading = undefined;
    });
    this.#reading = reading;
    return reading;
  }

  async #read(): Promise<void> {
    const { store, node, container, onRead } = this.#options;
    const isFirst = this.#wanted.kind === "unknown";
    const [{ kv }, status] = await Promise.all([
      store.get(keys.containerGoal(container)),
      isFirst ? store.get(keys.containerStatus(container)) : undefined,
    ]);
    this.#modRev = kv?.modRev ?? 0;
    this.#wanted = wantedOf(kv, node);
    onRead(status && { status: status.kv });
  }
}

function wantedOf(kv: KeyValue | undefined, node: string): Wanted {
  if (kv === undefined) return { kind: "gone" };
  const goal = asDocument<ContainerGoal>(kv.value);
  return goal.node === node ? { kind: "here", goal } : { kind: "elsewhere", node: goal.node };
}
