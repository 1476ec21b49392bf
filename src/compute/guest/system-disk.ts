/** Makes the disk that carries Node and the libraries that it is linked with. */

import { copyFile, mkdir, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { FabricError } from "../../model/errors.ts";
import { runTool } from "../../net/run-tool.ts";
import { roundToBlock, writeExt4Image } from "./ext4-image.ts";

/**
 * The shared libraries of a program, the loader included, as absolute paths.
 *
 * @throws FabricError ERR_GUEST_LIBRARY naming the library that the host lacks
 */
export async function requireLibraries(program: string): Promise<string[]> {
  const text = await runTool("ldd", [program]);
  const lost = /^\s*(\S+) => not found$/m.exec(text)?.[1];
  if (lost === undefined) return parseLdd(text);
  throw new FabricError(
    "ERR_GUEST_LIBRARY",
    `${program} needs ${lost}, which the guest would lack too; run tools/host-setup as root`,
  );
}

/** The paths in the output of ldd; the vDSO has none. */
export function parseLdd(text: string): string[] {
  return [...text.matchAll(/^\s*(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/gm)].map((match) => match[1]!);
}

/** Writes `file` with the program in `bin/` and its libraries in `lib/`; `aside` is an empty work folder. */
export async function writeSystemDisk(options: {
  readonly file: string;
  readonly aside: string;
  readonly program: string;
  readonly libraries: readonly string[];
  readonly identity: string;
  readonly signal?: AbortSignal | undefined;
}): Promise<void> {
  const { aside, file, identity, signal } = options;
  const placed = [
    { from: options.program, to: join(aside, "bin", "node") },
    ...options.libraries.map((from) => ({ from, to: join(aside, "lib", basename(from)) })),
  ];
  await mkdir(join(aside, "bin"), { recursive: true });
  await mkdir(join(aside, "lib"));
  let contentBytes = 0;
  for (const { from, to } of placed) {
    await copyFile(from, to);
    contentBytes += roundToBlock((await stat(to)).size);
  }
  const size = { contentBytes, entryCount: placed.length + 2 };
  await writeExt4Image({ folder: aside, file, label: "gs-system", identity, size, signal });
  await rm(aside, { recursive: true });
}
