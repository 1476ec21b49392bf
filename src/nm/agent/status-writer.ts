/** Writes what a node's network is to the store: only what changed, and many changes in one transaction. */
import { isDeepStrictEqual } from "node:util";
import { keys } from "../../model/documents.ts";
import { type FabricStore, type Operation, TXN_OPS_MAX } from "../../store/index.ts";
import { Rounds } from "./rounds.ts";

export interface StatusWriterOptions {
  readonly store: FabricStore;
  readonly node: string;
  readonly onError: (what: string, error: unknown) => void;
}

/** Keeps the documents that one agent writes; see {@link StatusWriter.set}. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  /** What the store has; unknown until {@link StatusWriter.load}. */
  readonly #stored = new Map<string, unknown>();
  readonly #wanted = new Map<string, unknown>();
  readonly #rounds = new Rounds(() => this.#write());

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** Reads what an earlier run wrote. @returns the NIC statuses by MAC */
  async load(): Promise<Map<string, unknown>> {
    const { store, node } = this.#options;
    const { kvs } = await store.list(keys.nicStatuses(node));
    for (const { key, value } of kvs) this.#stored.set(key, value);
    const { kv } = await store.get(keys.nodeNetwork(node));
    if (kv !== undefined) this.#stored.set(kv.key, kv.value);
    return new Map(kvs.map(({ key, value }) => [key.split("/").at(-1) ?? "", value]));
  }

  /** MACs of the NICs that have a status in the store, as far as is known. */
  storedNics(): string[] {
    const prefix = keys.nicStatuses(this.#options.node);
    const nics = [...this.#stored.keys()].filter((key) => key.startsWith(prefix));
    return nics.map((key) => key.slice(prefix.length));
  }

  /** Says what a document shall be (undefined: gone); resolves when the store has it, or failed to take it. */
  set(key: string, value: unknown): Promise<void> {
    this.#wanted.set(key, value);
    return this.#rounds.request();
  }

  /** Tries again what failed. */
  retry(): Promise<void> {
    return this.#wanted.size === 0 ? Promise.resolve() : this.#rounds.request();
  }

  async #write(): Promise<void> {
    for (const [key, value] of this.#wanted) {
      if (isDeepStrictEqual(this.#stored.get(key), value)) this.#wanted.delete(key);
    }
    const page = [...this.#wanted].slice(0, TXN_OPS_MAX);
    if (page.length === 0) return;
    const success = page.map(
      ([key, value]): Operation =>
        value === undefined ? { kind: "delete", key } : { kind: "put", key, value },
    );
    try {
      await this.#options.store.txn({ success });
    } catch (error) {
      this.#options.onError("status not written", error);
      return;
    }
    for (const [key, value] of page) {
      if (value === undefined) this.#stored.delete(key);
      else this.#stored.set(key, value);
      if (this.#wanted.get(key) === value) this.#wanted.delete(key);
    }
    if (this.#wanted.size > 0) void this.#rounds.request();
  }
}
