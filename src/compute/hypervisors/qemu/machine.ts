/** One virtual machine as QEMU runs it. */

import type { GuestImage } from "../../guest-image.ts";
import type { VmSpec } from "../../hypervisor.ts";

/** A guest with what QEMU boots it from. Its NIC's host end is open already, so its place does not matter. */
export interface MachineSpec extends Omit<VmSpec, "port"> {
  /** Container id, for example `hello.web_0`. */
  readonly container: string;
  /** The open host end of the NIC. The caller keeps it and may close it once create() has settled. */
  readonly tapFd: number;
  readonly image: GuestImage;
  /** From buildAppDisk(); absent for a container without an app. */
  readonly appDisk?: string;
}

/** How a container ended. */
export type MachineExit =
  | { readonly kind: "stopped"; readonly by: "host" | "guest-shutdown" | "guest-reset" }
  | {
      readonly kind: "failed";
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly stderrTail: string;
    };

/** A running machine. */
export interface Machine {
  readonly pid: number;
  /** A file to which the guest's console is written. */
  readonly consolePath: string;
  /** Settles once and never rejects. */
  readonly exited: Promise<MachineExit>;
  /** Ends it like a power cut; resolves when its process is gone. May be called again. */
  stop(signal?: AbortSignal): Promise<void>;
}
