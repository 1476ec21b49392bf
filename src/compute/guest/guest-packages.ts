/**
 * Finds the guest's kernel and busybox: the host's own if they are Debian's, else the packages, downloaded and
 * unpacked in the cache. Nothing is installed and no privilege is needed.
 */

import { access, constants, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorText, FabricError } from "../../model/errors.ts";
import { runTool } from "../../net/run-tool.ts";
import { publishFolder } from "./publish-folder.ts";

const KERNEL_PACKAGE = "linux-image-cloud-amd64";
const BUSYBOX_PACKAGE = "busybox-static";
const KERNEL_FILE = /^vmlinuz-(.+-cloud-amd64)$/;
const ELF_PROGRAM_INTERPRETER = 3;

/** A kernel and the modules that were built with it. */
export interface GuestKernel {
  /** A bzImage. */
  readonly kernel: string;
  /** Holds `modules.dep`, `modules.builtin` and `kernel/`. */
  readonly modulesFolder: string;
}

/** Where to look and where to put what is downloaded. */
export interface PackageOptions {
  readonly cacheDirectory: string;
  /** `/` except in tests. */
  readonly root: string;
  /** Passed to apt-get (proxy settings). */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The newest cloud kernel of the host, or else of the distribution.
 *
 * @throws FabricError ERR_GUEST_PACKAGE naming the fix
 */
export async function requireGuestKernel(options: PackageOptions): Promise<GuestKernel> {
  const own = await findKernel(options.root);
  if (own !== undefined) return own;
  const unpacked = await downloadPackage(await kernelPackage(options), options);
  const found = await findKernel(unpacked);
  if (found !== undefined) return found;
  throw noPackage(KERNEL_PACKAGE, new Error(`${unpacked} holds no cloud kernel`));
}

/**
 * A statically linked busybox.
 *
 * @throws FabricError ERR_GUEST_PACKAGE naming the fix
 */
export async function requireBusybox(options: PackageOptions): Promise<string> {
  const candidates = ["bin/busybox", "usr/bin/busybox"];
  for (const path of candidates) {
    if (await isStatic(join(options.root, path))) return join(options.root, path);
  }
  const unpacked = await downloadPackage(BUSYBOX_PACKAGE, options);
  for (const path of candidates) {
    if (await isStatic(join(unpacked, path))) return join(unpacked, path);
  }
  throw noPackage(BUSYBOX_PACKAGE, new Error(`${unpacked} holds no static busybox`));
}

async function findKernel(root: string): Promise<GuestKernel | undefined> {
  const names = await readdir(join(root, "boot")).catch(() => []);
  const versions = names.flatMap((name) => KERNEL_FILE.exec(name)?.[1] ?? []);
  versions.sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  for (const version of versions) {
    const kernel = join(root, "boot", `vmlinuz-${version}`);
    for (const library of ["lib/modules", "usr/lib/modules"]) {
      const modulesFolder = join(root, library, version);
      if ((await isReadable(kernel)) && (await isReadable(join(modulesFolder, "modules.dep")))) {
        return { kernel, modulesFolder };
      }
    }
  }
  return undefined;
}

/** The name of the package that the meta-package depends on, which changes with each kernel. */
async function kernelPackage(options: PackageOptions): Promise<string> {
  const args = ["depends", "--no-recommends", "--no-suggests", KERNEL_PACKAGE];
  const text = await runTool("apt-cache", args, options).catch((cause: unknown) => {
    throw noPackage(KERNEL_PACKAGE, cause);
  });
  const name = /^\s*Depends: (linux-image-\S+)$/m.exec(text)?.[1];
  if (name !== undefined) return name;
  throw noPackage(KERNEL_PACKAGE, new Error("apt-cache names no kernel"));
}

/** Downloads and unpacks a package in the cache; returns the folder. */
async function downloadPackage(name: string, options: PackageOptions): Promise<string> {
  const { cacheDirectory, environment, signal } = options;
  return await publishFolder(cacheDirectory, `package-${name}`, async (folder) => {
    try {
      await runTool("apt-get", ["download", name], { cwd: folder, environment, signal });
      const archive = (await readdir(folder)).find((file) => file.endsWith(".deb"));
      await runTool("dpkg-deb", ["-x", join(folder, archive!), folder], { signal });
      await indexModules(folder, options);
    } catch (cause) {
      throw noPackage(name, cause);
    }
  });
}

/** Makes modules.dep, which a package leaves to its installation. */
async function indexModules(folder: string, options: PackageOptions): Promise<void> {
  const versions = await readdir(join(folder, "lib/modules")).catch(() => []);
  if (versions.length === 0) return;
  const busybox = await requireBusybox(options);
  for (const version of versions) {
    await runTool(busybox, ["depmod", "-b", folder, version], { signal: options.signal });
  }
}

async function isReadable(path: string): Promise<boolean> {
  return await access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
}

/** True for an ELF file without a program interpreter. */
async function isStatic(path: string): Promise<boolean> {
  const bytes = await readFile(path).catch(() => undefined);
  if (bytes === undefined || bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f45_4c46)
    return false;
  const [table, entryBytes, count] = [
    Number(bytes.readBigUInt64LE(32)),
    bytes.readUInt16LE(54),
    bytes.readUInt16LE(56),
  ];
  for (let index = 0; index < count; index++) {
    const offset = table + index * entryBytes;
    if (offset + 4 > bytes.length) return false;
    if (bytes.readUInt32LE(offset) === ELF_PROGRAM_INTERPRETER) return false;
  }
  return true;
}

function noPackage(name: string, cause: unknown): FabricError {
  return new FabricError(
    "ERR_GUEST_PACKAGE",
    `Cannot get the Debian package ${name} for the guest; run tools/host-setup as root (${errorText(cause)})`,
    { cause },
  );
}
