/** The hypervisor that runs each guest as one QEMU process with Debian's cloud kernel and our guest image. */

import { closeSync } from "node:fs";
import { inNamespace } from "../../../net/namespace.ts";
import { openTap } from "../../../net/tap.ts";
import { buildAppDisk } from "../../app-disk.ts";
import type { GuestImage } from "../../guest-image.ts";
import type {
  GuestDescription,
  Hypervisor,
  PreparedGuest,
  Vm,
  VmExit,
  VmSpec,
} from "../../hypervisor.ts";
import { chooseAccelerator, readAcceleratorFacts } from "./accelerator.ts";
import type { Machine, MachineExit, MachineSpec } from "./machine.ts";
import { type FoundQemu, startQemu } from "./qemu-process.ts";

/** Starts machines with one QEMU and one accelerator. */
export interface QemuMachines {
  /** For people, for example `QEMU 7.2.22, TCG: no vmx or svm in /proc/cpuinfo`. */
  readonly description: string;
  /**
   * Resolves when the guest's processors run.
   *
   * @throws FabricError ERR_QEMU_START, ERR_QMP_TIMEOUT; nothing is left behind then
   */
  create(spec: MachineSpec, signal: AbortSignal): Promise<Machine>;
}

/** Uses what findQemu() found; looks once at what the processor can do. */
export async function openQemuMachines(qemu: FoundQemu): Promise<QemuMachines> {
  const accelerator = chooseAccelerator(await readAcceleratorFacts());
  const how = accelerator.kind === "kvm" ? "KVM" : `TCG: ${accelerator.reason}`;
  return {
    description: `QEMU ${qemu.version}, ${how}`,
    create: (spec, signal) => startQemu({ qemu, accelerator, spec, signal }),
  };
}

export interface QemuHypervisorOptions {
  readonly machines: QemuMachines;
  /** What every guest boots from. */
  readonly image: GuestImage;
  /** Where app disks are kept. */
  readonly cacheDirectory: string;
}

/** Makes the QEMU hypervisor. */
export function createQemuHypervisor(options: QemuHypervisorOptions): Hypervisor {
  const { machines } = options;
  return {
    kind: "qemu",
    description: machines.description,
    prepare: (guest, signal) => prepareGuest(options, guest, signal),
  };
}

async function prepareGuest(
  options: QemuHypervisorOptions,
  { container, app }: GuestDescription,
  signal: AbortSignal,
): Promise<PreparedGuest> {
  const { cacheDirectory, machines, image } = options;
  const appDisk =
    app === undefined ? undefined : await buildAppDisk({ appFolder: app, cacheDirectory, signal });
  return {
    evidence: {
      kernel: image.kernel,
      initrd: image.initrd,
      ...(appDisk !== undefined && { app: appDisk }),
    },
    boot: (spec, bootSignal) =>
      bootGuest(machines, { spec, container, image, appDisk }, bootSignal),
  };
}

/** QEMU gets the tap's descriptor and no other right to the network; the tap goes when QEMU goes. */
async function bootGuest(
  machines: QemuMachines,
  parts: {
    readonly spec: VmSpec;
    readonly container: string;
    readonly image: GuestImage;
    readonly appDisk: string | undefined;
  },
  signal: AbortSignal,
): Promise<Vm> {
  const { spec, container, image, appDisk } = parts;
  const tap = inNamespace(spec.port.namespace, () => openTap(spec.port.name));
  try {
    const machine = await machines.create(
      { ...spec, container, image, tapFd: tap.fd, ...(appDisk !== undefined && { appDisk }) },
      signal,
    );
    return vmOf(machine);
  } finally {
    closeSync(tap.fd);
  }
}

function vmOf(machine: Machine): Vm {
  return {
    pid: machine.pid,
    consolePath: machine.consolePath,
    exited: machine.exited.then(exitOf),
    stop: () => machine.stop(),
  };
}

function exitOf(exit: MachineExit): VmExit {
  if (exit.kind === "stopped") {
    // A kernel that panics resets the machine.
    if (exit.by !== "guest-reset") return { kind: "stopped" };
    return { kind: "failed", reason: "the guest reset itself; its console says why" };
  }
  const how = exit.signal ?? `exit code ${exit.exitCode}`;
  return { kind: "failed", reason: `QEMU ended with ${how}: ${exit.stderrTail || "no message"}` };
}
