/** Boots the real QEMU from disks over images: what the guest writes stays in its own disk. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { appendFile, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeCpio } from "../../src/compute/guest/cpio.ts";
import { buildGuestImage } from "../../src/compute/guest-image.ts";
import type { VmExit } from "../../src/compute/hypervisor.ts";
import {
  findQemu,
  openQemuMachines,
  type QemuMachines,
} from "../../src/compute/hypervisors/qemu/index.ts";
import { guestBoot, type ImageStore, openImageStore } from "../../src/compute/images/index.ts";
import type { ImageDescription } from "../../src/model/image.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { sha256, startImageServer } from "../compute/images/image-server.ts";
import { openScratchNetwork } from "../compute/scratch-network.ts";

const ROOT = join(import.meta.dirname, "../..");
const MAC = "00:0d:3a:01:02:03";
const BOOT_TIMEOUT_MS = 90_000;
const MIB = 2 ** 20;

/** Counts the boots of a disk in a file on it. */
const INIT = `#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
while read -r module; do insmod "/lib/modules/$module"; done </lib/modules/order
mount -t ext4 /dev/vda /app || echo "image test: cannot mount"
echo boot >>/app/boots
echo "image test: $(cat /app/hello) $(cat /proc/cmdline) boots=$(grep -c boot /app/boots)"
umount /app
poweroff -f
`;

/**
 * A boot sector that writes a line to the serial port: xor ax,ax; mov ds,ax; mov si,text; mov dx,0x3f8; then
 * lodsb, test al,al, jz end, out dx,al, again; end: hlt.
 */
const BOOT_SECTOR = Buffer.concat([
  Buffer.from("31c08ed8be157cbaf803ac84c07403eeebf8f4ebfd", "hex"),
  Buffer.from("image test: booted from its first sector\r\n\0"),
]);

const found = await findQemu(process.env["PATH"] ?? "");
const missing = [
  ...(process.getuid?.() === 0 ? [] : ["root"]),
  ...(found.kind === "found" ? [] : ["qemu-system-x86_64"]),
  ...(existsSync("/dev/net/tun") ? [] : ["/dev/net/tun"]),
];
const skipped = missing.length > 0 && process.env["CI"] !== "true";
const title = skipped ? `QEMU on images (needs ${missing.join(", ")})` : "QEMU on images";

describe.skipIf(skipped)(title, () => {
  let folder: string;
  let machines: QemuMachines;
  let images: ImageStore;
  let kernel: string;
  let initrd: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "gs-image-boot-"));
    if (found.kind !== "found") throw new Error(found.reason);
    machines = await openQemuMachines(found);
    images = await openImageStore({ cacheDirectory: join(folder, "images"), now: Date.now });
    const guest = await buildGuestImage({
      cacheDirectory: join(folder, "cache"),
      agentEntry: join(ROOT, "test/compute/fixtures/placeholder-agent.mjs"),
      nodeBinary: join(ROOT, "node_modules/node/bin/node"),
      scriptsDirectory: join(ROOT, "tools/guest-image.d"),
      environment: process.env,
    });
    kernel = guest.kernel;
    initrd = join(folder, "initrd");
    await copyFile(guest.initrd, initrd);
    const init = {
      kind: "file",
      path: "init",
      content: Buffer.from(INIT),
      executable: true,
    } as const;
    await appendFile(initrd, encodeCpio([init])); // of two files of a name the later one counts
    await makeRootDisk(join(folder, "root.raw"));
  }, BOOT_TIMEOUT_MS);

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  /** One start of a container; returns what it wrote to its console. */
  async function boot(
    name: string,
    image: ImageDescription,
    until?: string,
  ): Promise<{ console: string; exit: VmExit }> {
    const signal = AbortSignal.timeout(BOOT_TIMEOUT_MS);
    const runDirectory = join(folder, `t.${name}_0`);
    await mkdir(runDirectory, { recursive: true });
    const path = join(runDirectory, "disk.qcow2");
    const prepared = await images.prepare(image, { path, sizeBytes: 64 * MIB, signal });
    const source = guestBoot(prepared);
    if (source.kind === "own") throw new Error("It boots another image");
    await using network = await openScratchNetwork(folder, MAC);
    const vm = await machines.create(
      {
        ...{ container: `t.${name}_0`, attempt: 1, boot: source },
        ...{ name: `gs-test-t.${name}_0`, runDirectory, cpus: 1, memoryMib: 256 },
        port: { namespace: "none", name: "tap" },
        vmId: "6f1c6f0e-0000-4000-8000-000000000001",
        hostname: `${name}-0`,
        mac: parseMac(MAC),
      },
      () => ({ fd: network.tapFd, [Symbol.dispose]: () => undefined }), // the network closes it
      signal,
    );
    const console = async () => await readFile(vm.consolePath, "utf8").catch(() => "");
    try {
      if (until !== undefined) await expect.poll(console, { timeout: 60_000 }).toContain(until);
      else await vm.exited;
    } finally {
      await vm.stop();
    }
    return { console: await console(), exit: await vm.exited };
  }

  test(
    "a raw disk with a kernel of its own: the second start finds what the first one wrote, the image is as it was",
    async () => {
      const path = join(folder, "root.raw");
      const before = sha256(readFileSync(path));
      const image = {
        path,
        kernel: { path: kernel },
        initrd: { path: initrd },
        cmdline: "quiet panic=-1 image.test=1",
      };
      const first = await boot("raw", image);
      expect(first.console).toMatch(/image test: hello .*image\.test=1.* boots=1\r?\n/);
      expect(first.exit).toEqual({ kind: "stopped" });
      expect((await boot("raw", image)).console).toMatch(/image test: .* boots=2\r?\n/);
      expect(sha256(readFileSync(path))).toBe(before);
    },
    3 * BOOT_TIMEOUT_MS,
  );

  test(
    "a VHD from a URL, whose copy in the cache stays as it was",
    async () => {
      const file = join(folder, "root.vhd");
      const raw = join(folder, "root.raw");
      execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "vpc", raw, file]);
      const server = await startImageServer({ content: await readFile(file) });
      const image = {
        url: server.url,
        sha256: sha256(server.served.content),
        kernel: { path: kernel },
        initrd: { path: initrd },
        cmdline: "quiet panic=-1",
      };
      expect((await boot("vhd", image)).console).toMatch(/image test: hello .* boots=1\r?\n/);
      const cached = (await images.list()).find((one) => one.sha256 === image.sha256);
      expect(sha256(readFileSync(cached!.path))).toBe(image.sha256);
    },
    BOOT_TIMEOUT_MS,
  );

  test(
    "a disk without a kernel is booted by the firmware",
    async () => {
      const disk = Buffer.alloc(MIB);
      BOOT_SECTOR.copy(disk);
      disk.writeUInt16LE(0xaa55, 510);
      const path = join(folder, "sector.raw");
      await writeFile(path, disk);
      await boot("sector", { path }, "image test: booted from its first sector");
      expect(readFileSync(path).equals(disk)).toBe(true);
    },
    BOOT_TIMEOUT_MS,
  );
});

/** An ext4 file system with one file, as a raw disk. */
async function makeRootDisk(path: string): Promise<void> {
  const content = `${path}.d`;
  await mkdir(content);
  await writeFile(join(content, "hello"), "hello\n");
  execFileSync("/sbin/mke2fs", ["-q", "-t", "ext4", "-d", content, path, "16M"]);
}
