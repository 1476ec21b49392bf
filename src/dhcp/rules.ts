/**
 * What a request is and what it gets. Pure: no socket, clock or memory of earlier messages, so that any node may
 * answer any message of an exchange and a restart refuses nobody.
 *
 * @see RFC 2131 section 4.3
 */

import { type Ipv4Address, type Ipv4Subnet, subnetContains } from "../model/ipv4-address.ts";
import type { Assignment, ChainVerdict, RequestContext } from "./decision.ts";
import { MESSAGE_TYPE } from "./header.ts";
import type { DhcpRequest } from "./request.ts";

/** Why a request is not answered although it was well formed. */
export type SilenceReason =
  /** RFC 2131 section 4.3.2: the client took another server's offer. */
  | "req.otherserver"
  /** SELECTING without the address that was selected. */
  | "req.no50"
  /** DHCPREQUEST that names neither server, nor address. */
  | "req.empty"
  | "decline.malformed"
  | "release.malformed"
  /** Nowhere to send a DHCPACK to. */
  | "inform.noaddress"
  | "nic.unknown"
  | "nic.wrongnetwork"
  /** Another server may know the address (RFC 2131 section 4.3.2, INIT-REBOOT). */
  | "net.notauthoritative"
  | "client.decline"
  | "client.decline.foreign"
  | "client.release"
  | "client.release.foreign";

/** The client's state as its message shows it; states are those of RFC 2131 figure 5. */
export type RequestClass =
  | { readonly kind: "BOOTP" }
  | { readonly kind: "INIT" }
  | { readonly kind: "SELECTING" }
  | { readonly kind: "INIT-REBOOT" }
  | { readonly kind: "RENEWING" }
  | { readonly kind: "REBINDING" }
  | { readonly kind: "INFORM" }
  | { readonly kind: "DECLINE" }
  | { readonly kind: "RELEASE" }
  | { readonly kind: "silent"; readonly reason: SilenceReason };

/** What to do about a request. */
export type ReplyDecision =
  | {
      readonly kind: "reply";
      /** BOOTREPLY is the answer to a client that speaks no DHCP (RFC 1534 section 2). */
      readonly type: "DHCPOFFER" | "DHCPACK" | "BOOTREPLY";
      readonly assignment: Assignment;
      /** False for the answer to DHCPINFORM: configuration, but neither address nor lease times. */
      readonly hasLease: boolean;
      /** True for a DHCPACK to a DHCPDISCOVER, which says so with option 80 (RFC 4039). */
      readonly isRapid: boolean;
    }
  | { readonly kind: "reply"; readonly type: "DHCPNAK"; readonly why: NakReason }
  /** `reason` is a {@link SilenceReason} or one that the chain gave. */
  | { readonly kind: "silent"; readonly reason: string };

/** Why an address is refused. */
export type NakReason = "wrong-address" | "wrong-network";

/** What a network's owner decides about its answers. */
export interface ReplyPolicy {
  /** Answer BOOTP requests, too. */
  readonly bootp: boolean;
  /** Acknowledge a DHCPDISCOVER at once if the client asks for that (RFC 4039). */
  readonly rapidCommit: boolean;
  /**
   * The subnet of the network, if we alone answer on it and know every client. A client that we do not know is then
   * refused what only we could have given it; without this it is never answered.
   */
  readonly refuseUnknown?: Ipv4Subnet;
}

/** Neither BOOTP nor rapid commit, and silence for whom we do not know. */
export const DEFAULT_REPLY_POLICY: ReplyPolicy = { bootp: false, rapidCommit: false };

const BOOTP: RequestClass = { kind: "BOOTP" };
const INIT: RequestClass = { kind: "INIT" };
const SELECTING: RequestClass = { kind: "SELECTING" };
const INIT_REBOOT: RequestClass = { kind: "INIT-REBOOT" };
const RENEWING: RequestClass = { kind: "RENEWING" };
const REBINDING: RequestClass = { kind: "REBINDING" };
const INFORM: RequestClass = { kind: "INFORM" };
const DECLINE: RequestClass = { kind: "DECLINE" };
const RELEASE: RequestClass = { kind: "RELEASE" };
const OTHER_SERVER = silentClass("req.otherserver");
const NO_ADDRESS_SELECTED = silentClass("req.no50");
const EMPTY_REQUEST = silentClass("req.empty");
const DECLINE_MALFORMED = silentClass("decline.malformed");
const RELEASE_MALFORMED = silentClass("release.malformed");
const INFORM_NO_ADDRESS = silentClass("inform.noaddress");

const NAK_WRONG_ADDRESS: ReplyDecision = { kind: "reply", type: "DHCPNAK", why: "wrong-address" };
const NAK_WRONG_NETWORK: ReplyDecision = { kind: "reply", type: "DHCPNAK", why: "wrong-network" };
const SILENT_UNKNOWN = silent("nic.unknown");
const SILENT_WRONG_NETWORK = silent("nic.wrongnetwork");
const SILENT_NOT_AUTHORITATIVE = silent("net.notauthoritative");
const SILENT_DECLINE = silent("client.decline");
const SILENT_DECLINE_FOREIGN = silent("client.decline.foreign");
const SILENT_RELEASE = silent("client.release");
const SILENT_RELEASE_FOREIGN = silent("client.release.foreign");

function silentClass(reason: SilenceReason): RequestClass {
  return { kind: "silent", reason };
}

function silent(reason: SilenceReason): ReplyDecision {
  return { kind: "silent", reason };
}

/**
 * Tells in which state a client is: RFC 2131 section 4.3.2 and table 4.
 *
 * @param serverIdentifier - ours; a relay's override (RFC 5107) and 0.0.0.0 count as ours as well. udhcpc sends the
 *   latter if it lost our identifier
 */
export function classify(
  request: DhcpRequest,
  context: RequestContext,
  serverIdentifier: Ipv4Address,
): RequestClass {
  switch (request.messageType) {
    case 0:
      return BOOTP;
    case MESSAGE_TYPE.DHCPDISCOVER:
      // Some boot ROMs copy option 54 or ciaddr into a DHCPDISCOVER; neither changes what it is.
      return INIT;
    case MESSAGE_TYPE.DHCPREQUEST:
      return classifyRequest(request, context, serverIdentifier);
    case MESSAGE_TYPE.DHCPDECLINE:
      if (!isForUs(request, serverIdentifier)) return OTHER_SERVER;
      return request.hasRequestedAddress && request.ciaddr === 0 ? DECLINE : DECLINE_MALFORMED;
    case MESSAGE_TYPE.DHCPRELEASE:
      if (!isForUs(request, serverIdentifier)) return OTHER_SERVER;
      return request.ciaddr !== 0 ? RELEASE : RELEASE_MALFORMED;
    default:
      return request.ciaddr === 0 && context.sourceIp === 0 ? INFORM_NO_ADDRESS : INFORM;
  }
}

function classifyRequest(
  request: DhcpRequest,
  context: RequestContext,
  serverIdentifier: Ipv4Address,
): RequestClass {
  // RFC 2131 asks for no answer to somebody else's client, not even a DHCPNAK.
  if (!isForUs(request, serverIdentifier)) return OTHER_SERVER;
  if (request.hasServerIdentifier) {
    // Only an offer is taken with both. NetworkManager 1.42 does so with its old address in ciaddr, once it was refused
    // a renewal: were that a renewal again, it would be refused for ever.
    if (request.hasRequestedAddress) return SELECTING;
    // A DHCPREQUEST with ciaddr renews, even if a sloppy client names the server as well.
    return request.ciaddr !== 0 ? RENEWING : NO_ADDRESS_SELECTED;
  }
  if (request.ciaddr === 0) return request.hasRequestedAddress ? INIT_REBOOT : EMPTY_REQUEST;
  const isUnicast = request.giaddr === 0 ? context.unicast : request.relayedUnicast;
  return isUnicast ? RENEWING : REBINDING;
}

function isForUs(request: DhcpRequest, serverIdentifier: Ipv4Address): boolean {
  if (!request.hasServerIdentifier || request.serverIdentifier === 0) return true;
  if (request.serverIdentifier === serverIdentifier) return true;
  return request.serverIdentifier === request.serverIdentifierOverride;
}

/**
 * Decides the answer to a classified request.
 *
 * @param verdict - what the chain knows of the client
 */
export function decideReply(
  requestClass: Exclude<RequestClass, { kind: "silent" }>,
  request: DhcpRequest,
  verdict: ChainVerdict,
  policy: ReplyPolicy = DEFAULT_REPLY_POLICY,
): ReplyDecision {
  switch (verdict.kind) {
    case "assigned":
      return decideAssigned(requestClass, request, verdict.assignment, policy);
    case "unknown":
      return decideUnknown(requestClass, request, policy);
    case "wrong-network":
      return decideWrongNetwork(requestClass);
    case "drop":
    case "error":
      return { kind: "silent", reason: verdict.reason };
    default:
      return verdict satisfies never;
  }
}

function decideAssigned(
  requestClass: Exclude<RequestClass, { kind: "silent" }>,
  request: DhcpRequest,
  assignment: Assignment,
  policy: ReplyPolicy,
): ReplyDecision {
  const wanted = wantedAddress(request);
  const isRight = wanted === assignment.address;
  switch (requestClass.kind) {
    case "BOOTP":
      return { kind: "reply", type: "BOOTREPLY", assignment, hasLease: true, isRapid: false };
    case "INIT":
      // Option 50 is only a hint here: a client has one address, whatever it asks for.
      return policy.rapidCommit && request.rapidCommit
        ? { kind: "reply", type: "DHCPACK", assignment, hasLease: true, isRapid: true }
        : { kind: "reply", type: "DHCPOFFER", assignment, hasLease: true, isRapid: false };
    case "SELECTING":
    case "RENEWING":
      // Never another address in a DHCPACK: Windows keeps its old one then, and iPXE ignores the message.
      return isRight ? acknowledge(assignment, true) : NAK_WRONG_ADDRESS;
    case "INIT-REBOOT":
    case "REBINDING":
      return isRight ? acknowledge(assignment, true) : refuse(wanted, assignment);
    case "INFORM":
      return acknowledge(assignment, false);
    case "DECLINE":
      return isRight ? SILENT_DECLINE : SILENT_DECLINE_FOREIGN;
    case "RELEASE":
      return isRight ? SILENT_RELEASE : SILENT_RELEASE_FOREIGN;
    default:
      return requestClass satisfies never;
  }
}

/**
 * The address that the client uses or asks for: the one that it selects; else ciaddr, for it uses that one now; else
 * option 50; else 0.
 */
export function wantedAddress(request: DhcpRequest): Ipv4Address {
  const { messageType, hasServerIdentifier, hasRequestedAddress, ciaddr } = request;
  const selects =
    messageType === MESSAGE_TYPE.DHCPREQUEST && hasServerIdentifier && hasRequestedAddress;
  return selects || ciaddr === 0 ? request.requestedAddress : ciaddr;
}

function acknowledge(assignment: Assignment, hasLease: boolean): ReplyDecision {
  return { kind: "reply", type: "DHCPACK", assignment, hasLease, isRapid: false };
}

/** On a shared network, an address of the same subnet may be another server's business. */
function refuse(wanted: Ipv4Address, { profile }: Assignment): ReplyDecision {
  if (!subnetContains(profile.subnet, wanted)) return NAK_WRONG_NETWORK;
  return profile.authoritative ? NAK_WRONG_ADDRESS : SILENT_NOT_AUTHORITATIVE;
}

/**
 * RFC 2131 section 4.3.2: without a record the server must stay silent; another one may have it. Where there is no
 * other one, a client that names us, or an address of another network, is refused: its record is gone.
 */
function decideUnknown(
  requestClass: RequestClass,
  request: DhcpRequest,
  { refuseUnknown }: ReplyPolicy,
): ReplyDecision {
  if (refuseUnknown === undefined) return SILENT_UNKNOWN;
  switch (requestClass.kind) {
    case "SELECTING":
    case "RENEWING":
      return NAK_WRONG_ADDRESS;
    case "INIT-REBOOT":
    case "REBINDING":
      return subnetContains(refuseUnknown, wantedAddress(request))
        ? SILENT_UNKNOWN
        : NAK_WRONG_NETWORK;
    default:
      return SILENT_UNKNOWN;
  }
}

function decideWrongNetwork(requestClass: RequestClass): ReplyDecision {
  switch (requestClass.kind) {
    case "SELECTING":
    case "INIT-REBOOT":
    case "RENEWING":
    case "REBINDING":
      return NAK_WRONG_NETWORK;
    default:
      return SILENT_WRONG_NETWORK;
  }
}
