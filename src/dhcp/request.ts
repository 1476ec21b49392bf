/**
 * The server's view of a request. One {@link DhcpRequest} is filled again and again by readRequest() (read-request.ts);
 * it and the octets it points to are valid until the next one is read.
 */

import { type Ipv4Address, readIpv4 } from "../model/ipv4-address.ts";
import { type MacAddress, readMac } from "../model/mac-address.ts";
import type { FrameDropReason } from "../net/frame.ts";
import { FRAME_BYTES_MAX } from "../net/frame-socket.ts";
import { createOptionIndex, type OptionIndex } from "./option-index.ts";

/** Why a payload is no request that this server reads. */
export type RequestDropReason =
  | "bootp.short"
  | "bootp.long"
  | "rogue.server"
  | "bootp.op"
  | "bootp.htype"
  | "bootp.hlen"
  | "bootp.hops"
  | "bootp.chaddr"
  | "bootp.ciaddr"
  | "relay.giaddr"
  | "opt.trunc"
  | "opt.flood"
  | "opt.50"
  | "opt.53"
  | "opt.54"
  | "type.unknown"
  | "type.server"
  | "type.unsupported";

/** Every reason for which a frame or its payload is dropped before a protocol rule sees it. */
export type DropReason = FrameDropReason | RequestDropReason;

/** Where the data of an option lies in {@link DhcpRequest.optionBytes}; length 0 if it is absent or empty. */
export interface OptionSpan {
  offset: number;
  length: number;
}

/** A checked request. Addresses are numbers, times are seconds, all options are optional. */
export interface DhcpRequest {
  /** The memory that the message is in; the message starts at `offset`. */
  bytes: Uint8Array;
  offset: number;
  /** Index after the last octet of the message. */
  end: number;
  op: number;
  htype: number;
  hlen: number;
  hops: number;
  xid: number;
  secs: number;
  /** All sixteen bits as received; see {@link DhcpRequest.broadcast}. */
  flags: number;
  ciaddr: Ipv4Address;
  yiaddr: Ipv4Address;
  siaddr: Ipv4Address;
  giaddr: Ipv4Address;
  chaddr: MacAddress;
  /** The client cannot receive unicast before it has an address. */
  broadcast: boolean;
  /** Option 53: one of DISCOVER, REQUEST, DECLINE, RELEASE, INFORM; 0 if it is absent: the client speaks BOOTP. */
  messageType: number;
  /** The magic cookie was there. Without it the vendor area is somebody's own, and no option is read (RFC 1497). */
  hasCookie: boolean;
  hasRequestedAddress: boolean;
  requestedAddress: Ipv4Address;
  hasServerIdentifier: boolean;
  serverIdentifier: Ipv4Address;
  /** Option 51, or 0 if the client does not ask for a lease time. */
  requestedLeaseSeconds: number;
  /** Option 80: the client would take a DHCPACK at once (RFC 4039). */
  rapidCommit: boolean;
  /** Option 118, or 0: the client's network is not the one that the message came from (RFC 3011). */
  subnetSelection: Ipv4Address;
  /** Option 57 in octets of the IP datagram, or 0 if absent or below 576. */
  maxMessageSize: number;
  /** The memory that the option spans point into: `bytes`, or a scratch buffer if options had to be joined. */
  optionBytes: Uint8Array;
  readonly parameterRequestList: OptionSpan;
  readonly clientIdentifier: OptionSpan;
  readonly hostname: OptionSpan;
  readonly vendorClass: OptionSpan;
  readonly userClass: OptionSpan;
  /** Option 82; absent unless the request was relayed, whatever the client sent. */
  readonly relayInformation: OptionSpan;
  /** Server identifier that the relay wants replies to carry (RFC 5107), or 0. */
  serverIdentifierOverride: Ipv4Address;
  /** Sub-option 5 of option 82, or 0: the network that the relay asks an address of (RFC 3527). */
  linkSelection: Ipv4Address;
  /** True if the relay got the message by unicast (RFC 5010). */
  relayedUnicast: boolean;
  /** True if the relay wants the reply at its source port (RFC 8357). */
  relaySourcePort: boolean;
  /** True if option 53 was there; the message may still be malformed. */
  hasMessageType: boolean;
  /** What of the options was not used: bits of `IGNORED` (ignored-options.ts). */
  ignored: number;
  /** Which of the options that readRequest() knows are there: bits of `KEPT_BITS` (kept-options.ts). */
  seen: number;
  /** Working memory of readRequest() and readOption(). */
  readonly scratch: Uint8Array;
  /** The options of this very message if `isIndexed`. */
  readonly index: OptionIndex;
  isIndexed: boolean;
  readonly faults: OptionFaults;
}

/** Options of a wrong length; whether that matters depends on the message type. */
export interface OptionFaults {
  messageType: boolean;
  requestedAddress: boolean;
  serverIdentifier: boolean;
}

const NO_BYTES = new Uint8Array(4);
/** 0.0.0.0 in a header field or an absent option. */
export const NO_ADDRESS = readIpv4(NO_BYTES, 0);

/** Makes the object that readRequest() fills; make one and reuse it. */
export function createDhcpRequest(): DhcpRequest {
  return {
    bytes: NO_BYTES,
    offset: 0,
    end: 0,
    op: 0,
    htype: 0,
    hlen: 0,
    hops: 0,
    xid: 0,
    secs: 0,
    flags: 0,
    ciaddr: NO_ADDRESS,
    yiaddr: NO_ADDRESS,
    siaddr: NO_ADDRESS,
    giaddr: NO_ADDRESS,
    chaddr: readMac(new Uint8Array(6), 0),
    broadcast: false,
    messageType: 0,
    hasCookie: false,
    hasRequestedAddress: false,
    requestedAddress: NO_ADDRESS,
    hasServerIdentifier: false,
    serverIdentifier: NO_ADDRESS,
    requestedLeaseSeconds: 0,
    rapidCommit: false,
    subnetSelection: NO_ADDRESS,
    maxMessageSize: 0,
    optionBytes: NO_BYTES,
    parameterRequestList: { offset: 0, length: 0 },
    clientIdentifier: { offset: 0, length: 0 },
    hostname: { offset: 0, length: 0 },
    vendorClass: { offset: 0, length: 0 },
    userClass: { offset: 0, length: 0 },
    relayInformation: { offset: 0, length: 0 },
    serverIdentifierOverride: NO_ADDRESS,
    linkSelection: NO_ADDRESS,
    relayedUnicast: false,
    relaySourcePort: false,
    hasMessageType: false,
    ignored: 0,
    seen: 0,
    scratch: new Uint8Array(FRAME_BYTES_MAX),
    index: createOptionIndex(),
    isIndexed: false,
    faults: { messageType: false, requestedAddress: false, serverIdentifier: false },
  };
}
