import { expect, test } from "vitest";
import type { MachineSpec } from "../../src/compute/hypervisors/qemu/index.ts";
import { qemuArguments } from "../../src/compute/hypervisors/qemu/qemu-arguments.ts";
import { parseMac } from "../../src/model/mac-address.ts";

const spec: MachineSpec = {
  container: "hello.web_0",
  name: "gs-f1-hello.web_0",
  vmId: "6f1c6f0e-0000-4000-8000-000000000001",
  runDirectory: "/data/run/hello.web_0",
  cpus: 2,
  memoryMib: 512,
  hostname: "web-0",
  mac: parseMac("00:0d:3a:01:02:03"),
  tapFd: 42,
  image: { kernel: "/c/vmlinuz", initrd: "/c/initrd", systemDisk: "/c/system.img" },
  appDisk: "/c/a,b/app.img",
};

test("qemuArguments() of a container with an app under TCG", async () => {
  const text = qemuArguments(spec, { kind: "tcg", reason: "none" }).join("\n");
  await expect(text).toMatchFileSnapshot("fixtures/qemu-arguments-tcg.txt");
});

test("qemuArguments() of a container without an app under KVM", async () => {
  const { appDisk: _, ...bare } = spec;
  const text = qemuArguments(bare, { kind: "kvm" }).join("\n");
  await expect(text).toMatchFileSnapshot("fixtures/qemu-arguments-kvm.txt");
});

test("qemuArguments() refuses a hostname that would add to the kernel's command line", () => {
  const hostname = "web init=/bin/sh";
  expect(() => qemuArguments({ ...spec, hostname }, { kind: "kvm" })).toThrow("did not match");
});
