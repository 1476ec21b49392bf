/** What is measured of a store; each row takes samples, one for each round and subject. */
import { closeSync, fdatasyncSync, openSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type FabricStore, openSqliteStore } from "../../src/store/index.ts";
import type { Subject } from "./subject.ts";

/** As long as a container's goal. */
const VALUE = { state: "Started", attempt: 1, node: "node-17", image: "x".repeat(240) };
const IN_FLIGHT = 64;
const KEYS = 10_000;
const NODES = 200;

const keyOf = (n: number) => `/on/node-${n % NODES}/nics/${n % KEYS}`;
const put = (store: FabricStore, key: string) =>
  store.txn({ success: [{ kind: "put", key, value: VALUE }] });

/** Durable single-key puts a second, {@link IN_FLIGHT} at a time, and this process's CPU time for each in us. */
export async function putsPerSecond(
  { store }: Subject,
  seconds: number,
): Promise<{ readonly perSecond: number; readonly cpuUs: number }> {
  const cpuBefore = process.cpuUsage();
  const beganAt = performance.now();
  const endAt = beganAt + seconds * 1000;
  let count = 0;
  const work = async () => {
    while (performance.now() < endAt) await put(store, keyOf(count++));
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  const { user, system } = process.cpuUsage(cpuBefore);
  const perSecond = (count * 1000) / (performance.now() - beganAt);
  return { perSecond, cpuUs: (user + system) / count };
}

/** Milliseconds of writing 4 KiB and waiting for the disk, nothing else: what no store on it can be faster than. */
export function syncMilliseconds(folder: string): { readonly p50: number; readonly p99: number } {
  const fd = openSync(join(folder, "sync"), "w");
  const times: number[] = [];
  for (let n = 0; n < 300; n++) {
    const beganAt = performance.now();
    writeSync(fd, Buffer.alloc(4096));
    fdatasyncSync(fd);
    times.push(performance.now() - beganAt);
  }
  closeSync(fd);
  times.sort((a, b) => a - b);
  return { p50: times[150]!, p99: times[297]! };
}

/** Milliseconds from the call of a put to its item at a watch, of `perSecond` puts: p50 and p99. */
export async function watchLatency(
  subject: Subject,
  seconds: number,
  perSecond: number,
): Promise<{ readonly p50: number; readonly p99: number }> {
  const sentAt: number[] = [];
  const latencies: number[] = [];
  const count = Math.floor(seconds * perSecond);
  const { rev } = await subject.store.list("/watched/");
  const stop = new AbortController();
  const watching = (async () => {
    const watcher = subject.openClient();
    for await (const item of watcher.watch("/watched/", { from: rev + 1, signal: stop.signal })) {
      if (item.kind === "progress") continue;
      for (const event of item.events) {
        if (event.kind !== "put") continue;
        latencies.push(performance.now() - sentAt[Number(event.kv.key.split("/")[2])]!);
      }
      if (latencies.length === count) stop.abort();
    }
  })();
  await sleep(100);
  const beganAt = performance.now();
  for (let n = 0; n < count; n++) {
    const dueAt = beganAt + (n * 1000) / perSecond;
    if (performance.now() < dueAt) await sleep(Math.max(1, dueAt - performance.now()));
    sentAt[n] = performance.now();
    void put(subject.store, `/watched/${n}`);
  }
  await watching;
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(latencies.length * share)]!;
  return { p50: at(0.5), p99: at(0.99) };
}

/** Opens `count` watches on narrow prefixes, as {@link NODES} node agents would; they sleep until the signal aborts. */
export async function openWatches(
  subject: Subject,
  count: number,
  signal: AbortSignal,
): Promise<Promise<number>[]> {
  const ended: Promise<number>[] = [];
  const caughtUp: Promise<void>[] = [];
  let client: FabricStore | undefined;
  const perNode = Math.ceil(count / NODES);
  for (let n = 0; n < count; n++) {
    if (n % perNode === 0) client = subject.openClient();
    const store = client!;
    const prefix = `/on/node-${Math.floor(n / perNode)}/${["nics", "containers", "vips", "x", "y"][n % perNode]}/`;
    const { promise, resolve } = Promise.withResolvers<void>();
    caughtUp.push(promise);
    ended.push(
      (async () => {
        let items = 0;
        for await (const item of store.watch(prefix, { from: 1, signal })) {
          if (item.kind === "progress") resolve();
          else items++;
        }
        return items;
      })(),
    );
  }
  await Promise.all(caughtUp);
  return ended;
}

/** Octets of the file and its log. */
export function storeBytes(file: string): number {
  const sizes = [file, `${file}-wal`].map((path) => statSync(path, { throwIfNoEntry: false }));
  return sizes.reduce((sum, stat) => sum + (stat?.size ?? 0), 0);
}

/** Microseconds of a list of 50 keys, with `others` keys beside them and `versions` of each in the history. */
export async function listMicroseconds(others: number, versions: number): Promise<number> {
  await using store = openSqliteStore({ path: ":memory:" });
  const keys = Array.from({ length: 50 }, (_, n) => `/on/node-1/nics/${n}`);
  const more = Array.from({ length: others }, (_, n) => `/on/node-2/nics/${n}`);
  for (const key of more) void put(store, key);
  for (let version = 1; version < versions; version++)
    await Promise.all(keys.map((key) => put(store, key)));
  await Promise.all(keys.map((key) => put(store, key)));
  const lists = 500;
  const beganAt = performance.now();
  for (let n = 0; n < lists; n++) await store.list("/on/node-1/nics/");
  return ((performance.now() - beganAt) * 1000) / lists;
}

/** Longest stop of the event loop while a store of `revisions` revisions compacts them away, and its length, in ms. */
export async function compactionStops(
  revisions: number,
  startCompaction: (store: ReturnType<typeof openSqliteStore>) => Disposable,
  file: string,
): Promise<{ readonly longestMs: number; readonly totalMs: number; readonly bytes: number }> {
  await using store = openSqliteStore({ path: file });
  for (let n = 0; n < revisions; n += 500)
    await Promise.all(Array.from({ length: 500 }, (_, i) => put(store, keyOf(n + i))));
  const beganAt = performance.now();
  using _compaction = startCompaction(store);
  let longestMs = 0;
  let lastAt = performance.now();
  while (store.compactedRev < revisions - 1) {
    await new Promise(setImmediate);
    longestMs = Math.max(longestMs, performance.now() - lastAt);
    lastAt = performance.now();
  }
  return { longestMs, totalMs: performance.now() - beganAt, bytes: storeBytes(file) };
}
