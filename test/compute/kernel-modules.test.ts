import { describe, expect, test } from "vitest";
import { moduleName, resolveModules } from "../../src/compute/guest/kernel-modules.ts";

const dep = `kernel/v/virtio_ring.ko:
kernel/v/virtio.ko: kernel/v/virtio_ring.ko
kernel/n/failover.ko.xz:
kernel/n/virtio_net.ko.xz: kernel/n/failover.ko.xz kernel/v/virtio.ko kernel/v/virtio_ring.ko
kernel/h/virtio-rng.ko: kernel/v/virtio.ko kernel/v/virtio_ring.ko
kernel/c/a.ko: kernel/c/b.ko
kernel/c/b.ko: kernel/c/a.ko
`;
const builtin = "kernel/fs/ext4/ext4.ko\n";
const resolve = (...wanted: string[]): string[] =>
  resolveModules(wanted, { dep, builtin }).map(moduleName);

describe("resolveModules()", () => {
  const rows: readonly (readonly [name: string, wanted: string[], want: string[]])[] = [
    ["puts dependencies first", ["virtio"], ["virtio_ring", "virtio"]],
    [
      "orders by need, not by the order of the line",
      ["virtio_net"],
      ["failover", "virtio_ring", "virtio", "virtio_net"],
    ],
    ["loads each once", ["virtio", "virtio", "virtio_ring"], ["virtio_ring", "virtio"]],
    ["takes _ for -", ["virtio_rng"], ["virtio_ring", "virtio", "virtio_rng"]],
    ["needs no file for what is built in", ["ext4"], []],
    ["ends on a cycle", ["a"], expect.arrayContaining(["a", "b"])],
    ["of nothing is nothing", [], []],
  ];
  test.each(rows)("%s", (_name, wanted, want) => expect(resolve(...wanted)).toEqual(want));

  test("names the module that is missing", () =>
    expect(() => resolve("virtio_gpu")).toThrow("no module virtio_gpu"));
});
