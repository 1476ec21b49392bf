/** The QEMU hypervisor. */

export { findQemu, type QemuSearch } from "./find-qemu.ts";
export { openQemuHypervisor } from "./qemu-hypervisor.ts";
export type { FoundQemu } from "./qemu-process.ts";
