/**
 * Capture files in the classic pcap format, read and written; pcapng is read (pcapng.ts). Wireshark and
 * tcpdump read what this writes.
 *
 * ```
 * file, then records:    magic(4) major(2) minor(2) zone(4) accuracy(4) snaplen(4) linktype(4)
 * record, then its frame: seconds(4) fraction(4) captured(4) length(4)
 * ```
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/
 */
import { type FileHandle, open, readFile } from "node:fs/promises";
import { FabricError } from "../model/errors.ts";
import {
  type Capture,
  type CapturedFrame,
  type CaptureEnd,
  type CaptureMalformed,
  type CaptureResolution,
  RECORD_BYTES_MAX,
} from "./capture.ts";
import { decodePcapng, PCAPNG_SECTION } from "./pcapng.ts";

export type {
  Capture,
  CapturedFrame,
  CaptureEnd,
  CaptureMalformed,
  CaptureResolution,
} from "./capture.ts";

/** Frames are cut to this many bytes when written, unless told otherwise. */
export const SNAPLEN_DEFAULT = 262_144;

/** Bytes that wait for a slow disk before the writer drops frames (and counts them). */
const PENDING_BYTES_MAX = 16 * 1024 * 1024;

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const MAGIC_MICROSECONDS = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET = 1;
/** The linktype field's upper half holds flags about the frame check sequence. */
const LINKTYPE_MASK = 0xffff;
/**
 * Decodes a whole pcap file of either byte order and resolution, or a pcapng file. Never throws; frames are views of
 * `bytes`.
 */
export function decodeCapture(bytes: Uint8Array): Capture | CaptureMalformed {
  if (bytes.length < FILE_HEADER_BYTES) return { kind: "malformed", reason: "too-short" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const format = findFormat(view);
  if (format === undefined) {
    if (view.getUint32(0) === PCAPNG_SECTION) return decodePcapng(bytes);
    return { kind: "malformed", reason: "not-pcap" };
  }
  const { little, resolution } = format;
  if (view.getUint16(4, little) !== 2) return { kind: "malformed", reason: "unknown-version" };
  const linktype = view.getUint32(20, little) & LINKTYPE_MASK;
  if (linktype !== LINKTYPE_ETHERNET) return { kind: "malformed", reason: "not-ethernet" };
  const snaplen = view.getUint32(16, little);
  return { kind: "capture", resolution, snaplen, ...decodeRecords(bytes, view, format) };
}

/**
 * Reads a capture, from a file or from memory.
 *
 * @throws FabricError `ERR_CAPTURE_READ` if the file cannot be read, `ERR_CAPTURE_FORMAT` if it is
 * no capture
 */
export async function readCapture(source: string | Uint8Array): Promise<Capture> {
  const name = typeof source === "string" ? source : "the capture";
  const decoded = decodeCapture(typeof source === "string" ? await readBytes(source) : source);
  if (decoded.kind === "capture") return decoded;
  const { reason } = decoded;
  const fix =
    reason === "not-ethernet" ? "; capture on one interface (tcpdump -i eth0, not -i any)" : "";
  throw new FabricError(
    "ERR_CAPTURE_FORMAT",
    `${name} is not an Ethernet pcap or pcapng file (${reason})${fix}`,
  );
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new FabricError("ERR_CAPTURE_READ", `Cannot read the capture ${path}`, { cause });
  }
}

interface Format {
  readonly little: boolean;
  readonly resolution: CaptureResolution;
}

function findFormat(view: DataView): Format | undefined {
  for (const little of [true, false]) {
    const magic = view.getUint32(0, little);
    if (magic === MAGIC_MICROSECONDS) return { little, resolution: "microseconds" };
    if (magic === MAGIC_NANOSECONDS) return { little, resolution: "nanoseconds" };
  }
  return undefined;
}

function decodeRecords(
  bytes: Uint8Array,
  view: DataView,
  format: Format,
): { frames: CapturedFrame[]; end: CaptureEnd } {
  const frames: CapturedFrame[] = [];
  let offset = 0;
  for (let next = FILE_HEADER_BYTES; next < bytes.length; ) {
    offset = next;
    const start = offset + RECORD_HEADER_BYTES;
    if (start > bytes.length) return { frames, end: { kind: "truncated", offset } };
    const captured = view.getUint32(offset + 8, format.little);
    if (captured > RECORD_BYTES_MAX) return { frames, end: { kind: "damaged", offset } };
    next = start + captured;
    if (next > bytes.length) return { frames, end: { kind: "truncated", offset } };
    const wireLength = view.getUint32(offset + 12, format.little);
    const timestampNs = readTimestamp(view, offset, format);
    frames.push({ timestampNs, bytes: bytes.subarray(start, next), wireLength });
  }
  return { frames, end: { kind: "complete" } };
}

function readTimestamp(view: DataView, offset: number, { little, resolution }: Format): bigint {
  const seconds = BigInt(view.getUint32(offset, little));
  const fraction = BigInt(view.getUint32(offset + 4, little));
  return seconds * 1_000_000_000n + (resolution === "nanoseconds" ? fraction : fraction * 1_000n);
}

/** Options of {@link openCaptureWriter} and of the encoders. */
export interface CaptureFormat {
  /** Microseconds unless told otherwise: every reader knows them. */
  readonly resolution?: CaptureResolution;
  /** Frames are cut to this many bytes. */
  readonly snaplen?: number;
}

/** The file header, little-endian. */
export function encodeCaptureHeader(format: CaptureFormat = {}): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const nanoseconds = format.resolution === "nanoseconds";
  view.setUint32(0, nanoseconds ? MAGIC_NANOSECONDS : MAGIC_MICROSECONDS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, format.snaplen ?? SNAPLEN_DEFAULT, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return bytes;
}

/** One record, little-endian, with its own copy of the frame. */
export function encodeCaptureRecord(frame: CapturedFrame, format: CaptureFormat = {}): Uint8Array {
  const captured = frame.bytes.subarray(0, format.snaplen ?? SNAPLEN_DEFAULT);
  const bytes = new Uint8Array(RECORD_HEADER_BYTES + captured.length);
  const view = new DataView(bytes.buffer);
  const fractionNs = frame.timestampNs % 1_000_000_000n;
  const unitNs = format.resolution === "nanoseconds" ? 1n : 1_000n;
  view.setUint32(0, Number(frame.timestampNs / 1_000_000_000n), true);
  view.setUint32(4, Number(fractionNs / unitNs), true);
  view.setUint32(8, captured.length, true);
  view.setUint32(12, frame.wireLength, true);
  bytes.set(captured, RECORD_HEADER_BYTES);
  return bytes;
}

/** Appends frames to a file in the background. Dispose it to write the rest and close. */
export interface CaptureWriter extends AsyncDisposable {
  /** Frames that were not written because the disk could not keep up or had failed. */
  readonly droppedFrames: number;
  /** Queues a copy of the frame; never waits and never throws. */
  write(frame: CapturedFrame): void;
  /** Resolves when all queued frames are in the file. Rejects with `ERR_CAPTURE_WRITE`. */
  flush(): Promise<void>;
}

/**
 * Creates the file (or empties it) and writes its header.
 *
 * @throws FabricError `ERR_CAPTURE_WRITE` naming the path, also when disposed after a failed write
 */
export async function openCaptureWriter(
  path: string,
  format: CaptureFormat = {},
): Promise<CaptureWriter> {
  try {
    const file = await open(path, "w");
    const writer = new FileCaptureWriter(path, file, format);
    await writer.flush();
    return writer;
  } catch (cause) {
    if (cause instanceof FabricError) throw cause;
    throw new FabricError("ERR_CAPTURE_WRITE", `Cannot create the capture ${path}`, { cause });
  }
}

class FileCaptureWriter implements CaptureWriter {
  droppedFrames = 0;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #format: CaptureFormat;
  #chunks: Uint8Array[];
  /** Queued and being written. */
  #pendingBytes = 0;
  #writing: Promise<void> | undefined;
  #failure: FabricError | undefined;
  #closing: Promise<void> | undefined;

  constructor(path: string, file: FileHandle, format: CaptureFormat) {
    this.#path = path;
    this.#file = file;
    this.#format = format;
    this.#chunks = [encodeCaptureHeader(format)];
  }

  write(frame: CapturedFrame): void {
    const refused = this.#failure !== undefined || this.#closing !== undefined;
    if (refused || this.#pendingBytes > PENDING_BYTES_MAX) {
      this.droppedFrames++;
      return;
    }
    const record = encodeCaptureRecord(frame, this.#format);
    this.#chunks.push(record);
    this.#pendingBytes += record.length;
    this.#writing ??= this.#drain();
  }

  async flush(): Promise<void> {
    this.#writing ??= this.#drain();
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.#file.close();
    }
  }

  /** Never rejects: a failure is kept for flush() and dispose. */
  async #drain(): Promise<void> {
    await Promise.resolve(); // gathers what is written in the same tick
    try {
      while (this.#chunks.length > 0) {
        const bytes = Buffer.concat(this.#chunks);
        this.#chunks = [];
        await this.#file.appendFile(bytes);
        this.#pendingBytes = this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      }
    } catch (cause) {
      const text = `Cannot write the capture ${this.#path}`;
      this.#failure = new FabricError("ERR_CAPTURE_WRITE", text, { cause });
    }
    this.#writing = undefined;
  }
}
