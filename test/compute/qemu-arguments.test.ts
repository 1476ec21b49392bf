import { expect, test } from "vitest";
import type { Accelerator } from "../../src/compute/hypervisors/qemu/accelerator.ts";
import { systemUuid } from "../../src/compute/hypervisors/qemu/azure-identity.ts";
import type { MachineSpec } from "../../src/compute/hypervisors/qemu/index.ts";
import { qemuArguments } from "../../src/compute/hypervisors/qemu/qemu-arguments.ts";
import { parseMac } from "../../src/model/mac-address.ts";

const IMAGE = { kernel: "/c/vmlinuz", initrd: "/c/initrd", systemDisk: "/c/system.img" };

const spec: MachineSpec = {
  container: "hello.web_0",
  attempt: 3,
  name: "gs-f1-hello.web_0",
  vmId: "6f1c6f0e-0000-4000-8000-000000000001",
  runDirectory: "/data/run/hello.web_0",
  cpus: 2,
  memoryMib: 512,
  hostname: "web-0",
  mac: parseMac("00:0d:3a:01:02:03"),
  port: { namespace: "gs-f1-hello.net", name: "tap0d3a010203" },
  boot: { kind: "own", image: IMAGE, appDisk: "/c/a,b/app.img" },
};

/** The command line, then the files behind its descriptors. */
function textOf(machine: MachineSpec, accelerator: Accelerator): string {
  const { args, files } = qemuArguments(machine, accelerator);
  const rows = files.map(({ path, access }, index) => `fd ${8 + index} = ${access} ${path}`);
  return [...args, "", ...rows, ""].join("\n");
}

test("qemuArguments() of a container with an app under TCG", async () => {
  const text = textOf(spec, { kind: "tcg", reason: "none" });
  await expect(text).toMatchFileSnapshot("fixtures/qemu-arguments-tcg.txt");
});

test("qemuArguments() of a container without an app under KVM", async () => {
  const bare: MachineSpec = { ...spec, boot: { kind: "own", image: IMAGE } };
  const text = textOf(bare, { kind: "kvm" });
  await expect(text).toMatchFileSnapshot("fixtures/qemu-arguments-kvm.txt");
});

test("qemuArguments() of a disk on a base, with a provisioning disc", async () => {
  const base = { path: "/c/debian.qcow2", format: "qcow2" } as const;
  const machine: MachineSpec = {
    ...spec,
    boot: { kind: "disk", disk: { path: "/r/disk.qcow2", format: "qcow2", backing: base } },
    provisioningDisc: "/r/provisioning.iso",
  };
  await expect(textOf(machine, { kind: "kvm" })).toMatchFileSnapshot(
    "fixtures/qemu-arguments-disk.txt",
  );
});

test("qemuArguments() of a kernel of one's own, with and without a disk", async () => {
  const kernel = { kind: "kernel", kernel: "/c/k", commandLine: "root=/dev/vda1 ro" } as const;
  const disk = { path: "/r/disk.raw", format: "raw" } as const;
  const withDisk: MachineSpec = { ...spec, boot: { ...kernel, initrd: "/c/i", disk } };
  const without: MachineSpec = { ...spec, boot: kernel };
  const kvm = { kind: "kvm" } as const;
  await expect(textOf(withDisk, kvm) + textOf(without, kvm)).toMatchFileSnapshot(
    "fixtures/qemu-arguments-kernel.txt",
  );
});

test("the system UUID is the VM's id as a BIOS machine of Azure shows it", () => {
  expect(systemUuid("527C2691-029F-FE4C-B1F4-A4DA7EBAC2CF")).toBe(
    "91267c52-9f02-4cfe-b1f4-a4da7ebac2cf",
  );
});

test("qemuArguments() refuses a hostname that would add to the kernel's command line", () => {
  const hostname = "web init=/bin/sh";
  expect(() => qemuArguments({ ...spec, hostname }, { kind: "kvm" })).toThrow("did not match");
});
