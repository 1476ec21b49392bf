/**
 * What DHCP needs of a network: frames in, frames out, nothing allocated per frame. The packet ring
 * (packet-ring.ts), a memory fake (memory-frame-socket.ts) and a capture file (capture-frame-socket.ts)
 * implement it and pass one conformance suite.
 */
import type { MacAddress } from "../model/mac-address.ts";

/**
 * One received Ethernet frame. The object and its bytes are reused: both are valid only until the handler
 * returns; copy what must live longer.
 */
export interface ReceivedFrame {
  /** The memory the frame is in. The frame starts at `offset`, destination address first, no FCS. */
  bytes: Uint8Array;
  /** A view of the same memory (same start as `bytes`), for 16- and 32-bit reads. */
  view: DataView;
  offset: number;
  /** Captured length in bytes, at most {@link FRAME_BYTES_MAX}. */
  length: number;
  /** Length on the wire in bytes; greater than `length` if the capture was cut. */
  wireLength: number;
  /** The interface it was seen on. */
  ifindex: number;
  /** VLAN identifier taken out of the frame by the kernel; 0 if untagged or priority-tagged. */
  vlanId: number;
  /** True if the UDP checksum field holds only a partial sum, as a guest with transmit offload leaves it. */
  checksumNotReady: boolean;
}

/** Longest frame that is received or sent, without FCS. */
export const FRAME_BYTES_MAX = 1968;

/** Called once per frame, in order of arrival. Must not throw. */
export type FrameHandler = (frame: ReceivedFrame) => void;

/** Receives and sends whole Ethernet frames. Dispose it to close it; disposing twice is harmless. */
export interface FrameSocket extends AsyncDisposable {
  /** The hardware address that replies are sent from. */
  readonly hardwareAddress: MacAddress;
  /** The interface that the socket receives on. */
  readonly ifindex: number;
  /** Counters since the socket was opened. */
  readonly counters: FrameSocketCounters;
  /** Hands every received frame to `handler` until `signal` aborts (then it resolves) or the socket fails (rejects). */
  receive(handler: FrameHandler, signal: AbortSignal): Promise<void>;
  /**
   * A zero-filled buffer of {@link FRAME_BYTES_MAX} bytes to build the next frame in, or undefined when the kernel
   * holds all buffers (count it; the client asks again). Call {@link FrameSocket.commit} or forget it.
   */
  reserve(): TransmitBuffer | undefined;
  /**
   * Sends the first `length` bytes of the reserved buffer out of `ifindex`: at once, or from inside a handler together
   * with the other frames of its batch.
   */
  commit(length: number, ifindex: number): void;
}

/** Memory to write a frame into; `view` covers exactly `bytes`. */
export interface TransmitBuffer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export interface FrameSocketCounters {
  received: number;
  transmitted: number;
  /** Frames that the kernel dropped because nobody read them in time. */
  droppedByKernel: number;
  /** Frames that could not be sent: no buffer, or the interface refused. */
  transmitFailed: number;
}
