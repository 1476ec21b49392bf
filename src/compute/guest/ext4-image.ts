/** Makes read-only ext4 images from folders with `mke2fs -d`: no root, no mount. */

import { createHash } from "node:crypto";
import { runTool } from "../../net/run-tool.ts";

const BLOCK_BYTES = 4096;
const INODE_BYTES = 256;
/** Superblock, group descriptors, bitmaps and the folders' own blocks, with room to spare. */
const OVERHEAD_BYTES = 2 * 1024 * 1024;

/** What goes into an image. */
export interface FolderSize {
  /** Of the content, each file rounded up by {@link roundToBlock}. */
  readonly contentBytes: number;
  /** Files, folders and links. */
  readonly entryCount: number;
}

/** `lengthBytes` rounded up to what a file of that length occupies. */
export function roundToBlock(lengthBytes: number): number {
  return Math.ceil(lengthBytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** Bytes of an image that holds `size` for certain; a multiple of one block. */
export function imageBytes(size: FolderSize): number {
  // Extent and indirect blocks of large files: below 1 %, but allow 2.
  const perEntry = INODE_BYTES + BLOCK_BYTES;
  return roundToBlock(size.contentBytes * 1.02 + size.entryCount * perEntry + OVERHEAD_BYTES);
}

/**
 * Writes `folder` as a file system to `file`, which must not exist. `identity` (a content hash) gives the UUID and
 * the directory hash seed, so that the same content gives the same image.
 *
 * @throws FabricError ERR_TOOL_MISSING, ERR_TOOL_FAILED
 */
export async function writeExt4Image(options: {
  readonly folder: string;
  readonly file: string;
  readonly label: string;
  readonly identity: string;
  readonly size: FolderSize;
  readonly signal?: AbortSignal | undefined;
}): Promise<void> {
  const uuid = uuidFrom(options.identity);
  const args = ["-q", "-F", "-t", "ext4", "-b", String(BLOCK_BYTES), "-I", String(INODE_BYTES)];
  // A journal, reserved blocks and lazy initialisation serve writers; nobody writes here.
  args.push("-O", "^has_journal,^resize_inode,^metadata_csum", "-m", "0");
  args.push("-E", `root_owner=0:0,lazy_itable_init=0,hash_seed=${uuid}`, "-U", uuid);
  args.push("-L", options.label, "-N", String(options.size.entryCount + 64));
  args.push("-d", options.folder, options.file, `${imageBytes(options.size) / 1024}k`);
  await runTool("mke2fs", args, {
    signal: options.signal,
    environment: { E2FSPROGS_FAKE_TIME: "1", SOURCE_DATE_EPOCH: "1" },
  });
}

function uuidFrom(identity: string): string {
  const hex = createHash("sha256").update(identity).digest("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, "$1-$2-$3-$4-$5");
}
