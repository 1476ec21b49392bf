/** Zips as no honest program writes them: each field of an entry may lie. */
import { crc32, deflateRawSync } from "node:zlib";

export interface ZipEntry {
  readonly name: string;
  readonly data?: string;
  /** 0: stored; 8: deflate. */
  readonly method?: number;
  readonly mode?: number;
  readonly flags?: number;
  /** What it says of itself. */
  readonly crc?: number;
  readonly says?: number;
  readonly packed?: number;
}

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const UNIX = 3 << 8;
/** 1980-01-01 */
const DATE = 33;

export function zipOf(entries: readonly ZipEntry[]): Buffer {
  const parts: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const { name, data = "", method = 0, mode = 0o100644, flags = 0 } = entry;
    const plain = Buffer.from(data);
    const packed = method === 8 ? deflateRawSync(plain) : plain;
    const file = Buffer.from(name);
    const sizes = Buffer.alloc(12);
    sizes.writeUInt32LE(entry.crc ?? crc32(plain), 0);
    sizes.writeUInt32LE(entry.packed ?? packed.length, 4);
    sizes.writeUInt32LE(entry.says ?? entry.packed ?? plain.length, 8);
    const common = Buffer.alloc(10);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags, 2);
    common.writeUInt16LE(method, 4);
    common.writeUInt16LE(DATE, 8);
    const local = Buffer.concat([word(LOCAL), common, sizes, half(file.length), half(0), file]);
    parts.push(local, packed);
    central.push(
      Buffer.concat([
        ...[word(CENTRAL), half(UNIX | 20), common, sizes, half(file.length), half(0), half(0)],
        ...[half(0), half(0), word((mode << 16) >>> 0), word(offset), file],
      ]),
    );
    offset += local.length + packed.length;
  }
  const directory = Buffer.concat(central);
  const count = half(entries.length);
  const end = [word(END), half(0), half(0), count, count];
  return Buffer.concat([
    ...parts,
    ...[directory, ...end, word(directory.length), word(offset), half(0)],
  ]);
}

function half(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
