/** DHCP on one interface: a packet ring and the server that reads it. */
import { closeSync } from "node:fs";
import type { Logger } from "pino";
import {
  type AdmitFrame,
  BOOTREQUEST,
  type DecideRequest,
  type DhcpCounters,
  type DropEvent,
  type ExchangeEvent,
  type FindReplyFault,
  type ReplyPolicy,
  SERVER_PORT,
  serveDhcp,
} from "../dhcp/index.ts";
import { FabricError } from "../model/errors.ts";
import { type Ipv4Subnet, WIRE_SERVER_ADDRESS } from "../model/ipv4-address.ts";
import type { MacAddress } from "../model/mac-address.ts";
import type { FrameSocketCounters } from "../net/frame-socket.ts";
import { inNamespace } from "../net/namespace.ts";
import { openPacketQueue, type PacketQueue } from "../net/packet-queue.ts";
import { openPacketRing, type PacketRing } from "../net/packet-ring.ts";
import type { Poller } from "../net/poller.ts";
import type { ReceiveBatch } from "../net/receive-batch.ts";
import { openPortHolder } from "../net/sockets.ts";

/** What all interfaces of a network have in common. */
export interface DhcpNetwork {
  /** Named network namespace; absent for this process's own. */
  readonly namespace?: string;
  readonly poller: Poller;
  /** Asked before a frame's payload is read; absent: all are read. */
  readonly admit?: AdmitFrame;
  readonly decide: DecideRequest;
  /** What the network's owner decides about its answers; absent: the server's defaults. */
  readonly policy?: ReplyPolicy;
  /** True: a client that declined its address waits before it is offered one again. */
  readonly holdAfterDecline?: boolean;
  /** Relay agents have their address in one of these; absent: none is answered. */
  readonly relays?: readonly Ipv4Subnet[];
  readonly counters: DhcpCounters;
  /** Replies that are made wrong on purpose; absent: none. */
  readonly findReplyFault?: FindReplyFault;
  readonly onExchange: (event: ExchangeEvent) => void;
  /** Told of every DHCP frame what became of it, before `onExchange`; the event is reused. */
  readonly observe?: (event: ExchangeEvent | DropEvent) => void;
  readonly log: Logger;
}

/** One interface of the network, and what is known of it. */
export interface DhcpInterface {
  readonly name: string;
  /** Its index, where it is known; a name may be another's by now. */
  readonly ifindex?: number;
  /** The port of a client behind an interface that is a bridge; absent where assignments name their port. */
  readonly findPort?: (client: MacAddress) => number | undefined;
  /** Addresses of frames that are for us beside the interface's own; may change while it is served. */
  readonly localMacs?: readonly MacAddress[];
  /** Bytes of IP that it carries now; absent: as many as the network's options say. */
  readonly mtu?: () => number;
  /** How its frames wait: in a ring of its own for so many (absent: 4096), or in a queue that costs little. */
  readonly buffer?: RingBuffer | QueueBuffer;
  /** True: its ports are ours alone, and replies go to them past any queue. */
  readonly bypassQueue?: boolean;
  /** False where somebody else sees that it is removed. */
  readonly watchesRemoval?: boolean;
}

export interface RingBuffer {
  readonly kind: "ring";
  readonly frames?: number;
}

export interface QueueBuffer {
  readonly kind: "queue";
  /** Shared by all that have one. */
  readonly batch: ReceiveBatch;
}

/** DHCP on one interface. Disposing stops it and closes its socket. */
export interface DhcpService extends AsyncDisposable {
  /** Rejects when the socket fails; resolves when disposed. */
  readonly ended: Promise<void>;
  /** The packet socket's own counters; asks the kernel. */
  readFrames(): FrameSocketCounters;
}

/**
 * Starts to answer on an interface.
 *
 * @throws FabricError ERR_USAGE_INTERFACE, ERR_NET_SYSTEM_CALL
 */
export function openDhcpService(network: DhcpNetwork, on: DhcpInterface): DhcpService {
  const { namespace, log } = network;
  const { name, findPort, localMacs, mtu } = on;
  const socket = inNamespace(namespace, () => openSocket(network.poller, on));
  const stop = new AbortController();
  const serving = serveDhcp({
    socket,
    ...(network.admit !== undefined && { admit: network.admit }),
    decide: network.decide,
    now: () => performance.now(),
    serverAddress: WIRE_SERVER_ADDRESS,
    onExchange: (event) => {
      network.observe?.(event);
      network.onExchange(event);
    },
    onDrop: (event) => network.observe?.(event),
    counters: network.counters,
    signal: stop.signal,
    ...(network.policy !== undefined && { policy: network.policy }),
    holdAfterDecline: network.holdAfterDecline === true,
    ...(network.findReplyFault !== undefined && { findReplyFault: network.findReplyFault }),
    ...(network.relays !== undefined && { relays: network.relays }),
    ...(findPort !== undefined && { findPort }),
    ...(localMacs !== undefined && { localMacs }),
    ...(mtu !== undefined && { mtu }),
  });
  const ended = serving.catch((cause: unknown) => {
    log.error({ ifname: name, err: cause }, "DHCP ended");
    throw dhcpEnded(name, cause);
  });
  return {
    ended,
    readFrames: () => socket.readStatistics(),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended.catch(() => undefined); // said already
      await socket[Symbol.asyncDispose]();
    },
  };
}

function openSocket(poller: Poller, on: DhcpInterface): PacketRing | PacketQueue {
  const { name: interfaceName, buffer = { kind: "ring" } } = on;
  const bootpOp = BOOTREQUEST;
  const udpPort = SERVER_PORT;
  const common = { ...on, interfaceName, udpPort, bootpOp, hearsServers: true, poller } as const;
  if (buffer.kind === "queue") return openPacketQueue({ ...common, batch: buffer.batch });
  const { frames } = buffer;
  return openPacketRing({ ...common, ...(frames !== undefined && { receiveFrames: frames }) });
}

/** What ends a command whose only interface can no longer be served. */
export function dhcpEnded(interfaceName: string, cause: unknown): FabricError {
  const message = `DHCP on ${interfaceName} ended`;
  return new FabricError("ERR_SERVE_DHCP_ENDED", message, { cause });
}

/**
 * Holds the server's UDP port in a namespace, so that the kernel does not answer unicast renewals with an ICMP error; if
 * another process has it, says so in the log.
 */
export function holdServerPort(namespace: string | undefined, log: Logger): Disposable {
  const holder = inNamespace(namespace, () => openPortHolder(SERVER_PORT));
  if (holder !== undefined) return { [Symbol.dispose]: () => closeSync(holder) };
  log.warn({}, "another process holds UDP port 67; it may answer the same clients");
  return { [Symbol.dispose]: () => undefined };
}
