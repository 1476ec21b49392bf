import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createConnection, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { decodeQmpLine, QmpClient, type QmpEvent } from "../../src/compute/hypervisors/qemu/qmp.ts";

const GREETING = {
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 } }, capabilities: [] },
};

/** Plays QEMU's end: answers the negotiation, then whatever the test says. */
class FakeQemu {
  readonly events: QmpEvent[] = [];
  readonly requests: Record<string, unknown>[] = [];
  onRequest: (request: Record<string, unknown>) => void = () => {};
  readonly #server = createServer((socket) => this.#serve(socket));
  #folder = "";
  #socket: Socket | undefined;

  async connect(): Promise<Socket> {
    this.#folder = await mkdtemp(join(tmpdir(), "gs-qmp-"));
    const path = join(this.#folder, "qmp");
    this.#server.listen(path);
    await once(this.#server, "listening");
    return createConnection(path);
  }

  async open(signal = AbortSignal.timeout(2_000)): Promise<QmpClient> {
    const stream = await this.connect();
    return await QmpClient.open({ stream, onEvent: (event) => this.events.push(event), signal });
  }

  send(...messages: unknown[]): void {
    this.#socket?.write(messages.map((message) => `${JSON.stringify(message)}\r\n`).join(""));
  }

  sendText(text: string): void {
    this.#socket?.write(text);
  }

  hangUp(): void {
    this.#socket?.destroy();
  }

  async close(): Promise<void> {
    this.hangUp();
    this.#server.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #serve(socket: Socket): void {
    this.#socket = socket;
    this.send(GREETING);
    createInterface({ input: socket }).on("line", (line) => {
      const request: Record<string, unknown> = JSON.parse(line);
      if (request["execute"] === "qmp_capabilities") this.send({ return: {}, id: request["id"] });
      else {
        this.requests.push(request);
        this.onRequest(request);
      }
    });
  }
}

describe("QmpClient", () => {
  let qemu: FakeQemu;
  beforeEach(() => {
    qemu = new FakeQemu();
  });
  afterEach(() => qemu.close());
  const soon = (): AbortSignal => AbortSignal.timeout(2_000);

  test("matches replies by id, in whatever order they come", async () => {
    using client = await qemu.open();
    qemu.onRequest = () => {
      if (qemu.requests.length < 2) return;
      const [first, second] = qemu.requests;
      qemu.send({ return: "second", id: second?.["id"] }, { return: "first", id: first?.["id"] });
    };
    const replies = [client.execute("a", {}, soon()), client.execute("b", {}, soon())];
    expect(await Promise.all(replies)).toEqual(["first", "second"]);
  });

  test("hands out events between a command and its reply, and ignores unknown ids", async () => {
    using client = await qemu.open();
    qemu.onRequest = ({ id }) =>
      qemu.send(
        { event: "SHUTDOWN", data: { reason: "guest-shutdown" } },
        { return: "stray", id: 999 },
        { return: 1, id },
      );
    expect(await client.execute("x", {}, soon())).toBe(1);
    expect(qemu.events).toEqual([{ name: "SHUTDOWN", data: { reason: "guest-shutdown" } }]);
  });

  test("joins a reply that comes in pieces", async () => {
    using client = await qemu.open();
    qemu.onRequest = ({ id }) => {
      qemu.sendText('{"return": {"running"');
      setTimeout(() => qemu.sendText(`: true}, "id": ${id}}\n`), 20);
    };
    expect(await client.execute("x", {}, soon())).toEqual({ running: true });
  });

  test("tells what QEMU refused", async () => {
    using client = await qemu.open();
    qemu.onRequest = ({ id }) => qemu.send({ error: { class: "G", desc: "no such device" }, id });
    await expect(client.execute("device_del", {}, soon())).rejects.toMatchObject({
      code: "ERR_QMP_COMMAND",
      message: "QEMU refused device_del: no such device",
    });
  });

  test("fails what waits, and what comes later, when QEMU goes", async () => {
    using client = await qemu.open();
    qemu.onRequest = () => qemu.hangUp();
    await expect(client.execute("x", {}, soon())).rejects.toMatchObject({ code: "ERR_QMP_CLOSED" });
    await expect(client.execute("y", {}, soon())).rejects.toMatchObject({ code: "ERR_QMP_CLOSED" });
  });

  test("fails on text that is not QMP", async () => {
    using client = await qemu.open();
    qemu.onRequest = () => qemu.sendText("hello\n");
    await expect(client.execute("x", {}, soon())).rejects.toThrow('QEMU sent "hello"');
  });

  test("gives up when the signal aborts, and stays usable", async () => {
    using client = await qemu.open();
    await expect(client.execute("slow", {}, AbortSignal.timeout(30))).rejects.toMatchObject({
      code: "ERR_QMP_TIMEOUT",
    });
    qemu.onRequest = ({ id }) => qemu.send({ return: 2, id });
    expect(await client.execute("x", {}, soon())).toBe(2);
  });

  test("may be disposed twice", async () => {
    const client = await qemu.open();
    client[Symbol.dispose]();
    client[Symbol.dispose]();
    await expect(client.execute("x", {}, soon())).rejects.toMatchObject({ code: "ERR_QMP_CLOSED" });
  });

  test("open() gives up on a signal that has aborted", async () => {
    await expect(qemu.open(AbortSignal.abort())).rejects.toMatchObject({ code: "ERR_QMP_TIMEOUT" });
  });
});

test("decodeQmpLine() never throws", () =>
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      expect(decodeQmpLine(line)).toHaveProperty("kind");
    }),
  ));
