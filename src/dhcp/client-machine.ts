/**
 * The client's side of DHCP as a pure state machine: events in, the next state and messages out. It has no socket,
 * clock or randomness of its own (client.ts has).
 *
 * ```text
 * INIT -> SELECTING -> REQUESTING -> BOUND -> RENEWING -> REBINDING -> INIT
 *            ^_____________| (no answer, or DHCPNAK)  \________ BOUND (DHCPACK)
 * ```
 *
 * @see RFC 2131 section 4.4, figure 5
 */

import { IPV4_UNSPECIFIED, type Ipv4Address, writeIpv4 } from "../model/ipv4-address.ts";
import { type MacAddress, writeMac } from "../model/mac-address.ts";
import {
  BOOTREPLY,
  BOOTREQUEST,
  HTYPE_ETHERNET,
  INFINITE_SECONDS,
  MESSAGE_TYPE,
} from "./header.ts";
import { type DhcpLease, readLease } from "./lease.ts";
import { addressOption, type DhcpMessage, messageTypeName } from "./message.ts";
import { OPTION } from "./options.ts";

/** What the client asks for unless told otherwise: all that a lease holds. */
export const REQUESTED_OPTIONS: readonly number[] = [
  OPTION.subnetMask,
  OPTION.classlessRoutes,
  OPTION.microsoftRoutes,
  OPTION.routers,
  OPTION.domainNameServers,
  OPTION.hostname,
  OPTION.domainName,
  OPTION.interfaceMtu,
  OPTION.wireServer,
];

/** What the client says of itself. */
export interface ClientIdentity {
  readonly mac: MacAddress;
  readonly hostname?: string;
  /** Option 55, in order; default {@link REQUESTED_OPTIONS}. */
  readonly requestedOptions?: readonly number[];
}

/** The state of a client; times are in milliseconds of the caller's monotonic clock. */
export type ClientState =
  /** Waits until `wakeAtMs` to begin (anew). */
  | { readonly kind: "INIT"; readonly wakeAtMs: number }
  | ({ readonly kind: "SELECTING" } & Transaction)
  | ({ readonly kind: "REQUESTING"; readonly offer: Offer } & Transaction)
  | { readonly kind: "BOUND"; readonly bound: Bound; readonly wakeAtMs: number }
  | ({ readonly kind: "RENEWING"; readonly bound: Bound } & Transaction)
  | ({ readonly kind: "REBINDING"; readonly bound: Bound } & Transaction);

/** Messages with one xid until they are answered. */
export interface Transaction {
  readonly xid: number;
  /** When the client began to look for an address; `secs` counts from here. */
  readonly startedAtMs: number;
  /** When it asked for the lease, whose times count from here (RFC 2131 section 4.4.5). */
  readonly askedAtMs: number;
  /** Messages sent so far. */
  readonly attempts: number;
  readonly wakeAtMs: number;
}

/** The offer that was taken. */
export interface Offer {
  readonly address: Ipv4Address;
  readonly serverIdentifier: Ipv4Address;
}

/** A lease that is held. */
export interface Bound {
  readonly lease: DhcpLease;
  readonly askedAtMs: number;
  /** Where the DHCPACK came from: the way to the server without ARP. */
  readonly serverMac: MacAddress;
}

/** What happens to a client. `random` is from [0, 1) and is drawn anew for each event. */
export type ClientEvent = { readonly nowMs: number; readonly random: number } & (
  | { readonly kind: "timer" }
  | { readonly kind: "message"; readonly message: DhcpMessage; readonly serverMac: MacAddress }
);

/** What the caller does after a step, in order. */
export type ClientAction =
  /** Without `to`: to everybody, from the address in ciaddr. */
  | {
      readonly kind: "send";
      readonly message: DhcpMessage;
      readonly to?: { readonly mac: MacAddress; readonly address: Ipv4Address };
    }
  | { readonly kind: "bound"; readonly lease: DhcpLease }
  | { readonly kind: "lost" };

/** The next state and what to do. */
export interface ClientStep {
  readonly state: ClientState;
  readonly actions: readonly ClientAction[];
}

/** A guest on a fabric has its server beside it, so the first retry is early; then 2, 4, ... 64 s (section 4.1). */
const FIRST_RETRY_MS = 1000;
const RETRY_MS_MAX = 64_000;
const RETRY_JITTER_MS = 1000;
const REQUEST_ATTEMPTS_MAX = 4;
/** Shortest wait between renewals (RFC 2131 section 4.4.5). */
const RENEW_RETRY_MS_MIN = 60_000;
/** After a DHCPNAK, so that a server that offers and refuses gets no storm. */
const AFTER_NAK_MS = 1000;
const OPTION_57_BYTES = 1500;
const MS = 1000;

/** The state of a client that begins at once. */
export function initialClientState(nowMs: number): ClientState {
  return { kind: "INIT", wakeAtMs: nowMs };
}

/**
 * Advances a client by one event. Messages that answer nothing we asked, and timers that come early, change nothing.
 */
export function stepClient(
  state: ClientState,
  event: ClientEvent,
  identity: ClientIdentity,
): ClientStep {
  if (event.kind === "message") return onMessage(state, event);
  if (event.nowMs < state.wakeAtMs) return { state, actions: [] };
  return onTimer(state, event, identity);
}

function onTimer(state: ClientState, event: ClientEvent, identity: ClientIdentity): ClientStep {
  switch (state.kind) {
    case "INIT":
      return discover(begin(event), event, identity);
    case "SELECTING":
      return discover(state, event, identity);
    case "REQUESTING":
      if (state.attempts >= REQUEST_ATTEMPTS_MAX) return discover(begin(event), event, identity);
      return request(state, event, identity);
    case "BOUND":
      return renew({ kind: "RENEWING", bound: state.bound, ...begin(event) }, event, identity);
    case "RENEWING":
    case "REBINDING":
      return renew(state, event, identity);
    default:
      return state satisfies never;
  }
}

/** A new transaction with a new xid and nothing sent. */
function begin({ nowMs, random }: ClientEvent): Transaction {
  const xid = Math.floor(random * 2 ** 32);
  return { xid, startedAtMs: nowMs, askedAtMs: nowMs, attempts: 0, wakeAtMs: nowMs };
}

/** Exponential, and randomized so that a rack of guests does not speak as one (RFC 2131 section 4.1). */
function retried(transaction: Transaction, { nowMs, random }: ClientEvent): Transaction {
  const waitMs = Math.min(FIRST_RETRY_MS * 2 ** transaction.attempts, RETRY_MS_MAX);
  const jitterMs = Math.min(RETRY_JITTER_MS, waitMs / 2) * (2 * random - 1);
  return {
    ...transaction,
    attempts: transaction.attempts + 1,
    wakeAtMs: nowMs + waitMs + jitterMs,
  };
}

function discover(
  { xid, startedAtMs, askedAtMs, attempts, wakeAtMs }: Transaction,
  event: ClientEvent,
  identity: ClientIdentity,
): ClientStep {
  const transaction = { xid, startedAtMs, askedAtMs, attempts, wakeAtMs };
  const message = createMessage("DHCPDISCOVER", transaction, event, identity);
  return {
    state: { kind: "SELECTING", ...retried(transaction, event) },
    actions: [{ kind: "send", message }],
  };
}

function request(
  state: Extract<ClientState, { kind: "REQUESTING" }>,
  event: ClientEvent,
  identity: ClientIdentity,
): ClientStep {
  const message = createMessage("DHCPREQUEST", state, event, identity, { offer: state.offer });
  return {
    state: { ...retried(state, event), kind: "REQUESTING", offer: state.offer },
    actions: [{ kind: "send", message }],
  };
}

/** Asks the server until T2, then everybody until the lease ends (RFC 2131 section 4.4.5). */
function renew(
  state: Extract<ClientState, { kind: "RENEWING" | "REBINDING" }>,
  event: ClientEvent,
  identity: ClientIdentity,
): ClientStep {
  const { bound } = state;
  const endsAtMs = bound.askedAtMs + bound.lease.leaseSeconds * MS;
  if (event.nowMs >= endsAtMs) return lose(event, 0);
  const t2AtMs = bound.askedAtMs + bound.lease.t2Seconds * MS;
  const kind = event.nowMs >= t2AtMs ? "REBINDING" : "RENEWING";
  const nextAtMs = kind === "REBINDING" ? endsAtMs : t2AtMs;
  const waitMs = Math.max((nextAtMs - event.nowMs) / 2, RENEW_RETRY_MS_MIN);
  const wakeAtMs = Math.min(event.nowMs + waitMs, nextAtMs);
  const { xid, startedAtMs, askedAtMs, attempts } = state;
  const ciaddr = bound.lease.address;
  const message = createMessage("DHCPREQUEST", state, event, identity, { ciaddr });
  const to = { mac: bound.serverMac, address: bound.lease.serverIdentifier };
  return {
    state: { kind, bound, xid, startedAtMs, askedAtMs, attempts: attempts + 1, wakeAtMs },
    actions: [kind === "RENEWING" ? { kind: "send", message, to } : { kind: "send", message }],
  };
}

function lose({ nowMs }: ClientEvent, waitMs: number): ClientStep {
  return { state: { kind: "INIT", wakeAtMs: nowMs + waitMs }, actions: [{ kind: "lost" }] };
}

type MessageEvent = Extract<ClientEvent, { kind: "message" }>;

function onMessage(state: ClientState, event: MessageEvent): ClientStep {
  const ignored: ClientStep = { state, actions: [] };
  const { message } = event;
  if (state.kind === "INIT" || state.kind === "BOUND") return ignored;
  if (message.op !== BOOTREPLY || message.xid !== state.xid) return ignored;
  const type = messageTypeName(message);
  if (state.kind === "SELECTING") {
    return type === "DHCPOFFER" ? (takeOffer(state, event) ?? ignored) : ignored;
  }
  if (type === "DHCPACK") return acknowledged(state, event) ?? ignored;
  if (type !== "DHCPNAK" || !isFromServer(state, message)) return ignored;
  if (state.kind !== "REQUESTING") return lose(event, AFTER_NAK_MS);
  return { state: { kind: "INIT", wakeAtMs: event.nowMs + AFTER_NAK_MS }, actions: [] };
}

/** The first usable offer is as good as any: a fabric has one server. The request goes out on the next timer. */
function takeOffer(state: Transaction, event: MessageEvent): ClientStep | undefined {
  const serverIdentifier = addressOption(event.message, OPTION.serverIdentifier);
  const address = event.message.yiaddr;
  if (!serverIdentifier || address === IPV4_UNSPECIFIED) return undefined;
  const { xid, startedAtMs } = state;
  const offer = { address, serverIdentifier };
  const transaction = {
    xid,
    startedAtMs,
    askedAtMs: event.nowMs,
    attempts: 0,
    wakeAtMs: event.nowMs,
  };
  return { state: { kind: "REQUESTING", offer, ...transaction }, actions: [] };
}

function acknowledged(
  state: Extract<ClientState, { kind: "REQUESTING" | "RENEWING" | "REBINDING" }>,
  event: MessageEvent,
): ClientStep | undefined {
  const lease = readLease(event.message);
  const expected = state.kind === "REQUESTING" ? state.offer.address : state.bound.lease.address;
  if (lease?.address !== expected || !isFromServer(state, event.message)) return undefined;
  const { askedAtMs } = state;
  const bound = { lease, askedAtMs, serverMac: event.serverMac };
  const isEndless = lease.t1Seconds === INFINITE_SECONDS;
  const wakeAtMs = isEndless ? Number.POSITIVE_INFINITY : askedAtMs + lease.t1Seconds * MS;
  return { state: { kind: "BOUND", bound, wakeAtMs }, actions: [{ kind: "bound", lease }] };
}

/** While rebinding, every server may answer. */
function isFromServer(state: ClientState, message: DhcpMessage): boolean {
  const from = addressOption(message, OPTION.serverIdentifier);
  if (state.kind === "REQUESTING") return from === state.offer.serverIdentifier;
  if (state.kind === "RENEWING") return from === state.bound.lease.serverIdentifier;
  return state.kind === "REBINDING";
}

function createMessage(
  type: "DHCPDISCOVER" | "DHCPREQUEST",
  transaction: Transaction,
  { nowMs }: ClientEvent,
  identity: ClientIdentity,
  about: { readonly offer?: Offer; readonly ciaddr?: Ipv4Address } = {},
): DhcpMessage {
  const secs = Math.floor((nowMs - transaction.startedAtMs) / MS);
  return {
    op: BOOTREQUEST,
    hops: 0,
    xid: transaction.xid,
    secs: Math.min(secs, 0xffff),
    flags: 0,
    ciaddr: about.ciaddr ?? IPV4_UNSPECIFIED,
    yiaddr: IPV4_UNSPECIFIED,
    siaddr: IPV4_UNSPECIFIED,
    giaddr: IPV4_UNSPECIFIED,
    chaddr: identity.mac,
    sname: new Uint8Array(),
    file: new Uint8Array(),
    options: createOptions(type, identity, about.offer),
  };
}

function createOptions(
  type: "DHCPDISCOVER" | "DHCPREQUEST",
  identity: ClientIdentity,
  offer: Offer | undefined,
): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>([
    [OPTION.messageType, Uint8Array.of(MESSAGE_TYPE[type])],
    [OPTION.clientIdentifier, clientIdentifier(identity.mac)],
    [OPTION.maxMessageSize, Uint8Array.of(OPTION_57_BYTES >>> 8, OPTION_57_BYTES & 0xff)],
    [OPTION.parameterRequestList, Uint8Array.from(identity.requestedOptions ?? REQUESTED_OPTIONS)],
  ]);
  if (offer !== undefined) {
    options.set(OPTION.requestedAddress, addressOctets(offer.address));
    options.set(OPTION.serverIdentifier, addressOctets(offer.serverIdentifier));
  }
  if (identity.hostname !== undefined && identity.hostname.length > 0) {
    options.set(OPTION.hostname, new TextEncoder().encode(identity.hostname));
  }
  return options;
}

/** Hardware type and address (RFC 2132 section 9.14). */
function clientIdentifier(mac: MacAddress): Uint8Array {
  const data = new Uint8Array(7);
  data[0] = HTYPE_ETHERNET;
  writeMac(data, 1, mac);
  return data;
}

function addressOctets(address: Ipv4Address): Uint8Array {
  const data = new Uint8Array(4);
  writeIpv4(data, 0, address);
  return data;
}
