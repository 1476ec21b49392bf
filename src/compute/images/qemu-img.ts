/** Runs qemu-img on files that a tenant may have made: format always given, time and memory bounded. */

import { z } from "zod";
import { errorText, FabricError } from "../../model/errors.ts";
import type { DiskFormat } from "../../model/image.ts";
import { runTool } from "../../net/run-tool.ts";

const InfoSchema = z.object({ "virtual-size": z.int() });
const CPU_SECONDS_MAX = 20;
const WALL_MS_MAX = 60_000;
const ADDRESS_SPACE_BYTES_MAX = 2 ** 30;

/** QEMU's names of the formats. */
export const QEMU_FORMATS = {
  raw: "raw",
  qcow2: "qcow2",
  vhd: "vpc",
} as const satisfies Record<DiskFormat, string>;

/**
 * The size of the disk in `path` as QEMU sees it, in bytes. Only for a file whose header was found to name no other file.
 *
 * @throws FabricError ERR_TOOL_MISSING, ERR_TOOL_FAILED with qemu-img's words
 */
export async function readVirtualBytes(
  path: string,
  format: DiskFormat,
  signal: AbortSignal,
): Promise<number> {
  const args = ["info", "--output=json", "-U", "-f", QEMU_FORMATS[format], "--", path];
  return InfoSchema.parse(JSON.parse(await runQemuImg(args, signal)))["virtual-size"];
}

/**
 * Makes a qcow2 file over `base`. `-u`: qemu-img does not open the base, for size and format are given.
 *
 * @throws FabricError ERR_TOOL_MISSING, ERR_TOOL_FAILED with qemu-img's words
 */
export async function createQcow2Over(
  base: { readonly path: string; readonly format: DiskFormat },
  options: { readonly path: string; readonly virtualBytes: number; readonly signal: AbortSignal },
): Promise<void> {
  const backing = ["-u", "-b", base.path, "-F", QEMU_FORMATS[base.format]];
  const { path, virtualBytes, signal } = options;
  const args = ["create", "-q", "-f", "qcow2", ...backing, "--", path, String(virtualBytes)];
  await runQemuImg(args, signal);
}

async function runQemuImg(args: readonly string[], signal: AbortSignal): Promise<string> {
  const limits = [`--cpu=${CPU_SECONDS_MAX}`, `--as=${ADDRESS_SPACE_BYTES_MAX}`, "--core=0"];
  try {
    return await runTool("prlimit", [...limits, "--", "qemu-img", ...args], {
      signal: AbortSignal.any([signal, AbortSignal.timeout(WALL_MS_MAX)]),
    });
  } catch (cause) {
    signal.throwIfAborted();
    if (!errorText(cause).includes("failed to execute qemu-img")) throw cause;
    throw new FabricError(
      "ERR_TOOL_MISSING",
      "Cannot find qemu-img; run tools/host-setup as root, which installs it",
      { cause },
    );
  }
}
