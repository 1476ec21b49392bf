/**
 * The relay agent's edge: frames of clients come and go through a packet ring, messages of servers through a UDP socket,
 * which the kernel routes. The rules are in relay-agent.ts and relay-agent-reply.ts.
 */

import { IPV4_UNSPECIFIED, type Ipv4Address } from "../model/ipv4-address.ts";
import { type MacAddress, readMac } from "../model/mac-address.ts";
import type { DatagramSocket } from "../net/datagram-socket.ts";
import { createUdpFrame, readUdpFrame, UDP_PAYLOAD_OFFSET, writeUdpFrame } from "../net/frame.ts";
import { FRAME_BYTES_MAX, type FrameSocket, type ReceivedFrame } from "../net/frame-socket.ts";
import { countDrop } from "./counters.ts";
import { CLIENT_PORT, HEADER, SERVER_PORT } from "./header.ts";
import { createOptionIndex } from "./option-index.ts";
import { readRequest } from "./read-request.ts";
import {
  type ClientPort,
  checkRelayAddresses,
  type RelayedNetwork,
  type RelayPolicy,
  type RelayRequestReason,
  relayRequest,
} from "./relay-agent.ts";
import { RelayClients } from "./relay-agent-clients.ts";
import { type DeliveryAddress, type RelayReplyReason, relayReply } from "./relay-agent-reply.ts";
import { createDhcpRequest } from "./request.ts";

/** Every reason for which a relay agent passes something on to nobody. */
export type RelayDropReason =
  | RelayRequestReason
  | RelayReplyReason
  /** No server could be sent to, or the socket had no buffer; the client asks again. */
  | "tx.nobuffer";

/** What a relay agent counts: every frame and every reply once, as passed on or as a drop with its reason. */
export interface RelayCounters {
  /** Frames from clients, and from agents further down. */
  requests: number;
  /** Requests that went to every server. */
  forwarded: number;
  /** Requests that had no room for option 82: the server cannot tell the port. Among `forwarded`. */
  withoutInformation: number;
  /** Datagrams from servers. */
  replies: number;
  /** Replies that were sent to their client. */
  delivered: number;
  /** By {@link RelayDropReason}. */
  readonly drops: Map<string, number>;
}

/** Makes counters that are all zero. */
export function createRelayCounters(): RelayCounters {
  return {
    requests: 0,
    forwarded: 0,
    withoutInformation: 0,
    replies: 0,
    delivered: 0,
    drops: new Map(),
  };
}

/** A message that was passed on to nobody. The object is reused. */
export interface RelayDropEvent {
  reason: RelayDropReason;
  /** The client; 0 if the message was not read that far. */
  chaddr: MacAddress;
  /** IP source; 0 if the message was not read that far. */
  source: Ipv4Address;
}

/** What {@link relayDhcp} needs; the sockets stay the caller's. */
export interface RelayAgentOptions {
  /** Receives requests on the clients' interface, and sends on its ports. */
  readonly socket: FrameSocket;
  /** Bound to giaddr, port 67. */
  readonly upstream: DatagramSocket;
  readonly network: RelayedNetwork;
  readonly policy: RelayPolicy;
  /** Every request goes to each of them, and replies come from them only. */
  readonly servers: readonly Ipv4Address[];
  /** The port of a client, or undefined if it is not known. */
  readonly findPort: (client: MacAddress) => ClientPort | undefined;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Counters to use; several networks may share them. */
  readonly counters?: RelayCounters;
  readonly onDrop?: (event: RelayDropEvent) => void;
  readonly signal: AbortSignal;
}

interface Agent extends RelayAgentOptions {
  readonly counters: RelayCounters;
  readonly clients: RelayClients;
  readonly dropEvent: RelayDropEvent;
}

/** Longest reply that fits into a frame. */
const REPLY_BYTES_MAX = FRAME_BYTES_MAX - UDP_PAYLOAD_OFFSET;
const NO_MAC = readMac(new Uint8Array(6), 0);

/**
 * Relays between the clients of one network and its servers until the signal aborts.
 *
 * @throws what a socket throws if it fails
 */
export async function relayDhcp(options: RelayAgentOptions): Promise<void> {
  const agent: Agent = {
    ...options,
    counters: options.counters ?? createRelayCounters(),
    clients: new RelayClients(),
    dropEvent: { reason: "tx.nobuffer", chaddr: NO_MAC, source: IPV4_UNSPECIFIED },
  };
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const receiving = [
    options.socket.receive(createFrameHandler(agent), signal),
    options.upstream.receive(createReplyHandler(agent), signal),
  ];
  try {
    await Promise.race(receiving);
  } finally {
    stop.abort(); // one socket without the other relays nothing
    await Promise.allSettled(receiving);
  }
}

function drop(agent: Agent, reason: RelayDropReason, chaddr: MacAddress, source: Ipv4Address) {
  countDrop(agent.counters.drops, reason);
  if (agent.onDrop === undefined) return;
  agent.dropEvent.reason = reason;
  agent.dropEvent.chaddr = chaddr;
  agent.dropEvent.source = source;
  agent.onDrop(agent.dropEvent);
}

function createFrameHandler(agent: Agent): (frame: ReceivedFrame) => void {
  const { network, policy, findPort, counters } = agent;
  const udp = createUdpFrame();
  const request = createDhcpRequest();
  const relayed = { udp, request, findPort, index: createOptionIndex() };
  const out = new Uint8Array(2 * FRAME_BYTES_MAX);
  return (frame) => {
    counters.requests++;
    const reason =
      readUdpFrame(frame, udp, SERVER_PORT) ??
      checkRelayAddresses(udp, network) ??
      readRequest(frame.bytes, frame.view, udp.payloadStart, udp.payloadEnd, request);
    if (reason !== undefined) return drop(agent, reason, NO_MAC, IPV4_UNSPECIFIED);
    const { chaddr } = request;
    const verdict = relayRequest(relayed, network, policy, out.fill(0));
    if (verdict.kind === "drop") return drop(agent, verdict.reason, chaddr, udp.sourceIp);
    if (verdict.client !== undefined) agent.clients.remember(chaddr, verdict.client, agent.now());
    if (!sendUpstream(agent, out.subarray(0, verdict.length))) {
      return drop(agent, "tx.nobuffer", chaddr, udp.sourceIp);
    }
    counters.forwarded++;
    if (verdict.hasNoRoom) counters.withoutInformation++;
  };
}

/** One copy to each server. @returns false if none could be sent */
function sendUpstream({ upstream, servers }: Agent, message: Uint8Array): boolean {
  let sent = 0;
  for (const server of servers) if (upstream.send(message, server, SERVER_PORT)) sent++;
  return sent > 0;
}

function createReplyHandler(agent: Agent): (message: Uint8Array, source: Ipv4Address) => void {
  const { network, servers, clients, counters } = agent;
  const index = createOptionIndex();
  const out = new Uint8Array(REPLY_BYTES_MAX);
  const findClient = (chaddr: MacAddress) => clients.find(chaddr, agent.now());
  return (message, source) => {
    counters.replies++;
    if (message.length > REPLY_BYTES_MAX) return drop(agent, "reply.long", NO_MAC, source);
    const reply = { message, source, servers, findClient, index };
    const verdict = relayReply(reply, network, out.fill(0));
    if (verdict.kind === "drop") return drop(agent, verdict.reason, chaddrOf(message), source);
    const payload = out.subarray(0, verdict.length);
    const deliver = (to: DeliveryAddress) => transmit(agent, payload, verdict, to);
    // Before the broadcast: a client that has heard that closes the socket on which it renews.
    if (verdict.copyTo !== undefined) deliver(verdict.copyTo);
    if (!deliver(verdict.to)) return drop(agent, "tx.nobuffer", chaddrOf(message), source);
    counters.delivered++;
  };
}

function chaddrOf(message: Uint8Array): MacAddress {
  return message.length < HEADER.sname ? NO_MAC : readMac(message, HEADER.chaddr);
}

/** Sends a reply out of the client's own port; false if the socket has no buffer. */
function transmit(
  { socket, network }: Agent,
  payload: Uint8Array,
  { source, ifindex }: { readonly source: Ipv4Address; readonly ifindex: number },
  to: DeliveryAddress,
): boolean {
  const buffer = socket.reserve();
  if (buffer === undefined) return false;
  buffer.bytes.set(payload, UDP_PAYLOAD_OFFSET);
  const length = writeUdpFrame(buffer.bytes, buffer.view, {
    sourceMac: network.hardwareAddress,
    destinationMac: to.mac,
    sourceIp: source,
    destinationIp: to.address,
    sourcePort: SERVER_PORT,
    destinationPort: CLIENT_PORT,
    payloadLength: payload.length,
  });
  socket.commit(length, ifindex);
  return true;
}
