/** What the compute agent needs of something that runs guests. */
import type { MacAddress } from "../model/mac-address.ts";

/** Whose life a guest's process shares: it dies with the agent that started it, or it has a life of its own. */
export type VmLifetime = "agent" | "own";

/** A disk image file. */
export interface DiskImage {
  /** Absolute. */
  readonly path: string;
  /** In QEMU's words; vpc is VHD. */
  readonly format: "raw" | "qcow2" | "vpc";
  /** What a qcow2 overlay lies on; read-only, and shared by any number of guests. */
  readonly backing?: DiskImage;
}

/** What a guest boots from. */
export type GuestBoot =
  /** Goalstate's own kernel, initial RAM file system and system disk. */
  | { readonly kind: "own" }
  /** Firmware (a BIOS) boots this disk, which the guest may write to. */
  | { readonly kind: "disk"; readonly disk: DiskImage }
  /** This kernel is loaded by the hypervisor; the guest may write to `disk`. */
  | {
      readonly kind: "kernel";
      readonly kernel: string;
      readonly initrd?: string;
      /** Words are added in front of it: the serial console. */
      readonly commandLine: string;
      readonly disk?: DiskImage;
    };

/** A guest whose images are to be made. */
export interface GuestDescription {
  readonly container: string;
  /** Absolute path of the role's app folder; its program is on the guest's app disk. */
  readonly app?: string;
  /** Absent: `own`. */
  readonly boot?: GuestBoot;
  /** Absolute path of an ISO image that the guest finds in its CD-ROM drive. */
  readonly provisioningDisc?: string;
}

/** A guest to create. */
export interface VmSpec {
  /** Starts with the node's own prefix, by which it is recognised after a crash; ends with `container`. */
  readonly name: string;
  readonly container: string;
  /** Which start of the container this is; an adopted VM tells it. */
  readonly attempt: number;
  /** A GUID; an agent in the guest derives it from the system UUID as in Azure. */
  readonly vmId: string;
  /** A folder of the container's own, which exists and which only we may write to. */
  readonly runDirectory: string;
  readonly cpus: number;
  /** MiB */
  readonly memoryMib: number;
  readonly hostname: string;
  readonly mac: MacAddress;
  /** The host end of the NIC, which the hypervisor makes: down, and attached to nothing. */
  readonly port: VmPort;
}

/** The host end of a guest's NIC. */
export interface VmPort {
  readonly namespace: string;
  readonly name: string;
}

/** How a guest ended. */
export type VmExit =
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly reason: string };

/** How long each step of a stop may take, in milliseconds. A step of 0 is left out. */
export interface StopOptions {
  /** The guest is asked to power off: the power button, or SIGTERM for its init. Absent: it is not asked. */
  readonly acpiMs?: number;
  /** The hypervisor process is told to quit. */
  readonly quitMs?: number;
  /** It gets SIGTERM; after that SIGKILL, which has no deadline. */
  readonly terminateMs?: number;
  /** Aborted: SIGKILL at once. */
  readonly signal?: AbortSignal;
}

/** The step that ended a guest; `ended` if it had ended before. */
export type StopStep = "ended" | "acpi" | "quit" | "sigterm" | "sigkill";

/** A running guest. */
export interface Vm {
  readonly container: string;
  readonly attempt: number;
  readonly pid: number;
  readonly port: VmPort;
  /** The file that its serial console is written to. */
  readonly consolePath: string;
  /** A unix socket that leads to its serial console; one client at a time. */
  readonly consoleSocket?: string;
  /** How it runs, for the boot trace: as which user, for example. */
  readonly evidence: Readonly<Record<string, string | number>>;
  /** Resolves when it ended, by itself or stopped, and nothing of it is left. Never rejects. */
  readonly exited: Promise<VmExit>;
  /** Stops it step by step; resolves when nothing of it is left: no process, no port, no namespace. May be called again. */
  stop(options?: StopOptions): Promise<StopStep>;
  /** Lets go of it, so that our process may end while it runs on; `exited` then stays open. */
  release(): void;
}

/** A guest whose images are ready. */
export interface PreparedGuest {
  /** What was found or made, for the boot trace. */
  readonly evidence: Readonly<Record<string, string | number>>;
  /**
   * Creates the guest and starts it; resolves when it runs. What an earlier attempt left of it is ended and removed
   * first.
   *
   * @throws FabricError ERR_VM_BUSY if a process of an earlier attempt cannot be ended; nothing is started then
   */
  boot(spec: VmSpec, signal: AbortSignal): Promise<Vm>;
}

/** A node, as far as its guests are recognised by it. */
export interface AdoptionScope {
  /** What the names of the node's guests start with. */
  readonly namePrefix: string;
  /** Where each container of the node has its {@link VmSpec.runDirectory}, named as the container. */
  readonly runDirectory: string;
}

/** A guest that was started and does not run any more, or not yet as it should. What was left of it is removed. */
export interface EndedGuest {
  readonly container: string;
  /** 0 if it cannot be told any more. */
  readonly attempt: number;
  /** For people. */
  readonly reason: string;
}

/** What an agent finds of an earlier one. */
export interface Adoption {
  readonly running: readonly Vm[];
  readonly ended: readonly EndedGuest[];
}

/** Runs guests. */
export interface Hypervisor {
  readonly kind: "qemu" | "netns";
  /** For people: which one, how fast, and why this one. */
  readonly description: string;
  /** Makes what the guest boots from; what was made before is reused. */
  prepare(guest: GuestDescription, signal: AbortSignal): Promise<PreparedGuest>;
  /**
   * Takes over the guests of a node whose agent ended. To be called once, before any boot(). A guest that is not
   * whole, whose start was interrupted or that another hypervisor runs is ended and removed.
   */
  adopt(scope: AdoptionScope, signal: AbortSignal): Promise<Adoption>;
}
