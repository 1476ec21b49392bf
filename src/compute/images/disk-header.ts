/**
 * Tells the format of a disk by its content, and refuses what must not come near QEMU: a file that names another file
 * (which would be read from the host and shown to the guest), encryption, sizes that cannot be. A pure function.
 *
 * Everything that has no known mark is raw, as the first sector of a raw disk may hold anything.
 */

import type { DiskFormat } from "../../model/image.ts";
import { decodeQcow2Header, isQcow } from "./qcow2-header.ts";

/** How much of a file's start the decoder wants to see; all extensions of a qcow2 header must be in it. */
export const HEAD_BYTES = 65_536;
/** How much of its end: the footer of a VHD. */
export const TAIL_BYTES = 512;
/** The largest disk, 16 TiB: more than any machine that this runs on gives a guest. */
export const VIRTUAL_BYTES_MAX = 2 ** 44;
const SECTOR_BYTES = 512;

/** What a file is, or why it is not used as a disk. */
export type DiskHeader =
  | {
      readonly kind: "disk";
      readonly format: DiskFormat;
      /** What a guest would see of it; of a VHD what its footer says, which QEMU may round. */
      readonly virtualBytes: number;
    }
  | { readonly kind: "refused"; readonly reason: string };

/** The parts of a file that matter. */
export interface DiskFileParts {
  /** Its first {@link HEAD_BYTES}, or all of it. */
  readonly head: Buffer;
  /** Its last {@link TAIL_BYTES}, or all of it. */
  readonly tail: Buffer;
  readonly fileBytes: number;
}

/** Decodes the parts of a file. Never throws. */
export function decodeDiskHeader(parts: DiskFileParts): DiskHeader {
  const { head, fileBytes } = parts;
  if (fileBytes < SECTOR_BYTES) return refused(`has ${fileBytes} bytes, which is no disk`);
  if (isQcow(head)) return decodeQcow2(head);
  const vhd = findVhdFooter(parts);
  if (vhd !== undefined) return decodeVhd(vhd, head);
  const foreign = FOREIGN.find(({ at, mark }) => head.subarray(at, at + mark.length).equals(mark));
  if (foreign !== undefined) return refused(foreign.reason);
  if (WEB_PAGE.test(head.toString("latin1", 0, SECTOR_BYTES))) {
    return refused("is a web page and no disk; look at its address in a browser");
  }
  return sized("raw", BigInt(Math.ceil(fileBytes / SECTOR_BYTES) * SECTOR_BYTES));
}

const WEB_PAGE = /^\s*<(?:!doctype html|html|head|\?xml)[\s>]/i;

const PACKED = "is compressed; unpack it first, as containers read it in place";
const NOT_READ = (name: string): string =>
  `is of the format ${name}; convert it: qemu-img convert -O qcow2`;

/** Formats that are told apart only to say what to do. */
const FOREIGN: readonly { at: number; mark: Buffer; reason: string }[] = [
  { at: 0, mark: Buffer.from("KDMV"), reason: NOT_READ("VMDK") },
  { at: 0, mark: Buffer.from("COWD"), reason: NOT_READ("VMDK") },
  { at: 0, mark: Buffer.from("# Disk DescriptorFile"), reason: NOT_READ("VMDK") },
  { at: 0, mark: Buffer.from("vhdxfile"), reason: NOT_READ("VHDX") },
  { at: 64, mark: Buffer.from("7f10dabe", "hex"), reason: NOT_READ("VDI") },
  { at: 0, mark: Buffer.from("QED\0"), reason: NOT_READ("QED") },
  { at: 0, mark: Buffer.from("WithoutFreeSpace"), reason: NOT_READ("Parallels") },
  { at: 0, mark: Buffer.from("LUKS\xba\xbe", "latin1"), reason: "is encrypted (LUKS); decrypt it" },
  { at: 0, mark: Buffer.from("1f8b08", "hex"), reason: PACKED },
  { at: 0, mark: Buffer.from("fd377a585a00", "hex"), reason: PACKED },
  { at: 0, mark: Buffer.from("28b52ffd", "hex"), reason: PACKED },
  { at: 0, mark: Buffer.from("BZh91AY&SY"), reason: PACKED },
  { at: 0, mark: Buffer.from("PK\x03\x04", "latin1"), reason: PACKED },
  { at: 0, mark: Buffer.from("7z\xbc\xaf\x27\x1c", "latin1"), reason: PACKED },
];

function refused(reason: string): DiskHeader {
  return { kind: "refused", reason };
}

function sized(format: DiskFormat, virtualBytes: bigint): DiskHeader {
  if (virtualBytes === 0n) return refused("says that its disk is empty");
  if (virtualBytes > BigInt(VIRTUAL_BYTES_MAX)) {
    return refused(`says that its disk has ${virtualBytes} bytes; at most 16 TiB are allowed`);
  }
  return { kind: "disk", format, virtualBytes: Number(virtualBytes) };
}

function decodeQcow2(head: Buffer): DiskHeader {
  const header = decodeQcow2Header(head);
  if (header.kind === "refused") return header;
  if (header.backing !== undefined) {
    const path = JSON.stringify(header.backing.path.slice(0, 100));
    return refused(
      `lies over another file (${path}), which could be any file of this host; join them: qemu-img convert`,
    );
  }
  return sized("qcow2", header.virtualBytes);
}

const VHD_COOKIE = Buffer.from("conectix");
const VHD_DYNAMIC_COOKIE = Buffer.from("cxsparse");
/** Offsets in the footer. Numbers are big-endian. @see Virtual Hard Disk Image Format Specification, "Hard Disk Footer" */
const VHD = { dataOffset: 16, currentBytes: 48, diskType: 60 } as const;
const VHD_FIXED = 2;
const VHD_DYNAMIC = 3;
const VHD_DIFFERENCING = 4;

/** A dynamic VHD begins with a copy of its footer; a fixed one has it at the end only. */
function findVhdFooter({ head, tail }: DiskFileParts): Buffer | undefined {
  return [head, tail].find(
    (bytes) => bytes.length >= TAIL_BYTES && bytes.subarray(0, 8).equals(VHD_COOKIE),
  );
}

function decodeVhd(footer: Buffer, head: Buffer): DiskHeader {
  const type = footer.readUInt32BE(VHD.diskType);
  if (type === VHD_DIFFERENCING) {
    return refused(
      "is a differencing VHD: it lies over another file; merge them, then deploy the result",
    );
  }
  if (type !== VHD_FIXED && type !== VHD_DYNAMIC)
    return refused(`is a VHD of unknown type ${type}`);
  if (type === VHD_DYNAMIC) {
    const offset = footer.readBigUInt64BE(VHD.dataOffset);
    const inside = offset >= BigInt(TAIL_BYTES) && offset + 1024n <= BigInt(head.length);
    const start = Number(offset);
    if (!inside || !head.subarray(start, start + 8).equals(VHD_DYNAMIC_COOKIE)) {
      return refused("is a dynamic VHD without its second header");
    }
  }
  return sized("vhd", footer.readBigUInt64BE(VHD.currentBytes));
}
