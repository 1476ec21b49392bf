/** Builds a reply's frame and queues it. */
import type { Ipv4Address } from "../model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress } from "../model/mac-address.ts";
import type { DhcpFault } from "../model/playbook.ts";
import { type WritableUdpFrameHeader, writeUdpFrame } from "../net/frame.ts";
import type { FrameSocket } from "../net/frame-socket.ts";
import type { DhcpCounters } from "./counters.ts";
import type { Exchange } from "./exchange.ts";
import { encodeReply } from "./reply.ts";
import type { ReplyDestination } from "./reply-destination.ts";
import { spoilChecksum, spoilOptions } from "./reply-fault.ts";
import type { Reply } from "./reply-parts.ts";

/** What a server sends with. */
export interface Sender {
  readonly socket: FrameSocket;
  readonly serverAddress: Ipv4Address;
  readonly mtu?: () => number;
  readonly findPort?: (client: MacAddress) => number | undefined;
  readonly counters: DhcpCounters;
  /** Around every reply; only its destination and length change. */
  readonly frameHeader: WritableUdpFrameHeader;
}

/** Builds and queues one frame; false if the socket has no buffer. */
export function transmit(
  server: Sender,
  exchange: Exchange,
  reply: Reply,
  destination: ReplyDestination,
  fault?: DhcpFault,
): boolean {
  const { socket, serverAddress } = server;
  const buffer = socket.reserve();
  if (buffer === undefined) return false;
  const { request, context } = exchange;
  // A relay may want to be the server that its clients renew with (RFC 5107).
  const override = request.serverIdentifierOverride;
  const serverIdentifier = override === 0 ? serverAddress : override;
  const { frameHeader } = server;
  const encoded = encodeReply(buffer, {
    request,
    reply,
    serverIdentifier,
    changes: context.replyOptions,
    mtu: server.mtu?.(),
    counters: server.counters,
  });
  frameHeader.payloadLength = fault === undefined ? encoded : spoilOptions(buffer, encoded, fault);
  frameHeader.sourceIp = sourceOf(server, exchange);
  frameHeader.destinationMac = destination.mac;
  frameHeader.destinationIp = destination.address;
  frameHeader.destinationPort = destination.port;
  const length = writeUdpFrame(buffer.bytes, buffer.view, frameHeader);
  if (fault?.badChecksum === true) spoilChecksum(buffer);
  socket.commit(length, replyPort(server, exchange, destination));
  return true;
}

/** A relay agent, and a firewall before it, take a reply from the address that was asked; clients compare option 54. */
function sourceOf({ serverAddress }: Sender, { request, context }: Exchange): Ipv4Address {
  return request.giaddr !== 0 && context.unicast ? context.destinationIp : serverAddress;
}

/** Unicast finds its port by itself; a broadcast must be told, or the bridge sends it to everybody. */
function replyPort(server: Sender, exchange: Exchange, destination: ReplyDestination): number {
  const { context, request, replyIfindex } = exchange;
  const { findPort } = server;
  const isNamed = replyIfindex !== context.ifindex;
  if (isNamed || findPort === undefined || destination.mac !== MAC_BROADCAST) return replyIfindex;
  return findPort(request.chaddr) ?? replyIfindex;
}
