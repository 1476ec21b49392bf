/** The hypervisor that runs each container as one QEMU process. */

import type { Hypervisor } from "../../hypervisor.ts";
import { chooseAccelerator, readAcceleratorFacts } from "./accelerator.ts";
import { type FoundQemu, startQemu } from "./qemu-process.ts";

/** Makes the hypervisor from what findQemu() found; looks once at what the processor can do. */
export async function openQemuHypervisor(qemu: FoundQemu): Promise<Hypervisor> {
  const accelerator = chooseAccelerator(await readAcceleratorFacts());
  const how = accelerator.kind === "kvm" ? "KVM" : `TCG: ${accelerator.reason}`;
  return {
    kind: "qemu",
    description: `QEMU ${qemu.version}, ${how}`,
    create: (spec, signal) => startQemu({ qemu, accelerator, spec, signal }),
  };
}
