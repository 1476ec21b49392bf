/**
 * What every engine of the store must do, one test per trap. Each engine's test file calls this
 * once.
 */
import { expect, test } from "vitest";
import type { FabricStore, Operation, WatchItem } from "../../src/store/index.ts";

const put = (key: string, value: unknown): Operation => ({ kind: "put", key, value });
const del = (key: string): Operation => ({ kind: "delete", key });
const write = (store: FabricStore, ...success: Operation[]) => store.txn({ success });

/** Watches until progress (everything that is there now), then stops. */
async function replay(store: FabricStore, prefix: string, from: number): Promise<WatchItem[]> {
  const items: WatchItem[] = [];
  for await (const item of store.watch(prefix, { from, signal: new AbortController().signal })) {
    if (item.kind === "progress") break;
    items.push(item);
  }
  return items;
}

function brief(item: WatchItem): string {
  if (item.kind === "progress") return `progress ${item.rev}`;
  const keys = item.events.map((e) => (e.kind === "put" ? `+${e.kv.key}` : `-${e.key}`));
  return `${item.rev} ${keys.join(" ")}`;
}

export function storeConformance(open: () => FabricStore): void {
  const row = (name: string, body: (store: FabricStore) => Promise<void>) =>
    test(name, async () => {
      await using store = open();
      await body(store);
    });

  row("an empty store is at revision 0", async (store) => {
    expect(await store.get("/a")).toEqual({ rev: 0 });
    expect(await store.list("")).toEqual({ rev: 0, kvs: [], more: false });
    expect(await replay(store, "", 0)).toEqual([]);
  });

  row("a value comes back as a fresh copy with its revisions", async (store) => {
    const value = { n: 1, text: "å", list: [null, true] };
    await write(store, put("/a", value));
    value.n = 2;
    const { rev, kv } = await store.get("/a");
    const want = { n: 1, text: "å", list: [null, true] };
    expect(rev).toBe(1);
    expect(kv).toEqual({ key: "/a", value: want, createRev: 1, modRev: 1, version: 1 });
    await write(store, put("/a", 0));
    expect((await store.get("/a")).kv).toMatchObject({ createRev: 1, modRev: 2, version: 2 });
    await write(store, del("/a"));
    expect((await store.get("/a")).kv).toBeUndefined();
    await write(store, put("/a", null));
    expect((await store.get("/a")).kv).toEqual({
      ...{ key: "/a", value: null, createRev: 4, modRev: 4, version: 1 },
    });
  });

  row("a failed compare does not advance the revision", async (store) => {
    await write(store, put("/a", 1));
    const failed = await store.txn({
      compare: [{ key: "/a", modRev: 0 }],
      success: [put("/a", 2)],
    });
    expect(failed).toEqual({ ok: false, rev: 1, results: [] });
    expect((await store.get("/a")).kv?.value).toBe(1);
    expect(await replay(store, "", 2)).toEqual([]);
  });

  row("the delete of a missing key does not advance the revision", async (store) => {
    const result = await write(store, del("/missing"));
    expect(result).toEqual({ ok: true, rev: 0, results: [{ kind: "delete", existed: false }] });
  });

  row("failure runs when a compare fails, and can read", async (store) => {
    await write(store, put("/a", 1));
    const result = await store.txn({
      compare: [{ key: "/a", modRev: 0 }],
      success: [put("/a", 2)],
      failure: [{ kind: "get", key: "/a" }, put("/b", 1)],
    });
    expect(result).toMatchObject({ ok: false, rev: 2 });
    expect(result.results[0]).toMatchObject({ kind: "get", kv: { value: 1, modRev: 1 } });
  });

  row("a compare sees deletes, and all compares must hold", async (store) => {
    await write(store, put("/a", 1), put("/b", 1));
    await write(store, del("/a"));
    const both = await store.txn({
      compare: [
        { key: "/a", modRev: 0 },
        { key: "/b", modRev: 1 },
      ],
      success: [put("/c", 1)],
    });
    expect(both.ok).toBe(true);
    const one = await store.txn({
      compare: [
        { key: "/a", modRev: 1 },
        { key: "/b", modRev: 1 },
      ],
      success: [put("/c", 2)],
    });
    expect(one.ok).toBe(false);
  });

  row("a get sees what the steps before it wrote", async (store) => {
    const { results } = await write(store, put("/a", 7), { kind: "get", key: "/a" });
    expect(results[1]).toMatchObject({ kv: { value: 7, modRev: 1 } });
  });

  row("transactions of one tick are separate revisions, in order", async (store) => {
    const claim = (value: number) =>
      store.txn({ compare: [{ key: "/lock", modRev: 0 }], success: [put("/lock", value)] });
    const results = await Promise.all([claim(1), claim(2), write(store, put("/b", 1))]);
    expect(results.map(({ ok, rev }) => [ok, rev])).toEqual([
      [true, 1],
      [false, 1],
      [true, 2],
    ]);
  });

  row("a transaction that is not yet acknowledged is not visible", async (store) => {
    const pending = write(store, put("/a", 1));
    expect((await store.get("/a")).rev).toBe(0);
    await pending;
    expect((await store.get("/a")).rev).toBe(1);
  });

  row(
    "a transaction that is sent again, and compares a revision, is applied once",
    async (store) => {
      const claim = { compare: [{ key: "/a", modRev: 0 }], success: [put("/a", 1)] };
      await store.txn(claim);
      expect(await store.txn(claim)).toEqual({ ok: false, rev: 1, results: [] });
      const change = { compare: [{ key: "/a", modRev: 1 }], success: [put("/a", 2)] };
      await Promise.all([store.txn(change), store.txn(change), store.txn(change)]);
      expect((await store.get("/a")).kv).toMatchObject({ modRev: 2, version: 2 });
    },
  );

  row("keys are ordered byte-wise and prefixes are plain strings", async (store) => {
    const keys = ["/b", "/a~", "/a/b", "/a", "/aB", "/ab", "/a-b", "/a!"];
    await write(store, ...keys.map((key) => put(key, 0)));
    const { kvs } = await store.list("/a");
    expect(kvs.map((kv) => kv.key)).toEqual(["/a", "/a!", "/a-b", "/a/b", "/aB", "/ab", "/a~"]);
    expect((await store.list("/a/")).kvs.map((kv) => kv.key)).toEqual(["/a/b"]);
  });

  const badKeys = [
    "",
    "/",
    "a",
    "/a b",
    "/å",
    "/a\n",
    "/\u007f",
    "/\u{1f600}",
    `/${"x".repeat(512)}`,
  ];
  for (const key of badKeys) {
    row(`the key ${JSON.stringify(key.slice(0, 8))} is refused`, async (store) => {
      const bad = { code: "ERR_STORE_BAD_KEY" };
      await expect(write(store, put(key, 1))).rejects.toMatchObject(bad);
      await expect(store.get(key)).rejects.toMatchObject(bad);
      const compare = store.txn({ compare: [{ key, modRev: 0 }], success: [] });
      await expect(compare).rejects.toMatchObject(bad);
      expect((await store.status()).rev).toBe(0);
    });
  }

  row("a key of 512 bytes is accepted", async (store) => {
    expect((await write(store, put(`/${"x".repeat(511)}`, 1))).rev).toBe(1);
  });

  row("a key is written once per transaction", async (store) => {
    const twice = write(store, put("/a", 1), del("/a"));
    await expect(twice).rejects.toMatchObject({ code: "ERR_STORE_BAD_KEY" });
  });

  row("100 operations are accepted, 101 are not", async (store) => {
    const puts = (count: number) => Array.from({ length: count }, (_, i) => put(`/k${i}`, i));
    expect((await write(store, ...puts(100))).rev).toBe(1);
    const refused = { code: "ERR_STORE_TOO_LARGE" };
    await expect(write(store, ...puts(101))).rejects.toMatchObject(refused);
    await expect(store.txn({ success: [], failure: puts(101) })).rejects.toMatchObject(refused);
    const compares = Array.from({ length: 101 }, () => ({ key: "/a", modRev: 0 }));
    await expect(store.txn({ compare: compares, success: [] })).rejects.toMatchObject(refused);
  });

  row("1 MiB of keys and values is accepted, one byte more is not", async (store) => {
    const text = (bytes: number) => "x".repeat(bytes - '"/a"'.length);
    expect((await write(store, put("/a", text(2 ** 20)))).rev).toBe(1);
    const more = write(store, put("/a", text(2 ** 20 + 1)));
    await expect(more).rejects.toMatchObject({ code: "ERR_STORE_TOO_LARGE" });
    const wide = write(store, put("/a", "å".repeat(2 ** 19)));
    await expect(wide).rejects.toMatchObject({ code: "ERR_STORE_TOO_LARGE" });
  });

  row("a value without a JSON form is refused", async (store) => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    for (const value of [undefined, () => 1, 1n, cycle]) {
      const refused = write(store, put("/a", value));
      await expect(refused).rejects.toMatchObject({ code: "ERR_STORE_BAD_VALUE" });
    }
  });

  row("get and list read at an old revision", async (store) => {
    await write(store, put("/a", 1), put("/b", 1));
    await write(store, put("/a", 2), put("/c", 1));
    await write(store, del("/b"));
    expect((await store.get("/a", { rev: 1 })).kv?.value).toBe(1);
    const at = async (rev: number) =>
      (await store.list("/", { rev })).kvs.map((kv) => `${kv.key}=${kv.value}`);
    expect(await at(0)).toEqual([]);
    expect(await at(1)).toEqual(["/a=1", "/b=1"]);
    expect(await at(2)).toEqual(["/a=2", "/b=1", "/c=1"]);
    expect(await at(3)).toEqual(["/a=2", "/c=1"]);
    const future = { code: "ERR_STORE_FUTURE_REVISION" };
    await expect(store.get("/a", { rev: 4 })).rejects.toMatchObject(future);
  });

  row("paging at one revision never cuts a revision in two", async (store) => {
    await write(store, ...Array.from({ length: 7 }, (_, i) => put(`/k${i}`, "old")));
    let page = await store.list("/k", { limit: 3 });
    const seen = [...page.kvs];
    while (page.more) {
      await write(store, put("/k5", "new"), put("/k55", "new"), del("/k6"));
      page = await store.list("/k", { limit: 3, rev: page.rev, after: seen.at(-1)!.key });
      seen.push(...page.kvs);
    }
    expect(seen.map((kv) => kv.key)).toEqual([0, 1, 2, 3, 4, 5, 6].map((i) => `/k${i}`));
    expect(new Set(seen.map((kv) => kv.value))).toEqual(new Set(["old"]));
  });

  row("a list goes on behind `after`, wherever that is", async (store) => {
    await write(store, ...["/a", "/a/b", "/a/c", "/a0", "/b"].map((key) => put(key, 0)));
    const listed = async (after: string) =>
      (await store.list("/a/", { after })).kvs.map((kv) => kv.key);
    expect(await listed("/a")).toEqual(["/a/b", "/a/c"]);
    expect(await listed("/a/b")).toEqual(["/a/c"]);
    expect(await listed("/a/b!")).toEqual(["/a/c"]);
    expect(await listed("/a/c")).toEqual([]);
    expect(await listed("/b")).toEqual([]);
  });

  row("a list of many keys is whole and of one revision", async (store) => {
    const keys = Array.from({ length: 2500 }, (_, index) => `/k/${String(index).padStart(4, "0")}`);
    for (let start = 0; start < keys.length; start += 100)
      await write(store, ...keys.slice(start, start + 100).map((key) => put(key, "old")));
    const listing = store.list("/k/");
    await write(store, put("/k/2499", "new"), del("/k/2498"));
    const { rev, kvs, more } = await listing;
    expect({ rev, more, length: kvs.length }).toEqual({ rev: 25, more: false, length: 2500 });
    expect(kvs.map((kv) => kv.key)).toEqual(keys);
    expect(new Set(kvs.map((kv) => kv.value))).toEqual(new Set(["old"]));
    expect((await store.list("/k/", { limit: 2400 })).kvs).toHaveLength(2400);
    expect((await store.list("/k/")).kvs).toHaveLength(2499);
  });

  row("more is false when the last page is exactly full", async (store) => {
    await write(store, put("/a", 1), put("/b", 1));
    expect((await store.list("/", { limit: 1 })).more).toBe(true);
    expect((await store.list("/", { limit: 2 })).more).toBe(false);
  });

  row("a watch replays the history, one item per revision", async (store) => {
    await write(store, put("/w/b", 1), put("/w/a", 1), put("/x", 1));
    await write(store, put("/x", 2));
    await write(store, del("/w/a"), put("/w/c", 1));
    expect((await replay(store, "/w/", 0)).map(brief)).toEqual(["1 +/w/a +/w/b", "3 -/w/a +/w/c"]);
    expect((await replay(store, "/w/", 2)).map(brief)).toEqual(["3 -/w/a +/w/c"]);
    expect((await replay(store, "/w/", 9)).map(brief)).toEqual([]);
  });

  row("a long replay keeps every revision whole", async (store) => {
    const keys = Array.from({ length: 93 }, (_, i) => `/k${i}`);
    for (let n = 0; n < 25; n++) await write(store, ...keys.map((key) => put(key, n)));
    const items = await replay(store, "/", 1);
    expect(items.map((item) => item.rev)).toEqual(Array.from({ length: 25 }, (_, i) => i + 1));
    for (const item of items) expect(item).toMatchObject({ events: { length: 93 } });
  });

  row("a revision of 100 keys and 1 MiB is one item, also among others like it", async (store) => {
    const text = "x".repeat(2 ** 20 / 100 - 20);
    for (let n = 0; n < 5; n++)
      await write(store, ...Array.from({ length: 100 }, (_, index) => put(`/k${index}`, text)));
    const items = await replay(store, "/", 1);
    expect(items.map((item) => item.rev)).toEqual([1, 2, 3, 4, 5]);
    for (const item of items) expect(item).toMatchObject({ events: { length: 100 } });
  });

  row("each watch gets what is under its own prefix, wherever that ends", async (store) => {
    const prefixes = ["", "/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b"];
    const stop = new AbortController();
    const seen = await Promise.all(
      prefixes.map(async (prefix) => {
        const revs: number[] = [];
        let waiting = () => {};
        const caughtUp = new Promise<void>((resolve) => {
          waiting = resolve;
        });
        const ended = (async () => {
          for await (const item of store.watch(prefix, { from: 1, signal: stop.signal })) {
            if (item.kind === "progress") waiting();
            else revs.push(item.rev);
          }
        })();
        await caughtUp;
        return { revs, ended };
      }),
    );
    for (const key of ["/a", "/a/b", "/ab", "/a/b/c", "/c"]) await write(store, put(key, 1));
    await write(store, put("/a/b", 2), put("/b", 1));
    const last = store.watch("/b", { from: 6, signal: stop.signal })[Symbol.asyncIterator]();
    expect(brief((await last.next()).value)).toBe("6 +/b");
    const want = [
      [1, 2, 3, 4, 5, 6],
      [1, 2, 3, 4, 5, 6],
      [1, 2, 3, 4, 6],
      [2, 4, 6],
      [2, 4, 6],
      [4],
      [3],
      [6],
    ];
    const isThere = () => seen.every(({ revs }, index) => revs.length >= want[index]!.length);
    while (!isThere()) await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort();
    for (const { ended } of seen) await ended;
    expect(seen.map(({ revs }) => revs)).toEqual(want);
  });

  row("a watch follows live, in order, and ends cleanly on abort", async (store) => {
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const item of store.watch("/w", { from: 1, signal: stop.signal })) {
      seen.push(brief(item));
      if (item.kind === "progress") {
        void write(store, put("/w1", 1), put("/w2", 1));
        void write(store, put("/other", 1));
        setTimeout(() => void write(store, del("/w1")), 5);
      }
      if (item.rev === 3) setTimeout(() => stop.abort(), 5);
    }
    expect(seen).toEqual(["progress 0", "1 +/w1 +/w2", "3 -/w1"]);
    expect((await store.status()).watchCount).toBe(0);
  });

  row("a watch whose reader dawdles loses nothing", async (store) => {
    const seen: number[] = [];
    for await (const item of store.watch("/", { from: 1, signal: AbortSignal.timeout(5_000) })) {
      if (item.kind === "events") seen.push(item.rev);
      if (item.rev === 30) break;
      if (item.rev % 10 === 0)
        for (let n = 0; n < 10; n++) await write(store, put("/a", n + item.rev));
    }
    expect(seen).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
  });

  row("a watch with an aborted signal is empty", async (store) => {
    await write(store, put("/a", 1));
    const items = [];
    for await (const item of store.watch("/", { from: 0, signal: AbortSignal.abort() }))
      items.push(item);
    expect(items).toEqual([]);
  });

  row("a watch may start at the compacted revision but not below", async (store) => {
    await write(store, put("/a", 1), put("/b", 1));
    await write(store, put("/a", 2));
    await write(store, del("/a"), put("/c", 1));
    await write(store, put("/b", 2));
    await store.compact(3);
    expect((await replay(store, "/", 3)).map(brief)).toEqual(["3 -/a +/c", "4 +/b"]);
    const gone = { code: "ERR_STORE_COMPACTED" };
    await expect(replay(store, "/", 2)).rejects.toMatchObject(gone);
    await expect(store.get("/a", { rev: 2 })).rejects.toMatchObject(gone);
    const { kvs } = await store.list("/", { rev: 3 });
    expect(kvs.map((kv) => `${kv.key}=${kv.value}`)).toEqual(["/b=1", "/c=1"]);
    expect((await store.get("/b")).kv).toMatchObject({ value: 2, createRev: 1, version: 2 });
  });

  row(
    "who lists again after a compaction, and watches from there, misses nothing",
    async (store) => {
      await write(store, put("/a", 1), put("/b", 1));
      await write(store, del("/a"));
      await write(store, put("/b", 2));
      await store.compact(3);
      await expect(replay(store, "/", 1)).rejects.toMatchObject({ code: "ERR_STORE_COMPACTED" });
      const { rev, kvs } = await store.list("/");
      await write(store, put("/a", 3));
      expect(kvs.map((kv) => kv.key)).toEqual(["/b"]);
      expect((await replay(store, "/", rev + 1)).map(brief)).toEqual(["4 +/a"]);
    },
  );

  row("a compaction in steps leaves what one leap leaves", async (store) => {
    for (let n = 1; n <= 12; n++)
      await write(store, put(`/k${n % 3}`, n), n % 4 === 0 ? del("/d") : put("/d", n));
    for (let rev = 1; rev <= 9; rev++) await store.compact(rev);
    const at = async (rev: number) =>
      (await store.list("/", { rev })).kvs.map((kv) => `${kv.key}=${kv.value}`);
    expect(await at(9)).toEqual(["/d=9", "/k0=9", "/k1=7", "/k2=8"]);
    expect(await at(12)).toEqual(["/k0=12", "/k1=10", "/k2=11"]);
    expect((await replay(store, "/", 9)).map(brief)).toEqual([
      "9 +/d +/k0",
      "10 +/d +/k1",
      "11 +/d +/k2",
      "12 -/d +/k0",
    ]);
    expect((await store.get("/d", { rev: 11 })).kv).toMatchObject({ createRev: 9, version: 3 });
  });

  row("a deleted key stays deleted when its tombstone is compacted", async (store) => {
    await write(store, put("/a", 1));
    await write(store, del("/a"));
    await write(store, put("/b", 1));
    await store.compact(3);
    expect((await store.list("/")).kvs.map((kv) => kv.key)).toEqual(["/b"]);
    expect((await store.txn({ compare: [{ key: "/a", modRev: 0 }], success: [] })).ok).toBe(true);
  });

  row("compacting twice or backwards is harmless, ahead is refused", async (store) => {
    await write(store, put("/a", 1));
    await write(store, put("/a", 2));
    await store.compact(2);
    await store.compact(2);
    await store.compact(1);
    expect((await store.status()).compactedRev).toBe(2);
    const future = { code: "ERR_STORE_FUTURE_REVISION" };
    await expect(store.compact(3)).rejects.toMatchObject(future);
  });

  row("an idle watch is not overtaken by compaction, a slow one is told", async (store) => {
    const signal = AbortSignal.timeout(5_000);
    const idle = store.watch("/idle", { from: 1, signal })[Symbol.asyncIterator]();
    const slow = store.watch("/", { from: 1, signal })[Symbol.asyncIterator]();
    await idle.next();
    await slow.next();
    const next = idle.next();
    await new Promise(setImmediate);
    for (let n = 1; n <= 5; n++) await write(store, put("/a", n));
    await store.compact(5);
    await write(store, put("/idle", 1));
    expect(brief((await next).value)).toBe("6 +/idle");
    await expect(slow.next()).rejects.toMatchObject({ code: "ERR_STORE_COMPACTED" });
  });

  row("the keys of a lease go with it, and no others", async (store) => {
    const lease = await store.lease(60_000);
    const held = (key: string): Operation => ({ kind: "put", key, value: 1, lease: lease.id });
    await write(store, held("/n/a"), held("/n/b"), put("/n/c", 1), held("/n/d"));
    expect((await store.get("/n/a")).kv?.lease).toBe(lease.id);
    expect((await store.get("/n/c")).kv).not.toHaveProperty("lease");
    await write(store, put("/n/d", 2)); // out of the lease
    await write(store, del("/n/b"));
    await lease.revoke();
    expect((await store.list("/n/")).kvs.map(({ key }) => key)).toEqual(["/n/c", "/n/d"]);
    expect((await replay(store, "/n/", 4)).map(brief)).toEqual(["4 -/n/a"]);
    expect((await store.status()).leaseCount).toBe(0);
    await lease.lost;
  });

  row("granting and ending a lease without keys is no revision", async (store) => {
    const lease = await store.lease(60_000);
    expect(await store.status()).toMatchObject({ rev: 0, leaseCount: 1 });
    await lease.revoke();
    await lease.revoke();
    expect((await store.status()).rev).toBe(0);
  });

  row("a put with a lease that is gone is refused, and those beside it are not", async (store) => {
    const lease = await store.lease(60_000);
    await lease.revoke();
    const late = store.txn({ success: [{ kind: "put", key: "/a", value: 1, lease: lease.id }] });
    const other = write(store, put("/b", 1));
    await expect(late).rejects.toMatchObject({ code: "ERR_STORE_LEASE_LOST" });
    expect((await other).rev).toBe(1);
    expect((await store.get("/a")).kv).toBeUndefined();
  });

  row("a lease is held by one", async (store) => {
    const { id } = await store.lease(60_000);
    const lost = { code: "ERR_STORE_LEASE_LOST" };
    await expect(store.lease(60_000, { id })).rejects.toMatchObject(lost);
    await expect(store.lease(60_000, { id: "nobody" })).rejects.toMatchObject(lost);
  });

  row(
    "a lease of many keys ends whole, and no revision has more than 100 of them",
    async (store) => {
      const lease = await store.lease(60_000);
      for (let page = 0; page < 13; page++) {
        const puts = Array.from({ length: 100 }, (_, index) => `/n/${page}-${index}`);
        await write(
          store,
          ...puts.map((key) => ({ ...put(key, 1), lease: lease.id }) as Operation),
        );
      }
      await lease.revoke();
      expect((await store.list("/n/")).kvs).toEqual([]);
      const items = await replay(store, "/n/", 14);
      expect(items.map((item) => item.kind === "events" && item.events.length)).toEqual(
        Array.from({ length: 13 }, () => 100),
      );
    },
  );

  row("a watch on another prefix sleeps through the end of a lease", async (store) => {
    const lease = await store.lease(60_000);
    await write(store, { kind: "put", key: "/n/a", value: 1, lease: lease.id });
    const watch = store
      .watch("/w", { from: 2, signal: AbortSignal.timeout(5_000) })
      [Symbol.asyncIterator]();
    await watch.next();
    const next = watch.next();
    await lease.revoke();
    await write(store, put("/w", 1));
    expect(brief((await next).value)).toBe("3 +/w");
  });

  row("a lease that could not be kept is refused", async (store) => {
    for (const ttlMs of [0, 99, 1.5, 3_600_001, Number.NaN]) {
      await expect(store.lease(ttlMs)).rejects.toThrow(RangeError);
    }
  });

  row("status counts keys that exist", async (store) => {
    await write(store, put("/a", 1), put("/b", 1));
    await write(store, del("/a"));
    expect(await store.status()).toMatchObject({ rev: 2, compactedRev: 0, keyCount: 1 });
    await write(store, put("/a", 2));
    await write(store, put("/a", 3));
    await store.compact(4);
    expect(await store.status()).toMatchObject({ rev: 4, compactedRev: 4, keyCount: 2 });
  });

  test("dispose keeps what was queued, ends watches, refuses later calls, and can be repeated", async () => {
    const store = open();
    const signal = new AbortController().signal;
    const watch = store.watch("/", { from: 1, signal })[Symbol.asyncIterator]();
    await watch.next();
    const waiting = watch.next();
    const lease = await store.lease(60_000);
    const queued = write(store, put("/a", 1));
    await store[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    expect((await queued).rev).toBe(1);
    const closed = { code: "ERR_STORE_CLOSED" };
    await expect(waiting).rejects.toMatchObject(closed);
    await lease.lost;
    await expect(lease.revoke()).rejects.toMatchObject(closed);
    await expect(store.lease(60_000)).rejects.toMatchObject(closed);
    await expect(store.get("/a")).rejects.toMatchObject(closed);
    await expect(store.list("/")).rejects.toMatchObject(closed);
    await expect(write(store, put("/a", 1))).rejects.toMatchObject(closed);
    await expect(store.compact(1)).rejects.toMatchObject(closed);
    await expect(store.status()).rejects.toMatchObject(closed);
    await expect(replay(store, "/", 1)).rejects.toMatchObject(closed);
  });
}
