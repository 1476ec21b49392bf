/** What the compute agent needs of something that runs guests. */
import type { MacAddress } from "../model/mac-address.ts";

/** A guest whose images are to be made. */
export interface GuestDescription {
  readonly container: string;
  /** Absolute path of the role's app folder; its program is on the guest's app disk. */
  readonly app?: string;
}

/** A guest to create. */
export interface VmSpec {
  /** Starts with the fabric's own prefix, by which a leftover is recognised after a crash. */
  readonly name: string;
  /** A GUID; the guest sees it as its system UUID. */
  readonly vmId: string;
  /** A folder of the guest's own, which exists. */
  readonly runDirectory: string;
  readonly cpus: number;
  /** MiB */
  readonly memoryMib: number;
  readonly hostname: string;
  readonly mac: MacAddress;
  /** The host end of the NIC, which the hypervisor makes: down, and attached to nothing. */
  readonly port: { readonly namespace: string; readonly name: string };
}

/** How a guest ended. */
export type VmExit =
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly reason: string };

/** A running guest. */
export interface Vm {
  readonly pid: number;
  /** The file that its serial console is written to. */
  readonly consolePath: string;
  /** Resolves when it ended, by itself or stopped. Never rejects. */
  readonly exited: Promise<VmExit>;
  /** Stops it and removes its port; resolves when nothing of it is left. */
  stop(): Promise<void>;
}

/** A guest whose images are ready. */
export interface PreparedGuest {
  /** What was found or made, for the boot trace. */
  readonly evidence: Readonly<Record<string, string | number>>;
  /** Creates the guest and starts it; resolves when it runs. */
  boot(spec: VmSpec, signal: AbortSignal): Promise<Vm>;
}

/** Runs guests. */
export interface Hypervisor {
  readonly kind: "qemu" | "netns";
  /** For people: which one, how fast, and why this one. */
  readonly description: string;
  /** Makes what the guest boots from; what was made before is reused. */
  prepare(guest: GuestDescription, signal: AbortSignal): Promise<PreparedGuest>;
}
