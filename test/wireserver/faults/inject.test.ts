/** Over real sockets: what a guest gets while a playbook is on. */
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { parseIpv4 } from "../../../src/model/ipv4-address.ts";
import { PlaybookSchema } from "../../../src/model/playbook.ts";
import { HELD_REQUESTS_MAX } from "../../../src/wireserver/faults/inject.ts";
import {
  createHostPlugin,
  createMetadataService,
  createWireServer,
  FaultBook,
} from "../../../src/wireserver/index.ts";
import { CONTAINER, createDirectory, createRecorder } from "../fixtures.ts";

const CLOSED: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of CLOSED.splice(0).reverse()) await close();
});

/** A service whose only container calls from 127.0.0.1, with a playbook. */
async function serve(
  kind: "wireServer" | "hostPlugin" | "metadata",
  parts: Record<string, unknown> = {},
) {
  const observer = createRecorder();
  const faults = new FaultBook(() => performance.now());
  const options = {
    directory: createDirectory({ ...CONTAINER, address: parseIpv4("127.0.0.1") }),
    observer,
    faults,
    connectionsOfCallerMax: 2 * HELD_REQUESTS_MAX,
  };
  const app = {
    wireServer: () => createWireServer({ ...options, endpoint: parseIpv4("127.0.0.1") }),
    hostPlugin: () => createHostPlugin(options),
    metadata: () => createMetadataService(options),
  }[kind]();
  CLOSED.push(() => app.close());
  await app.listen({ host: "127.0.0.1", port: 0 });
  CLOSED.push(async () => app.server.closeAllConnections());
  const { port } = app.server.address() as AddressInfo;
  const set = (playbook: Record<string, unknown>) =>
    faults.set(CONTAINER.name, PlaybookSchema.parse({ name: "test", ...playbook }));
  if (Object.keys(parts).length > 0) set(parts);
  const get = (path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      headers: { "x-ms-version": "2012-11-30", Metadata: "true" },
      ...init,
    });
  return { port, get, set, faults, observer };
}

/** All that comes on a connection until it ends, and how it ended. */
async function raw(port: number, text: string): Promise<{ text: string; end: string }> {
  const socket: Socket = connect(port, "127.0.0.1");
  CLOSED.push(async () => socket.destroy());
  const parts: Buffer[] = [];
  socket.on("data", (part: Buffer) => parts.push(part));
  return new Promise((resolve) => {
    const done = (end: string) => resolve({ text: Buffer.concat(parts).toString(), end });
    socket.on("error", (error) => done("code" in error ? String(error.code) : error.message));
    socket.on("end", () => done("end"));
    socket.on("connect", () => socket.write(text));
  });
}

const GOAL_STATE = "/machine/?comp=goalstate";
const ASK = `GET ${GOAL_STATE} HTTP/1.1\r\nHost: a\r\nx-ms-version: 2012-11-30\r\n\r\n`;
const only = (answer: unknown, endpoint = "goalstate") => ({
  rules: [{ endpoint, answers: [answer] }],
});

describe("instead of an answer comes", () => {
  test("a status, with a body as the service writes it, and nothing is done", async () => {
    const { get, observer } = await serve("wireServer", only({ status: 410 }));
    const response = await get(GOAL_STATE);
    expect(response.status).toBe(410);
    expect(response.headers.get("content-type")).toContain("text/xml");
    expect(await response.text()).toContain("<Code>ResourceNotAvailable</Code>");
    expect(observer.lines).toEqual([]);
  });

  test("a status that may have no body", async () => {
    const { get } = await serve("wireServer", only({ status: 204 }, "health"));
    const response = await get("/machine?comp=health", { method: "POST", body: "<a/>" });
    expect([response.status, await response.text()]).toEqual([204, ""]);
  });

  test("JSON of the host plugin, and a body of the playbook's own", async () => {
    const { get, set } = await serve("hostPlugin", only({ status: 500 }, "vmSettings"));
    expect(await (await get("/vmSettings")).json()).toMatchObject({ errorCode: "InternalError" });
    const body = '{"errorCode":"InvalidContainerConfiguration"}';
    set(
      only(
        { status: 400, body, headers: { "content-type": "text/html", "x-a": "b" } },
        "hostPlugin",
      ),
    );
    const response = await get("/vmSettings");
    expect([response.status, await response.text()]).toEqual([400, body]);
    expect(response.headers.get("content-type")).toBe("text/html");
    expect(response.headers.get("x-a")).toBe("b");
  });

  test("a reset", async () => {
    const { port } = await serve("wireServer", only({ connection: "reset" }));
    expect(await raw(port, ASK)).toEqual({ text: "", end: "ECONNRESET" });
  });

  test("the connection's end", async () => {
    const { port } = await serve("wireServer", only({ connection: "close" }));
    expect(await raw(port, ASK)).toEqual({ text: "", end: "end" });
  });

  test("nothing, while others are answered; a caller that leaves is let go", async () => {
    const { port, get } = await serve("wireServer", only({ connection: "hang", repeat: 1 }));
    const socket = connect(port, "127.0.0.1");
    CLOSED.push(async () => socket.destroy());
    let bytes = 0;
    socket.on("data", (part: Buffer) => {
      bytes += part.length;
    });
    await new Promise<void>((resolve) => socket.write(ASK, () => resolve()));
    const answered = async () => (await get("/?comp=versions")).status;
    await expect.poll(async () => (await get(GOAL_STATE)).status).toBe(200);
    expect([await answered(), bytes]).toEqual([200, 0]);
  });

  test("a refused connection, of this service only, and only as often as it says", async () => {
    const { port, get } = await serve(
      "hostPlugin",
      only({ connection: "refuse", repeat: 2 }, "hostPlugin"),
    );
    const ask = "GET /versions HTTP/1.1\r\nHost: a\r\n\r\n";
    expect([(await raw(port, ask)).end, (await raw(port, ask)).end]).toEqual([
      "ECONNRESET",
      "ECONNRESET",
    ]);
    expect((await get("/versions")).status).toBe(200);
  });
});

describe("the right answer", () => {
  test("comes late", async () => {
    const { get, observer } = await serve("wireServer", only({ delayMs: 60 }));
    const before = performance.now();
    expect((await get(GOAL_STATE)).status).toBe(200);
    expect(performance.now() - before).toBeGreaterThanOrEqual(55);
    expect(observer.lines).toEqual(["hello.web_0 goalstate 3"]);
  });

  test("is cut off, with the length of the whole, and was done", async () => {
    const { port, observer } = await serve("wireServer", only({ cutAfterBytes: 30 }));
    const { text, end } = await raw(port, ASK);
    const [head = "", body = ""] = text.split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.1 200 /);
    expect(Number(/content-length: (\d+)/i.exec(head)?.[1])).toBeGreaterThan(500);
    expect(body).toHaveLength(30);
    expect(end).toMatch(/end|ECONNRESET/);
    expect(observer.lines).toEqual(["hello.web_0 goalstate 3"]);
  });

  test("of a report is cut off although it has no body", async () => {
    const { port, observer } = await serve(
      "hostPlugin",
      only({ cutAfterBytes: 0 }, "hostPluginHealth"),
    );
    const { text } = await raw(port, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(text).toMatch(/content-length: 1\r\n/i);
    expect(text.endsWith("\r\n\r\n")).toBe(true);
    expect(observer.lines).toEqual(["hello.web_0 hostPluginHealth"]);
  });

  test("is stale", async () => {
    const { get } = await serve("wireServer", only({ staleBy: 1 }));
    const text = await (await get(GOAL_STATE)).text();
    expect(text).toContain("<Incarnation>2</Incarnation>");
    expect(text).not.toContain("incarnation=3");
  });

  test("lacks parts, and a header", async () => {
    const step = { without: ["network", "compute.vmId"], headers: { "content-type": null } };
    const { get } = await serve("metadata", only(step, "instanceMetadata"));
    const response = await get("/metadata/instance?api-version=2021-08-01");
    const document = (await response.json()) as { compute: object };
    expect(document).not.toHaveProperty("network");
    expect(document.compute).toHaveProperty("name");
    expect(document.compute).not.toHaveProperty("vmId");
    expect(response.headers.get("content-type")).toBeNull();
  });
});

test("of requests that wait there are so many at most; the next ones are cut off", async () => {
  const { port, get, set } = await serve("wireServer", only({ connection: "hang" }));
  const sockets = Array.from({ length: HELD_REQUESTS_MAX }, () => {
    const socket = connect(port, "127.0.0.1");
    CLOSED.push(async () => socket.destroy());
    return new Promise<void>((resolve) => socket.write(ASK, () => resolve()));
  });
  await Promise.all(sockets);
  await expect.poll(async () => (await raw(port, ASK)).end).toBe("ECONNRESET");
  set(only({ delayMs: 1 }));
  await expect(get(GOAL_STATE)).rejects.toThrow();
});

test("a sequence by request: 500, slow, 410, normal", async () => {
  const answers = [{ status: 500 }, { delayMs: 5 }, { status: 410 }, { pass: true }];
  const { get } = await serve("wireServer", { rules: [{ endpoint: "goalstate", answers }] });
  const statuses = [];
  for (let count = 0; count < 5; count += 1) statuses.push((await get(GOAL_STATE)).status);
  expect(statuses).toEqual([500, 200, 410, 200, 200]);
});

test("another container's playbook, and none, change nothing", async () => {
  const { get, faults } = await serve("wireServer");
  faults.set("other.web_0", PlaybookSchema.parse({ name: "test", ...only({ status: 500 }) }));
  expect((await get(GOAL_STATE)).status).toBe(200);
});
