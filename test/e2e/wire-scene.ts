/** The wire process on the platform's addresses in a namespace of its own, and guests that are addresses there. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import {
  startWireProcess,
  type WireProcess,
  type WireProcessOptions,
  type WireVnet,
} from "../../src/cli/wire-process/wire-process.ts";
import { type Ipv4Address, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { deriveGuid } from "../../src/model/names.ts";
import {
  AF_INET,
  bindSocket,
  openSocket,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  startConnect,
} from "../../src/net/libc.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import type { WireContainer, WireObserver } from "../../src/wireserver/index.ts";

export const A = "10.20.0.4";
export const B = "10.20.0.5";
/** Has an address, and is no container. */
export const STRANGER = "10.20.0.66";
const PLATFORM = ["168.63.129.16", "169.254.169.254"];
const ANSWER_MS = 20_000;

/** See the file's comment. Disposing it ends the process and removes the namespace. */
export interface WireScene extends AsyncDisposable {
  readonly wire: WireProcess;
  readonly vnet: WireVnet;
  readonly namespace: string;
  /** Lines of the node's log. */
  readonly log: readonly Record<string, unknown>[];
  /** Who was refused why, as the observer was told. */
  readonly refused: readonly string[];
  /** `container kind incarnation`, as the observer was told. */
  readonly contacts: readonly string[];
  /** Connects from an address; what is sent before it is connected waits. */
  connect(from: string, port?: number, to?: string): Socket;
  /** Sends text on a connection of its own, and reads until the other side ends it. */
  send(from: string, text: string, port?: number, to?: string): Promise<string>;
}

/** Serves two containers, `a` and `b`. */
export async function openWireScene(
  observer: Partial<WireObserver> = {},
  host: Partial<WireProcessOptions> = {},
): Promise<WireScene> {
  const namespace = `gst-wire-${randomBytes(3).toString("hex")}`;
  const folder = mkdtempSync(join(tmpdir(), "gst-wire-"));
  await using opened = new AsyncDisposableStack();
  opened.defer(() => rmSync(folder, { recursive: true, force: true }));
  const ip = (...args: string[]) => execFileSync("ip", args);
  ip("netns", "add", namespace);
  opened.defer(() => void ip("netns", "del", namespace));
  ip("-n", namespace, "link", "set", "lo", "up");
  for (const address of [...PLATFORM, A, B, STRANGER]) {
    ip("-n", namespace, "address", "add", `${address}/32`, "dev", "lo");
  }
  const log: Record<string, unknown>[] = [];
  const logger = pino(
    { level: "info", base: null },
    { write: (line) => log.push(JSON.parse(line)) },
  );
  const wire = opened.use(
    await startWireProcess({
      ...{ label: namespace, folder, log: logger },
      vault: { identityOf: async () => Promise.reject(new Error("there is none")) },
      attester: { attest: async () => Promise.reject(new Error("there is none")) },
      artifacts: { read: async () => Promise.reject(new Error("there is none")) },
      takeTrace: () => true,
      ...host,
    }),
  );
  const refused: string[] = [];
  const contacts: string[] = [];
  const vnet = opened.use(
    wire.openVnet({
      namespace,
      observer: {
        contact: ({ name }, { kind, incarnation }) =>
          contacts.push(`${name} ${kind} ${incarnation}`),
        health: async () => undefined,
        roleProperties: async () => undefined,
        refused: (address, reason) => refused.push(`${address} ${reason}`),
        ...observer,
      },
    }),
  );
  vnet.setInstances([A, B].map((address, index) => instanceOf("ab"[index]!, address)));
  vnet.setContainer(sharedOf("a", A));
  vnet.setContainer(sharedOf("b", B));
  await wire.ready;
  const connect = (from: string, port = 80, to = PLATFORM[0]!): Socket => {
    const fd = inNamespace(namespace, () => {
      const socket = openSocket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      bindSocket(socket, place(from, 0), from);
      const error = startConnect(socket, place(to, port));
      if (error !== undefined) throw new Error(`cannot connect: ${error}`);
      return socket;
    });
    return new Socket({ fd, readable: true, writable: true });
  };
  const kept = opened.move();
  return {
    ...{ wire, vnet, namespace, log, refused, contacts, connect },
    send: (from, text, port, to) => exchange(connect(from, port, to), text),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Sends, and reads to the end. A reset after an answer counts as its end. */
export function exchange(socket: Socket, text: string): Promise<string> {
  let answer = "";
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no end after: ${answer}`));
    }, ANSWER_MS);
    socket.on("data", (part) => {
      answer += part.toString();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(late);
      resolve(answer);
    });
    socket.write(text);
  });
}

/** A request that ends its connection. */
export function get(path: string, headers: readonly string[] = []): string {
  const lines = [`GET ${path} HTTP/1.1`, "Host: 168.63.129.16", "Connection: close", ...headers];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

export const GOAL_STATE = get("/machine?comp=goalstate", ["x-ms-version: 2012-11-30"]);

/** A health report of a container. */
export function healthPost(container: WireContainer["name"], state = "Ready", detail = ""): string {
  const body =
    `<?xml version="1.0" encoding="utf-8"?><Health><GoalStateIncarnation>1</GoalStateIncarnation>` +
    `<Container><ContainerId>${containerIdOf(container)}</ContainerId><RoleInstanceList><Role>` +
    `<InstanceId>${container}</InstanceId><Health><State>${state}</State>` +
    `${detail === "" ? "" : `<Details><SubStatus>Provisioning</SubStatus><Description>${detail}</Description></Details>`}` +
    `</Health></Role></RoleInstanceList></Container></Health>`;
  return (
    `POST /machine?comp=health HTTP/1.1\r\nHost: 168.63.129.16\r\nx-ms-version: 2012-11-30\r\n` +
    `Connection: close\r\nContent-Type: text/xml\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  );
}

export function containerIdOf(name: string): string {
  return deriveGuid("scene", "container", name);
}

function instanceOf(id: string, address: string) {
  return { id, address: parseIpv4(address), endpoints: [] };
}

/** As the node tells it. */
export function sharedOf(name: string, address: string, incarnation = 1) {
  return {
    container: {
      ...{ name, roleInstance: name, roleName: "web", incarnation },
      containerId: containerIdOf(name),
      instanceId: `${deriveGuid("scene", "deployment", "t")}.${name}`,
      deployment: { name: "t", guid: deriveGuid("scene", "deployment", "t") },
      roleGuid: deriveGuid("scene", "role", "web"),
      expectedState: "Started" as const,
      address: parseIpv4(address),
      mac: parseMac(`06:00:00:00:00:0${name === "a" ? 1 : 2}`),
      settings: { secret: `of ${name}` },
    },
    self: instanceOf(name, address),
  };
}

/** struct sockaddr_in. */
function place(address: string, port: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.writeUInt32BE(parseIpv4(address) as Ipv4Address, 4);
  return bytes;
}
