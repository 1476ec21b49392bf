import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { EmbeddedStore } from "../../src/store/embedded-store.ts";
import { openSqliteStore } from "../../src/store/index.ts";
import { SqliteEngine } from "../../src/store/sqlite-engine.ts";
import { storeConformance } from "./conformance.ts";

function temporaryFolder() {
  const path = mkdtempSync(join(tmpdir(), "goalstate-store-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

/** What the first format wrote, with one key. */
const FORMAT_1 = `
  CREATE TABLE history (key TEXT NOT NULL, rev INTEGER NOT NULL, create_rev INTEGER NOT NULL,
    version INTEGER NOT NULL, value TEXT, PRIMARY KEY (key, rev)) STRICT, WITHOUT ROWID;
  CREATE INDEX history_by_rev ON history (rev, key);
  CREATE TABLE head (only INTEGER PRIMARY KEY CHECK (only = 1), rev INTEGER NOT NULL,
    compacted_rev INTEGER NOT NULL) STRICT;
  INSERT INTO head VALUES (1, 1, 0);
  INSERT INTO history VALUES ('/a', 1, 1, 1, '1');
  PRAGMA user_version = 1;
`;

function spawnWriter(path: string): { child: ChildProcess; lines: AsyncIterable<string> } {
  const script = join(import.meta.dirname, "sqlite-writer.ts");
  const child = spawn(process.execPath, [script, path], { stdio: ["ignore", "pipe", "inherit"] });
  return { child, lines: createInterface({ input: child.stdout }) };
}

describe("openSqliteStore() in memory", () => {
  storeConformance(() => openSqliteStore({ path: ":memory:" }));
});

describe("openSqliteStore()", () => {
  test("keeps everything acknowledged when its process is killed, and the lock dies with it", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "fabric.db");
    const { child, lines } = spawnWriter(path);
    const acknowledged: string[] = [];
    for await (const line of lines) {
      if (line === "open") {
        expect(() => openSqliteStore({ path })).toThrowError(
          expect.objectContaining({
            code: "ERR_STORE_LOCKED",
            message: expect.stringContaining(path),
          }),
        );
        continue;
      }
      acknowledged.push(line);
      if (acknowledged.length === 300) child.kill("SIGKILL");
    }
    expect(acknowledged.length).toBeGreaterThanOrEqual(300);
    await using store = openSqliteStore({ path });
    const kept = new Set((await store.list("/w/")).kvs.map((kv) => kv.key));
    expect(acknowledged.filter((key) => !kept.has(key))).toEqual([]);
    expect((await store.status()).rev).toBe(kept.size);
  });

  test("reopens with revisions, history and compaction intact", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "fabric.db");
    {
      await using store = openSqliteStore({ path });
      for (const value of [1, 2, 3])
        await store.txn({ success: [{ kind: "put", key: "/a", value }] });
      await store.compact(2);
    }
    await using store = openSqliteStore({ path });
    expect(await store.status()).toMatchObject({ rev: 3, compactedRev: 2 });
    expect((await store.get("/a", { rev: 2 })).kv?.value).toBe(2);
    expect((await store.txn({ success: [{ kind: "put", key: "/a", value: 4 }] })).rev).toBe(4);
  });

  test("reads a file of format 1, which knew no leases", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "fabric.db");
    const db = new DatabaseSync(path);
    db.exec(FORMAT_1);
    db.close();
    await using store = openSqliteStore({ path });
    const { id } = await store.lease(60_000);
    await store.txn({ success: [{ kind: "put", key: "/b", value: 2, lease: id }] });
    expect((await store.list("/")).kvs).toMatchObject([
      { key: "/a", value: 1, modRev: 1 },
      { key: "/b", lease: id, modRev: 2 },
    ]);
  });

  describe("a lease whose holder died with the process", () => {
    async function leave(path: string): Promise<string> {
      await using store = openSqliteStore({ path });
      const { id } = await store.lease(60_000);
      await store.txn({ success: [{ kind: "put", key: "/nodes/n1", value: 1, lease: id }] });
      return id;
    }

    /** Opens the file with timers that fire when the test says so. */
    function openWithTimers(path: string) {
      const timers = new Map<() => void, number>();
      const store = new EmbeddedStore(new SqliteEngine(path), (milliseconds, callback) => {
        timers.set(callback, milliseconds);
        return () => timers.delete(callback);
      });
      return { store, timers };
    }

    test("lives on for its time, and then takes its keys along", async () => {
      using folder = temporaryFolder();
      const path = join(folder.path, "fabric.db");
      const id = await leave(path);
      const { store, timers } = openWithTimers(path);
      {
        await using _open = store;
        expect((await store.get("/nodes/n1")).kv).toMatchObject({ value: 1, lease: id });
        expect([...timers.values()]).toEqual([60_000]);
        for (const fire of timers.keys()) fire();
        expect((await store.get("/nodes/n1")).kv).toBeUndefined();
        expect(await store.status()).toMatchObject({ rev: 2, leaseCount: 0 });
      }
      await using again = openSqliteStore({ path });
      expect(await again.status()).toMatchObject({ rev: 2, leaseCount: 0 });
    });

    test("stays if the holder comes back in time", async () => {
      using folder = temporaryFolder();
      const path = join(folder.path, "fabric.db");
      const id = await leave(path);
      const { store, timers } = openWithTimers(path);
      await using _open = store;
      const lease = await store.lease(30_000, { id });
      expect(timers.size).toBe(0);
      expect((await store.get("/nodes/n1")).kv).toMatchObject({ value: 1 });
      await lease.revoke();
      expect((await store.get("/nodes/n1")).kv).toBeUndefined();
    });
  });

  test("refuses a second open in the same process", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "fabric.db");
    await using _store = openSqliteStore({ path });
    expect(() => openSqliteStore({ path })).toThrowError(
      expect.objectContaining({ code: "ERR_STORE_LOCKED" }),
    );
  });

  test("names the path of a file that is no store, of a missing folder, of a newer format", () => {
    using folder = temporaryFolder();
    const text = join(folder.path, "text");
    writeFileSync(text, "this is not a database".repeat(100));
    const newer = join(folder.path, "newer");
    const db = new DatabaseSync(newer);
    db.exec("PRAGMA user_version = 99");
    db.close();
    for (const path of [text, join(folder.path, "missing", "db"), newer]) {
      expect(() => openSqliteStore({ path })).toThrowError(
        expect.objectContaining({
          code: "ERR_STORE_OPEN",
          message: expect.stringContaining(path),
        }),
      );
    }
  });

  test("does not start a second process on an open store", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "fabric.db");
    await using _store = openSqliteStore({ path });
    const script = join(import.meta.dirname, "sqlite-writer.ts");
    const child = spawn(process.execPath, [script, path], { stdio: ["ignore", "ignore", "pipe"] });
    let text = "";
    child.stderr.on("data", (chunk) => {
      text += chunk;
    });
    await once(child, "close");
    expect(child.exitCode).toBe(1);
    expect(text).toContain("ERR_STORE_LOCKED");
  });
});
