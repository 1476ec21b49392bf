/**
 * A frame socket between two capture files: what it receives comes from one, what is sent goes into
 * the other. A reply carries the timestamp of the request that caused it, so the same input gives
 * the same output, byte for byte.
 */
import type { MacAddress } from "../model/mac-address.ts";
import {
  type Capture,
  type CaptureWriter,
  openCaptureWriter,
  readCapture,
} from "./capture-file.ts";
import {
  FRAME_BYTES_MAX,
  type FrameHandler,
  type FrameSocket,
  type FrameSocketCounters,
  type ReceivedFrame,
  type TransmitBuffer,
} from "./frame-socket.ts";

const ADDRESSES_BYTES = 12;
const VLAN_TAG_BYTES = 4;
const ETHERTYPE_VLAN = 0x8100;
const VLAN_ID_MASK = 0x0fff;

/** Options of {@link openCaptureFrameSocket}. */
export interface CaptureFrameSocketOptions {
  /** The capture file to receive from, its bytes, or what was read from it. */
  readonly input: string | Uint8Array | Capture;
  /** The pcap file to send into; created, or emptied. */
  readonly output: string;
  readonly hardwareAddress: MacAddress;
  /** The interface that the frames are said to come from; 1 if absent. */
  readonly ifindex?: number;
  /** True if the frames were captured on a host whose guests leave UDP checksums to the NIC. */
  readonly checksumNotReady?: boolean;
  /**
   * Awaited after each frame: resolves when everything that the frame caused has been sent. If
   * absent, one turn of the event loop; a handler that waits longer needs this, or its reply gets a
   * later frame's timestamp.
   */
  readonly settle?: () => Promise<unknown>;
}

/** What {@link openCaptureFrameSocket} gives: `receive` also resolves at the end of the file. */
export interface CaptureFrameSocket extends FrameSocket {
  /** The capture that is received from; its `end` tells if the file was cut. */
  readonly capture: Capture;
}

/**
 * Opens both files. Frames with an 802.1Q tag are received as the kernel gives them: untagged, with
 * `vlanId`.
 *
 * @throws FabricError `ERR_CAPTURE_READ`, `ERR_CAPTURE_FORMAT` or `ERR_CAPTURE_WRITE`
 */
export async function openCaptureFrameSocket(
  options: CaptureFrameSocketOptions,
): Promise<CaptureFrameSocket> {
  const { input } = options;
  const isRead = typeof input === "object" && "kind" in input;
  const capture = isRead ? input : await readCapture(input);
  const resolution = capture.resolution;
  return new PcapFrameSocket(
    options,
    capture,
    await openCaptureWriter(options.output, { resolution }),
  );
}

class PcapFrameSocket implements CaptureFrameSocket {
  readonly hardwareAddress: MacAddress;
  readonly ifindex: number;
  readonly capture: Capture;
  readonly counters: FrameSocketCounters = {
    ...{ received: 0, transmitted: 0, droppedByKernel: 0, transmitFailed: 0 },
  };
  readonly #writer: CaptureWriter;
  readonly #settle: () => Promise<unknown>;
  readonly #frame: ReceivedFrame;
  readonly #transmit: TransmitBuffer;
  /** Index of the next frame to receive. */
  #next = 0;
  #timestampNs = 0n;

  constructor(options: CaptureFrameSocketOptions, capture: Capture, writer: CaptureWriter) {
    this.hardwareAddress = options.hardwareAddress;
    this.ifindex = options.ifindex ?? 1;
    this.capture = capture;
    this.#writer = writer;
    this.#settle = options.settle ?? nextTurn;
    this.#frame = emptyFrame(this.ifindex, options.checksumNotReady ?? false);
    this.#transmit = frameBuffer();
  }

  async receive(handler: FrameHandler, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#next < this.capture.frames.length) {
      const { timestampNs, bytes, wireLength } = this.capture.frames[this.#next++]!;
      this.#timestampNs = timestampNs;
      fillFrame(this.#frame, bytes, wireLength);
      this.counters.received++;
      handler(this.#frame);
      await this.#settle();
    }
    await this.#writer.flush();
  }

  reserve(): TransmitBuffer {
    this.#transmit.bytes.fill(0);
    return this.#transmit;
  }

  /** All interfaces share the one output file, as they share the one input file. */
  commit(length: number, _ifindex: number): void {
    const dropped = this.#writer.droppedFrames;
    const bytes = this.#transmit.bytes.subarray(0, length);
    this.#writer.write({ timestampNs: this.#timestampNs, bytes, wireLength: length });
    if (this.#writer.droppedFrames === dropped) this.counters.transmitted++;
    else this.counters.transmitFailed++;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
  }
}

function frameBuffer(): TransmitBuffer {
  const bytes = new Uint8Array(FRAME_BYTES_MAX);
  return { bytes, view: new DataView(bytes.buffer) };
}

function emptyFrame(ifindex: number, checksumNotReady: boolean): ReceivedFrame {
  const fixed = { offset: 0, length: 0, wireLength: 0, vlanId: 0 };
  return { ...frameBuffer(), ...fixed, ifindex, checksumNotReady };
}

/**
 * Copies a captured frame into the reused one: without its VLAN tag, and cut to what a socket can
 * give.
 */
function fillFrame(frame: ReceivedFrame, captured: Uint8Array, wireLength: number): void {
  const tag = findVlanTag(captured);
  const head = captured.subarray(0, tag === undefined ? FRAME_BYTES_MAX : ADDRESSES_BYTES);
  const rest = tag === undefined ? undefined : captured.subarray(ADDRESSES_BYTES + VLAN_TAG_BYTES);
  frame.bytes.fill(0);
  frame.bytes.set(head, 0);
  frame.length = head.length;
  if (rest !== undefined) {
    const fitting = rest.subarray(0, FRAME_BYTES_MAX - head.length);
    frame.bytes.set(fitting, head.length);
    frame.length += fitting.length;
  }
  frame.wireLength = tag === undefined ? wireLength : wireLength - VLAN_TAG_BYTES;
  frame.vlanId = tag ?? 0;
}

/** The VLAN identifier of a tagged frame. */
function findVlanTag(frame: Uint8Array): number | undefined {
  if (frame.length < ADDRESSES_BYTES + VLAN_TAG_BYTES) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.getUint16(ADDRESSES_BYTES) !== ETHERTYPE_VLAN) return undefined;
  return view.getUint16(ADDRESSES_BYTES + 2) & VLAN_ID_MASK;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
