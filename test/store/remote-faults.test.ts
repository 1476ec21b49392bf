/** What a client of a shared store sees when either side is killed, stopped or away. */
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { follow, openMemoryStore } from "../../src/store/index.ts";
import { openClient, serveHere, socketPath, startHolder, startServer } from "./remote-parts.ts";

const put = (key: string, value: unknown) => ({ success: [{ kind: "put" as const, key, value }] });

/** Waits until `read` gives what is wanted. */
async function until<T>(read: () => Promise<T> | T, isWanted: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await read();
    if (isWanted(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function serverFiles() {
  const path = socketPath();
  return { path, file: join(dirname(path), "fabric.sqlite") };
}

describe("a server that is killed and started again", () => {
  test("has kept everything acknowledged, and what was under way is uncertain", async () => {
    const { path, file } = serverFiles();
    const server = await startServer(file, path);
    const client = openClient(path);
    const acknowledged: string[] = [];
    const uncertain: string[] = [];
    let toKill = 300;
    const write = async (writer: number) => {
      for (let n = 0; uncertain.length === 0; n++) {
        const key = `/w/${writer}/${n}`;
        try {
          await client.txn({ ...put(key, n), compare: [{ key, modRev: 0 }] });
          acknowledged.push(key);
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_STORE_UNCERTAIN" });
          uncertain.push(key);
        }
        if (--toKill === 0) server.process.kill("SIGKILL");
      }
    };
    await Promise.all([0, 1, 2, 3].map(write));
    await server.kill();
    await startServer(file, path);
    const kept = (await client.list("/w/")).kvs.map(({ key }) => key);
    expect(acknowledged.filter((key) => !kept.includes(key))).toEqual([]);
    expect(kept.filter((key) => !acknowledged.includes(key) && !uncertain.includes(key))).toEqual(
      [],
    );
  });

  test("does not interrupt a watch: no revision is lost, none comes twice", async () => {
    const { path, file } = serverFiles();
    let server = await startServer(file, path);
    const client = openClient(path);
    const stop = new AbortController();
    const seen: number[] = [];
    let progressCount = 0;
    const watching = (async () => {
      for await (const item of client.watch("/", { from: 1, signal: stop.signal })) {
        if (item.kind === "progress") progressCount++;
        else seen.push(item.rev);
      }
    })();
    for (let kill = 0; kill < 3; kill++) {
      for (let n = 0; n < 50; n++) await client.txn(put(`/a/${n % 7}`, n));
      await server.kill();
      server = await startServer(file, path);
    }
    await client.txn(put("/end", 1));
    await until(
      () => seen.at(-1),
      (rev) => rev === 151,
    );
    stop.abort();
    await watching;
    expect(seen).toEqual(Array.from({ length: 151 }, (_, index) => index + 1));
    expect(progressCount).toBe(1);
  });

  test("does not interrupt a follower, also one that begins while the server is away", async () => {
    const { path, file } = serverFiles();
    const client = openClient(path, { waitMs: 50 });
    const stop = new AbortController();
    const documents = new Map<string, unknown>();
    const { caughtUp, ended } = follow(
      client,
      "/d/",
      (key, value) => void documents.set(key, value),
      stop.signal,
    );
    await new Promise((resolve) => setTimeout(resolve, 200)); // longer than a call waits
    const server = await startServer(file, path);
    await caughtUp;
    await client.txn(put("/d/a", 1));
    await until(
      () => documents.get("/d/a"),
      (value) => value === 1,
    );
    await server.kill();
    await startServer(file, path);
    await until(
      () =>
        client.txn(put("/d/a", 2)).then(
          () => true,
          () => false,
        ),
      (isDone) => isDone,
    );
    await until(
      () => documents.get("/d/a"),
      (value) => value === 2,
    );
    stop.abort();
    await ended;
  });

  test("still has the leases of its clients, and the clients take them up again", async () => {
    const { path, file } = serverFiles();
    const server = await startServer(file, path);
    const client = openClient(path);
    const lease = await client.lease(3000); // longer than the client may wait to connect
    await client.txn({ success: [{ kind: "put", key: "/n", value: 1, lease: lease.id }] });
    let isLost = false;
    void lease.lost.then(() => {
      isLost = true;
    });
    await server.kill();
    await startServer(file, path);
    await new Promise((resolve) => setTimeout(resolve, 3500));
    expect((await client.get("/n")).kv).toMatchObject({ lease: lease.id });
    expect(isLost).toBe(false);
    await lease.revoke();
    expect((await client.get("/n")).kv).toBeUndefined();
    await lease.lost;
  });
});

describe("a server that is away", () => {
  test("makes calls wait, and then reject: nothing was done", async () => {
    const path = socketPath();
    const client = openClient(path, { waitMs: 50 });
    const away = { code: "ERR_STORE_UNAVAILABLE" };
    const calls = [client.get("/a"), client.list("/"), client.txn(put("/a", 1)), client.status()];
    for (const call of calls) await expect(call).rejects.toMatchObject(away);
    await expect(client.lease(1000)).rejects.toMatchObject(away);
    const { local } = await serveHere({ path });
    const later = await until(
      () => client.txn(put("/b", 1)).catch(() => undefined),
      (result) => result !== undefined,
    );
    expect(later).toMatchObject({ rev: 1 });
    expect((await local.list("/")).kvs.map(({ key }) => key)).toEqual(["/b"]);
  });

  test("does what calls asked for that still wait when it comes", async () => {
    const path = socketPath();
    const client = openClient(path);
    const early = [client.txn(put("/a", 1)), client.txn(put("/b", 1)), client.get("/b")] as const;
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { local } = await serveHere({ path });
    expect((await Promise.all(early)).map(({ rev }) => rev)).toEqual([1, 2, 0]);
    expect(local.rev).toBe(2);
  });

  test("rejects reads that were under way as not done", async () => {
    const path = socketPath();
    const local = openMemoryStore();
    const { server } = await serveHere({ path, store: local });
    const client = openClient(path);
    await client.get("/a");
    const read = client.get("/a");
    const write = client.txn(put("/a", 1));
    void server[Symbol.asyncDispose]();
    await expect(read).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" });
    await expect(write).rejects.toMatchObject({ code: "ERR_STORE_UNCERTAIN" });
  });

  test("is noticed when it stands still, and worked with when it goes on", async () => {
    const { path, file } = serverFiles();
    const server = await startServer(file, path);
    const states: string[] = [];
    const client = openClient(path, {
      silenceMs: 3000,
      onConnection: (state) => void states.push(state),
    });
    await client.txn(put("/a", 1));
    server.process.kill("SIGSTOP");
    const write = client.txn(put("/a", 2));
    await expect(write).rejects.toMatchObject({ code: "ERR_STORE_UNCERTAIN" });
    server.process.kill("SIGCONT");
    expect((await client.get("/a")).kv).toBeDefined();
    expect(states).toEqual(["connected", "away", "connected"]);
  });

  test("and comes back with another history, makes watches list again and leases end", async () => {
    const path = socketPath();
    const { local, server } = await serveHere({ path });
    const client = openClient(path);
    const lease = await client.lease(60_000);
    const documents = new Map<string, unknown>();
    const stop = new AbortController();
    const following = follow(
      client,
      "/",
      (key, value) => {
        if (value === undefined) documents.delete(key);
        else documents.set(key, value);
      },
      stop.signal,
    );
    for (const key of ["/a", "/b", "/c"]) await client.txn(put(key, 1));
    await until(
      () => documents.size,
      (size) => size === 3,
    );
    await server[Symbol.asyncDispose]();
    await local[Symbol.asyncDispose]();
    const other = openMemoryStore();
    await other.txn(put("/d", 1));
    await serveHere({ path, store: other });
    await lease.lost;
    await until(
      () => [...documents.keys()].join(),
      (keys) => keys === "/d",
    );
    stop.abort();
    await following.ended;
  });
});

describe("the lease of a client", () => {
  test("lives on while the client does, far beyond its time to live", async () => {
    const { path, local } = await serveHere();
    const holder = await startHolder(path, { ttlMs: 1000, key: "/n" });
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect((await local.get("/n")).kv).toMatchObject({ lease: holder.lease, modRev: 1 });
  });

  test("outlives a client that is killed by its time to live, and takes the keys along", async () => {
    const { path, local } = await serveHere();
    const holder = await startHolder(path, { ttlMs: 500, key: "/n" });
    await holder.kill();
    expect((await local.get("/n")).kv).toBeDefined();
    await until(
      () => local.rev,
      (rev) => rev === 2,
    );
    expect((await local.get("/n")).kv).toBeUndefined();
    expect((await local.status()).leaseCount).toBe(0);
  });

  test("is taken up by the next run of a client that was killed", async () => {
    const { path, local } = await serveHere();
    const holder = await startHolder(path, { ttlMs: 2000, key: "/n" });
    await holder.kill();
    const next = await startHolder(path, { ttlMs: 2000, key: "/m", id: holder.lease });
    expect(next.lease).toBe(holder.lease);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect((await local.list("/")).kvs.map(({ key }) => key)).toEqual(["/m", "/n"]);
  });

  test("ends when the client stands still for its time to live, and the client learns it", async () => {
    const { path, local } = await serveHere();
    const holder = await startHolder(path, { ttlMs: 500, key: "/n" });
    holder.process.kill("SIGSTOP");
    await until(
      () => local.rev,
      (rev) => rev === 2,
    );
    expect((await local.status()).leaseCount).toBe(0);
    holder.process.kill("SIGCONT");
    expect(await holder.line()).toBe("lost");
  });

  test("outlives a client that closes its store by its time to live", async () => {
    const { path, local } = await serveHere();
    const client = openClient(path);
    const { id } = await client.lease(60_000);
    await client[Symbol.asyncDispose]();
    await until(
      () =>
        local.lease(60_000, { id }).then(
          () => true,
          () => false,
        ),
      (isFree) => isFree,
    );
  });

  test("is refused to another client while one holds it", async () => {
    const { path } = await serveHere();
    const [one, other] = [openClient(path), openClient(path)];
    const { id } = await one.lease(60_000);
    const lost = { code: "ERR_STORE_LEASE_LOST" };
    await expect(other.lease(60_000, { id })).rejects.toMatchObject(lost);
  });
});
