/**
 * Builds a Debian 12 with the clients that Azure's images have, cached by content of the recipe. First its file tree,
 * which tests also use as the root of namespaces, and of that a disk.
 */

import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { publishFolder } from "../../src/compute/guest/publish-folder.ts";
import { FabricError } from "../../src/model/errors.ts";
import { runTool } from "../../src/net/run-tool.ts";

/** Change it when this file does something else with the same recipe. */
const LAYOUT = "1";
const SUITE = "bookworm";
const DISK_SIZE = "2G";

/** Beside mmdebstrap's variant `minbase`, which is what Debian marks essential, and apt. */
export const PACKAGES: readonly string[] = [
  "linux-image-cloud-amd64",
  "systemd-sysv",
  "udev",
  "dbus",
  "kmod",
  "cloud-init",
  "waagent",
  "isc-dhcp-client",
  "systemd-resolved",
  "iproute2",
  "openssh-server",
  "sudo",
];

/** Debian starts the agent only where systemd sees Hyper-V. */
const DROP_IN = {
  path: "etc/systemd/system/walinuxagent.service.d/any-hypervisor.conf",
  text: "[Unit]\nConditionVirtualization=\n",
};

/** No manuals and translations: a third of the files. */
const LEFT_OUT = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*"];

export interface DebianOptions {
  readonly cacheDirectory: string;
  /** Passed to apt (proxy settings). */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** The files that a VM boots from; shared read-only by any number. */
export interface DebianImage {
  /** Raw; one ext4 file system. */
  readonly disk: string;
  /** A bzImage. */
  readonly kernel: string;
  readonly initrd: string;
}

/**
 * The folder with the file tree, built if it is not in the cache. Nobody may write to it.
 *
 * @throws FabricError ERR_TOOL_MISSING, ERR_TOOL_FAILED: mmdebstrap; Error unless run by root
 */
export async function buildDebianTree(options: DebianOptions): Promise<string> {
  if (process.getuid?.() !== 0) throw new Error("must run as root: sudo tools/debian-image");
  const { cacheDirectory, environment } = options;
  const recipe = [
    LAYOUT,
    SUITE,
    PACKAGES.join(),
    DROP_IN.path,
    DROP_IN.text,
    LEFT_OUT.join(),
    DISK_SIZE,
  ];
  const identity = createHash("sha256").update(recipe.join("\n")).digest("hex").slice(0, 16);
  const folder = await publishFolder(cacheDirectory, `debian-tree-${identity}`, async (aside) => {
    const root = join(aside, "root");
    const args = [
      ...["--mode=root", "--variant=minbase", "--format=directory"],
      ...[`--include=${PACKAGES.join()}`, '--aptopt=Acquire::Languages "none"'],
      ...LEFT_OUT.map((path) => `--dpkgopt=path-exclude=${path}`),
    ];
    await runTool("mmdebstrap", [...args, SUITE, root], { environment });
    await mkdir(join(root, DROP_IN.path, ".."), { recursive: true });
    await writeFile(join(root, DROP_IN.path), DROP_IN.text);
    // Each machine makes an identity of its own.
    await writeFile(join(root, "etc/machine-id"), "");
    // As in Debian's cloud images; cloud-init writes its configuration.
    await runTool("systemctl", ["--root", root, "enable", "systemd-networkd"]);
    await chmod(aside, 0o755);
  });
  return join(folder, "root");
}

/**
 * The image, built if it is not in the cache.
 *
 * @throws FabricError as {@link buildDebianTree}, and for mke2fs
 */
export async function buildDebianImage(options: DebianOptions): Promise<DebianImage> {
  const tree = await buildDebianTree(options);
  const identity = basename(join(tree, "..")).replace("tree", "image");
  const folder = await publishFolder(options.cacheDirectory, identity, async (aside) => {
    const boot = join(tree, "boot");
    for (const [prefix, name] of [
      ["vmlinuz-", "vmlinuz"],
      ["initrd.img-", "initrd.img"],
    ] as const) {
      const found = (await readdir(boot)).find((file) => file.startsWith(prefix));
      if (found === undefined) throw new FabricError("ERR_GUEST_PACKAGE", `${boot}: no ${prefix}*`);
      await copyFile(join(boot, found), join(aside, name));
    }
    const disk = join(aside, "debian-12.img");
    const args = ["-q", "-F", "-t", "ext4", "-L", "root", "-d", tree, disk, DISK_SIZE];
    await runTool("mke2fs", args);
  });
  return {
    disk: join(folder, "debian-12.img"),
    kernel: join(folder, "vmlinuz"),
    initrd: join(folder, "initrd.img"),
  };
}
