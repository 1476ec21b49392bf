/**
 * A frame socket in memory that shows reads outside the frame: all around the frame is poison, and the same frame can be
 * handed over in other poison. Nothing is allocated per frame, so that growth of the heap is the server's own.
 */

import type { MacAddress } from "../../src/model/mac-address.ts";
import {
  FRAME_BYTES_MAX,
  type FrameHandler,
  type FrameSocket,
  type ReceivedFrame,
  type TransmitBuffer,
} from "../../src/net/frame-socket.ts";
import { INPUT_BYTES_MAX, type Input } from "./input.ts";

const FRAME_OFFSET = 66;
/** More replies to one request than there may be. */
const REPLIES_MAX = 4;

/** A reply; the memory is reused at the next request. */
export interface FuzzReply {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  length: number;
  ifindex: number;
}

export class FuzzSocket implements FrameSocket {
  readonly hardwareAddress: MacAddress;
  readonly ifindex = 1;
  readonly counters = { received: 0, transmitted: 0, droppedByKernel: 0, transmitFailed: 0 };
  /** Replies to the last frame: the first `replyCount`. */
  readonly replies: readonly FuzzReply[] = Array.from({ length: REPLIES_MAX }, () => {
    const bytes = new Uint8Array(FRAME_BYTES_MAX);
    return { bytes, view: new DataView(bytes.buffer), length: 0, ifindex: 0 };
  });
  replyCount = 0;
  readonly #frame: ReceivedFrame;
  readonly #transmit: TransmitBuffer;
  #handler: FrameHandler | undefined;

  constructor(hardwareAddress: MacAddress) {
    this.hardwareAddress = hardwareAddress;
    const memory = new Uint8Array(FRAME_OFFSET + INPUT_BYTES_MAX + 512);
    this.#frame = {
      bytes: memory,
      view: new DataView(memory.buffer),
      offset: FRAME_OFFSET,
      length: 0,
      wireLength: 0,
      ifindex: 0,
      vlanId: 0,
      checksumNotReady: false,
    };
    const bytes = new Uint8Array(FRAME_BYTES_MAX);
    this.#transmit = { bytes, view: new DataView(bytes.buffer) };
  }

  /** The frame as it was handed over last; its memory is still as it was then. */
  get frame(): ReceivedFrame {
    return this.#frame;
  }

  /** Puts an input into the memory, and poison around it. */
  place(input: Input, ifindex: number, poison: number): void {
    const frame = this.#frame;
    frame.bytes.fill(poison, 0, FRAME_OFFSET);
    frame.bytes.set(input.bytes, FRAME_OFFSET);
    frame.bytes.fill(poison, FRAME_OFFSET + input.length);
    frame.length = input.length;
    frame.wireLength = input.length;
    frame.ifindex = ifindex;
    frame.vlanId = input.vlanId;
    frame.checksumNotReady = input.checksumNotReady;
    this.replyCount = 0;
  }

  /** Hands the placed frame over. */
  deliver(): void {
    this.counters.received++;
    this.#handler?.(this.#frame);
  }

  async receive(handler: FrameHandler, signal: AbortSignal): Promise<void> {
    this.#handler = handler;
    await new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  reserve(): TransmitBuffer {
    this.#transmit.bytes.fill(0);
    return this.#transmit;
  }

  commit(length: number, ifindex: number): void {
    const reply = this.replies[this.replyCount];
    if (reply === undefined) throw new Error("more replies to one frame than anybody may send");
    reply.bytes.set(this.#transmit.bytes);
    reply.length = length;
    reply.ifindex = ifindex;
    this.replyCount++;
    this.counters.transmitted++;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#handler = undefined;
  }
}
