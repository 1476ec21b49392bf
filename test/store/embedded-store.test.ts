import { describe, expect, test } from "vitest";
import { FabricError } from "../../src/model/errors.ts";
import { EmbeddedStore } from "../../src/store/embedded-store.ts";
import { MemoryEngine } from "../../src/store/memory-engine.ts";

/** An engine whose next batch fails the given way. */
class FailingEngine extends MemoryEngine {
  failure: FabricError | undefined;
  override batch(work: () => void): void {
    if (this.failure !== undefined) throw this.failure;
    work();
  }
}

const write = { success: [{ kind: "put", key: "/a", value: 1 }] } as const;

describe("EmbeddedStore", () => {
  test("goes on after a write that was not kept", async () => {
    const engine = new FailingEngine();
    await using store = new EmbeddedStore(engine);
    engine.failure = new FabricError("ERR_STORE_FAILED", "disk full");
    const both = await Promise.allSettled([store.txn(write), store.txn(write)]);
    expect(both.map((r) => r.status)).toEqual(["rejected", "rejected"]);
    engine.failure = undefined;
    expect((await store.txn(write)).rev).toBe(1);
  });

  test("stops for good after a write that may have been kept, and ends its watches", async () => {
    const engine = new FailingEngine();
    await using store = new EmbeddedStore(engine);
    const signal = new AbortController().signal;
    const watch = store.watch("/", { from: 1, signal })[Symbol.asyncIterator]();
    await watch.next();
    const waiting = watch.next();
    engine.failure = new FabricError("ERR_STORE_UNCERTAIN", "fsync failed");
    const uncertain = store.txn(write);
    const failed = { code: "ERR_STORE_FAILED" };
    await Promise.all([
      expect(uncertain).rejects.toMatchObject({ code: "ERR_STORE_UNCERTAIN" }),
      expect(waiting).rejects.toMatchObject(failed),
    ]);
    engine.failure = undefined;
    await expect(store.txn(write)).rejects.toMatchObject(failed);
    await expect(store.get("/a")).rejects.toMatchObject(failed);
  });
});
