/** The store contract over a {@link StoreEngine}: checks, group commit, watches, life cycle. */
import { FabricError } from "../model/errors.ts";
import type {
  FabricStore,
  GetResult,
  KeyValue,
  ListOptions,
  ListResult,
  OperationResult,
  StoreStatus,
  Transaction,
  TransactionResult,
  WatchItem,
} from "./fabric-store.ts";
import type { HistoryRow, StoreEngine } from "./store-engine.ts";
import {
  type CheckedOperation,
  type CheckedTransaction,
  checkKey,
  checkPrefix,
  checkTransaction,
} from "./store-rules.ts";
import { WatchHub } from "./watch-hub.ts";

interface Queued {
  readonly transaction: CheckedTransaction;
  readonly resolve: (result: TransactionResult) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A {@link FabricStore} in this process. Transactions that are queued in one turn of the event loop
 * are evaluated in order, each as its own revision, and made durable by one commit; reads see
 * committed state only.
 */
export class EmbeddedStore implements FabricStore {
  readonly #engine: StoreEngine;
  readonly #hub: WatchHub;
  #queue: Queued[] = [];
  /** Why the store takes no more calls. */
  #refusal: FabricError | undefined;
  #closed = false;

  constructor(engine: StoreEngine) {
    this.#engine = engine;
    this.#hub = new WatchHub(engine);
  }

  async get(key: string, options: { readonly rev?: number } = {}): Promise<GetResult> {
    this.#assertOpen();
    checkKey(key);
    const rev = this.#readableRev(options.rev);
    const kv = keyValue(this.#engine.readKey(key, rev));
    return kv === undefined ? { rev } : { rev, kv };
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListResult> {
    this.#assertOpen();
    checkPrefix(prefix);
    if (options.after !== undefined) checkPrefix(options.after);
    const rev = this.#readableRev(options.rev);
    const limit = Math.max(1, options.limit ?? Number.MAX_SAFE_INTEGER - 1);
    const query = { prefix, rev, after: options.after ?? "", limit: limit + 1 };
    const rows = this.#engine.readRange(query);
    const kvs = rows.slice(0, limit).map(keyValue);
    return { rev, kvs: kvs.filter((kv) => kv !== undefined), more: rows.length > limit };
  }

  async txn(transaction: Transaction): Promise<TransactionResult> {
    this.#assertOpen();
    const checked = checkTransaction(transaction);
    return new Promise((resolve, reject) => {
      if (this.#queue.length === 0) setImmediate(() => this.#flush());
      this.#queue.push({ transaction: checked, resolve, reject });
    });
  }

  async *watch(
    prefix: string,
    options: { readonly from: number; readonly signal: AbortSignal },
  ): AsyncGenerator<WatchItem, void, undefined> {
    this.#assertOpen();
    checkPrefix(prefix);
    yield* this.#hub.watch(prefix, options.from, options.signal);
  }

  async compact(upTo: number): Promise<void> {
    this.#assertOpen();
    this.#flush();
    if (upTo > this.#engine.rev) throw futureRevision(upTo, this.#engine.rev);
    if (upTo <= this.#engine.compactedRev) return;
    try {
      this.#engine.compact(upTo);
    } catch (error) {
      this.#failQueue([], error);
      throw error;
    }
  }

  async status(): Promise<StoreStatus> {
    this.#assertOpen();
    return {
      engine: this.#engine.name,
      rev: this.#engine.rev,
      compactedRev: this.#engine.compactedRev,
      keyCount: this.#engine.countKeys(),
      watchCount: this.#hub.size,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#flush();
    this.#refusal ??= new FabricError("ERR_STORE_CLOSED", "The store is closed");
    this.#hub.fail(this.#refusal);
    this.#engine.close();
  }

  #assertOpen(): void {
    if (this.#refusal !== undefined) throw this.#refusal;
  }

  #readableRev(rev = this.#engine.rev): number {
    if (rev > this.#engine.rev) throw futureRevision(rev, this.#engine.rev);
    if (rev < this.#engine.compactedRev) throw this.#hub.compacted(rev);
    return rev;
  }

  #flush(): void {
    const queue = this.#queue;
    this.#queue = [];
    if (queue.length === 0) return;
    const results: TransactionResult[] = [];
    const written: HistoryRow[] = [];
    try {
      this.#engine.batch(() => {
        for (const { transaction } of queue) results.push(this.#apply(transaction, written));
      });
    } catch (error) {
      this.#failQueue(queue, error);
      return;
    }
    queue.forEach(({ resolve }, index) => {
      resolve(results[index]!);
    });
    this.#hub.publish(written);
  }

  #failQueue(queue: readonly Queued[], error: unknown): void {
    for (const { reject } of queue) reject(error);
    const known = error instanceof FabricError && error.code === "ERR_STORE_FAILED";
    if (known) return;
    // What is on disk is unknown: going on could acknowledge a write that builds on a lost one.
    const text = "The store stopped after a failed commit; restart to read what was kept";
    this.#refusal ??= new FabricError("ERR_STORE_FAILED", text, { cause: error });
    this.#hub.fail(this.#refusal);
  }

  #apply(transaction: CheckedTransaction, written: HistoryRow[]): TransactionResult {
    const ok = transaction.compare.every(({ key, modRev }) => this.#modRev(key) === modRev);
    const rows: HistoryRow[] = [];
    const results = (ok ? transaction.success : transaction.failure).map((operation) =>
      this.#operate(operation, rows),
    );
    this.#engine.append(rows);
    written.push(...rows);
    return { ok, rev: this.#engine.rev, results };
  }

  #operate(operation: CheckedOperation, rows: HistoryRow[]): OperationResult {
    const { key } = operation;
    const pending = rows.find((row) => row.key === key);
    const old = pending ?? this.#engine.readKey(key, this.#engine.rev);
    switch (operation.kind) {
      case "get": {
        const kv = keyValue(old);
        return kv === undefined ? { kind: "get" } : { kind: "get", kv };
      }
      case "delete": {
        const existed = old?.text !== undefined;
        if (existed) rows.push(this.#rowAfter(old, key, undefined));
        return { kind: "delete", existed };
      }
      case "put":
        rows.push(this.#rowAfter(old, key, operation.text));
        return { kind: "put" };
    }
  }

  #rowAfter(old: HistoryRow | undefined, key: string, text: string | undefined): HistoryRow {
    const rev = this.#engine.rev + 1;
    if (old?.text === undefined) return { key, rev, createRev: rev, version: 1, text };
    return { key, rev, createRev: old.createRev, version: old.version + 1, text };
  }

  #modRev(key: string): number {
    const row = this.#engine.readKey(key, this.#engine.rev);
    return row?.text === undefined ? 0 : row.rev;
  }
}

function keyValue(row: HistoryRow | undefined): KeyValue | undefined {
  if (row?.text === undefined) return undefined;
  const { key, createRev, rev, version, text } = row;
  return { key, value: JSON.parse(text), createRev, modRev: rev, version };
}

function futureRevision(rev: number, latest: number): FabricError {
  return new FabricError(
    "ERR_STORE_FUTURE_REVISION",
    `Revision ${rev} is not there yet; the latest is ${latest}`,
  );
}
