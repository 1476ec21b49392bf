/** What the compute agent boots a container from when its goal names an image. */

import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { imageIdentity } from "../../model/image.ts";
import type { PrepareBootSource } from "../agent/start-vm.ts";
import type { DiskImage, GuestBoot } from "../hypervisor.ts";
import type { ImagePart, ImageStore, PreparedImage } from "./image-store.ts";
import type { Overlay } from "./overlay.ts";
import { QEMU_FORMATS } from "./qemu-img.ts";

const DISK_NAME = /^disk-[0-9a-f]{16}\.qcow2/;

/**
 * Makes ready what a goal boots from. The container's disk is in its folder, named by what the goal says of the image:
 * a restart or a retry goes on with it; a goal with another image begins a new one, and then the old one goes.
 */
export function imageBootSource(images: ImageStore): PrepareBootSource {
  return async ({ goal, folder, onProgress, signal }) => {
    const { image } = goal;
    if (image === undefined) {
      await removeDisksBut(images, folder, undefined);
      return { evidence: {} };
    }
    const name = `disk-${imageIdentity(image)}.qcow2`;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const options = { path: join(folder, name), signal, onProgress: progressSum(onProgress) };
    const prepared = await images.prepare(image, options);
    await removeDisksBut(images, folder, name); // only now: an image that cannot be had costs no disk
    return { boot: guestBoot(prepared), evidence: prepared.evidence };
  };
}

/** An image as hypervisors take it. */
export function guestBoot({ overlay, kernel, initrd, cmdline }: PreparedImage): GuestBoot {
  const disk = overlay && diskImage(overlay);
  if (kernel !== undefined) {
    return {
      kind: "kernel",
      kernel,
      ...(initrd !== undefined && { initrd }),
      commandLine: cmdline ?? "",
      ...(disk && { disk }),
    };
  }
  return disk === undefined ? { kind: "own" } : { kind: "disk", disk };
}

function diskImage({ path, base }: Overlay): DiskImage {
  const backing = { path: base.path, format: QEMU_FORMATS[base.format] };
  return { path, format: "qcow2", backing };
}

async function removeDisksBut(
  images: ImageStore,
  folder: string,
  kept: string | undefined,
): Promise<void> {
  const names = await readdir(folder).catch(() => []); // a first start has no folder yet
  const disks = names.flatMap((name) => DISK_NAME.exec(name)?.[0] ?? []);
  for (const name of new Set(disks)) {
    if (name !== kept) await images.removeOverlay(join(folder, name));
  }
}

/** One sum for all parts that are fetched at once; a total only when every part has told its own. */
function progressSum(
  onProgress: (bytes: number, totalBytes: number | undefined) => void,
): (progress: { part: ImagePart; bytes: number; totalBytes?: number }) => void {
  const parts = new Map<ImagePart, { bytes: number; totalBytes?: number }>();
  return ({ part, ...progress }) => {
    parts.set(part, progress);
    const all = [...parts.values()];
    const bytes = all.reduce((sum, one) => sum + one.bytes, 0);
    const isTold = all.every((one) => one.totalBytes !== undefined);
    const total = all.reduce((sum, one) => sum + (one.totalBytes ?? 0), 0);
    onProgress(bytes, isTold ? total : undefined);
  };
}
