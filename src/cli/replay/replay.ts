/**
 * Feeds a capture to a DHCP server, without an interface or a privilege: what would it answer to
 * these frames? The same capture and inventory give the same bytes.
 */
import {
  createDhcpCounters,
  type DhcpCounters,
  type DhcpMessage,
  type DropEvent,
  decodeMessage,
  type ExchangeEvent,
  MESSAGE_TYPE,
  type MessageTypeName,
  messageTypeName,
  OPTION,
  SERVER_PORT,
  serveDhcp,
} from "../../dhcp/index.ts";
import { type Ipv4Address, WIRE_SERVER_ADDRESS } from "../../model/ipv4-address.ts";
import { type MacAddress, parseMac, readMac } from "../../model/mac-address.ts";
import type { Capture, CapturedFrame } from "../../net/capture.ts";
import { type CaptureFrameSocket, openCaptureFrameSocket } from "../../net/capture-frame-socket.ts";
import { createUdpFrame, readUdpFrame, UDP_PAYLOAD_OFFSET } from "../../net/frame.ts";
import type { FrameSocket, TransmitBuffer } from "../../net/frame-socket.ts";
import type { ChainOptions, JournalEntry } from "../../wds/index.ts";
import { keepDecision } from "../dhcp/decision.ts";
import type { InventoryServer } from "../inventory-server.ts";
import { CaptureClock } from "./capture-clock.ts";
import { type CapturedReply, roleOf, withOurIdentifier } from "./captured-dhcp.ts";

/** Source address of the replies; nothing depends on it. */
const HARDWARE_ADDRESS = parseMac("02:67:73:00:00:01");
const NANOSECONDS_PER_MILLISECOND = 1e6;

/** What {@link replayCapture} needs. */
export interface ReplayOptions {
  readonly capture: Capture;
  /** Makes the server's chain and rules; its chain must take its timers, and its clock, from the argument. */
  readonly makeServer: (options: ChainOptions & { readonly now: () => number }) => InventoryServer;
  /** The pcap file to write the replies to. */
  readonly output: string;
  /** Take the servers in the capture for us: their clients' requests then name us. */
  readonly standIn: boolean;
}

/** A request of the capture and what became of it. */
export interface ReplayedRequest {
  /** Position in the capture, from 1. */
  readonly frameNumber: number;
  /** Since the first frame of the capture. */
  readonly atMs: number;
  /** Source address of the frame. */
  readonly sourceMac: MacAddress;
  /** The client, if the message was read that far; else 0. */
  readonly chaddr: MacAddress;
  readonly decision: JournalEntry;
  /** Our reply. */
  readonly reply: DhcpMessage | undefined;
  /** What servers in the capture answered. */
  readonly captured: readonly CapturedReply[];
}

/** What a replay found. */
export interface Replay {
  readonly requests: readonly ReplayedRequest[];
  readonly counters: DhcpCounters;
  /** Frames of the capture that are neither requests nor replies. */
  readonly otherFrames: number;
  readonly capturedReplies: number;
  /** Of these: the capture has no request before them. */
  readonly orphanReplies: number;
  /** Requests whose UDP checksum is wrong, as it is where frames are captured before the NIC has made it. */
  readonly wrongChecksums: number;
  /** The servers in the capture. */
  readonly servers: ReadonlySet<Ipv4Address>;
}

/** A request while it is replayed. */
interface Slot {
  readonly frameNumber: number;
  readonly frame: CapturedFrame;
  readonly atMs: number;
  chaddr: MacAddress;
  decision: JournalEntry | undefined;
  reply: DhcpMessage | undefined;
}

/** @throws FabricError ERR_CAPTURE_WRITE */
export async function replayCapture(options: ReplayOptions): Promise<Replay> {
  const { capture, standIn } = options;
  const roles = capture.frames.map((frame, index) => roleOf(frame, index + 1));
  const replies = roles.flatMap((role) => (role.kind === "reply" ? [role.reply] : []));
  const servers = new Set(replies.map(({ server }) => server));
  const startNs = capture.frames[0]?.timestampNs ?? 0n;
  const slots = capture.frames.flatMap((frame, index): Slot[] => {
    if (roles[index]?.kind !== "request") return [];
    const asked = standIn ? withOurIdentifier(frame, servers, WIRE_SERVER_ADDRESS) : frame;
    const atMs = Number(frame.timestampNs - startNs) / NANOSECONDS_PER_MILLISECOND;
    const unread = { chaddr: 0 as MacAddress, decision: undefined, reply: undefined };
    return [{ frameNumber: index + 1, frame: asked, atMs, ...unread }];
  });
  const counters = await feed(options, slots);
  const { byRequest, orphans } = pairReplies(slots, replies);
  return {
    requests: slots.map((slot) => finish(slot, byRequest.get(slot.frameNumber) ?? [])),
    counters,
    otherFrames: roles.filter(({ kind }) => kind === "other").length,
    capturedReplies: replies.length,
    orphanReplies: orphans,
    wrongChecksums: slots.filter(({ frame }) => hasWrongChecksum(frame)).length,
    servers,
  };
}

function finish(slot: Slot, captured: readonly CapturedReply[]): ReplayedRequest {
  const { frameNumber, frame, atMs, chaddr, decision, reply } = slot;
  // The server answers or drops every frame; see DhcpCounters.
  if (decision === undefined)
    throw new Error(`frame ${frameNumber} was neither answered nor dropped`);
  const sourceMac = readMac(frame.bytes, 6);
  return { frameNumber, atMs, sourceMac, chaddr, decision, reply, captured };
}

function hasWrongChecksum({ bytes, wireLength }: CapturedFrame): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const place = { bytes, view, offset: 0, length: bytes.length, wireLength };
  const frame = { ...place, ifindex: 0, vlanId: 0, checksumNotReady: false };
  return readUdpFrame(frame, createUdpFrame(), SERVER_PORT) === "udp.csum";
}

/** Which requests a reply of each type answers (RFC 2131 table 2, RFC 4039), by option 53. */
const ANSWERS: Readonly<Record<MessageTypeName | "BOOTREPLY", readonly number[]>> = {
  DHCPOFFER: [MESSAGE_TYPE.DHCPDISCOVER],
  DHCPACK: [MESSAGE_TYPE.DHCPREQUEST, MESSAGE_TYPE.DHCPINFORM, MESSAGE_TYPE.DHCPDISCOVER],
  DHCPNAK: [MESSAGE_TYPE.DHCPREQUEST],
  BOOTREPLY: [0],
  DHCPDISCOVER: [],
  DHCPREQUEST: [],
  DHCPDECLINE: [],
  DHCPRELEASE: [],
  DHCPINFORM: [],
};

/** Each captured reply belongs to the last request before it that it can be an answer to. */
function pairReplies(slots: readonly Slot[], replies: readonly CapturedReply[]) {
  const byRequest = new Map<number, CapturedReply[]>();
  const last = new Map<string, Slot>();
  const keyOf = (chaddr: MacAddress, xid: number, type: number) => `${chaddr} ${xid} ${type}`;
  let next = 0;
  let orphans = 0;
  for (const reply of replies) {
    for (; next < slots.length && slots[next]!.frameNumber < reply.frameNumber; next++) {
      const { chaddr, decision } = slots[next]!;
      if (decision === undefined) continue;
      last.set(keyOf(chaddr, decision.xid, decision.requestType), slots[next]!);
    }
    const { chaddr, xid } = reply.message;
    const request = ANSWERS[messageTypeName(reply.message) ?? "BOOTREPLY"]
      .map((type) => last.get(keyOf(chaddr, xid, type)))
      .find((slot) => slot !== undefined);
    if (request === undefined) orphans++;
    else {
      const list = byRequest.get(request.frameNumber);
      if (list === undefined) byRequest.set(request.frameNumber, [reply]);
      else list.push(reply);
    }
  }
  return { byRequest, orphans };
}

async function feed(options: ReplayOptions, slots: readonly Slot[]): Promise<DhcpCounters> {
  const { capture, makeServer, output } = options;
  const counters = createDhcpCounters();
  const clock = new CaptureClock();
  const { chain, rules } = makeServer({
    startTimer: (milliseconds, callback) => clock.startTimer(milliseconds, callback),
    now: () => clock.now(),
  });
  const book = new SlotBook(slots);
  const settle = () => untilSettled(clock, counters, book.nextMs());
  await using socket: CaptureFrameSocket = await openCaptureFrameSocket({
    input: { ...capture, frames: slots.map(({ frame }) => frame) },
    output,
    hardwareAddress: HARDWARE_ADDRESS,
    // The kernel would say which sums are not made yet; a capture file cannot.
    checksumNotReady: true,
    settle,
  });
  await serveDhcp({
    socket: watchSocket(socket, book, clock),
    ...rules,
    admit: chain.admit,
    decide: chain.decide,
    now: () => clock.now(),
    serverAddress: WIRE_SERVER_ADDRESS,
    // What was sent to the captured server by unicast counts as sent to us.
    localMacs: [...new Set(slots.map(({ frame }) => readMac(frame.bytes, 0)))],
    counters,
    onExchange: (event) => {
      chain.observe(event);
      book.settled(event, event.replyType);
    },
    onDrop: (event) => {
      chain.observe(event);
      book.settled(event, undefined);
    },
    signal: new AbortController().signal,
  });
  return counters;
}

/**
 * Waits for what the last frame caused. An asynchronous plugin gets the time of its budget, and then its timeout if the
 * next frame came later than that; else it goes on deciding while that frame is looked at, as it would have.
 */
async function untilSettled(
  clock: CaptureClock,
  counters: DhcpCounters,
  untilMs: number | undefined,
): Promise<void> {
  await nextTurn();
  for (let dueMs = clock.nextDueMs(); counters.pending > 0; dueMs = clock.nextDueMs()) {
    if (dueMs === undefined) break;
    const giveUpMs = performance.now() + dueMs - clock.now();
    while (counters.pending > 0 && performance.now() < giveUpMs) await nextTurn();
    if (counters.pending === 0 || (untilMs !== undefined && dueMs > untilMs)) break;
    clock.advanceTo(dueMs);
    await nextTurn();
  }
  if (untilMs !== undefined) clock.advanceTo(untilMs);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Tells which request an event is about: the one in hand, or one that an asynchronous plugin decided. */
class SlotBook {
  readonly #slots: readonly Slot[];
  #next = 0;
  #inHand: Slot | undefined;
  /** The last frame that was sent: the reply, before its copies. */
  #sent: Uint8Array | undefined;

  constructor(slots: readonly Slot[]) {
    this.#slots = slots;
  }

  /** When the next frame comes; undefined after the last one. */
  nextMs(): number | undefined {
    return this.#slots[this.#next]?.atMs;
  }

  take(): void {
    this.#inHand = this.#slots[this.#next++];
  }

  letGo(): void {
    this.#inHand = undefined;
  }

  sent(bytes: Uint8Array): void {
    this.#sent ??= bytes;
  }

  settled(event: ExchangeEvent | DropEvent, replyType: string | undefined): void {
    const slot = this.#find(event);
    if (slot === undefined) throw new Error("an event about no request of the capture");
    slot.chaddr = event.chaddr;
    slot.decision = keepDecision(event, slot.atMs);
    if (replyType !== undefined && this.#sent !== undefined) {
      const decoded = decodeMessage(this.#sent.subarray(UDP_PAYLOAD_OFFSET));
      if (decoded.kind === "message") slot.reply = decoded.message;
    }
    this.#sent = undefined;
  }

  #find(event: ExchangeEvent | DropEvent): Slot | undefined {
    const isGivenUp = "reason" in event && event.reason === "pending.overflow";
    if (this.#inHand !== undefined && !isGivenUp) return this.#inHand;
    const waiting = this.#slots.slice(0, this.#next).filter(({ decision }) => !decision);
    return waiting.find(({ frame }) => {
      const message = decodeMessage(payloadOf(frame));
      return message.kind === "message" && isAbout(event, message.message);
    });
  }
}

function isAbout(event: ExchangeEvent | DropEvent, { xid, chaddr, options }: DhcpMessage): boolean {
  const type = options.get(OPTION.messageType)?.[0] ?? 0;
  return event.xid === xid && event.chaddr === chaddr && event.requestType === type;
}

/** Only untagged frames without IP options get as far as a plugin. */
function payloadOf({ bytes }: CapturedFrame): Uint8Array {
  return bytes.subarray(UDP_PAYLOAD_OFFSET);
}

/** The socket, telling the book what is in hand and what is sent. */
function watchSocket(socket: FrameSocket, book: SlotBook, clock: CaptureClock): FrameSocket {
  let reserved: TransmitBuffer | undefined;
  return {
    hardwareAddress: socket.hardwareAddress,
    ifindex: socket.ifindex,
    counters: socket.counters,
    receive: (handler, signal) => {
      clock.advanceTo(book.nextMs() ?? 0);
      return socket.receive((frame) => {
        book.take();
        handler(frame);
        book.letGo();
      }, signal);
    },
    reserve: () => {
      reserved = socket.reserve();
      return reserved;
    },
    commit: (length, ifindex) => {
      if (reserved !== undefined) book.sent(reserved.bytes.slice(0, length));
      socket.commit(length, ifindex);
    },
    [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose](),
  };
}
