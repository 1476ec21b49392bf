/** The store of another process of this machine. */
import { FabricError } from "../../model/errors.ts";
import type {
  FabricStore,
  GetResult,
  KeyValue,
  Lease,
  LeaseOptions,
  ListOptions,
  ListResult,
  StoreStatus,
  Transaction,
  TransactionResult,
  WatchItem,
} from "../fabric-store.ts";
import { checkKey, checkLeaseTtl, checkPrefix, checkTransaction } from "../store-rules.ts";
import { type ConnectionObserver, Connector } from "./connector.ts";
import type { Call, LeaseAnswer } from "./protocol.ts";
import { RemoteLeases } from "./remote-leases.ts";
import type { StoreSocketPath } from "./socket-path.ts";

/** How long a call waits for a connection, unless the caller says otherwise. */
const WAIT_MS = 5000;

/** How long a server may be silent, unless the caller says otherwise. */
const SILENCE_MS = 10_000;

/** Tries of a list of many answers whose revision is compacted while it goes on. */
const LIST_TRIES_MAX = 5;

/** What {@link openRemoteStore} needs. */
export interface RemoteStoreOptions {
  /** The path of the socket that `serveStore` listens on; asked for each time that it connects. */
  readonly openPath: () => StoreSocketPath;
  /** How long a call waits for a connection before it rejects with `ERR_STORE_UNAVAILABLE`, in milliseconds; 5,000 by default. */
  readonly waitMs?: number;
  /** How long the server may say nothing before the connection is given up, in milliseconds; 10,000 by default. */
  readonly silenceMs?: number;
  readonly onConnection?: ConnectionObserver;
}

/**
 * Opens the store that `serveStore` shares. It connects by itself, now and whenever the connection ends, so
 * the server may start later, and may be killed and started again.
 *
 * While the server is away, calls wait for `waitMs` and then reject with `ERR_STORE_UNAVAILABLE`: nothing was done. A
 * call that was under way when the connection ended rejects with that code too if it only reads, and with
 * `ERR_STORE_UNCERTAIN` if it changes something. Watches wait, and go on behind the last revision that they delivered;
 * leases are taken up again. A lease is lost when the server says so: while it is away, nothing is known, and whoever
 * must act alone compares a revision.
 *
 * @example
 * await using store = openRemoteStore({ openPath: () => openSocketPath(folder, "store.sock") });
 */
export function openRemoteStore(options: RemoteStoreOptions): FabricStore {
  return new RemoteStore(options);
}

class RemoteStore implements FabricStore {
  readonly #connector: Connector;
  readonly #leases: RemoteLeases;
  #refusal: FabricError | undefined;

  constructor(options: RemoteStoreOptions) {
    const { openPath, waitMs = WAIT_MS, silenceMs = SILENCE_MS, onConnection } = options;
    this.#leases = new RemoteLeases((call) => this.#call(call));
    this.#connector = new Connector({
      ...{ openPath, waitMs, silenceMs },
      onConnection: onConnection ?? (() => undefined),
      onLost: (lease) => this.#leases.onLost(lease),
      prepare: (link) => this.#leases.takeUp(link),
    });
  }

  async get(key: string, options: { readonly rev?: number } = {}): Promise<GetResult> {
    this.#assertOpen();
    checkKey(key);
    const { rev } = options;
    const call: Call = { kind: "get", key, ...(rev !== undefined && { rev }) };
    return (await this.#call(call)) as GetResult;
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListResult> {
    this.#assertOpen();
    checkPrefix(prefix);
    if (options.after !== undefined) checkPrefix(options.after);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#listAll(prefix, options);
      } catch (error) {
        const mayTryAgain = options.rev === undefined && attempt < LIST_TRIES_MAX;
        const isCompacted = error instanceof FabricError && error.code === "ERR_STORE_COMPACTED";
        if (!mayTryAgain || !isCompacted) throw error;
      }
    }
  }

  async txn(transaction: Transaction): Promise<TransactionResult> {
    this.#assertOpen();
    checkTransaction(transaction);
    return (await this.#call({ kind: "txn", transaction })) as TransactionResult;
  }

  async *watch(
    prefix: string,
    options: { readonly from: number; readonly signal: AbortSignal },
  ): AsyncGenerator<WatchItem, void, undefined> {
    this.#assertOpen();
    checkPrefix(prefix);
    const { signal } = options;
    let nextRev = options.from;
    let deliveredRev = 0;
    let hasCaughtUp = false;
    while (!signal.aborted) {
      const ready = await this.#connector.waitLong(signal);
      if (ready === undefined) return;
      if (ready.rev < deliveredRev) throw otherHistory(ready.rev, deliveredRev);
      for await (const page of ready.link.pages(prefix, nextRev, signal)) {
        for (const item of page) {
          if (signal.aborted) return;
          nextRev = Math.max(nextRev, item.rev + 1);
          deliveredRev = item.rev;
          const isRepeated = item.kind === "progress" && hasCaughtUp;
          hasCaughtUp ||= item.kind === "progress";
          if (!isRepeated) yield item;
        }
      }
    }
  }

  async lease(ttlMs: number, { id }: LeaseOptions = {}): Promise<Lease> {
    this.#assertOpen();
    checkLeaseTtl(ttlMs);
    const call: Call = { kind: "lease", ttlMs, ...(id !== undefined && { lease: id }) };
    const answer = (await this.#call(call)) as LeaseAnswer;
    this.#connector.current?.link.pingWithin(ttlMs);
    return this.#leases.add(answer.id, ttlMs, () => this.#assertOpen());
  }

  async compact(upTo: number): Promise<void> {
    await this.#call({ kind: "compact", upTo });
  }

  async status(): Promise<StoreStatus> {
    return (await this.#call({ kind: "status" })) as StoreStatus;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#refusal !== undefined) return;
    this.#refusal = new FabricError("ERR_STORE_CLOSED", "The store is closed");
    await this.#connector.close(this.#refusal, WAIT_MS);
    this.#leases.close();
  }

  #assertOpen(): void {
    if (this.#refusal !== undefined) throw this.#refusal;
  }

  /** Sends a call in this turn if there is a connection, so that calls keep their order. */
  async #call(call: Call): Promise<unknown> {
    this.#assertOpen();
    const current = this.#connector.current ?? (await this.#connector.wait());
    return current.link.call(call);
  }

  async #listAll(prefix: string, options: ListOptions): Promise<ListResult> {
    const kvs: KeyValue[] = [];
    let { rev, after } = options;
    const wanted = Math.max(1, options.limit ?? Number.MAX_SAFE_INTEGER);
    while (true) {
      const page = (await this.#call({
        kind: "list",
        prefix,
        ...(rev !== undefined && { rev }),
        ...(after !== undefined && { after }),
        limit: wanted - kvs.length,
      })) as ListResult;
      for (const kv of page.kvs) kvs.push(kv);
      if (!page.more || kvs.length >= wanted) return { rev: page.rev, kvs, more: page.more };
      rev = page.rev;
      after = kvs.at(-1)!.key;
    }
  }
}

/** The server came back with another history: what a watch has delivered is not in it. */
function otherHistory(rev: number, deliveredRev: number): FabricError {
  return new FabricError(
    "ERR_STORE_COMPACTED",
    `The store is at revision ${rev}, behind ${deliveredRev}, which was seen before: list again`,
  );
}
