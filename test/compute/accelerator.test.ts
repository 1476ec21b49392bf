import { expect, test } from "vitest";
import {
  type AcceleratorFacts,
  chooseAccelerator,
} from "../../src/compute/hypervisors/qemu/accelerator.ts";

const INTEL = "processor\t: 0\nflags\t\t: fpu vmx sse\n";
const AMD = "processor\t: 0\nflags\t\t: fpu svm sse\n";
const NESTED_OFF = "processor\t: 0\nflags\t\t: fpu sse svm_lock\n";

const rows: readonly (readonly [
  name: string,
  cpuinfo: string,
  device: AcceleratorFacts["device"],
  want: string,
])[] = [
  ["Intel with the device", INTEL, "usable", "kvm"],
  ["AMD with the device", AMD, "usable", "kvm"],
  ["the device without the extension", NESTED_OFF, "usable", "no vmx or svm in /proc/cpuinfo"],
  ["neither", NESTED_OFF, "absent", "no vmx or svm in /proc/cpuinfo"],
  ["no /proc", "", "usable", "no vmx or svm in /proc/cpuinfo"],
  ["Intel without the device", INTEL, "absent", "there is no /dev/kvm"],
  ["Intel without the right", INTEL, "forbidden", "/dev/kvm may not be opened"],
];

test.each(rows)("chooseAccelerator() with %s", (_name, cpuinfo, device, want) => {
  const chosen = chooseAccelerator({ cpuinfo, device });
  expect(chosen.kind === "kvm" ? "kvm" : chosen.reason).toContain(want);
});
