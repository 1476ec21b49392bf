/**
 * The DHCP server: moves octets between a frame socket and the rules, and counts. One frame is read, decided and
 * answered before the next is looked at, so nothing is queued and nothing is remembered.
 */

import {
  IPV4_BROADCAST,
  IPV4_UNSPECIFIED,
  type Ipv4Address,
  type Ipv4Subnet,
  subnetContains,
} from "../model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress, readMac } from "../model/mac-address.ts";
import { createUdpFrame, readUdpFrame, type UdpFrame, writeUdpFrame } from "../net/frame.ts";
import type { FrameSocket, ReceivedFrame } from "../net/frame-socket.ts";
import {
  countDrop,
  createDhcpCounters,
  type DhcpCounters,
  type ServerDropReason,
} from "./counters.ts";
import type { ChainVerdict, DecideRequest, RequestContext } from "./decision.ts";
import { SERVER_PORT } from "./header.ts";
import { readRequest } from "./read-request.ts";
import { encodeReply, type Reply } from "./reply.ts";
import {
  nakCopyDestination,
  type ReplyDestination,
  replyDestination,
} from "./reply-destination.ts";
import { createDhcpRequest, type DhcpRequest } from "./request.ts";
import { classify, decideReply } from "./rules.ts";

/** A reply that was queued. The object is reused. */
export interface ExchangeEvent {
  chaddr: MacAddress;
  container: string | undefined;
  /** Value of option 53 of the request. */
  requestType: number;
  replyType: Reply["type"];
  /** The address that was given; 0 in a DHCPNAK. */
  address: Ipv4Address;
  xid: number;
}

/** A frame that was not answered. The object is reused. */
export interface DropEvent {
  reason: string;
  ifindex: number;
  /** Source address of the frame; 0 if it was not read that far. */
  sourceMac: MacAddress;
}

/** What {@link serveDhcp} needs. */
export interface DhcpServerOptions {
  readonly socket: FrameSocket;
  readonly decide: DecideRequest;
  /** IP source of every reply, and option 54. */
  readonly serverAddress: Ipv4Address;
  /** Relay agents have their giaddr in here; absent: relayed requests are dropped. */
  readonly relays?: Ipv4Subnet;
  /** Destination addresses that are ours beside the socket's own, e.g. of a gateway we answer ARP for. */
  readonly localMacs?: readonly MacAddress[];
  /** IP destinations that are ours beside `serverAddress`; absent: every one that reaches a local MAC address. */
  readonly localAddresses?: readonly Ipv4Address[];
  /**
   * The port that a client is behind, if the socket's interface is a bridge; asked only where the assignment names no
   * port and the reply would be flooded.
   */
  readonly findPort?: (client: MacAddress) => number | undefined;
  /** Called after a reply was queued. */
  readonly onExchange?: (event: ExchangeEvent) => void;
  /** Called for every frame that was counted as dropped. */
  readonly onDrop?: (event: DropEvent) => void;
  /** Counters to use, to read them while the server runs. */
  readonly counters?: DhcpCounters;
  readonly signal: AbortSignal;
}

/**
 * Answers requests from a socket until the signal aborts.
 *
 * @throws what the socket throws if it fails
 * @see RFC 2131 section 4.3
 */
export async function serveDhcp(options: DhcpServerOptions): Promise<void> {
  const server = createServer(options);
  await options.socket.receive((frame) => {
    handleFrame(server, frame);
  }, options.signal);
}

/** The options and everything that is reused from frame to frame. */
interface Server extends DhcpServerOptions {
  readonly counters: DhcpCounters;
  readonly udp: UdpFrame;
  readonly request: DhcpRequest;
  readonly context: RequestContext;
  readonly hardwareAddress: MacAddress;
  readonly exchange: ExchangeEvent;
  readonly drop: DropEvent;
  /** The client's own port, for a refusal as well: a broadcast into a bridge would reach every client. */
  replyIfindex: number;
}

type Dropped = string | undefined;

const NO_MAC = readMac(new Uint8Array(6), 0);

const PLUGIN_ERROR: ChainVerdict = { kind: "error", reason: "plugin.error" };
const NO_ADDRESS: ChainVerdict = { kind: "error", reason: "core.noaddress" };
const FOREIGN_IDENTIFIER: ChainVerdict = { kind: "error", reason: "core.serverid" };

function createServer(options: DhcpServerOptions): Server {
  const udp = createUdpFrame();
  const request = createDhcpRequest();
  return {
    ...options,
    counters: options.counters ?? createDhcpCounters(),
    udp,
    request,
    hardwareAddress: options.socket.hardwareAddress,
    context: {
      ifindex: 0,
      sourceMac: udp.sourceMac,
      sourceIp: udp.sourceIp,
      destinationIp: udp.destinationIp,
      unicast: false,
    },
    exchange: {
      chaddr: request.chaddr,
      container: undefined,
      requestType: 0,
      replyType: "DHCPNAK",
      address: request.yiaddr,
      xid: 0,
    },
    drop: { reason: "", ifindex: 0, sourceMac: udp.sourceMac },
    replyIfindex: 0,
  };
}

/** Counts the frame as a reply or, with a reason, as a drop: nothing else ends a frame's way. */
function handleFrame(server: Server, frame: ReceivedFrame): void {
  server.counters.received++;
  const reason = answerFrame(server, frame);
  if (reason === undefined) return;
  countDrop(server.counters.drops, reason);
  if (server.onDrop === undefined) return;
  server.drop.reason = reason;
  server.drop.ifindex = frame.ifindex;
  server.drop.sourceMac = server.udp.sourceMac;
  try {
    server.onDrop(server.drop);
  } catch {
    server.counters.observerErrors++;
  }
}

function answerFrame(server: Server, frame: ReceivedFrame): Dropped {
  const { udp, request } = server;
  udp.sourceMac = NO_MAC;
  const reason =
    readUdpFrame(frame, udp, SERVER_PORT) ??
    checkAddresses(server) ??
    readRequest(frame.bytes, frame.view, udp.payloadStart, udp.payloadEnd, request) ??
    checkSender(server);
  if (reason !== undefined) return reason;
  fillContext(server, frame.ifindex);
  const requestClass = classify(request, server.context, server.serverAddress);
  if (requestClass.kind === "silent") return requestClass.reason;
  const verdict = askChain(server);
  const port = verdict.kind === "assigned" ? verdict.assignment.ifindex : undefined;
  server.replyIfindex = port ?? frame.ifindex;
  const decision = decideReply(requestClass, request, verdict);
  return decision.kind === "silent" ? decision.reason : sendReply(server, decision);
}

/** A frame is for us if it is broadcast or has one of our addresses; the same for the datagram in it. */
function checkAddresses(server: Server): ServerDropReason | undefined {
  const { udp } = server;
  const isBroadcast = udp.destinationMac === MAC_BROADCAST;
  if (!isBroadcast && !isLocalMac(server, udp.destinationMac)) return "l2.dst";
  if (udp.sourceIp === server.serverAddress) return "ip.spoof";
  if (udp.destinationIp === IPV4_BROADCAST) return undefined;
  return isLocalAddress(server, udp.destinationIp) ? undefined : "ip.dst";
}

function isLocalMac(server: Server, mac: MacAddress): boolean {
  return mac === server.hardwareAddress || server.localMacs?.includes(mac) === true;
}

function isLocalAddress(server: Server, address: Ipv4Address): boolean {
  if (address === server.serverAddress || server.localAddresses === undefined) return true;
  return server.localAddresses.includes(address);
}

/** Who sent it: the client itself, or a relay agent that we trust. */
function checkSender(server: Server): ServerDropReason | undefined {
  const { request, relays, udp } = server;
  if (request.giaddr === 0) return request.chaddr === udp.sourceMac ? undefined : "port.spoof";
  if (request.giaddr === server.serverAddress) return "relay.self";
  const isTrusted = relays !== undefined && subnetContains(relays, request.giaddr);
  return isTrusted ? undefined : "relay.untrusted";
}

function fillContext(server: Server, ifindex: number): void {
  const { context, udp } = server;
  context.ifindex = ifindex;
  context.sourceMac = udp.sourceMac;
  context.sourceIp = udp.sourceIp;
  context.destinationIp = udp.destinationIp;
  context.unicast = udp.destinationIp !== IPV4_BROADCAST && udp.destinationMac !== MAC_BROADCAST;
}

/** A chain that throws costs one request, never the process, and is never taken for a refusal. */
function askChain(server: Server): ChainVerdict {
  try {
    return checkVerdict(server, server.decide(server.request, server.context));
  } catch {
    return PLUGIN_ERROR;
  }
}

function checkVerdict(server: Server, verdict: ChainVerdict): ChainVerdict {
  if (verdict.kind !== "assigned") return verdict;
  const { address, profile } = verdict.assignment;
  if (address === 0) return NO_ADDRESS;
  return profile.serverIdentifier === server.serverAddress ? verdict : FOREIGN_IDENTIFIER;
}

function sendReply(server: Server, reply: Reply): Dropped {
  const { request, context, udp, counters } = server;
  const yiaddr = yiaddrOf(reply);
  const destination = replyDestination(
    request,
    context,
    { type: reply.type, yiaddr },
    udp.sourcePort,
  );
  if (!transmit(server, reply, destination)) return "tx.nobuffer";
  counters.replies[reply.type]++;
  if (reply.type === "DHCPNAK") {
    const copy = nakCopyDestination(request, context);
    if (copy !== undefined && transmit(server, reply, copy)) counters.nakCopies++;
  }
  reportExchange(server, reply);
  return undefined;
}

/** Builds and queues one frame; false if the socket has no buffer. */
function transmit(server: Server, reply: Reply, destination: ReplyDestination): boolean {
  const { socket, request, serverAddress } = server;
  const buffer = socket.reserve();
  if (buffer === undefined) return false;
  // A relay may want to be the server that its clients renew with (RFC 5107).
  const override = request.serverIdentifierOverride;
  const serverIdentifier = override === 0 ? serverAddress : override;
  const payloadLength = encodeReply(buffer, request, reply, serverIdentifier, server.counters);
  const length = writeUdpFrame(buffer.bytes, buffer.view, {
    sourceMac: server.hardwareAddress,
    destinationMac: destination.mac,
    sourceIp: serverAddress,
    destinationIp: destination.address,
    sourcePort: SERVER_PORT,
    destinationPort: destination.port,
    payloadLength,
  });
  socket.commit(length, replyPort(server, destination));
  return true;
}

/** Unicast finds its port by itself; a broadcast must be told, or the bridge sends it to everybody. */
function replyPort(server: Server, destination: ReplyDestination): number {
  const { context, request, replyIfindex, findPort } = server;
  const isNamed = replyIfindex !== context.ifindex;
  if (isNamed || findPort === undefined || destination.mac !== MAC_BROADCAST) return replyIfindex;
  return findPort(request.chaddr) ?? replyIfindex;
}

function yiaddrOf(reply: Reply): Ipv4Address {
  if (reply.type === "DHCPNAK" || !reply.hasLease) return IPV4_UNSPECIFIED;
  return reply.assignment.address;
}

function reportExchange(server: Server, reply: Reply): void {
  const { exchange, request } = server;
  if (server.onExchange === undefined) return;
  exchange.chaddr = request.chaddr;
  exchange.container = reply.type === "DHCPNAK" ? undefined : reply.assignment.container;
  exchange.requestType = request.messageType;
  exchange.replyType = reply.type;
  exchange.address = yiaddrOf(reply);
  exchange.xid = request.xid;
  try {
    server.onExchange(exchange);
  } catch {
    server.counters.observerErrors++;
  }
}
