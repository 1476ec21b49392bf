/** Looks at a disk file: its own header reader first, then qemu-img, which has to agree. */

import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { errorText, FabricError } from "../../model/errors.ts";
import type { DiskFormat } from "../../model/image.ts";
import { decodeDiskHeader, HEAD_BYTES, TAIL_BYTES, VIRTUAL_BYTES_MAX } from "./disk-header.ts";
import { fileStamp } from "./file-stamp.ts";
import { readVirtualBytes } from "./qemu-img.ts";

const REMEMBERED_MAX = 256;

/** A disk that may be put under a container. */
export interface InspectedDisk {
  readonly format: DiskFormat;
  /** What a guest sees of it, as QEMU says. */
  readonly virtualBytes: number;
}

/** Remembers what it saw by {@link fileStamp}, so that fifty containers of one image cost one look. */
export class DiskInspector {
  readonly #seen = new Map<string, InspectedDisk>();

  /**
   * Looks at `path`.
   *
   * @param shown - how the message names the file: the path or URL that the user wrote
   * @throws FabricError ERR_IMAGE_FORMAT if it is no disk that may be used, ERR_IMAGE_FILE, ERR_TOOL_MISSING
   */
  async inspect(
    path: string,
    options: {
      readonly shown: string;
      readonly declared?: DiskFormat | undefined;
      readonly signal: AbortSignal;
    },
  ): Promise<InspectedDisk> {
    await using file = await openImageFile(path, options.shown);
    const stats = await file.stat({ bigint: true });
    const stamp = fileStamp(stats);
    const disk =
      this.#seen.get(stamp) ?? (await inspectFile(file, Number(stats.size), path, options));
    if (this.#seen.size >= REMEMBERED_MAX) this.#seen.clear();
    this.#seen.set(stamp, disk);
    const { declared, shown } = options;
    if (declared === undefined || declared === disk.format) return disk;
    throw badFormat(
      shown,
      `is declared as ${declared}, but its content is ${disk.format}; mend "format", or leave it out`,
    );
  }
}

/**
 * Opens a plain file for reading.
 *
 * @throws FabricError ERR_IMAGE_FILE if it cannot be read or is no plain file
 */
export async function openImageFile(path: string, shown: string): Promise<FileHandle> {
  const { O_RDONLY, O_NONBLOCK } = constants;
  // Without O_NONBLOCK the open of a named pipe would wait for a writer.
  const file = await open(path, O_RDONLY | O_NONBLOCK).catch((cause: unknown) => {
    throw new FabricError("ERR_IMAGE_FILE", `Cannot read image ${shown}: ${errorText(cause)}`, {
      cause,
    });
  });
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new FabricError("ERR_IMAGE_FILE", `Cannot read image ${shown}: it is no plain file`);
}

async function inspectFile(
  file: FileHandle,
  fileBytes: number,
  path: string,
  { shown, signal }: { readonly shown: string; readonly signal: AbortSignal },
): Promise<InspectedDisk> {
  const header = decodeDiskHeader({
    head: await readAt(file, 0, HEAD_BYTES),
    tail: await readAt(file, Math.max(0, fileBytes - TAIL_BYTES), TAIL_BYTES),
    fileBytes,
  });
  if (header.kind === "refused") throw badFormat(shown, header.reason);
  const { format } = header;
  const virtualBytes = await readVirtualBytes(path, format, signal).catch((cause: unknown) => {
    if (!(cause instanceof FabricError) || cause.code !== "ERR_TOOL_FAILED") throw cause;
    throw badFormat(shown, `is damaged: ${cause.message}`, cause);
  });
  const agreed =
    format === "vhd"
      ? virtualBytes > 0 && virtualBytes <= VIRTUAL_BYTES_MAX
      : virtualBytes === header.virtualBytes;
  if (agreed) return { format, virtualBytes };
  throw badFormat(
    shown,
    `is damaged: its header says ${header.virtualBytes} bytes, qemu-img ${virtualBytes}`,
  );
}

async function readAt(file: FileHandle, position: number, lengthMax: number): Promise<Buffer> {
  const bytes = Buffer.alloc(lengthMax);
  let filled = 0;
  while (filled < lengthMax) {
    const at = position + filled;
    const { bytesRead } = await file.read(bytes, filled, lengthMax - filled, at);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

function badFormat(shown: string, reason: string, cause?: unknown): FabricError {
  return new FabricError("ERR_IMAGE_FORMAT", `Cannot use image ${shown}: it ${reason}`, { cause });
}
