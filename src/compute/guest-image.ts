/**
 * Builds what a container boots from, without root and cached by content: Debian's cloud kernel, an initial RAM file
 * system and a system disk.
 *
 * Node (150 MB) is on a disk and not in the initramfs: every guest would copy the latter twice at boot and keep it in
 * its memory; of the former it pages in the part that it runs, and all guests share the host's page cache. The
 * initramfs is two archives in one file, the base and the agent, because the agent is what changes.
 */

import { createHash } from "node:crypto";
import { copyFile, readFile, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { runTool } from "../net/run-tool.ts";
import { bundleAgent } from "./guest/agent-bundle.ts";
import { type CpioEntry, encodeCpio, foldersOf } from "./guest/cpio.ts";
import {
  type GuestKernel,
  type PackageOptions,
  requireBusybox,
  requireGuestKernel,
} from "./guest/guest-packages.ts";
import { moduleName, resolveModules } from "./guest/kernel-modules.ts";
import { readModule } from "./guest/module-file.ts";
import { publishFolder } from "./guest/publish-folder.ts";
import { requireLibraries, writeSystemDisk } from "./guest/system-disk.ts";

/** Change it when this file lays the image out differently. */
const LAYOUT = "1";
const MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "ext4", "af_packet"];
/** Loaded when the agent has been started: nothing waits for them. They tell of the power button. */
const LATE_MODULES = ["button", "evdev"];
const AGENT_PATH = "opt/goalstate/guest-agent.mjs";
const FOLDERS = "proc sys dev tmp run/goalstate system app etc var/lib/goalstate root".split(" ");
/** The loader and the libraries are looked up in these folders, which are links into the system disk. */
const SYSTEM_LINKS: readonly (readonly [path: string, target: string])[] = [
  ["lib64", "system/lib"],
  ["lib/x86_64-linux-gnu", "../system/lib"],
  ["usr/bin", "../system/bin"],
  ["bin/node", "../system/bin/node"],
];

/** The files a container boots from. All are shared read-only by any number of containers. */
export interface GuestImage {
  /** A bzImage. */
  readonly kernel: string;
  /** The initial RAM file system: busybox, modules, `/init` and the guest agent. */
  readonly initrd: string;
  /** An ext4 image with Node and its libraries; the guest pages in only what it touches. */
  readonly systemDisk: string;
}

/** The inputs. Everything that ends up in the image is named here or found on the host. */
export interface GuestImageOptions {
  readonly cacheDirectory: string;
  /** The agent's entry module. */
  readonly agentEntry: string;
  /** The Node that runs the agent. */
  readonly nodeBinary: string;
  /** The folder with `init` and `udhcpc`. */
  readonly scriptsDirectory: string;
  /** Passed to apt-get (proxy settings). */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The guest image of these inputs, built if it is not in the cache.
 *
 * @throws FabricError ERR_GUEST_PACKAGE, ERR_GUEST_MODULE_MISSING, ERR_GUEST_LIBRARY, ERR_AGENT_BUNDLE,
 *   ERR_TOOL_MISSING, ERR_TOOL_FAILED
 */
export async function buildGuestImage(options: GuestImageOptions): Promise<GuestImage> {
  const { cacheDirectory } = options;
  const [base, agent] = await Promise.all([buildBase(options), bundleAgent(options.agentEntry)]);
  const identity = hashOf([basename(base), agent]);
  const folder = await publishFolder(cacheDirectory, `guest-image-${identity}`, async (aside) => {
    const overlay = encodeCpio([
      ...foldersOf([AGENT_PATH]),
      { kind: "file", path: AGENT_PATH, content: agent, executable: false },
    ]);
    const initrd = join(aside, "initrd");
    await copyFile(join(base, "base.cpio"), initrd);
    await writeFile(initrd, overlay, { flag: "a" });
  });
  return {
    kernel: join(base, "vmlinuz"),
    initrd: join(folder, "initrd"),
    systemDisk: join(base, "system.img"),
  };
}

interface BaseInputs {
  readonly kernel: GuestKernel;
  readonly busybox: string;
  readonly nodeBinary: string;
  readonly libraries: readonly string[];
  readonly scripts: { readonly init: Uint8Array; readonly udhcpc: Uint8Array };
}

async function buildBase(options: GuestImageOptions): Promise<string> {
  const inputs = await gatherInputs(options);
  const identity = await identityOf(inputs);
  return await publishFolder(options.cacheDirectory, `guest-base-${identity}`, async (folder) => {
    await copyFile(inputs.kernel.kernel, join(folder, "vmlinuz"));
    await writeFile(join(folder, "base.cpio"), encodeCpio(await baseEntries(inputs)));
    await writeSystemDisk({
      file: join(folder, "system.img"),
      aside: join(folder, "system"),
      program: inputs.nodeBinary,
      libraries: inputs.libraries,
      identity,
      signal: options.signal,
    });
  });
}

async function gatherInputs(options: GuestImageOptions): Promise<BaseInputs> {
  const { scriptsDirectory, nodeBinary } = options;
  const packages: PackageOptions = { ...options, root: "/" };
  const [kernel, busybox, libraries, init, udhcpc] = await Promise.all([
    requireGuestKernel(packages),
    requireBusybox(packages),
    requireLibraries(nodeBinary),
    readFile(join(scriptsDirectory, "init")),
    readFile(join(scriptsDirectory, "udhcpc")),
  ]);
  return { kernel, busybox, nodeBinary, libraries, scripts: { init, udhcpc } };
}

/**
 * Large files count by size and times: the change time cannot be set, so a replaced file always differs, and a warm
 * start need not read 170 MB.
 */
async function identityOf(inputs: BaseInputs): Promise<string> {
  const { kernel, busybox, nodeBinary, libraries, scripts } = inputs;
  const files = [kernel.kernel, join(kernel.modulesFolder, "modules.dep"), busybox, nodeBinary];
  const stamps = [...files, ...libraries].map(async (file) => {
    const { size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return `${file} ${size} ${mtimeNs} ${ctimeNs}`;
  });
  return hashOf([
    LAYOUT,
    MODULES.join(),
    LATE_MODULES.join(),
    ...(await Promise.all(stamps)),
    scripts.init,
    scripts.udhcpc,
  ]);
}

function hashOf(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex").slice(0, 16);
}

async function baseEntries(inputs: BaseInputs): Promise<CpioEntry[]> {
  const entries = [
    executable("init", inputs.scripts.init),
    executable("etc/udhcpc", inputs.scripts.udhcpc),
    executable("bin/busybox", await readFile(inputs.busybox)),
    ...(await appletLinks(inputs.busybox)),
    ...(await moduleEntries(inputs.kernel)),
    ...SYSTEM_LINKS.map(([path, target]) => ({ kind: "symlink" as const, path, target })),
  ];
  const paths = [...entries.map((entry) => entry.path), ...FOLDERS.map((path) => `${path}/.`)];
  return [...foldersOf(paths), ...entries];
}

function executable(path: string, content: Uint8Array): CpioEntry {
  return { kind: "file", path, content, executable: true };
}

async function appletLinks(busybox: string): Promise<CpioEntry[]> {
  const applets = (await runTool(busybox, ["--list"])).split("\n");
  return applets
    .filter((name) => name !== "" && name !== "busybox" && !name.includes("/"))
    .map((name) => ({ kind: "symlink", path: `bin/${name}`, target: "busybox" }));
}

function listOf(name: string, modules: readonly string[]): CpioEntry {
  const content = Buffer.from(modules.map((module) => `${module}\n`).join(""));
  return { kind: "file", path: `lib/modules/${name}`, content, executable: false };
}

/** The module files, uncompressed, and the lists in load order that `/init` reads. */
async function moduleEntries(kernel: GuestKernel): Promise<CpioEntry[]> {
  const folder = kernel.modulesFolder;
  const dep = await readFile(join(folder, "modules.dep"), "utf8");
  const builtin = await readFile(join(folder, "modules.builtin"), "utf8");
  const early = resolveModules(MODULES, { dep, builtin });
  const files = resolveModules([...MODULES, ...LATE_MODULES], { dep, builtin });
  const names = files.map((file) => `${moduleName(file)}.ko`);
  const entries = await Promise.all(
    files.map(async (file, index): Promise<CpioEntry> => {
      const content = await readModule(join(folder, file));
      return { kind: "file", path: `lib/modules/${names[index]}`, content, executable: false };
    }),
  );
  return [
    ...entries,
    listOf("order", names.slice(0, early.length)),
    listOf("late", names.slice(early.length)),
  ];
}
