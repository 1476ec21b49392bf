/** One virtual machine as QEMU runs it. */

import type { GuestImage } from "../../guest-image.ts";
import type { GuestBoot, VmSpec } from "../../hypervisor.ts";

/** What a machine boots from, every path known. */
export type MachineBoot =
  | { readonly kind: "own"; readonly image: GuestImage; readonly appDisk?: string }
  | Exclude<GuestBoot, { readonly kind: "own" }>;

/** A guest with what QEMU boots it from. Its NIC's host end is open already. */
export interface MachineSpec extends VmSpec {
  /** The open host end of the NIC. The caller keeps it and may close it once create() has settled. */
  readonly tapFd: number;
  readonly boot: MachineBoot;
  /** An ISO image for the CD-ROM drive; absent: there is no drive. */
  readonly provisioningDisc?: string;
}

/** A file that QEMU is handed open, because it may not be allowed to open it itself. */
export interface HandedFile {
  readonly path: string;
  /**
   * `reopen`: QEMU opens the descriptor's file again, so it must have the right to read the file, though not its
   * folders.
   */
  readonly access: "read" | "read-write" | "reopen";
}
