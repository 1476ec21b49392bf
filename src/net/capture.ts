/** What a capture is, whatever the format of its file. */

/** No frame is longer (Wireshark's limit): a greater length means that the file is damaged. */
export const RECORD_BYTES_MAX = 262_144;

/** What the fraction of a second counts. */
export type CaptureResolution = "microseconds" | "nanoseconds";

/** One captured Ethernet frame. */
export interface CapturedFrame {
  /** Since the Unix epoch. A bigint: nanoseconds do not fit in a double. */
  readonly timestampNs: bigint;
  /** A view into the bytes that were read. */
  readonly bytes: Uint8Array;
  /** Length on the wire; greater than `bytes.length` if the frame was cut. */
  readonly wireLength: number;
}

/**
 * Where the file's records end: at its last byte, inside a record, or at a record that cannot be
 * one.
 */
export type CaptureEnd =
  | { readonly kind: "complete" }
  | { readonly kind: "truncated" | "damaged"; readonly offset: number };

/** A capture file's content. All whole frames are there, whatever its end. */
export interface Capture {
  readonly kind: "capture";
  readonly resolution: CaptureResolution;
  readonly snaplen: number;
  readonly frames: readonly CapturedFrame[];
  readonly end: CaptureEnd;
}

/** Why bytes are no capture file that this reads. */
export type CaptureMalformed = {
  readonly kind: "malformed";
  readonly reason: "too-short" | "not-pcap" | "unknown-version" | "not-ethernet";
};
