/** Reads text files that people write, up to a size that no honest one has. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { FabricError } from "../../model/errors.ts";

const TENANT_FILE_BYTES_MAX = 1024 * 1024;

/**
 * Reads a UTF-8 file of at most 1 MiB; a byte order mark is left out.
 *
 * @throws FabricError ERR_USAGE_FILE if it cannot be read, is larger, or is no UTF-8
 */
export function readBoundedText(path: string): string {
  const bytes = readBytes(path);
  if (bytes.length > TENANT_FILE_BYTES_MAX) {
    const message = `${path} is larger than 1 MiB; a tenant file holds a description only, apps and images are files of their own`;
    throw new FabricError("ERR_USAGE_FILE", message);
  }
  const first = bytes.length < 2 ? 0 : bytes.readUInt16BE(0);
  if (first === 0xfeff || first === 0xfffe) {
    throw new FabricError("ERR_USAGE_FILE", `${path}:1:1: is UTF-16; save it as UTF-8`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new FabricError("ERR_USAGE_FILE", `${path}:1:1: is not UTF-8; save it as UTF-8`);
  }
}

/** One byte more than is allowed at most, so that a pipe or a device without a size is bounded too. */
function readBytes(path: string): Buffer {
  try {
    const descriptor = openSync(path, "r");
    try {
      if (fstatSync(descriptor).isDirectory()) throw new Error("it is a folder");
      const bytes = Buffer.allocUnsafe(TENANT_FILE_BYTES_MAX + 1);
      let length = 0;
      while (length < bytes.length) {
        const count = readSync(descriptor, bytes, length, bytes.length - length, null);
        if (count === 0) break;
        length += count;
      }
      return bytes.subarray(0, length);
    } finally {
      closeSync(descriptor);
    }
  } catch (cause) {
    throw new FabricError("ERR_USAGE_FILE", `Cannot read ${path}`, { cause });
  }
}
