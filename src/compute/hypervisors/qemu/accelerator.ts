/** Decides between KVM and emulation, and says why. */

import { access, constants, readFile } from "node:fs/promises";

/** How QEMU runs the guest's processors. */
export type Accelerator =
  | { readonly kind: "kvm" }
  | { readonly kind: "tcg"; readonly reason: string };

/** What was seen on the host. */
export interface AcceleratorFacts {
  /** The text of /proc/cpuinfo. */
  readonly cpuinfo: string;
  /** Whether we may use /dev/kvm. */
  readonly device: "usable" | "absent" | "forbidden";
}

/**
 * KVM only if the processor has the extension and the device may be opened. The device alone proves nothing: a VM
 * without nested virtualization may have it, and QEMU then fails at start.
 */
export function chooseAccelerator(facts: AcceleratorFacts): Accelerator {
  const flags = /^flags\s*:(.*)$/m.exec(facts.cpuinfo)?.[1]?.trim().split(/\s+/) ?? [];
  if (!flags.includes("vmx") && !flags.includes("svm")) {
    return { kind: "tcg", reason: "no vmx or svm in /proc/cpuinfo" };
  }
  switch (facts.device) {
    case "usable":
      return { kind: "kvm" };
    case "absent":
      return { kind: "tcg", reason: "there is no /dev/kvm; load kvm_intel or kvm_amd" };
    case "forbidden":
      return { kind: "tcg", reason: "/dev/kvm may not be opened; join the group kvm" };
  }
}

/** Looks at the host. */
export async function readAcceleratorFacts(): Promise<AcceleratorFacts> {
  const cpuinfo = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  const present = await canAccess(constants.F_OK);
  if (!present) return { cpuinfo, device: "absent" };
  const usable = await canAccess(constants.R_OK | constants.W_OK);
  return { cpuinfo, device: usable ? "usable" : "forbidden" };
}

function canAccess(mode: number): Promise<boolean> {
  return access("/dev/kvm", mode).then(
    () => true,
    () => false,
  );
}
