import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { openSqliteStore } from "../../src/store/index.ts";
import { storeConformance } from "./conformance.ts";

function temporaryFolder() {
  const path = mkdtempSync(join(tmpdir(), "goalstate-store-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

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
