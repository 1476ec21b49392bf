/** One virtual machine as QEMU runs it. */

import type { MacAddress } from "../../../model/mac-address.ts";
import type { GuestImage } from "../../guest-image.ts";

/** One container to start. Paths are absolute. */
export interface MachineSpec {
  /** Container id, for example `hello.web_0`. */
  readonly container: string;
  /** Process name, for example `gs-f1-hello.web_0`. */
  readonly name: string;
  /** UUID text; becomes the SMBIOS system UUID, by which a guest may know itself. */
  readonly vmId: string;
  /** Exists and belongs to this container only: console, log and pid file are made in it. */
  readonly runDirectory: string;
  readonly cpus: number;
  readonly memoryMib: number;
  readonly hostname: string;
  readonly mac: MacAddress;
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
