/** What the compute agent needs of something that runs containers. Each folder of `hypervisors/` implements it. */

import type { MacAddress } from "../model/mac-address.ts";

/** The files a container boots from. All are shared read-only by any number of containers. */
export interface GuestImage {
  /** A bzImage. */
  readonly kernel: string;
  /** The initial RAM file system: busybox, modules, `/init` and the guest agent. */
  readonly initrd: string;
  /** An ext4 image with Node and its libraries; the guest pages in only what it touches. */
  readonly systemDisk: string;
}

/** One container to start. Paths are absolute. */
export interface VmSpec {
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
export type VmExit =
  | { readonly kind: "stopped"; readonly by: "host" | "guest-shutdown" | "guest-reset" }
  | {
      readonly kind: "failed";
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly stderrTail: string;
    };

/** A running container. */
export interface Vm {
  readonly pid: number;
  /** A file to which the guest's console is written. */
  readonly consolePath: string;
  /** Settles once and never rejects. */
  readonly exited: Promise<VmExit>;
  /** Ends the container like a power cut; resolves when its process is gone. May be called again. */
  stop(signal?: AbortSignal): Promise<void>;
}

/** Starts containers of one kind. */
export interface Hypervisor {
  readonly kind: "qemu" | "netns";
  /** For people, for example `QEMU 7.2.22, TCG: no vmx or svm in /proc/cpuinfo`. */
  readonly description: string;
  /**
   * Resolves when the guest's processors run.
   *
   * @throws FabricError; nothing is left behind then
   */
  create(spec: VmSpec, signal: AbortSignal): Promise<Vm>;
}
