/**
 * A frame socket without a kernel, for tests and simulations: frames are injected by hand or come from a connected
 * peer, and everything sent is kept. It is as unfriendly as the ring is: frames start at an odd place in memory, and
 * that memory is overwritten as soon as the handler returns.
 */

import type { MacAddress } from "../model/mac-address.ts";
import {
  FRAME_BYTES_MAX,
  type FrameHandler,
  type FrameSocket,
  type FrameSocketCounters,
  type ReceivedFrame,
  type TransmitBuffer,
} from "./frame-socket.ts";

/** Frames that wait for a reader; later ones are dropped and counted. */
const QUEUE_FRAMES_MAX = 1024;
/** Two more than a multiple of four, as in the packet ring. */
const FRAME_OFFSET = 66;
const OVERWRITTEN = 0xee;

/** A frame that was sent; `bytes` is a copy. */
export interface SentFrame {
  readonly bytes: Uint8Array;
  readonly ifindex: number;
}

/** What the kernel would say about an injected frame; all optional. */
export interface InjectOptions {
  readonly ifindex?: number;
  readonly vlanId?: number;
  readonly checksumNotReady?: boolean;
  readonly wireLength?: number;
}

/** A {@link FrameSocket} in memory. */
export interface MemoryFrameSocket extends FrameSocket {
  /** Everything that was sent, oldest first. Empty it as you like. */
  readonly sent: SentFrame[];
  /** Buffers left before {@link FrameSocket.reserve} refuses; lower it to provoke a full transmit ring. */
  transmitBuffersLeft: number;
  /** Called for every sent frame, after it was added to `sent`. */
  onSent: ((frame: SentFrame) => void) | undefined;
  /** Hands a frame to the reader at once, or queues it until one reads. The bytes are copied. */
  inject(bytes: Uint8Array, options?: InjectOptions): void;
}

interface QueuedFrame {
  readonly bytes: Uint8Array;
  readonly options: InjectOptions;
}

/** Opens a socket with no peer. */
export function createMemoryFrameSocket(options: {
  readonly hardwareAddress: MacAddress;
  readonly ifindex: number;
}): MemoryFrameSocket {
  const counters = { received: 0, transmitted: 0, droppedByKernel: 0, transmitFailed: 0 };
  const reader = createReader(options.ifindex, counters);
  const memory = new Uint8Array(FRAME_BYTES_MAX);
  const transmit: TransmitBuffer = { bytes: memory, view: new DataView(memory.buffer) };
  const socket: MemoryFrameSocket = {
    hardwareAddress: options.hardwareAddress,
    ifindex: options.ifindex,
    counters,
    sent: [],
    transmitBuffersLeft: Number.POSITIVE_INFINITY,
    onSent: undefined,
    inject: reader.inject,
    receive: reader.receive,
    reserve() {
      if (socket.transmitBuffersLeft === 0) {
        counters.transmitFailed++;
        return undefined;
      }
      memory.fill(0);
      return transmit;
    },
    commit(length, ifindex) {
      socket.transmitBuffersLeft--;
      counters.transmitted++;
      const frame = { bytes: memory.slice(0, length), ifindex };
      socket.sent.push(frame);
      socket.onSent?.(frame);
    },
    async [Symbol.asyncDispose]() {
      reader.close();
    },
  };
  return socket;
}

/**
 * Lets two sockets hear each other. Delivery is in a microtask, so that a reply never arrives inside the handler that
 * made it.
 *
 * @param deliver - called for each frame with its number (0, 1, ...) and sender; false loses the frame
 */
export function connectMemoryFrameSockets(
  one: MemoryFrameSocket,
  other: MemoryFrameSocket,
  deliver: (frame: SentFrame, number: number, from: MemoryFrameSocket) => boolean = () => true,
): void {
  let number = 0;
  const connect = (from: MemoryFrameSocket, to: MemoryFrameSocket) => {
    from.onSent = (frame) => {
      if (deliver(frame, number++, from)) queueMicrotask(() => to.inject(frame.bytes));
    };
  };
  connect(one, other);
  connect(other, one);
}

interface Reader {
  inject(bytes: Uint8Array, options?: InjectOptions): void;
  receive(handler: FrameHandler, signal: AbortSignal): Promise<void>;
  close(): void;
}

function createReader(ifindex: number, counters: FrameSocketCounters): Reader {
  const queue: QueuedFrame[] = [];
  const frame = createReceivedFrame(ifindex);
  let handler: FrameHandler | undefined;
  let stop: (() => void) | undefined;
  const deliver = (to: FrameHandler, queued: QueuedFrame) => {
    fillFrame(frame, queued, ifindex);
    counters.received++;
    to(frame);
    frame.bytes.fill(OVERWRITTEN);
  };
  return {
    inject(bytes, options = {}) {
      const queued = { bytes: bytes.slice(0, FRAME_BYTES_MAX), options };
      if (handler !== undefined) deliver(handler, queued);
      else if (queue.length < QUEUE_FRAMES_MAX) queue.push(queued);
      else counters.droppedByKernel++;
    },
    async receive(to, signal) {
      if (signal.aborted) return;
      handler = to;
      for (const queued of queue.splice(0)) deliver(to, queued);
      const stopped = Promise.withResolvers<void>();
      stop = stopped.resolve;
      signal.addEventListener("abort", () => stopped.resolve(), { once: true });
      await stopped.promise;
      handler = undefined;
    },
    close() {
      stop?.();
    },
  };
}

function createReceivedFrame(ifindex: number): ReceivedFrame {
  const bytes = new Uint8Array(FRAME_OFFSET + FRAME_BYTES_MAX);
  return {
    bytes,
    view: new DataView(bytes.buffer),
    offset: FRAME_OFFSET,
    length: 0,
    wireLength: 0,
    ifindex,
    vlanId: 0,
    checksumNotReady: false,
  };
}

function fillFrame(frame: ReceivedFrame, queued: QueuedFrame, ifindex: number): void {
  frame.bytes.set(queued.bytes, FRAME_OFFSET);
  frame.length = queued.bytes.length;
  frame.wireLength = queued.options.wireLength ?? queued.bytes.length;
  frame.ifindex = queued.options.ifindex ?? ifindex;
  frame.vlanId = queued.options.vlanId ?? 0;
  frame.checksumNotReady = queued.options.checksumNotReady ?? false;
}
