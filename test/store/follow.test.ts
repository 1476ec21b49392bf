import { describe, expect, test } from "vitest";
import { FabricError } from "../../src/model/errors.ts";
import { type FabricStore, follow, openMemoryStore } from "../../src/store/index.ts";

const put = (key: string, value: unknown) => ({ success: [{ kind: "put" as const, key, value }] });
const del = (key: string) => ({ success: [{ kind: "delete" as const, key }] });
const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 5));

/** A store whose watches fail as told, and whose lists do. */
class ShakyStore implements FabricStore {
  readonly inner = openMemoryStore();
  listFailures: Error[] = [];
  /** Fails the watch that is running. */
  breakWatch: (error: Error) => void = () => undefined;

  get: FabricStore["get"] = (key, options) => this.inner.get(key, options);
  txn: FabricStore["txn"] = (transaction) => this.inner.txn(transaction);
  lease: FabricStore["lease"] = (ttlMs, options) => this.inner.lease(ttlMs, options);
  compact: FabricStore["compact"] = (upTo) => this.inner.compact(upTo);
  status: FabricStore["status"] = () => this.inner.status();
  async list(prefix: string) {
    const failure = this.listFailures.shift();
    if (failure !== undefined) throw failure;
    return this.inner.list(prefix);
  }
  async *watch(prefix: string, options: { from: number; signal: AbortSignal }) {
    const stop = new AbortController();
    let failure: Error | undefined;
    this.breakWatch = (error) => {
      failure = error;
      stop.abort();
    };
    const signal = AbortSignal.any([options.signal, stop.signal]);
    yield* this.inner.watch(prefix, { from: options.from, signal });
    if (failure !== undefined) throw failure;
  }
  [Symbol.asyncDispose]() {
    return this.inner[Symbol.asyncDispose]();
  }
}

function start(store: FabricStore) {
  const told: string[] = [];
  const stop = new AbortController();
  const tell = (key: string, value: unknown) => {
    told.push(value === undefined ? `-${key}` : `${key}=${value}`);
  };
  return { told, stop, ...follow(store, "/f/", tell, stop.signal) };
}

const compacted = new FabricError("ERR_STORE_COMPACTED", "gone");
const away = new FabricError("ERR_STORE_UNAVAILABLE", "away");

describe("follow()", () => {
  test("gives the present, then each change, and ends on abort", async () => {
    await using store = openMemoryStore();
    await store.txn(put("/f/a", 1));
    const { told, stop, caughtUp, ended } = start(store);
    await caughtUp;
    expect(told).toEqual(["/f/a=1"]);
    await store.txn(put("/f/a", 2));
    await store.txn(put("/other", 1));
    await store.txn(del("/f/a"));
    await turn();
    stop.abort();
    await ended;
    expect(told).toEqual(["/f/a=1", "/f/a=2", "-/f/a"]);
  });

  test("that was overtaken by a compaction hands on what differs, deletions too", async () => {
    await using store = new ShakyStore();
    for (const key of ["/f/same", "/f/changed", "/f/deleted", "/f/again"])
      await store.txn(put(key, 1));
    const { told, stop, caughtUp, ended } = start(store);
    await caughtUp;
    await turn();
    told.length = 0;
    store.listFailures = [away]; // so that all of it happens before it lists again
    store.breakWatch(compacted);
    for (const change of [
      put("/f/changed", 2),
      del("/f/deleted"),
      del("/f/again"),
      put("/f/again", 1),
      put("/f/new", 1),
    ])
      await store.txn(change);
    while (told.length < 4) await turn();
    expect(told).toEqual(["-/f/deleted", "/f/again=1", "/f/changed=2", "/f/new=1"]);
    await store.txn(put("/f/changed", 3));
    await turn();
    expect(told.at(-1)).toBe("/f/changed=3");
    stop.abort();
    await ended;
  });

  test("waits for a store that is away", async () => {
    await using store = new ShakyStore();
    store.listFailures = [away, away];
    await store.txn(put("/f/a", 1));
    const { told, stop, caughtUp, ended } = start(store);
    await caughtUp;
    expect(told).toEqual(["/f/a=1"]);
    stop.abort();
    await ended;
  });

  test("stops waiting on abort, and says that it has not caught up", async () => {
    await using store = new ShakyStore();
    store.listFailures = Array.from({ length: 100 }, () => away);
    const { stop, caughtUp, ended } = start(store);
    await turn();
    stop.abort(new Error("enough"));
    await ended;
    await expect(caughtUp).rejects.toThrow("enough");
  });

  test("fails with the store", async () => {
    const store = openMemoryStore();
    const { caughtUp, ended } = start(store);
    await caughtUp;
    const closed = expect(ended).rejects.toMatchObject({ code: "ERR_STORE_CLOSED" });
    await store[Symbol.asyncDispose]();
    await closed;
    const late = start(store);
    await expect(late.ended).rejects.toMatchObject({ code: "ERR_STORE_CLOSED" });
    await expect(late.caughtUp).rejects.toMatchObject({ code: "ERR_STORE_CLOSED" });
  });
});
