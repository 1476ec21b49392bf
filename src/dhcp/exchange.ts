/** One exchange on its way through the server: the datagram, the request in it, and what is decided about it. */

import { IPV4_BROADCAST, IPV4_UNSPECIFIED, type Ipv4Address } from "../model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress, readMac } from "../model/mac-address.ts";
import { createUdpFrame, type UdpFrame } from "../net/frame.ts";
import {
  type Assignment,
  createRequestContext,
  type DetachedExchange,
  type RequestContext,
} from "./decision.ts";
import type { DecisionTrail } from "./decision-trail.ts";
import { detachRequest } from "./detach-request.ts";
import type { Reply } from "./reply-parts.ts";
import { createDhcpRequest, type DhcpRequest } from "./request.ts";
import { type NakReason, type RequestClass, wantedAddress } from "./rules.ts";

/** What became known of a request, answered or not. The object is reused. */
export interface RequestEvent {
  /** The interface it was seen on. */
  ifindex: number;
  /** Source address of the frame; 0 if it was not read that far. */
  sourceMac: MacAddress;
  /** IP source; 0 if it was not read that far. */
  sourceIp: Ipv4Address;
  /** The message itself, valid until the observer returns; undefined if it was not read as far as its type. */
  request: DhcpRequest | undefined;
  /** The client; 0 if the message was not read that far. */
  chaddr: MacAddress;
  xid: number;
  giaddr: Ipv4Address;
  /** Value of option 53; 0 if it was not read that far, or is absent. */
  requestType: number;
  /** The client's state as its message shows it; undefined if it was not read that far. */
  requestClass: RequestClass["kind"] | undefined;
  /** The address that the client named: ciaddr, else option 50, else 0. */
  wanted: Ipv4Address;
  /** What the chain did; empty if it was not asked. Valid until the observer returns. */
  trail: DecisionTrail;
}

/** A reply that was queued. The object is reused. */
export interface ExchangeEvent extends RequestEvent {
  /** What the client was given; undefined in a DHCPNAK. */
  assignment: Assignment | undefined;
  /** The assignment's container. Its name may be made when it is read, so read it only if it is needed. */
  readonly container: string | undefined;
  replyType: Reply["type"];
  /** The address that was given; 0 in a DHCPNAK and in the answer to DHCPINFORM. */
  address: Ipv4Address;
  /** Why the address was refused; undefined unless it was. */
  nakReason: NakReason | undefined;
}

/** Makes an event that is filled for each reply. */
export function createExchangeEvent(exchange: Exchange): ExchangeEvent {
  return {
    ...createRequestEvent(exchange),
    assignment: undefined,
    get container() {
      return this.assignment?.container;
    },
    replyType: "DHCPNAK",
    address: IPV4_UNSPECIFIED,
    nakReason: undefined,
  };
}

/** A frame that was not answered. The object is reused. */
export interface DropEvent extends RequestEvent {
  reason: string;
}

/** True for an {@link ExchangeEvent}. */
export function isExchangeEvent(event: ExchangeEvent | DropEvent): event is ExchangeEvent {
  return "replyType" in event;
}

/** The server's own view of one exchange; one is reused from frame to frame, a detached one is allocated. */
export interface Exchange {
  readonly udp: UdpFrame;
  readonly request: DhcpRequest;
  readonly context: RequestContext;
  requestClass: RequestClass | undefined;
  /** True once the request was read as far as its message type. */
  isRead: boolean;
  /** The client's own port, for a refusal as well: a broadcast into a bridge would reach every client. */
  replyIfindex: number;
  /** The copy that an asynchronous decider works on. */
  detached: Exchange | undefined;
}

const NO_MAC = readMac(new Uint8Array(6), 0);

/** Makes an exchange of no request. */
export function createExchange(request: DhcpRequest = createDhcpRequest()): Exchange {
  const exchange: Exchange = {
    udp: createUdpFrame(),
    request,
    context: createRequestContext(() => detachExchange(exchange)),
    requestClass: undefined,
    isRead: false,
    replyIfindex: 0,
    detached: undefined,
  };
  return exchange;
}

/** Forgets the exchange before, so that nothing of it can be taken for the next one's. */
export function clearExchange(exchange: Exchange): void {
  exchange.udp.sourceMac = NO_MAC;
  exchange.udp.sourceIp = IPV4_UNSPECIFIED;
  exchange.requestClass = undefined;
  exchange.isRead = false;
  exchange.detached = undefined;
  exchange.context.trail.clear();
  exchange.context.replyOptions.clear();
}

/** Takes over what the datagram says about its sender and its way. */
export function fillContext({ context, udp }: Exchange, ifindex: number): void {
  context.ifindex = ifindex;
  context.sourceMac = udp.sourceMac;
  context.sourceIp = udp.sourceIp;
  context.destinationIp = udp.destinationIp;
  context.sourcePort = udp.sourcePort;
  context.unicast = udp.destinationIp !== IPV4_BROADCAST && udp.destinationMac !== MAC_BROADCAST;
}

/** Copies an exchange into memory of its own, once; of a copy, it is the copy itself. */
export function detachExchange(exchange: Exchange): Exchange & DetachedExchange {
  if (exchange.detached !== undefined) return exchange.detached;
  const copy = createExchange(detachRequest(exchange.request));
  Object.assign(copy.udp, exchange.udp);
  fillContext(copy, exchange.context.ifindex);
  copy.context.unicast = exchange.context.unicast;
  copy.context.trail.copyFrom(exchange.context.trail);
  copy.context.replyOptions.copyFrom(exchange.context.replyOptions);
  copy.requestClass = exchange.requestClass;
  copy.isRead = exchange.isRead;
  copy.replyIfindex = exchange.replyIfindex;
  copy.detached = copy;
  exchange.detached = copy;
  return copy;
}

/** Makes an event that {@link fillEvent} fills. */
export function createRequestEvent({ context }: Exchange): RequestEvent {
  return {
    ifindex: 0,
    sourceMac: NO_MAC,
    sourceIp: IPV4_UNSPECIFIED,
    request: undefined,
    chaddr: NO_MAC,
    xid: 0,
    giaddr: IPV4_UNSPECIFIED,
    requestType: 0,
    requestClass: undefined,
    wanted: IPV4_UNSPECIFIED,
    trail: context.trail,
  };
}

/** Says of an exchange what was read of it. */
export function fillEvent(event: RequestEvent, exchange: Exchange, ifindex: number): void {
  const { request, udp, isRead } = exchange;
  event.ifindex = ifindex;
  event.sourceMac = udp.sourceMac;
  event.sourceIp = udp.sourceIp;
  event.request = isRead ? request : undefined;
  event.chaddr = isRead ? request.chaddr : NO_MAC;
  event.xid = isRead ? request.xid : 0;
  event.giaddr = isRead ? request.giaddr : IPV4_UNSPECIFIED;
  event.requestType = isRead ? request.messageType : 0;
  event.requestClass = exchange.requestClass?.kind;
  event.wanted = isRead ? wantedAddress(request) : IPV4_UNSPECIFIED;
  event.trail = exchange.context.trail;
}
