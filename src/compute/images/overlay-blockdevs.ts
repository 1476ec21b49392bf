/** How QEMU is told of a container's disk, as a pure function. */

import type { Overlay } from "./overlay.ts";
import { QEMU_FORMATS } from "./qemu-img.ts";

/** One `-blockdev` option. As JSON a path needs no escaping. */
export type Blockdev = Readonly<Record<string, string | boolean>>;

/**
 * The block devices of `overlay`, in order; each is `-blockdev` with `JSON.stringify` of it. Both layers are named with
 * their formats, so QEMU follows no name in a file's header and guesses no format.
 *
 * @param nodeName - of the last one, for `-device virtio-blk-pci,drive=`; at most 20 characters
 */
export function overlayBlockdevs(overlay: Overlay, nodeName: string): Blockdev[] {
  const [baseFile, base, file] = ["base-file", "base", "file"].map((part) => `${nodeName}-${part}`);
  return [
    {
      driver: "file",
      "node-name": baseFile!,
      filename: overlay.base.path,
      "read-only": true,
    },
    {
      driver: QEMU_FORMATS[overlay.base.format],
      "node-name": base!,
      file: baseFile!,
      "read-only": true,
    },
    { driver: "file", "node-name": file!, filename: overlay.path, discard: "unmap" },
    { driver: "qcow2", "node-name": nodeName, file: file!, backing: base!, discard: "unmap" },
  ];
}
