/** The hypervisor that runs each guest as one QEMU process, with our guest image or another. */

import { closeSync } from "node:fs";
import { inNamespace } from "../../../net/namespace.ts";
import { openTap } from "../../../net/tap.ts";
import { buildAppDisk } from "../../app-disk.ts";
import { adoptGuests } from "../../guest-finder.ts";
import type { GuestImage } from "../../guest-image.ts";
import type {
  Adoption,
  AdoptionScope,
  GuestDescription,
  Hypervisor,
  PreparedGuest,
  Vm,
  VmLifetime,
  VmSpec,
} from "../../hypervisor.ts";
import { chooseAccelerator, readAcceleratorFacts } from "./accelerator.ts";
import type { MachineBoot, MachineSpec, OpenTap } from "./machine.ts";
import { attachQemu, type FoundQemu, type QemuSetting, startQemu } from "./qemu-process.ts";
import { chooseQemuUser, findKvmGroup, type QemuUser } from "./qemu-user.ts";

/** Starts machines with one QEMU and one accelerator. */
export interface QemuMachines {
  /** For people, for example `QEMU 7.2.22, TCG: no vmx or svm in /proc/cpuinfo`. */
  readonly description: string;
  /**
   * Resolves when the guest's processors run.
   *
   * @throws FabricError ERR_QEMU_START, ERR_QMP_TIMEOUT, ERR_VM_BUSY; nothing is left behind then
   */
  create(spec: MachineSpec, openTap: () => OpenTap, signal: AbortSignal): Promise<Vm>;
  /** See {@link Hypervisor.adopt}. */
  adopt(scope: AdoptionScope, signal: AbortSignal): Promise<Adoption>;
}

export interface QemuMachinesOptions {
  /** Absent: `agent`. */
  readonly lifetime?: VmLifetime;
  /** The user that QEMU runs as, by name; absent: see {@link chooseQemuUser}. */
  readonly user?: string;
}

/**
 * Uses what findQemu() found; looks once at what the processor can do and as whom QEMU may run.
 *
 * @throws FabricError ERR_QEMU_USER
 */
export async function openQemuMachines(
  qemu: FoundQemu,
  { lifetime = "agent", user: wanted }: QemuMachinesOptions = {},
): Promise<QemuMachines> {
  const user = await chooseQemuUser(qemu.setpriv, wanted);
  const { accelerator, groups } = await chooseDevice(user);
  const setting: QemuSetting = { qemu, accelerator, user, groups, lifetime };
  const how = accelerator.kind === "kvm" ? "KVM" : `TCG: ${accelerator.reason}`;
  return {
    description: `QEMU ${qemu.version}, ${how}`,
    create: (spec, makeTap, signal) => startQemu(setting, spec, makeTap, signal),
    adopt: (scope, signal) =>
      adoptGuests(scope, "qemu", (place, held) => attachQemu(setting, place, held, signal)),
  };
}

/** /dev/kvm is opened by QEMU itself, as its user: through the device's group. */
async function chooseDevice(user: QemuUser): Promise<Pick<QemuSetting, "accelerator" | "groups">> {
  const facts = await readAcceleratorFacts();
  if (user.kind === "ours" || facts.device !== "usable") {
    return { accelerator: chooseAccelerator(facts), groups: [] };
  }
  const group = await findKvmGroup();
  if (group === undefined) {
    return { accelerator: chooseAccelerator({ ...facts, device: "forbidden" }), groups: [] };
  }
  const accelerator = chooseAccelerator(facts);
  return { accelerator, groups: accelerator.kind === "kvm" ? [group] : [] };
}

export interface QemuHypervisorOptions {
  readonly machines: QemuMachines;
  /** What every guest boots from that brings nothing of its own. */
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
    adopt: (scope, signal) => machines.adopt(scope, signal),
  };
}

async function prepareGuest(
  options: QemuHypervisorOptions,
  guest: GuestDescription,
  signal: AbortSignal,
): Promise<PreparedGuest> {
  const boot = await prepareBoot(options, guest, signal);
  const disc = guest.provisioningDisc;
  const more = { boot, ...(disc !== undefined && { provisioningDisc: disc }) };
  return {
    evidence: { ...evidenceOf(boot), ...(disc !== undefined && { disc }) },
    boot: (spec, bootSignal) => bootGuest(options.machines, spec, more, bootSignal),
  };
}

async function prepareBoot(
  { cacheDirectory, image }: QemuHypervisorOptions,
  { app, boot = { kind: "own" } }: GuestDescription,
  signal: AbortSignal,
): Promise<MachineBoot> {
  if (boot.kind !== "own") return boot;
  if (app === undefined) return { kind: "own", image };
  return {
    ...{ kind: "own", image },
    appDisk: await buildAppDisk({ appFolder: app, cacheDirectory, signal }),
  };
}

function evidenceOf(boot: MachineBoot): PreparedGuest["evidence"] {
  switch (boot.kind) {
    case "own": {
      const { kernel, initrd } = boot.image;
      return { kernel, initrd, ...(boot.appDisk !== undefined && { app: boot.appDisk }) };
    }
    case "disk":
      return { disk: boot.disk.path };
    case "kernel": {
      const { kernel, initrd, disk } = boot;
      return { kernel, ...(initrd !== undefined && { initrd }), ...(disk && { disk: disk.path }) };
    }
  }
}

/** QEMU gets the tap's descriptor and no other right to the network; the tap goes when QEMU goes. */
async function bootGuest(
  machines: QemuMachines,
  spec: VmSpec,
  more: Pick<MachineSpec, "boot" | "provisioningDisc">,
  signal: AbortSignal,
): Promise<Vm> {
  const makeTap = (): OpenTap => {
    const { fd } = inNamespace(spec.port.namespace, () => openTap(spec.port.name));
    return { fd, [Symbol.dispose]: () => closeSync(fd) };
  };
  return await machines.create({ ...spec, ...more }, makeTap, signal);
}
