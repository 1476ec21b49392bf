/**
 * Writes the status of one container: one write after another, transitions only, and only while the goal is the one
 * that the status speaks of. A status that another node's agent, or nobody, should write is never written.
 */
import { isDeepStrictEqual } from "node:util";
import { asDocument, type ContainerStatus, keys } from "../../model/documents.ts";
import { FabricError } from "../../model/errors.ts";
import type { FabricStore, KeyValue, Transaction } from "../../store/index.ts";

/** Tries of one write before it fails: each means that somebody changed the goal meanwhile. */
const TRIES_MAX = 10;

/** What should be written, and of which goal it speaks. */
export interface StatusDraft {
  readonly status: Omit<ContainerStatus, "sinceMs">;
  /** The goal's revision in the store; 0: there is none. */
  readonly goalModRev: number;
}

export interface StatusWriterOptions {
  readonly store: FabricStore;
  readonly container: string;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** What is true now; undefined while this node has nothing to say. */
  readonly draft: () => StatusDraft | undefined;
  /** The goal is another one by now: reads it. */
  readonly refreshGoal: () => Promise<void>;
}

/** See {@link StatusWriter.sync}. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  #stored: ContainerStatus | undefined;
  /** Of the status in the store; undefined if it must be read first. */
  #modRev: number | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** As it is in the store, as far as known. */
  get stored(): ContainerStatus | undefined {
    return this.#stored;
  }

  /** Takes what was read. */
  learn(kv: KeyValue | undefined): void {
    this.#stored = kv === undefined ? undefined : asDocument<ContainerStatus>(kv.value);
    this.#modRev = kv?.modRev ?? 0;
  }

  /**
   * Resolves when what is true at the call is durable, or is not this node's to say.
   *
   * @throws as the store, and FabricError ERR_STORE_CONFLICT if the goal changed again and again
   */
  sync(): Promise<void> {
    // A write that has not begun yet covers everything that is true by now.
    this.#next ??= this.#after(() => {
      this.#next = undefined;
      return this.#write();
    });
    return this.#next;
  }

  /** Deletes the status if it is this node's: another agent's is left alone. Rejects as {@link sync}. */
  delete(node: string): Promise<void> {
    return this.#after(async () => {
      for (let tries = 0; tries < TRIES_MAX; tries++) {
        if (this.#modRev === undefined) await this.#read();
        if (this.#stored?.node !== node) return;
        const key = keys.containerStatus(this.#options.container);
        const { ok } = await this.#transact({
          compare: [{ key, modRev: this.#modRev ?? 0 }],
          success: [{ kind: "delete", key }],
        });
        if (ok) return this.learn(undefined);
        await this.#read();
      }
      throw this.#conflict();
    });
  }

  /** Resolves when no write is under way. Never rejects. */
  async settled(): Promise<void> {
    await this.#tail;
  }

  #after<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => undefined); // whoever asked is told; the next one goes on
    return result;
  }

  async #write(): Promise<void> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      if (this.#modRev === undefined) await this.#read();
      const draft = this.#options.draft();
      if (draft === undefined || this.#isStored(draft)) return;
      if (await this.#put(draft)) return;
      await this.#options.refreshGoal();
    }
    throw this.#conflict();
  }

  #conflict(): FabricError {
    const message = `Cannot write the status of ${this.#options.container}: it or its goal changed ${TRIES_MAX} times meanwhile`;
    return new FabricError("ERR_STORE_CONFLICT", message);
  }

  #isStored({ status }: StatusDraft): boolean {
    if (this.#stored === undefined) return false;
    const { sinceMs: _, ...stored } = this.#stored;
    return isDeepStrictEqual(stored, status);
  }

  /** @returns false if goal or status were not as we knew them; the status is known then */
  async #put({ status, goalModRev }: StatusDraft): Promise<boolean> {
    const { container, now } = this.#options;
    const before = this.#stored;
    const isSame =
      before?.state === status.state &&
      before.attempt === status.attempt &&
      before.node === status.node;
    const value: ContainerStatus = { ...status, sinceMs: isSame ? before.sinceMs : now() };
    const key = keys.containerStatus(container);
    const { ok, rev, results } = await this.#transact({
      compare: [
        { key: keys.containerGoal(container), modRev: goalModRev },
        { key, modRev: this.#modRev ?? 0 },
      ],
      success: [{ kind: "put", key, value }],
      failure: [{ kind: "get", key }],
    });
    if (ok) {
      this.#stored = value;
      this.#modRev = rev;
    } else {
      const [found] = results;
      this.learn(found?.kind === "get" ? found.kv : undefined);
    }
    return ok;
  }

  async #read(): Promise<void> {
    const { store, container } = this.#options;
    this.learn((await store.get(keys.containerStatus(container))).kv);
  }

  /** After a failure nobody knows what is stored: it is read before the next write. */
  async #transact(transaction: Transaction) {
    try {
      return await this.#options.store.txn(transaction);
    } catch (error) {
      this.#modRev = undefined;
      throw error;
    }
  }
}
