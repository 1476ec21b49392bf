/** The two engines keep the same, whatever is done to them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { EmbeddedStore } from "../../src/store/embedded-store.ts";
import type { LocalStore } from "../../src/store/index.ts";
import { MemoryEngine } from "../../src/store/memory-engine.ts";
import { SqliteEngine } from "../../src/store/sqlite-engine.ts";

const KEYS = ["/a", "/a/b", "/a/c", "/ab", "/b", "/b/1"];

const key = fc.constantFrom(...KEYS);
const step = fc.oneof(
  fc.record({ kind: fc.constant("put" as const), key, value: fc.nat(9) }),
  fc.record({ kind: fc.constant("delete" as const), key }),
  fc.record({ kind: fc.constant("compact" as const), back: fc.nat(3) }),
);

/** All that can be seen of a store from the outside. */
async function look(store: LocalStore): Promise<unknown> {
  const { engine: _engine, ...status } = await store.status();
  const seen: unknown[] = [status];
  for (let rev = store.compactedRev; rev <= store.rev; rev++) {
    for (const prefix of ["", "/a", "/a/", "/b"]) {
      const first = await store.list(prefix, { rev, limit: 2 });
      const after = first.kvs.at(-1)?.key ?? "";
      seen.push(first, await store.list(prefix, { rev, after }));
    }
  }
  const signal = new AbortController().signal;
  for await (const page of store.watchPages("/a", { from: store.compactedRev, signal })) {
    seen.push(page);
    if (page.at(-1)?.kind === "progress") break;
  }
  return seen;
}

test("SQLite and memory show the same after any writes and compactions", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      await using memory = new EmbeddedStore(new MemoryEngine());
      await using sqlite = new EmbeddedStore(new SqliteEngine(":memory:"));
      for (const store of [memory, sqlite]) {
        for (const done of steps) {
          if (done.kind === "compact") await store.compact(Math.max(0, store.rev - done.back));
          else await store.txn({ success: [done] });
        }
      }
      expect(await look(sqlite)).toEqual(await look(memory));
    }),
    { numRuns: 60 },
  );
});
