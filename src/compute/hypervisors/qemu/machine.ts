/** One virtual machine as QEMU runs it. */

import type { GuestImage } from "../../guest-image.ts";
import type { GuestBoot, VmSpec } from "../../hypervisor.ts";

/** What a machine boots from, every path known. */
export type MachineBoot =
  | { readonly kind: "own"; readonly image: GuestImage; readonly appDisk?: string }
  | Exclude<GuestBoot, { readonly kind: "own" }>;

/** The open host end of a NIC; our own descriptor of it is closed by disposing. */
export interface OpenTap extends Disposable {
  readonly fd: number;
}

/** A guest with what QEMU boots it from. */
export interface MachineSpec extends VmSpec {
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
