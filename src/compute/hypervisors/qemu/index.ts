/** The QEMU hypervisor. */

export { findQemu, type QemuSearch } from "./find-qemu.ts";
export type { MachineBoot, MachineSpec, OpenTap } from "./machine.ts";
export {
  createQemuHypervisor,
  openQemuMachines,
  type QemuHypervisorOptions,
  type QemuMachines,
  type QemuMachinesOptions,
} from "./qemu-hypervisor.ts";
export type { FoundQemu } from "./qemu-process.ts";
