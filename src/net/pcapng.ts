/**
 * Capture files in the pcapng format, read only: what Wireshark, dumpcap and tshark write.
 *
 * ```
 * block:                type(4) length(4) body ... length(4), padded to 4
 * section header:       0x0a0d0d0a: magic(4) major(2) minor(2) length(8) options
 * interface:            1: linktype(2) 0(2) snaplen(4) options
 * enhanced packet:      6: interface(4) time(8) captured(4) length(4) frame options
 * packet (obsolete):    2: interface(2) drops(2) time(8) captured(4) length(4) frame options
 * simple packet:        3: length(4) frame
 * ```
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/
 */
import {
  type Capture,
  type CapturedFrame,
  type CaptureEnd,
  type CaptureMalformed,
  RECORD_BYTES_MAX,
} from "./capture.ts";

/** Type of the block that a file begins with; the same in both byte orders. */
export const PCAPNG_SECTION = 0x0a0d_0d0a;

const INTERFACE = 1;
const PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET = 1;
const BLOCK_BYTES_MIN = 12;
/** Blocks beside packets hold names, statistics and secrets; none is longer than this. */
const BLOCK_BYTES_MAX = 16 * 1024 * 1024;
const BODY_OFFSET = 8;
const OPTION_END = 0;
const OPTION_TIME_RESOLUTION = 9;
const OPTION_TIME_OFFSET = 14;
const NANOSECONDS = 1_000_000_000n;

interface Interface {
  readonly isEthernet: boolean;
  /** 0: frames are never cut. */
  readonly snaplen: number;
  /** Ticks of its clock in a second. */
  readonly ticksPerSecond: bigint;
  readonly offsetSeconds: bigint;
}

/** A file while it is read. */
interface Reader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  little: boolean;
  /** Of the current section. */
  interfaces: Interface[];
  /** Of all sections. */
  readonly all: Interface[];
  readonly frames: CapturedFrame[];
}

/**
 * Decodes a whole pcapng file. Frames of interfaces that are not Ethernet are left out. Never throws; frames are views of
 * `bytes`.
 */
export function decodePcapng(bytes: Uint8Array): Capture | CaptureMalformed {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader: Reader = { bytes, view, little: false, interfaces: [], all: [], frames: [] };
  if (!readSection(reader, 0)) return { kind: "malformed", reason: "unknown-version" };
  const end = readBlocks(reader);
  const { all, frames } = reader;
  if (all.length > 0 && !all.some(({ isEthernet }) => isEthernet)) {
    return { kind: "malformed", reason: "not-ethernet" };
  }
  const isFine = all.some(({ ticksPerSecond }) => ticksPerSecond > 1_000_000n);
  return {
    kind: "capture",
    resolution: isFine ? "nanoseconds" : "microseconds",
    snaplen: Math.max(0, ...all.map(({ snaplen }) => snaplen)) || RECORD_BYTES_MAX,
    frames,
    end,
  };
}

function readBlocks(reader: Reader): CaptureEnd {
  const { bytes, view } = reader;
  for (let offset = 0; offset < bytes.length; ) {
    const cut: CaptureEnd = { kind: "truncated", offset };
    const damaged: CaptureEnd = { kind: "damaged", offset };
    if (bytes.length - offset < BLOCK_BYTES_MIN) return cut;
    const isSection = view.getUint32(offset) === PCAPNG_SECTION;
    if (isSection && !readSection(reader, offset)) return damaged;
    const length = view.getUint32(offset + 4, reader.little);
    if (length < BLOCK_BYTES_MIN || length % 4 !== 0 || length > BLOCK_BYTES_MAX) return damaged;
    const end = offset + length;
    if (end > bytes.length) return cut;
    if (view.getUint32(end - 4, reader.little) !== length) return damaged;
    const type = view.getUint32(offset, reader.little);
    if (!isSection && !readBlock(reader, type, offset + BODY_OFFSET, end - 4)) return damaged;
    offset = end;
  }
  return { kind: "complete" };
}

/** A section has its own byte order and interfaces. False if it is none, or of another version. */
function readSection(reader: Reader, offset: number): boolean {
  const { bytes, view } = reader;
  if (bytes.length - offset < BODY_OFFSET + 8) return false;
  const little = [true, false].find(
    (order) => view.getUint32(offset + BODY_OFFSET, order) === BYTE_ORDER_MAGIC,
  );
  if (little === undefined) return false;
  reader.little = little;
  reader.interfaces = [];
  return view.getUint16(offset + BODY_OFFSET + 4, little) === 1;
}

/** @returns false if the block cannot be what it says */
function readBlock(reader: Reader, type: number, start: number, end: number): boolean {
  switch (type) {
    case INTERFACE:
      return readInterface(reader, start, end);
    case ENHANCED_PACKET:
      return readPacket(reader, start, end, 4);
    case PACKET:
      return readPacket(reader, start, end, 2);
    case SIMPLE_PACKET:
      return readSimplePacket(reader, start, end);
    default:
      return true; // names, statistics, what is still to be invented
  }
}

function readInterface(reader: Reader, start: number, end: number): boolean {
  const { view, little } = reader;
  if (end - start < 8) return false;
  const options = readOptions(reader, start + 8, end);
  const resolution = options.get(OPTION_TIME_RESOLUTION);
  const offset = options.get(OPTION_TIME_OFFSET);
  const found: Interface = {
    isEthernet: view.getUint16(start, little) === LINKTYPE_ETHERNET,
    snaplen: view.getUint32(start + 4, little),
    ticksPerSecond: ticksPerSecond(resolution?.length === 1 ? view.getUint8(resolution.at) : 6),
    offsetSeconds: offset?.length === 8 ? view.getBigInt64(offset.at, little) : 0n,
  };
  reader.interfaces.push(found);
  reader.all.push(found);
  return true;
}

/** if_tsresol: a power of ten, or of two if the highest bit is set. */
function ticksPerSecond(resolution: number): bigint {
  const exponent = BigInt(resolution & 0x7f);
  return resolution >= 0x80 ? 2n ** exponent : 10n ** exponent;
}

/** Where the options of a block are. One that runs past the block ends them. */
function readOptions(
  { view, little }: Reader,
  start: number,
  end: number,
): Map<number, { readonly at: number; readonly length: number }> {
  const options = new Map<number, { at: number; length: number }>();
  for (let next = start; next + 4 <= end; ) {
    const code = view.getUint16(next, little);
    const length = view.getUint16(next + 2, little);
    const at = next + 4;
    if (code === OPTION_END || at + length > end) break;
    options.set(code, { at, length });
    next = at + Math.ceil(length / 4) * 4;
  }
  return options;
}

/** @param idBytes - octets of the interface's number */
function readPacket(reader: Reader, start: number, end: number, idBytes: 2 | 4): boolean {
  const { view, little } = reader;
  const FIXED = 20;
  if (end - start < FIXED) return false;
  const id = idBytes === 4 ? view.getUint32(start, little) : view.getUint16(start, little);
  const captured = view.getUint32(start + 12, little);
  const on = reader.interfaces[id];
  if (on === undefined || captured > RECORD_BYTES_MAX || captured > end - start - FIXED) {
    return false;
  }
  const high = BigInt(view.getUint32(start + 4, little));
  const ticks = (high << 32n) | BigInt(view.getUint32(start + 8, little));
  const at = start + FIXED;
  keepFrame(reader, on, {
    timestampNs: on.offsetSeconds * NANOSECONDS + (ticks * NANOSECONDS) / on.ticksPerSecond,
    bytes: reader.bytes.subarray(at, at + captured),
    wireLength: view.getUint32(start + 16, little),
  });
  return true;
}

/** It has no time; the frame before it is the best guess. */
function readSimplePacket(reader: Reader, start: number, end: number): boolean {
  const { view, little, frames } = reader;
  const [on] = reader.interfaces;
  if (on === undefined || end - start < 4) return false;
  const wireLength = view.getUint32(start, little);
  const captured = on.snaplen === 0 ? wireLength : Math.min(wireLength, on.snaplen);
  if (captured > RECORD_BYTES_MAX || captured > end - start - 4) return false;
  keepFrame(reader, on, {
    timestampNs: frames.at(-1)?.timestampNs ?? 0n,
    bytes: reader.bytes.subarray(start + 4, start + 4 + captured),
    wireLength,
  });
  return true;
}

function keepFrame({ frames }: Reader, { isEthernet }: Interface, frame: CapturedFrame): void {
  if (isEthernet) frames.push(frame);
}
