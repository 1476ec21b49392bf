/** What answers guests on one network: DHCP on a packet ring, wire server, host plugin and metadata on HTTP. */
import { closeSync } from "node:fs";
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import {
  BOOTREQUEST,
  createDhcpCounters,
  type DecideRequest,
  type DhcpCounters,
  type DropEvent,
  type ExchangeEvent,
  type ReplyPolicy,
  SERVER_PORT,
  serveDhcp,
} from "../dhcp/index.ts";
import { FabricError } from "../model/errors.ts";
import {
  type Ipv4Address,
  type Ipv4Subnet,
  METADATA_ADDRESS,
  WIRE_SERVER_ADDRESS,
} from "../model/ipv4-address.ts";
import type { MacAddress } from "../model/mac-address.ts";
import type { FrameSocketCounters } from "../net/frame-socket.ts";
import { inNamespace } from "../net/namespace.ts";
import { openPacketRing } from "../net/packet-ring.ts";
import type { Poller } from "../net/poller.ts";
import { openListener, openPortHolder } from "../net/sockets.ts";
import {
  createHostPlugin,
  createMetadataService,
  createWireServer,
  HOST_PLUGIN_PORT,
  type WireDirectory,
  type WireObserver,
} from "../wireserver/index.ts";

const HTTP_PORT = 80;

export interface NetworkServicesOptions {
  /** Named network namespace; absent for this process's own. */
  readonly namespace?: string;
  readonly interfaceName: string;
  readonly poller: Poller;
  readonly decide: DecideRequest;
  /** What the network's owner decides about its answers; absent: the server's defaults. */
  readonly policy?: ReplyPolicy;
  /** True: a client that declined its address waits before it is offered one again. */
  readonly holdAfterDecline?: boolean;
  /** Relay agents have their address in here; absent: none is answered. */
  readonly relays?: Ipv4Subnet;
  /** The port of a client behind an interface that is a bridge; absent where assignments name their port. */
  readonly findPort?: (client: MacAddress) => number | undefined;
  readonly directory: WireDirectory;
  readonly observer: WireObserver;
  readonly onExchange: (event: ExchangeEvent) => void;
  /** Told of every DHCP frame what became of it, before `onExchange`; the event is reused. */
  readonly observe?: (event: ExchangeEvent | DropEvent) => void;
  readonly log: Logger;
}

/** Running services of one network. Disposing stops them and closes their sockets. */
export interface NetworkServices extends AsyncDisposable {
  readonly counters: DhcpCounters;
  /** The packet socket's own counters; asks the kernel. */
  readonly readSocketCounters: () => FrameSocketCounters;
  /** Rejects when the packet socket fails; resolves when disposed. */
  readonly ended: Promise<void>;
}

/**
 * Starts answering on a network. The platform's addresses must be on the interface already.
 *
 * @throws FabricError ERR_USAGE_INTERFACE, ERR_NET_ADDRESS_IN_USE, ERR_NET_SYSTEM_CALL
 */
export async function startNetworkServices(
  options: NetworkServicesOptions,
): Promise<NetworkServices> {
  await using opened = new AsyncDisposableStack();
  await listenAll(options, opened);
  const dhcp = await answerDhcp(options, opened);
  const kept = opened.move();
  return {
    ...dhcp,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function answerDhcp(
  options: NetworkServicesOptions,
  opened: AsyncDisposableStack,
): Promise<Omit<NetworkServices, keyof AsyncDisposable>> {
  const { namespace, interfaceName, poller, decide, relays, findPort, log } = options;
  const holder = inNamespace(namespace, () => openPortHolder(SERVER_PORT));
  if (holder === undefined) {
    const text = "another process holds UDP port 67; it may answer the same clients";
    log.warn({ ifname: interfaceName }, text);
  } else opened.defer(() => closeSync(holder));
  const socket = opened.use(
    inNamespace(namespace, () =>
      openPacketRing({
        interfaceName,
        udpPort: SERVER_PORT,
        bootpOp: BOOTREQUEST,
        poller,
      }),
    ),
  );
  const counters = createDhcpCounters();
  const stop = new AbortController();
  const serving = serveDhcp({
    socket,
    decide,
    now: () => performance.now(),
    serverAddress: WIRE_SERVER_ADDRESS,
    onExchange: (event) => {
      options.observe?.(event);
      options.onExchange(event);
    },
    onDrop: (event) => options.observe?.(event),
    counters,
    signal: stop.signal,
    ...(options.policy !== undefined && { policy: options.policy }),
    holdAfterDecline: options.holdAfterDecline === true,
    ...(relays !== undefined && { relays }),
    ...(findPort !== undefined && { findPort }),
  });
  const ended = serving.catch((cause: unknown) => {
    log.error({ ifname: interfaceName, err: cause }, "DHCP ended");
    const message = `DHCP on ${interfaceName} ended`;
    throw new FabricError("ERR_SERVE_DHCP_ENDED", message, { cause });
  });
  opened.defer(async () => {
    stop.abort();
    await ended.catch(() => undefined); // said already
  });
  return { counters, readSocketCounters: () => socket.readStatistics(), ended };
}

async function listenAll(
  options: NetworkServicesOptions,
  opened: AsyncDisposableStack,
): Promise<void> {
  const { directory, observer, log } = options;
  const common = { directory, observer, logger: log };
  const wire = createWireServer({ ...common, endpoint: WIRE_SERVER_ADDRESS });
  await listen(options, opened, wire, WIRE_SERVER_ADDRESS, HTTP_PORT);
  const hostPlugin = createHostPlugin(common);
  await listen(options, opened, hostPlugin, WIRE_SERVER_ADDRESS, HOST_PLUGIN_PORT);
  await listen(options, opened, createMetadataService(common), METADATA_ADDRESS, HTTP_PORT);
}

async function listen(
  { namespace }: NetworkServicesOptions,
  opened: AsyncDisposableStack,
  service: FastifyInstance,
  address: Ipv4Address,
  port: number,
): Promise<void> {
  await service.ready();
  opened.defer(() => service.close());
  const fd = inNamespace(namespace, () => openListener(address, port));
  await new Promise<void>((resolve, reject) => {
    service.server.once("error", reject);
    service.server.listen({ fd }, resolve);
  });
  // fastify closes only servers that it started itself.
  opened.defer(() => {
    service.server.closeAllConnections();
    return new Promise<void>((resolve) => service.server.close(() => resolve()));
  });
}
