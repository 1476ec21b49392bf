/**
 * A container's own disk: a qcow2 file over an image that is never written. What lies under it is noted beside it, in a
 * file that QEMU is not given, because the header of the disk itself is in QEMU's hands.
 */

import { chmod, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { z } from "zod";
import { errorText, FabricError } from "../../model/errors.ts";
import { DISK_FORMATS, type DiskFormat } from "../../model/image.ts";
import { exists } from "../guest/publish-folder.ts";
import { HEAD_BYTES, VIRTUAL_BYTES_MAX } from "./disk-header.ts";
import { contentStamp } from "./file-stamp.ts";
import type { ImageCache } from "./image-cache.ts";
import { decodeQcow2Header } from "./qcow2-header.ts";
import { createQcow2Over, QEMU_FORMATS } from "./qemu-img.ts";

const SECTOR_BYTES = 512;

const NoteSchema = z.object({
  base: z.string(),
  format: z.enum(DISK_FORMATS),
  /** Of a base that is not in the cache, where files never change. */
  stamp: z.string().optional(),
});

/** A container's disk. */
export interface Overlay {
  /** A qcow2 file. */
  readonly path: string;
  readonly virtualBytes: number;
  /** What lies under it; to be opened read-only, and in this format. */
  readonly base: { readonly path: string; readonly format: DiskFormat };
}

/** What a new disk is laid over. */
export interface OverlayBase {
  readonly path: string;
  readonly format: DiskFormat;
  readonly virtualBytes: number;
}

/** What a new disk shall be. */
export interface OverlayOptions {
  /** Absolute; its folder exists. `PATH.new` and `PATH.json` are used too. */
  readonly path: string;
  /** At least the image's own size, which is the default. */
  readonly sizeBytes?: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Makes the disk, aside first, so that it is whole when it has its name. A disk that was left half by a killed process
 * is made anew; one that is there is not looked at: see {@link findOverlay}.
 *
 * @throws FabricError ERR_IMAGE_SIZE, ERR_IMAGE_BASE if the image was pruned, ERR_TOOL_MISSING, ERR_TOOL_FAILED
 */
export async function createOverlay(
  cache: ImageCache,
  base: OverlayBase,
  options: OverlayOptions,
): Promise<Overlay> {
  const { path, signal } = options;
  const virtualBytes = diskSize(base, options.sizeBytes);
  if (!(await cache.writeUse({ disk: path, base: base.path }, signal)))
    throw noBase(path, base.path);
  const isFixed = cache.isBlob(base.path);
  const stamp = isFixed ? undefined : contentStamp(await stat(base.path, { bigint: true }));
  await writeNote(path, { base: base.path, format: base.format, ...(stamp && { stamp }) });
  const aside = `${path}.new`;
  await rm(aside, { force: true });
  await createQcow2Over(base, { path: aside, virtualBytes, signal });
  await chmod(aside, 0o600);
  await syncFile(aside);
  signal.throwIfAborted();
  await rename(aside, path);
  return { path, virtualBytes, base: { path: base.path, format: base.format } };
}

/**
 * The disk that is at `path`, or undefined if there is none.
 *
 * @throws FabricError ERR_IMAGE_BASE if what it lies over is gone or was changed, ERR_IMAGE_OVERLAY if it is no disk of
 *   ours or damaged
 */
export async function findOverlay(
  cache: ImageCache,
  path: string,
  signal: AbortSignal,
): Promise<Overlay | undefined> {
  if (!(await exists(path))) return undefined;
  const note = await readNote(path);
  const header = decodeQcow2Header(await readHead(path));
  if (header.kind === "refused") throw badOverlay(path, `it ${header.reason}`);
  const { backing } = header;
  if (backing?.path !== note.base || backing.format !== QEMU_FORMATS[note.format]) {
    throw badOverlay(path, `it lies over another file than ${note.base}`);
  }
  await assertBase(path, note);
  // Noted again, as the cache may have been removed and filled again since.
  const isThere = await cache.writeUse({ disk: path, base: note.base }, signal);
  if (!isThere) throw noBase(path, note.base);
  const base = { path: note.base, format: note.format };
  return { path, virtualBytes: Number(header.virtualBytes), base };
}

/** Removes the disk and all that belongs to it; none is no error. */
export async function removeOverlay(cache: ImageCache, path: string): Promise<void> {
  for (const file of [path, `${path}.new`, notePath(path)]) await rm(file, { force: true });
  await cache.removeUse(path);
}

function diskSize(base: OverlayBase, wanted: number | undefined): number {
  if (wanted === undefined) return base.virtualBytes;
  const size = Math.ceil(wanted / SECTOR_BYTES) * SECTOR_BYTES;
  if (size >= base.virtualBytes && size <= VIRTUAL_BYTES_MAX) return size;
  throw new FabricError(
    "ERR_IMAGE_SIZE",
    `Cannot make a disk of ${wanted} bytes: the image has ${base.virtualBytes}, and at most 16 TiB are allowed`,
  );
}

async function assertBase(path: string, note: z.output<typeof NoteSchema>): Promise<void> {
  const stats = await stat(note.base, { bigint: true }).catch(() => undefined);
  if (stats === undefined) throw noBase(path, note.base);
  if (note.stamp === undefined || note.stamp === contentStamp(stats)) return;
  throw new FabricError(
    "ERR_IMAGE_BASE",
    `Cannot use disk ${path}: ${note.base}, over which it lies, was changed since; ` +
      "put the old file back, or deploy the container anew",
  );
}

function noBase(path: string, base: string): FabricError {
  return new FabricError(
    "ERR_IMAGE_BASE",
    `Cannot use disk ${path}: ${base}, over which it lies, is gone; put it back, or deploy the container anew`,
  );
}

function badOverlay(path: string, reason: string, cause?: unknown): FabricError {
  return new FabricError("ERR_IMAGE_OVERLAY", `Cannot use disk ${path}: ${reason}`, { cause });
}

async function readNote(path: string): Promise<z.output<typeof NoteSchema>> {
  try {
    return NoteSchema.parse(JSON.parse(await readFile(notePath(path), "utf8")));
  } catch (cause) {
    throw badOverlay(path, `what it lies over is not known: ${errorText(cause)}`, cause);
  }
}

async function writeNote(path: string, note: z.output<typeof NoteSchema>): Promise<void> {
  const aside = `${notePath(path)}.new`;
  await writeFile(aside, JSON.stringify(note), { mode: 0o644, flush: true });
  await rename(aside, notePath(path));
}

function notePath(path: string): string {
  return `${path}.json`;
}

async function readHead(path: string): Promise<Buffer> {
  await using file = await open(path, "r");
  const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  return buffer.subarray(0, bytesRead);
}

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, "r+");
  await file.sync();
}
