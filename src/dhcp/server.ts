/**
 * The DHCP server: moves octets between a frame socket and the rules, and counts. A frame is read, decided and answered
 * before the next is looked at, and nothing that matters is remembered; only a request that an asynchronous plugin
 * decides is copied and waits, and holds up nobody.
 */

import { IPV4_BROADCAST, type Ipv4Address, type Ipv4Subnet } from "../model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress } from "../model/mac-address.ts";
import { createUdpFrameHeader, readUdpFrame } from "../net/frame.ts";
import type { FrameSocket, ReceivedFrame } from "../net/frame-socket.ts";
import {
  countDrop,
  createDhcpCounters,
  type DhcpCounters,
  type ServerDropReason,
} from "./counters.ts";
import type { AdmitFrame, ChainVerdict, DecideRequest } from "./decision.ts";
import { Declines } from "./declines.ts";
import {
  clearExchange,
  createExchange,
  createExchangeEvent,
  createRequestEvent,
  type DropEvent,
  detachExchange,
  type Exchange,
  type ExchangeEvent,
  fillContext,
  fillEvent,
} from "./exchange.ts";
import { CLIENT_PORT, SERVER_PORT } from "./header.ts";
import { countIgnoredOptions } from "./ignored-options.ts";
import { NakDamping } from "./nak-damping.ts";
import { PendingExchanges } from "./pending-exchanges.ts";
import { readRequest } from "./read-request.ts";
import { checkRelay, isOnSelectedNetwork } from "./relay-checks.ts";
import { nakCopyDestination, replyDestination } from "./reply-destination.ts";
import { type FindReplyFault, faultyDestination, findFault } from "./reply-fault.ts";
import { type Reply, yiaddrOf } from "./reply-parts.ts";
import { countFrameNotes, countRequestNotes } from "./request-notes.ts";
import {
  classify,
  DEFAULT_REPLY_POLICY,
  decideReply,
  type ReplyPolicy,
  wantedAddress,
} from "./rules.ts";
import { type Sender, transmit } from "./send-reply.ts";

/** What {@link serveDhcp} needs. */
export interface DhcpServerOptions {
  readonly socket: FrameSocket;
  readonly decide: DecideRequest;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** IP source of every reply, and option 54. */
  readonly serverAddress: Ipv4Address;
  /** Default {@link DEFAULT_REPLY_POLICY}. */
  readonly policy?: ReplyPolicy;
  /** True: a client that declined its address waits before it is offered one again. Default false. */
  readonly holdAfterDecline?: boolean;
  /** Asked before a payload is read. */
  readonly admit?: AdmitFrame;
  /**
   * Relay agents have their giaddr, or the address that they send from, in one of these. Absent: relayed requests are
   * dropped, and so is what a router passes on from a client that renews.
   */
  readonly relays?: readonly Ipv4Subnet[];
  /**
   * Destination addresses that are ours beside the socket's own, e.g. of a gateway we answer ARP for; looked at anew for
   * every frame.
   */
  readonly localMacs?: readonly MacAddress[];
  /** IP destinations that are ours beside `serverAddress`; absent: every one that reaches a local MAC address. */
  readonly localAddresses?: readonly Ipv4Address[];
  /**
   * The port that a client is behind, if the socket's interface is a bridge; asked only where the assignment names no
   * port and the reply would be flooded.
   */
  readonly findPort?: (client: MacAddress) => number | undefined;
  /** Bytes of IP that the interface carries now; absent: as many as the network's options say. */
  readonly mtu?: () => number;
  /** Replies that are made wrong on purpose; absent: none. */
  readonly findReplyFault?: FindReplyFault;
  /** Called after a reply was queued. */
  readonly onExchange?: (event: ExchangeEvent) => void;
  /** Called for every frame that was counted as dropped. */
  readonly onDrop?: (event: DropEvent) => void;
  /** Counters to use, to read them while the server runs. */
  readonly counters?: DhcpCounters;
  readonly signal: AbortSignal;
}

/**
 * Answers requests from a socket until the signal aborts. Requests that still wait for a plugin are then dropped.
 *
 * @throws what the socket throws if it fails
 * @see RFC 2131 section 4.3
 */
export async function serveDhcp(options: DhcpServerOptions): Promise<void> {
  const server = createServer(options);
  try {
    await options.socket.receive((frame) => handleFrame(server, frame), options.signal);
  } finally {
    server.giveUpReason = "server.stopped";
    server.pending.clear();
  }
}

/** The options and everything that is reused from frame to frame. */
interface Server extends DhcpServerOptions, Sender {
  readonly policy: ReplyPolicy;
  readonly counters: DhcpCounters;
  readonly live: Exchange;
  readonly damping: NakDamping;
  readonly declines: Declines;
  readonly pending: PendingExchanges;
  readonly exchangeEvent: ExchangeEvent;
  readonly dropEvent: DropEvent;
  giveUpReason: ServerDropReason;
}

type Dropped = string | undefined;

/** Not over yet: an asynchronous plugin decides. */
const PENDING = "pending";

const PLUGIN_ERROR: ChainVerdict = { kind: "error", reason: "plugin.error" };
const NO_ADDRESS: ChainVerdict = { kind: "error", reason: "core.noaddress" };
const FOREIGN_IDENTIFIER: ChainVerdict = { kind: "error", reason: "core.serverid" };

function createServer(options: DhcpServerOptions): Server {
  const live = createExchange();
  const { socket } = options;
  return {
    policy: DEFAULT_REPLY_POLICY,
    ...options,
    counters: options.counters ?? createDhcpCounters(),
    live,
    damping: new NakDamping(),
    declines: new Declines(),
    pending: new PendingExchanges(),
    exchangeEvent: createExchangeEvent(live),
    dropEvent: { ...createRequestEvent(live), reason: "" },
    frameHeader: createUdpFrameHeader(socket.hardwareAddress, options.serverAddress, SERVER_PORT),
    giveUpReason: "pending.overflow",
  };
}

/** Counts the frame as a reply or, with a reason, as a drop: nothing else ends a frame's way. */
function handleFrame(server: Server, frame: ReceivedFrame): void {
  server.counters.received++;
  const { live } = server;
  clearExchange(live);
  const reason = answerFrame(server, live, frame);
  if (reason !== undefined && reason !== PENDING) drop(server, live, frame.ifindex, reason);
}

function drop(server: Server, exchange: Exchange, ifindex: number, reason: string): void {
  countDrop(server.counters.drops, reason);
  if (server.onDrop === undefined) return;
  const { dropEvent } = server;
  fillEvent(dropEvent, exchange, ifindex);
  dropEvent.reason = reason;
  try {
    server.onDrop(dropEvent);
  } catch {
    server.counters.observerErrors++;
  }
}

function answerFrame(server: Server, exchange: Exchange, frame: ReceivedFrame): Dropped {
  const { udp, request } = exchange;
  const frameReason = readUdpFrame(frame, udp, SERVER_PORT);
  if (frameReason === "udp.port" && udp.destinationPort === CLIENT_PORT) {
    return udp.sourceIp === server.serverAddress ? "ip.spoof" : "rogue.server";
  }
  const reason =
    frameReason ??
    server.admit?.(frame.ifindex, udp) ??
    checkAddresses(server, exchange) ??
    readRequest(frame.bytes, frame.view, udp.payloadStart, udp.payloadEnd, request);
  if (reason !== undefined) return reason;
  exchange.isRead = true;
  if (request.ignored !== 0) {
    countIgnoredOptions(server.counters.ignoredOptions, request.ignored);
  }
  const senderReason = checkSender(server, exchange);
  if (senderReason !== undefined) return senderReason;
  countFrameNotes(server.counters.notes, udp, request);
  fillContext(exchange, frame.ifindex);
  return decideExchange(server, exchange);
}

/** A frame is for us if it is broadcast or has one of our addresses; the same for the datagram in it. */
function checkAddresses(server: Server, { udp }: Exchange): ServerDropReason | undefined {
  const isBroadcast = udp.destinationMac === MAC_BROADCAST;
  if (!isBroadcast && !isLocalMac(server, udp.destinationMac)) return "l2.dst";
  if (isOwnAddress(server, udp.sourceIp)) return "ip.spoof";
  if (udp.destinationIp === IPV4_BROADCAST) return undefined;
  return isLocalAddress(server, udp.destinationIp) ? undefined : "ip.dst";
}

function isLocalMac(server: Server, mac: MacAddress): boolean {
  return mac === server.frameHeader.sourceMac || server.localMacs?.includes(mac) === true;
}

/** True if datagrams to this address are for us. */
function isLocalAddress(server: Server, address: Ipv4Address): boolean {
  return server.localAddresses === undefined || isOwnAddress(server, address);
}

/** True if nobody else may send from this address. */
function isOwnAddress(server: Server, address: Ipv4Address): boolean {
  return address === server.serverAddress || server.localAddresses?.includes(address) === true;
}

/** Who sent it: the client itself, or a relay agent that we trust. */
function checkSender(server: Server, { request, udp }: Exchange): ServerDropReason | undefined {
  if (request.giaddr !== 0 && isOwnAddress(server, request.giaddr)) return "relay.self";
  return checkRelay(request, udp, server.relays);
}

function decideExchange(server: Server, exchange: Exchange): Dropped {
  const { request, context } = exchange;
  const requestClass = classify(request, context, server.serverAddress);
  exchange.requestClass = requestClass;
  if (requestClass.kind === "silent") return requestClass.reason;
  if (requestClass.kind === "BOOTP" && !server.policy.bootp) {
    return request.hasCookie ? "bootp.disabled" : "bootp.cookie";
  }
  if (server.pending.has(request, context.ifindex)) return "dup.inflight";
  const verdict = askChain(server, exchange);
  if (!(verdict instanceof Promise)) return finish(server, exchange, verdict);
  waitFor(server, detachExchange(exchange), verdict);
  return PENDING;
}

/** A chain that throws costs one request, never the process, and is never taken for a refusal. */
function askChain(server: Server, exchange: Exchange): ChainVerdict | Promise<ChainVerdict> {
  try {
    return server.decide(exchange.request, exchange.context);
  } catch {
    return PLUGIN_ERROR;
  }
}

/** Ends the exchange when the promise settles, or when it is given up; never twice. */
function waitFor(server: Server, exchange: Exchange, verdict: Promise<ChainVerdict>): void {
  const { counters, pending } = server;
  const { request, context } = exchange;
  counters.pending++;
  const remove = pending.add(request, context.ifindex, () => {
    counters.pending--;
    drop(server, exchange, context.ifindex, server.giveUpReason);
  });
  const settle = (settled: ChainVerdict) => {
    if (!remove()) return;
    counters.pending--;
    const reason = finish(server, exchange, settled);
    if (reason !== undefined) drop(server, exchange, context.ifindex, reason);
  };
  verdict.then(settle, () => settle(PLUGIN_ERROR));
}

/** What follows the verdict, at once or later. That it is junk shows only when a reply is made of it. */
function finish(server: Server, exchange: Exchange, asked: ChainVerdict): Dropped {
  try {
    return obey(server, exchange, asked);
  } catch {
    return "plugin.error";
  }
}

function obey(server: Server, exchange: Exchange, asked: ChainVerdict): Dropped {
  const { request, context, requestClass } = exchange;
  if (requestClass === undefined || requestClass.kind === "silent") return "core.noaddress";
  const verdict = checkVerdict(server, asked);
  const assignment = verdict.kind === "assigned" ? verdict.assignment : undefined;
  exchange.replyIfindex = assignment?.ifindex ?? context.ifindex;
  countRequestNotes(server.counters.notes, requestClass, request, assignment);
  if (assignment !== undefined && !isOnSelectedNetwork(request, assignment)) {
    return "subnet.unknown";
  }
  const decision = decideReply(requestClass, request, verdict, server.policy);
  if (decision.kind === "silent") return noteSilence(server, exchange, decision.reason);
  const { chaddr } = request;
  if (decision.type === "DHCPNAK") {
    const wanted = wantedAddress(request);
    const isAdmitted = server.damping.admits(chaddr, requestClass.kind, wanted, server.now());
    return isAdmitted ? sendReply(server, exchange, decision) : "nak.damped";
  }
  const mustWait = server.holdAfterDecline === true && decision.type === "DHCPOFFER";
  if (mustWait && server.declines.isHeld(chaddr, server.now())) return "decline.held";
  return sendReply(server, exchange, decision);
}

function checkVerdict(server: Server, verdict: ChainVerdict): ChainVerdict {
  if (verdict.kind !== "assigned") return verdict;
  const { address, profile } = verdict.assignment;
  if (address === 0) return NO_ADDRESS;
  return profile.serverIdentifier === server.serverAddress ? verdict : FOREIGN_IDENTIFIER;
}

function noteSilence(server: Server, { request }: Exchange, reason: string): string {
  if (reason !== "client.decline") return reason;
  const isAtOnce = server.declines.declined(request.chaddr, server.now());
  if (isAtOnce) countDrop(server.counters.notes, "decline.atonce");
  return reason;
}

function sendReply(server: Server, exchange: Exchange, reply: Reply): Dropped {
  const { request, context } = exchange;
  const { counters } = server;
  const fault = findFault(server.findReplyFault, reply);
  if (fault?.silent === true) return "fault.silent";
  const yiaddr = yiaddrOf(reply);
  const right = replyDestination(request, context, { type: reply.type, yiaddr });
  const destination = fault === undefined ? right : faultyDestination(fault, request, reply, right);
  if (reply.type === "DHCPNAK") {
    // First, for a client that heard the broadcast may have closed its socket: its kernel then sends us an ICMP error.
    const copy = nakCopyDestination(request, context);
    if (copy !== undefined && transmit(server, exchange, reply, copy)) counters.nakCopies++;
  }
  if (!transmit(server, exchange, reply, destination, fault)) return "tx.nobuffer";
  counters.replies[reply.type]++;
  if (reply.type === "DHCPACK") server.declines.acknowledged(request.chaddr, server.now());
  reportExchange(server, exchange, reply);
  return undefined;
}

function reportExchange(server: Server, exchange: Exchange, reply: Reply): void {
  if (server.onExchange === undefined) return;
  const { exchangeEvent } = server;
  fillEvent(exchangeEvent, exchange, exchange.context.ifindex);
  exchangeEvent.assignment = reply.type === "DHCPNAK" ? undefined : reply.assignment;
  exchangeEvent.replyType = reply.type;
  exchangeEvent.address = yiaddrOf(reply);
  exchangeEvent.nakReason = reply.type === "DHCPNAK" ? reply.why : undefined;
  try {
    server.onExchange(exchangeEvent);
  } catch {
    server.counters.observerErrors++;
  }
}
