/** The rules between the two sides of a shared store, kept and broken. */
import { once } from "node:events";
import { statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { openMemoryStore, openRemoteStore, serveStore } from "../../src/store/index.ts";
import { FrameStream } from "../../src/store/remote/frame-stream.ts";
import { CALLS_MAX } from "../../src/store/remote/link.ts";
import { FRAME_BYTES_MAX } from "../../src/store/remote/protocol.ts";
import { fixedPath, openClient, serveHere, socketPath } from "./remote-parts.ts";

const put = (key: string, value: unknown) => ({ success: [{ kind: "put" as const, key, value }] });
const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 10));

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await pause();
}

/** A client that says what it is told to. */
async function rawClient(path: string) {
  const socket = connect(path);
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  const stream = new FrameStream(socket);
  const heard: { readonly kind: string; readonly [name: string]: unknown }[] = [];
  socket.on("data", (chunk: Buffer) => void heard.push(...stream.receive(chunk)));
  socket.on("error", () => undefined);
  /** Kinds of all messages but pongs, after everything that was sent so far was handled. */
  const kinds = async () => {
    const pongs = () => heard.filter(({ kind }) => kind === "pong").length;
    const before = pongs();
    stream.send({ kind: "ping" });
    await until(() => pongs() > before);
    return heard.map(({ kind }) => kind).filter((kind) => kind !== "pong");
  };
  return { socket, stream, heard, kinds, closed: once(socket, "close") };
}

const hello = { kind: "hello", version: 1, session: "s" };

describe("a watch", () => {
  test("is sent one page for each pull, however much happens, and goes with its client", async () => {
    const { path, local } = await serveHere();
    const { stream, heard, kinds, socket } = await rawClient(path);
    const pages = () => heard.filter(({ kind }) => kind === "items");
    stream.send(hello);
    stream.send({ kind: "watch", id: 1, prefix: "/", from: 1 });
    await until(() => pages().length === 1);
    for (let n = 0; n < 2000; n++) void local.txn(put("/a", "x".repeat(1000)));
    await local.txn(put("/a", "last"));
    expect(await kinds()).toEqual(["welcome", "items"]);
    expect(local.neededRev).toBe(1);
    stream.send({ kind: "pull", id: 1 });
    await until(() => pages().length === 2);
    expect((pages()[1]!["items"] as unknown[]).length).toBeLessThanOrEqual(1000);
    expect(await kinds()).toEqual(["welcome", "items", "items"]);
    expect((await local.status()).watchCount).toBe(1);
    socket.destroy();
    await until(async () => (await local.status()).watchCount === 0);
  });

  test("that the client left is forgotten", async () => {
    const { path, local } = await serveHere();
    const client = openClient(path);
    const stop = new AbortController();
    const watch = client.watch("/", { from: 1, signal: stop.signal })[Symbol.asyncIterator]();
    await watch.next();
    const next = watch.next();
    await client.status();
    stop.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    await client.status();
    expect((await local.status()).watchCount).toBe(0);
  });
});

describe("many requests", () => {
  test("of one turn are all answered, in the order that they were made", async () => {
    const { path } = await serveHere();
    const client = openClient(path);
    const results = await Promise.all(
      Array.from({ length: 5000 }, (_, n) => client.txn(put(`/k${n % 10}`, n))),
    );
    expect(results.map(({ rev }) => rev)).toEqual(Array.from({ length: 5000 }, (_, n) => n + 1));
  });

  test("beyond what a client may have under way are refused, and nothing of them is done", async () => {
    const { path, local } = await serveHere();
    const client = openClient(path);
    await client.get("/a");
    const calls = Array.from({ length: CALLS_MAX }, () => client.get("/a"));
    const one = client.txn(put("/a", 1));
    await expect(one).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" });
    await Promise.all(calls);
    expect(local.rev).toBe(0);
  });

  test("with answers larger than all buffers are answered", async () => {
    const { path } = await serveHere();
    const client = openClient(path);
    const text = "x".repeat(900_000);
    for (let n = 0; n < 12; n++) await client.txn(put(`/big/${n}`, text));
    const lists = await Promise.all(Array.from({ length: 5 }, () => client.list("/big/")));
    for (const { kvs } of lists) expect(kvs).toHaveLength(12);
  });

  test("of a client that reads nothing stay in its socket, and others are served", async () => {
    const { path, local } = await serveHere();
    await local.txn(put("/big", "x".repeat(500_000)));
    const get = local.get.bind(local);
    let getCount = 0;
    local.get = (key, options) => {
      getCount++;
      return get(key, options);
    };
    const { socket, stream } = await rawClient(path);
    socket.pause();
    stream.send(hello);
    for (let id = 1; id <= 2000; id++) stream.send({ kind: "get", id, key: "/big" });
    await until(() => getCount > 0);
    const client = openClient(path);
    expect((await client.get("/big")).rev).toBe(1);
    expect(getCount).toBeLessThan(100); // the rest of a gigabyte is not read
  });
});

describe("a client that breaks the rules", () => {
  const frame = (text: string) => {
    const bytes = Buffer.alloc(4 + Buffer.byteLength(text));
    bytes.writeUInt32BE(bytes.length - 4);
    bytes.write(text, 4);
    return bytes;
  };
  const tooLong = Buffer.alloc(4);
  tooLong.writeUInt32BE(FRAME_BYTES_MAX + 1);
  const greeting = frame(JSON.stringify([hello]));
  const rows: [string, Buffer][] = [
    ["no JSON", frame("{")],
    ["no array", frame("{}")],
    ["an array of something else", frame("[1]")],
    ["no greeting", frame('[{"kind":"ping"}]')],
    ["a frame that is too long", tooLong],
    ["no id", Buffer.concat([greeting, frame('[{"kind":"get","key":"/a"}]')])],
  ];
  test.each(rows)("is cut off, and the others are not: %s", async (_name, bytes) => {
    const faults: Error[] = [];
    const { path } = await serveHere({ onFault: (error) => void faults.push(error) });
    const good = openClient(path);
    await good.get("/a");
    const { socket, closed } = await rawClient(path);
    socket.write(bytes);
    await closed;
    expect(faults).toHaveLength(1);
    expect((await good.get("/a")).rev).toBe(0);
  });

  test("of a kind that a request does not have is told so", async () => {
    const { path } = await serveHere();
    const { stream, kinds, heard } = await rawClient(path);
    stream.send(hello);
    stream.send({ kind: "txn", id: 1, transaction: { success: 1 } });
    stream.send({ kind: "nonsense", id: 2 });
    await until(() => heard.length === 3);
    expect(await kinds()).toEqual(["welcome", "failure", "failure"]);
  });

  test("of another version is refused with the reason", async () => {
    const { path } = await serveHere();
    const { stream, heard, closed } = await rawClient(path);
    stream.send({ kind: "hello", version: 2, session: "s" });
    await closed;
    expect(heard).toEqual([
      { kind: "refused", error: { message: expect.stringContaining("version 1") } },
    ]);
  });
});

describe("serveStore()", () => {
  test("makes a socket for this user only, and replaces one that was left", async () => {
    const path = socketPath();
    const local = openMemoryStore();
    await serveHere({ path, store: local });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const { local: other } = await serveHere({ path });
    const client = openClient(path);
    await client.txn(put("/a", 1));
    expect([local.rev, other.rev]).toEqual([0, 1]);
  });

  test("leaves a file alone that is no socket", async () => {
    const path = join(dirname(socketPath()), "file");
    writeFileSync(path, "text");
    await using store = openMemoryStore();
    const serving = serveStore({ store, openPath: fixedPath(path) });
    await expect(serving).rejects.toMatchObject({ code: "ERR_STORE_SOCKET" });
  });

  test("shows no client a store that failed: for them it is away", async () => {
    const faults: Error[] = [];
    const { path, local, server } = await serveHere({
      onFault: (error) => void faults.push(error),
    });
    const client = openClient(path, { waitMs: 100 });
    const lease = await client.lease(60_000);
    let isLost = false;
    void lease.lost.then(() => {
      isLost = true;
    });
    await local[Symbol.asyncDispose]();
    await expect(client.get("/a")).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" });
    expect(isLost).toBe(false);
    expect(faults[0]).toMatchObject({ code: "ERR_STORE_CLOSED" });
    await server[Symbol.asyncDispose]();
    expect(server.clientCount).toBe(0);
  });
});

describe("openRemoteStore()", () => {
  test("tells why the store is away, and a folder that is missing is no other fault", async () => {
    const store = openRemoteStore({ openPath: fixedPath("/nowhere/store.sock"), waitMs: 30 });
    await expect(store.get("/a")).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
      cause: expect.objectContaining({ code: "ENOENT" }),
    });
    await store[Symbol.asyncDispose]();
    const unopenable = openRemoteStore({
      openPath: () => {
        throw new Error("no such folder");
      },
      waitMs: 30,
    });
    await expect(unopenable.get("/a")).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" });
    await unopenable[Symbol.asyncDispose]();
  });

  test("that is closed while it waits for a server ends its calls and watches", async () => {
    const store = openRemoteStore({ openPath: fixedPath(socketPath()) });
    const closed = { code: "ERR_STORE_CLOSED" };
    const signal = new AbortController().signal;
    const watch = store.watch("/", { from: 1, signal })[Symbol.asyncIterator]();
    const ended = [
      expect(store.get("/a")).rejects.toMatchObject(closed),
      expect(watch.next()).rejects.toMatchObject(closed),
    ];
    await store[Symbol.asyncDispose]();
    await Promise.all(ended);
  });
});
