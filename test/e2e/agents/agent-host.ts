/** The host's side of a guest with real agents: bridge, DHCP and the services of the wire server, in a namespace. */
import { createHash } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import pino from "pino";
import { openDhcpService } from "../../../src/cli/dhcp-service.ts";
import { readShippedPlaybook } from "../../../src/cli/faults/playbooks.ts";
import {
  type Assignment,
  createDhcpCounters,
  createOptionProfile,
  INFINITE_SECONDS,
  platformRoutes,
} from "../../../src/dhcp/index.ts";
import {
  formatIpv4,
  type Ipv4Address,
  METADATA_ADDRESS,
  parseIpv4,
  parseSubnet,
  WIRE_SERVER_ADDRESS,
} from "../../../src/model/ipv4-address.ts";
import { type MacAddress, parseMac } from "../../../src/model/mac-address.ts";
import { inNamespace } from "../../../src/net/namespace.ts";
import { Poller } from "../../../src/net/poller.ts";
import { openListener } from "../../../src/net/sockets.ts";
import { createChain, createNmPlugin } from "../../../src/wds/index.ts";
import {
  type AgentStatus,
  createHostPlugin,
  createMetadataService,
  createWireServer,
  FaultBook,
  type HealthReport,
  HOST_PLUGIN_PORT,
  makeIdentity,
  type WireContainer,
  type WireExtension,
  type WireIdentity,
  type WireObserver,
} from "../../../src/wireserver/index.ts";
import { disableIpv6, ipBatch, makeNamespace } from "../../net/namespaces.ts";

const SUBNET = "10.20.0.0/24";
export const GATEWAY = "10.20.0.1";
export const BRIDGE = "br0";
const HTTP_PORT = 80;
const WAIT_MAX_MS = 60_000;
const POLL_MS = 50;

type Service = "wire" | "plugin" | "metadata";

/** A request and how it was answered. */
export interface Exchange {
  /** Since the host was opened. */
  readonly ms: number;
  readonly service: Service;
  readonly from: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Of the answer; 0 until it is sent. */
  status: number;
}

/** Answers a request in place of the service, or returns false to let it pass. */
export type Interference = (
  service: Service,
  request: IncomingMessage,
  response: ServerResponse,
) => boolean;

export interface AgentHost extends AsyncDisposable {
  readonly namespace: string;
  /** Those that are plugged in. They end with the host, also when a test was given up that would have ended them. */
  readonly guests: Set<AsyncDisposable>;
  readonly exchanges: readonly Exchange[];
  /** Newest per container's name. */
  readonly statuses: ReadonlyMap<string, AgentStatus>;
  /** DHCP messages that were answered, as text. */
  readonly dhcp: readonly string[];
  /** Keeps the package of an extension; returns what its {@link WireExtension} says of it. */
  keep(bytes: Uint8Array): WireExtension["package"];
  /** Adds a container, or replaces the one of its address. */
  put(container: WireContainer): void;
  /** Stops to serve a container. */
  remove(container: WireContainer): void;
  /** Begins playbooks that are shipped, for a container; until it is disposed, if they do not end before. */
  fault(container: WireContainer, ...playbooks: readonly string[]): Disposable;
  /** Every request is shown to it first, until it is disposed. */
  interfere(interference: Interference): Disposable;
  /** What a container asked, in words: `GET goalstate 200`. */
  said(container: WireContainer): string[];
  /** Health reports of a container, as `NotReady Provisioning`. */
  reported(container: WireContainer): string[];
  /** Waits until something is so; fails with all exchanges. */
  until(what: string, isSo: () => boolean, seconds?: number): Promise<void>;
}

export interface HostOptions {
  /** The host plugin's port is closed. */
  readonly withoutHostPlugin?: boolean;
}

/** Opens the host. Disposing closes all, and removes the namespace. */
export async function openAgentHost(options: HostOptions = {}): Promise<AgentHost> {
  await using stack = new AsyncDisposableStack();
  const { name: namespace } = stack.use(makeNamespace("agents"));
  disableIpv6(namespace);
  ipBatch(namespace, [
    `link add name ${BRIDGE} address 02:67:73:00:00:01 type bridge`, // its own, or it would change with its ports,
    `addr add ${GATEWAY}/24 dev ${BRIDGE}`,
    `addr add 168.63.129.16/32 dev ${BRIDGE}`,
    `addr add 169.254.169.254/32 dev ${BRIDGE}`,
    `link set dev ${BRIDGE} up`,
  ]);
  const started = performance.now();
  const containers = new Map<Ipv4Address, WireContainer>();
  const exchanges: Exchange[] = [];
  const reports: { name: string; report: HealthReport }[] = [];
  const statuses = new Map<string, AgentStatus>();
  const dhcp: string[] = [];
  const interferences = new Set<Interference>();
  const identities = new Map<string, Promise<WireIdentity>>();
  const artifacts = new Map<string, Uint8Array>();
  const faults = new FaultBook(() => performance.now());
  const common = {
    faults,
    vault: {
      identityOf: (name: string) => {
        const identity = identities.get(name) ?? makeIdentity("LinuxTransport", Date.now());
        identities.set(name, identity);
        return identity;
      },
    },
    artifacts: {
      read: async (sha256: string, offset: number, length: number) => {
        const bytes = artifacts.get(sha256);
        if (bytes === undefined) throw new Error(`no artifact ${sha256}`);
        return bytes.subarray(offset, offset + length);
      },
    },
    directory: { findByAddress: (address: Ipv4Address) => containers.get(address) },
    observer: {
      contact: () => undefined,
      health: async ({ name }, report) => void reports.push({ name, report }),
      agentStatus: async ({ name }, status) => void statuses.set(name, status),
      roleProperties: async () => undefined,
      refused: () => undefined,
    } satisfies WireObserver,
  };
  const watch = (service: Service, server: Server) => {
    const emit = server.emit.bind(server) as (name: string, ...args: unknown[]) => boolean;
    server.emit = ((name: string, ...args: unknown[]) => {
      if (name !== "request") return emit(name, ...args);
      const [request, response] = args as [IncomingMessage, ServerResponse];
      const exchange = {
        ...{ ms: performance.now() - started, service, status: 0 },
        from: request.socket.remoteAddress ?? "",
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.headers,
      };
      exchanges.push(exchange);
      response.once("finish", () => {
        exchange.status = response.statusCode;
      });
      const isTaken = [...interferences].some((each) => each(service, request, response));
      return isTaken || emit(name, request, response);
    }) as typeof server.emit;
  };
  const open = async (
    service: Service,
    app: FastifyInstance,
    address: Ipv4Address,
    port: number,
  ) => {
    watch(service, app.server);
    await app.ready();
    const fd = inNamespace(namespace, () => openListener(address, port, true));
    await new Promise<void>((resolve) => void app.server.listen({ fd }, resolve));
    stack.defer(async () => {
      app.server.closeAllConnections();
      await new Promise<void>((resolve) => void app.server.close(() => resolve()));
      await app.close();
    });
  };
  const wire = createWireServer({ ...common, endpoint: WIRE_SERVER_ADDRESS });
  await open("wire", wire, WIRE_SERVER_ADDRESS, HTTP_PORT);
  if (options.withoutHostPlugin !== true) {
    await open("plugin", createHostPlugin(common), WIRE_SERVER_ADDRESS, HOST_PLUGIN_PORT);
  }
  await open("metadata", createMetadataService(common), METADATA_ADDRESS, HTTP_PORT);
  stack.use(
    openDhcpService(
      {
        namespace,
        poller: new Poller(),
        decide: createChain([createNmPlugin({ findByMac: (mac) => assignmentOf(mac, containers) })])
          .decide,
        findReplyFault: ({ container }, reply) =>
          container === undefined ? undefined : faults.nextReply(container, reply),
        counters: createDhcpCounters(),
        onExchange: ({ container, replyType }) => dhcp.push(`${replyType} ${container}`),
        log: pino({ enabled: false }),
      },
      { name: BRIDGE, bypassQueue: true },
    ),
  );
  const guests = new Set<AsyncDisposable>();
  stack.defer(async () => {
    await Promise.all([...guests].map((guest) => guest[Symbol.asyncDispose]()));
  });
  const owned = stack.move();
  return {
    ...{ namespace, guests, exchanges, statuses, dhcp },
    said: ({ address }) =>
      exchanges.filter(({ from }) => from === formatIpv4(address)).map(inWords),
    reported: (container) =>
      reports
        .filter(({ name }) => name === container.name)
        .map(({ report: { state, subStatus } }) => [state, subStatus].join(" ").trim()),
    keep: (bytes) => {
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      artifacts.set(sha256, bytes);
      return { sha256, bytes: bytes.length };
    },
    put: (container) => void containers.set(container.address, container),
    remove: (container) => void containers.delete(container.address),
    fault: ({ name }, ...playbooks) => {
      const read = playbooks.map(readShippedPlaybook);
      const rules = read.flatMap((each) => each.rules);
      faults.set(name, { ...Object.assign({}, ...read), rules });
      return { [Symbol.dispose]: () => faults.set(name, undefined) };
    },
    interfere: (interference) => {
      interferences.add(interference);
      return { [Symbol.dispose]: () => void interferences.delete(interference) };
    },
    until: async (what, isSo, seconds = WAIT_MAX_MS / 1000) => {
      const deadline = performance.now() + seconds * 1000;
      while (!isSo()) {
        if (performance.now() > deadline) {
          const lines = exchanges.map(
            (each) => `${each.ms.toFixed(0)} ${each.from} ${inWords(each)}`,
          );
          throw new Error(`not within ${seconds} s: ${what}\n${lines.join("\n")}`);
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** `GET goalstate 200`: the method, what the query or path asks for, the status. */
function inWords({ service, method, url, status }: Exchange): string {
  // Of the store's paths, which name the container, only what is behind its name.
  const { pathname, searchParams } = new URL(url, "http://host");
  const comp = searchParams.get("comp");
  const what =
    service === "wire" && comp !== null
      ? (searchParams.get("type") ?? comp)
      : `${service === "wire" ? "" : service}${pathname.replace(/^\/store\/[^/]+/, "/store")}`;
  return `${method} ${what} ${status}`;
}

function assignmentOf(
  mac: MacAddress,
  containers: ReadonlyMap<Ipv4Address, WireContainer>,
): Assignment | undefined {
  const container = [...containers.values()].find((each) => each.mac === mac);
  if (container === undefined) return undefined;
  const gateway = parseIpv4(GATEWAY);
  const profile = createOptionProfile({
    ...{ subnet: parseSubnet(SUBNET), gateway, dns: [], leaseSeconds: INFINITE_SECONDS, mtu: 1500 },
    ...{ wireServer: WIRE_SERVER_ADDRESS, routes: platformRoutes(gateway), authoritative: true },
  });
  return { address: container.address, profile, container: container.name };
}

/** The `number`th VM of a made-up deployment. */
export function containerOf(number: number, more: Partial<WireContainer> = {}): WireContainer {
  const id = number.toString(16).padStart(4, "0");
  const name = `vm_${number}`;
  const address = parseIpv4(`10.20.0.${3 + number}`);
  return {
    name: `lab.${name}`,
    containerId: `5b0c3c52-7f10-4c0e-9d67-2f4c1d0b${id}`,
    instanceId: `9f6f2a8e-0d4b-4f0e-8a44-1be0c2f4d9aa._${name}`,
    roleName: "vm",
    roleInstance: name,
    deployment: { name: "lab", guid: "9f6f2a8e-0d4b-4f0e-8a44-1be0c2f4d9aa" },
    roleGuid: "1c9d2d4e-9a0b-4a55-8d58-6f2a2f1f0c77",
    incarnation: 1,
    expectedState: "Started",
    address,
    mac: parseMac(`00:15:5d:0a:00:${id.slice(2)}`),
    instances: [{ id: name, address, endpoints: [] }],
    settings: {},
    ...more,
  };
}

/** Answers what one caller asks of a service, and where the text of its URL has `part`, with a status. */
export function answer(
  { address }: WireContainer,
  service: Service,
  part: string,
  status: number,
  body = "",
): Interference {
  const from = formatIpv4(address);
  return (asked, request, response) => {
    if (asked !== service || request.socket.remoteAddress !== from) return false;
    if (request.url?.includes(part) !== true) return false;
    request.resume();
    response.writeHead(status, { "content-length": Buffer.byteLength(body) }).end(body);
    return true;
  };
}
