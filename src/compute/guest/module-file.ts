/** Reads a kernel module as insmod of busybox needs it: uncompressed. */

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip, zstdDecompress } from "node:zlib";
import { FabricError } from "../../model/errors.ts";

const MODULE_BYTES_MAX = 64 * 1024 * 1024;

/**
 * The ELF bytes of `file`, which ends in `.ko`, `.ko.gz`, `.ko.zst` or `.ko.xz`.
 *
 * @throws FabricError ERR_GUEST_MODULE_MISSING if it cannot be read or unpacked
 */
export async function readModule(file: string): Promise<Uint8Array> {
  try {
    // Node has no xz; the program is part of every Debian (dpkg needs it).
    if (file.endsWith(".xz")) return await unpackXz(file);
    const bytes = await readFile(file);
    if (file.endsWith(".gz")) return await promisify(gunzip)(bytes);
    if (file.endsWith(".zst")) return await promisify(zstdDecompress)(bytes);
    return bytes;
  } catch (cause) {
    throw new FabricError("ERR_GUEST_MODULE_MISSING", `Cannot read the kernel module ${file}`, {
      cause,
    });
  }
}

async function unpackXz(file: string): Promise<Uint8Array> {
  const options = { encoding: "buffer", maxBuffer: MODULE_BYTES_MAX } as const;
  const { stdout } = await promisify(execFile)("xz", ["--decompress", "--stdout", file], options);
  return stdout;
}
