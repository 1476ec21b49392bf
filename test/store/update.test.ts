import { describe, expect, test } from "vitest";
import { z } from "zod";
import { FabricError } from "../../src/model/errors.ts";
import {
  type FabricStore,
  findDocument,
  listDocuments,
  openMemoryStore,
  type Transaction,
  updateDocument,
} from "../../src/store/index.ts";

const counter = { key: "/counter", schema: z.strictObject({ n: z.number() }) };
const increment = (old: { n: number } | undefined) => ({ n: (old?.n ?? 0) + 1 });

/** The same store with another `txn`. */
function withTxn(store: FabricStore, txn: FabricStore["txn"]): FabricStore {
  return {
    get: (key, options) => store.get(key, options),
    list: (prefix, options) => store.list(prefix, options),
    watch: (prefix, options) => store.watch(prefix, options),
    lease: (ttlMs, options) => store.lease(ttlMs, options),
    compact: (upTo) => store.compact(upTo),
    status: () => store.status(),
    txn,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

describe("updateDocument()", () => {
  test("creates, changes, and leaves alone", async () => {
    await using store = openMemoryStore();
    expect(await updateDocument(store, counter, increment)).toEqual({ kind: "written", rev: 1 });
    expect(await updateDocument(store, counter, increment)).toEqual({ kind: "written", rev: 2 });
    const outcome = await updateDocument(store, counter, () => undefined);
    expect(outcome).toEqual({ kind: "unchanged", rev: 2 });
    expect(await findDocument(store, counter)).toEqual({
      ...{ key: "/counter", value: { n: 2 }, modRev: 2 },
    });
  });

  test("takes a bare key for unchecked values", async () => {
    await using store = openMemoryStore();
    await updateDocument(store, "/free", (old) => [old ?? "first"]);
    expect((await store.get("/free")).kv?.value).toEqual(["first"]);
  });

  test("loses no concurrent change", async () => {
    await using store = openMemoryStore();
    await Promise.all([1, 2, 3, 4, 5].map(() => updateDocument(store, counter, increment)));
    expect((await findDocument(store, counter))?.value).toEqual({ n: 5 });
  });

  test("gives up when every attempt meets another writer", async () => {
    await using store = openMemoryStore();
    const contended = withTxn(store, async (transaction) => {
      await store.txn({ success: [{ kind: "put", key: "/counter", value: { n: 0 } }] });
      return store.txn(transaction);
    });
    const attempt = updateDocument(contended, counter, increment);
    await expect(attempt).rejects.toMatchObject({ code: "ERR_STORE_CONFLICT" });
  });

  for (const applied of [true, false]) {
    test(`counts once if an uncertain write was ${applied ? "" : "not "}applied`, async () => {
      await using store = openMemoryStore();
      let calls = 0;
      const shaky = withTxn(store, async (transaction: Transaction) => {
        if (++calls > 1) return store.txn(transaction);
        if (applied) await store.txn(transaction);
        throw new FabricError("ERR_STORE_UNCERTAIN", "no answer in time");
      });
      expect((await updateDocument(shaky, counter, increment)).kind).toBe("written");
      expect((await findDocument(store, counter))?.value).toEqual({ n: 1 });
    });
  }

  test("passes every other error on", async () => {
    await using store = openMemoryStore();
    const broken = withTxn(store, async () => {
      throw new FabricError("ERR_STORE_FAILED", "disk full");
    });
    const attempt = updateDocument(broken, counter, increment);
    await expect(attempt).rejects.toMatchObject({ code: "ERR_STORE_FAILED" });
  });
});

describe("listDocuments()", () => {
  test("names the key and revision of a document of the wrong form", async () => {
    await using store = openMemoryStore();
    await store.txn({ success: [{ kind: "put", key: "/c/1", value: { n: 1 } }] });
    const { rev, documents } = await listDocuments(store, "/c/", counter.schema);
    expect({ rev, documents }).toEqual({
      ...{ rev: 1, documents: [{ key: "/c/1", value: { n: 1 }, modRev: 1 }] },
    });
    await store.txn({ success: [{ kind: "put", key: "/c/2", value: { n: "1" } }] });
    await expect(listDocuments(store, "/c/", counter.schema)).rejects.toMatchObject({
      code: "ERR_STORE_BAD_DOCUMENT",
      message: expect.stringContaining("/c/2 (revision 2)"),
    });
  });
});
