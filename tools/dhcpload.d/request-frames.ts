/**
 * Requests as whole frames: one template per message, into which a client's fields are written. The checksum is that
 * of the template plus the fields' words, so that a frame costs a copy and some additions.
 */
import {
  IPV4_BROADCAST,
  IPV4_UNSPECIFIED,
  type Ipv4Address,
  writeIpv4,
} from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress, readMac } from "../../src/model/mac-address.ts";
import { foldSum, sumWords } from "../../src/net/checksum.ts";
import { UDP_PAYLOAD_OFFSET, writeUdpFrame } from "../../src/net/frame.ts";
import { FRAME_BYTES_MAX, type TransmitBuffer } from "../../src/net/frame-socket.ts";

/** How clients reach the server. */
export type Way =
  /** From their own MAC, by broadcast; they have no address yet. */
  | { readonly kind: "direct"; readonly broadcastReplies: boolean }
  /** Through an agent at `giaddr`, which sends from `mac`. */
  | {
      readonly kind: "relayed";
      readonly giaddr: Ipv4Address;
      readonly mac: MacAddress;
      readonly server: Station;
    }
  /** To the server itself, from the address that they have. */
  | { readonly kind: "renewal"; readonly server: Station };

/** Where a frame is sent to. */
export interface Station {
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
}

export interface FrameOptions {
  readonly way: Way;
  /** Option 55. */
  readonly requestedOptions: readonly number[];
  /** Adds option 61, type 1 and the MAC, as many clients do. */
  readonly clientIdentifier: boolean;
}

/** What differs from client to client and exchange to exchange. */
export interface ClientFields {
  mac: MacAddress;
  xid: number;
  /** The offered address; of a renewal, the client's own. */
  address: Ipv4Address;
  serverIdentifier: Ipv4Address;
}

/** Octets of a request's BOOTP part. */
const MESSAGE_BYTES = 300;
const NO_MAC = readMac(new Uint8Array(6), 0);
const SERVER_PORT = 67;
const CLIENT_PORT = 68;
const ETHERNET_SOURCE = 6;
const IP = 14;
const UDP = 34;
const BOOTP = UDP_PAYLOAD_OFFSET;
const AT = { xid: BOOTP + 4, flags: BOOTP + 10, ciaddr: BOOTP + 12, giaddr: BOOTP + 24 };
const CHADDR = BOOTP + 28;
const COOKIE = BOOTP + 236;
const OPTIONS = BOOTP + 240;
const ABSENT = 0;

/** Frames of one message type. */
export class RequestTemplate {
  readonly length: number;
  readonly #bytes: Uint8Array;
  readonly #ipSum: number;
  readonly #udpSum: number;
  readonly #places: OptionPlaces;
  readonly #isRelayed: boolean;
  readonly #isRenewal: boolean;

  /** @param messageType - a renewal has REQUEST only */
  constructor(messageType: "DISCOVER" | "REQUEST", options: FrameOptions) {
    const bytes = new Uint8Array(FRAME_BYTES_MAX);
    const view = new DataView(bytes.buffer);
    this.#isRelayed = options.way.kind === "relayed";
    this.#isRenewal = options.way.kind === "renewal";
    this.#places = writeMessage(bytes, view, messageType, options);
    this.length = writeHeaders(bytes, view, options.way);
    view.setUint16(IP + 10, 0);
    // The pseudo header is in the checksum that was written, and the placeholders are all zero.
    this.#udpSum = ~view.getUint16(UDP + 6) & 0xffff;
    this.#ipSum = sumWords(view, IP, IP + 20, 0);
    this.#bytes = bytes.slice(0, this.length);
  }

  /** Writes a client's frame into a zero-filled buffer. */
  write({ bytes, view }: TransmitBuffer, client: ClientFields): void {
    bytes.set(this.#bytes);
    const macHigh = Math.floor(client.mac / 0x1_0000_0000);
    const macLow = client.mac >>> 0;
    let udpSum = this.#udpSum + macHigh + words(macLow) + words(client.xid);
    if (!this.#isRelayed) writeMacAt(view, ETHERNET_SOURCE, macHigh, macLow);
    view.setUint32(AT.xid, client.xid);
    writeMacAt(view, CHADDR, macHigh, macLow);
    const { clientIdentifier, requestedAddress, serverIdentifier } = this.#places;
    if (clientIdentifier !== ABSENT) {
      writeMacAt(view, clientIdentifier, macHigh, macLow);
      udpSum += macHigh + words(macLow);
    }
    if (requestedAddress !== ABSENT) {
      view.setUint32(requestedAddress, client.address);
      udpSum += wordsAt(requestedAddress, client.address);
    }
    if (serverIdentifier !== ABSENT) {
      view.setUint32(serverIdentifier, client.serverIdentifier);
      udpSum += wordsAt(serverIdentifier, client.serverIdentifier);
    }
    let ipSum = this.#ipSum;
    if (this.#isRenewal) {
      view.setUint32(IP + 12, client.address);
      view.setUint32(AT.ciaddr, client.address);
      ipSum += words(client.address);
      udpSum += 2 * words(client.address); // in ciaddr and in the pseudo header
    }
    view.setUint16(IP + 10, ~foldSum(ipSum) & 0xffff);
    const checksum = ~foldSum(udpSum) & 0xffff;
    view.setUint16(UDP + 6, checksum === 0 ? 0xffff : checksum);
  }
}

/** Where a client's fields stand in the frame; 0 if the message does not have them. */
interface OptionPlaces {
  readonly clientIdentifier: number;
  readonly serverIdentifier: number;
  readonly requestedAddress: number;
}

function writeMessage(
  bytes: Uint8Array,
  view: DataView,
  messageType: "DISCOVER" | "REQUEST",
  options: FrameOptions,
): OptionPlaces {
  const { way } = options;
  bytes.set([1, 1, 6, way.kind === "relayed" ? 1 : 0], BOOTP);
  if (way.kind === "direct" && way.broadcastReplies) view.setUint16(AT.flags, 0x8000);
  if (way.kind === "relayed") writeIpv4(bytes, AT.giaddr, way.giaddr);
  view.setUint32(COOKIE, 0x6382_5363);
  let cursor = OPTIONS;
  const put = (code: number, data: readonly number[]): number => {
    bytes.set([code, data.length, ...data], cursor);
    cursor += 2 + data.length;
    return cursor - data.length;
  };
  put(53, [messageType === "DISCOVER" ? 1 : 3]);
  const identifier = options.clientIdentifier ? put(61, [1, 0, 0, 0, 0, 0, 0]) + 1 : ABSENT;
  const isSelecting = messageType === "REQUEST" && way.kind !== "renewal";
  const serverIdentifier = isSelecting ? put(54, [0, 0, 0, 0]) : ABSENT;
  const requestedAddress = isSelecting ? put(50, [0, 0, 0, 0]) : ABSENT;
  put(55, options.requestedOptions);
  bytes[cursor] = 255;
  return { clientIdentifier: identifier, serverIdentifier, requestedAddress };
}

function writeHeaders(bytes: Uint8Array, view: DataView, way: Way): number {
  const isRelayed = way.kind === "relayed";
  return writeUdpFrame(bytes, view, {
    sourceMac: isRelayed ? way.mac : NO_MAC,
    destinationMac: way.kind === "direct" ? MAC_BROADCAST : way.server.mac,
    sourceIp: isRelayed ? way.giaddr : IPV4_UNSPECIFIED,
    destinationIp: way.kind === "direct" ? IPV4_BROADCAST : way.server.address,
    sourcePort: isRelayed ? SERVER_PORT : CLIENT_PORT,
    destinationPort: SERVER_PORT,
    payloadLength: MESSAGE_BYTES,
  });
}

function writeMacAt(view: DataView, offset: number, high: number, low: number): void {
  view.setUint16(offset, high);
  view.setUint32(offset + 2, low);
}

/** The sum of the two words of a 32-bit number at an even offset. */
function words(value: number): number {
  return (value >>> 16) + (value & 0xffff);
}

/** As {@link words}; at an odd offset the octets belong to other halves of the checksum's words. */
function wordsAt(offset: number, value: number): number {
  if (offset % 2 === 0) return words(value);
  const swapped = ((value & 0x00ff_00ff) << 8) | ((value >>> 8) & 0x00ff_00ff);
  return words(swapped >>> 0);
}
