import { describe, expect, test } from "vitest";
import { compactionTarget, openMemoryStore, startCompaction } from "../../src/store/index.ts";

const put = (key: string, value: unknown) => ({ success: [{ kind: "put" as const, key, value }] });

describe("compactionTarget()", () => {
  const rows = [
    { name: "keeps a short history whole", rev: 99, neededRev: undefined, want: 0 },
    { name: "keeps as many revisions as it should", rev: 150, neededRev: undefined, want: 50 },
    { name: "waits for a watch that is behind", rev: 300, neededRev: 120, want: 120 },
    { name: "takes no notice of a watch that is near", rev: 300, neededRev: 290, want: 200 },
    { name: "overtakes a watch that is far behind", rev: 1000, neededRev: 120, want: 600 },
    { name: "never aims below zero", rev: 300, neededRev: 0, want: 0 },
  ];
  test.each(rows)("$name", ({ rev, neededRev, want }) => {
    expect(compactionTarget({ rev, neededRev }, 100)).toBe(want);
  });
});

/** Compaction with a timer that fires when the test says so. */
function compactByHand(store: ReturnType<typeof openMemoryStore>, keepRevisions: number) {
  let fire: (() => void) | undefined;
  let waits = 0;
  const faults: unknown[] = [];
  const compaction = startCompaction({
    store,
    keepRevisions,
    onFault: (error) => void faults.push(error),
    startTimer: (_milliseconds, callback) => {
      fire = callback;
      waits++;
      return () => {
        fire = undefined;
      };
    },
  });
  const look = async () => {
    const before = waits;
    fire?.();
    while (waits === before) await new Promise(setImmediate); // until it waits again
  };
  return { look, faults, compaction, isWaiting: () => fire !== undefined };
}

describe("startCompaction()", () => {
  test("forgets what is older, in steps, and leaves sleeping and near watches alone", async () => {
    await using store = openMemoryStore();
    const { look, compaction, isWaiting } = compactByHand(store, 100);
    const signal = AbortSignal.timeout(10_000);
    const sleeper = store.watch("/quiet", { from: 1, signal })[Symbol.asyncIterator]();
    await sleeper.next();
    const quiet = sleeper.next();
    await Promise.all(Array.from({ length: 2500 }, (_, n) => store.txn(put("/a", n))));
    await look();
    expect(store.compactedRev).toBe(2400);
    await store.txn(put("/quiet", 1));
    expect((await quiet).value).toMatchObject({ rev: 2501 });
    compaction[Symbol.dispose]();
    expect(isWaiting()).toBe(false);
  });

  test("is held up by a slow watch, and goes on when that has read", async () => {
    await using store = openMemoryStore();
    const { look, compaction } = compactByHand(store, 100);
    using _compaction = compaction;
    const signal = AbortSignal.timeout(10_000);
    const slow = store.watchPages("/", { from: 1, signal })[Symbol.asyncIterator]();
    await slow.next();
    await Promise.all(Array.from({ length: 250 }, (_, n) => store.txn(put("/a", n))));
    await look();
    expect(store.compactedRev).toBe(1);
    expect((await slow.next()).value).toHaveLength(250);
    await look();
    expect(store.compactedRev).toBe(150);
  });

  test("tells a fault and tries again", async () => {
    await using store = openMemoryStore();
    const { look, faults, compaction } = compactByHand(store, 1);
    using _compaction = compaction;
    await store.txn(put("/a", 1));
    await store.txn(put("/a", 2));
    const compact = store.compact.bind(store);
    store.compact = () => Promise.reject(new Error("disk full"));
    await look();
    expect(faults).toHaveLength(1);
    store.compact = compact;
    await look();
    expect(store.compactedRev).toBe(1);
  });
});
