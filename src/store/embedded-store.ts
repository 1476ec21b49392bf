/** The store contract over a {@link StoreEngine}: checks, group commit, watches, leases, life cycle. */
import { randomUUID } from "node:crypto";
import { FabricError } from "../model/errors.ts";
import {
  type GetResult,
  type LeaseOptions,
  type ListOptions,
  type ListResult,
  type OperationResult,
  type StoreStatus,
  type Transaction,
  type TransactionResult,
  TXN_OPS_MAX,
  type WatchItem,
} from "./fabric-store.ts";
import { LeaseBook, leaseLost, type StartTimer } from "./lease-book.ts";
import type { LocalLease, LocalStore } from "./local-store.ts";
import { type HistoryRow, keyValueOf, type StoreEngine } from "./store-engine.ts";
import {
  type CheckedOperation,
  type CheckedTransaction,
  checkKey,
  checkLeaseTtl,
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
 * A {@link LocalStore}. Transactions that are queued in one turn of the event loop
 * are evaluated in order, each as its own revision, and made durable by one commit; reads see
 * committed state only.
 */
export class EmbeddedStore implements LocalStore {
  readonly #engine: StoreEngine;
  readonly #hub: WatchHub;
  readonly #leases: LeaseBook;
  #queue: Queued[] = [];
  /** Why the store takes no more calls. */
  #refusal: FabricError | undefined;
  #closed = false;

  /** @param startTimer - runs the time of leases whose holders are gone */
  constructor(engine: StoreEngine, startTimer: StartTimer = startUnrefTimer) {
    this.#engine = engine;
    this.#hub = new WatchHub(engine);
    this.#leases = new LeaseBook(engine, startTimer, (id) => this.#expire(id));
  }

  get rev(): number {
    return this.#engine.rev;
  }

  get compactedRev(): number {
    return this.#engine.compactedRev;
  }

  get neededRev(): number | undefined {
    return this.#hub.neededRev;
  }

  get refusal(): FabricError | undefined {
    return this.#refusal;
  }

  async get(key: string, options: { readonly rev?: number } = {}): Promise<GetResult> {
    this.#assertOpen();
    checkKey(key);
    const rev = this.#readableRev(options.rev);
    const kv = keyValueOf(this.#engine.readKey(key, rev));
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
    const kvs = rows.slice(0, limit).map(keyValueOf);
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
    for await (const page of this.#hub.watch(prefix, options.from, options.signal)) {
      for (const item of page) {
        if (options.signal.aborted) return;
        yield item;
      }
    }
  }

  async *watchPages(
    prefix: string,
    options: { readonly from: number; readonly signal: AbortSignal },
  ): AsyncGenerator<readonly WatchItem[], void, undefined> {
    this.#assertOpen();
    checkPrefix(prefix);
    yield* this.#hub.watch(prefix, options.from, options.signal);
  }

  async lease(ttlMs: number, { id }: LeaseOptions = {}): Promise<LocalLease> {
    this.#assertOpen();
    checkLeaseTtl(ttlMs);
    if (id !== undefined) this.#leases.assertFree(id);
    const row = { id: id ?? randomUUID(), ttlMs };
    this.#flush();
    this.#keep(() => this.#engine.putLease(row));
    return this.#leases.hold(row, () => this.#revoke(row.id));
  }

  async compact(upTo: number): Promise<void> {
    this.#assertOpen();
    this.#flush();
    if (upTo > this.#engine.rev) throw futureRevision(upTo, this.#engine.rev);
    if (upTo <= this.#engine.compactedRev) return;
    this.#keepOrFail(() => this.#engine.compact(upTo));
  }

  async status(): Promise<StoreStatus> {
    this.#assertOpen();
    return {
      engine: this.#engine.name,
      rev: this.#engine.rev,
      compactedRev: this.#engine.compactedRev,
      keyCount: this.#engine.countKeys(),
      watchCount: this.#hub.size,
      leaseCount: this.#leases.size,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#flush();
    this.#refusal ??= new FabricError("ERR_STORE_CLOSED", "The store is closed");
    this.#hub.fail(this.#refusal);
    this.#leases.close();
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
    const results: (TransactionResult | FabricError)[] = [];
    const written: HistoryRow[] = [];
    try {
      this.#engine.batch(() => {
        for (const { transaction } of queue) results.push(this.#apply(transaction, written));
      });
    } catch (error) {
      this.#failQueue(queue, error);
      return;
    }
    queue.forEach(({ resolve, reject }, index) => {
      const result = results[index]!;
      if (result instanceof FabricError) reject(result);
      else resolve(result);
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
    this.#leases.close();
  }

  /** Makes a change durable that is no transaction of a caller. */
  #keep(work: () => void): void {
    this.#keepOrFail(() => this.#engine.batch(work));
  }

  #keepOrFail(keep: () => void): void {
    try {
      keep();
    } catch (error) {
      this.#failQueue([], error);
      throw error;
    }
  }

  async #revoke(id: string): Promise<void> {
    if (!this.#leases.has(id)) return;
    this.#assertOpen();
    this.#endLease(id);
  }

  /** Nobody waits for it, so an error must not escape: the store has noted it, or the lease is tried again. */
  #expire(id: string): void {
    if (this.#refusal !== undefined) return;
    try {
      this.#endLease(id);
    } catch {
      if (this.#refusal === undefined) this.#leases.postpone(id);
    }
  }

  #endLease(id: string): void {
    this.#flush();
    const written: HistoryRow[] = [];
    this.#keep(() => {
      const keys = this.#engine.readLeaseKeys(id);
      for (let start = 0; start < keys.length; start += TXN_OPS_MAX) {
        const page = keys.slice(start, start + TXN_OPS_MAX);
        const success = page.map((key) => ({ kind: "delete" as const, key }));
        this.#apply({ compare: [], success, failure: [] }, written);
      }
      this.#engine.deleteLease(id);
    });
    this.#leases.end(id);
    this.#hub.publish(written);
  }

  #apply(transaction: CheckedTransaction, written: HistoryRow[]): TransactionResult | FabricError {
    const ok = transaction.compare.every(({ key, modRev }) => this.#modRev(key) === modRev);
    const operations = ok ? transaction.success : transaction.failure;
    for (const operation of operations) {
      const lease = operation.kind === "put" ? operation.lease : undefined;
      if (lease !== undefined && !this.#leases.has(lease)) return leaseLost(lease, "it is gone");
    }
    const rows: HistoryRow[] = [];
    const results = operations.map((operation) => this.#operate(operation, rows));
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
        const kv = keyValueOf(old);
        return kv === undefined ? { kind: "get" } : { kind: "get", kv };
      }
      case "delete": {
        const existed = old?.text !== undefined;
        if (existed) rows.push(this.#rowAfter(old, key, undefined, undefined));
        return { kind: "delete", existed };
      }
      case "put":
        rows.push(this.#rowAfter(old, key, operation.text, operation.lease));
        return { kind: "put" };
    }
  }

  #rowAfter(
    old: HistoryRow | undefined,
    key: string,
    text: string | undefined,
    lease: string | undefined,
  ): HistoryRow {
    const rev = this.#engine.rev + 1;
    if (old?.text === undefined) return { key, rev, createRev: rev, version: 1, text, lease };
    return { key, rev, createRev: old.createRev, version: old.version + 1, text, lease };
  }

  #modRev(key: string): number {
    const row = this.#engine.readKey(key, this.#engine.rev);
    return row?.text === undefined ? 0 : row.rev;
  }
}

function startUnrefTimer(milliseconds: number, callback: () => void): () => void {
  const timer = setTimeout(callback, milliseconds).unref();
  return () => clearTimeout(timer);
}

function futureRevision(rev: number, latest: number): FabricError {
  return new FabricError(
    "ERR_STORE_FUTURE_REVISION",
    `Revision ${rev} is not there yet; the latest is ${latest}`,
  );
}
