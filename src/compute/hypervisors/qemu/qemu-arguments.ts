/** QEMU's command line, as a pure function. */

import assert from "node:assert/strict";
import { formatMac } from "../../../model/mac-address.ts";
import type { DiskImage } from "../../hypervisor.ts";
import type { Accelerator } from "./accelerator.ts";
import { identityArguments } from "./azure-identity.ts";
import type { HandedFile, MachineBoot, MachineSpec } from "./machine.ts";

/**
 * The descriptors that QEMU is started with, after its standard three. It is given everything open, so that it needs
 * no right to any folder, and there is no path that could be too long.
 */
export const DESCRIPTORS = {
  tap: 3,
  /** A listening socket. */
  monitor: 4,
  /** Held open, never used: the lock of the guest. */
  lock: 5,
  consoleLog: 6,
  /** A listening socket. */
  consoleSocket: 7,
  firstFile: 8,
} as const;

/** Serial numbers of the disks; `/init` of the guest finds them by these. */
const SYSTEM_SERIAL = "gs-system";
const APP_SERIAL = "gs-app";
const DISK_SERIAL = "gs-disk";

/** Nothing that could add a word to the kernel's command line. */
const HOSTNAME = /^[a-zA-Z0-9][a-zA-Z0-9.-]{0,62}$/;
const CONSOLE = "console=ttyS0";

/** A command line, and the files behind descriptors from {@link DESCRIPTORS}.firstFile on. */
export interface QemuCommand {
  readonly args: readonly string[];
  readonly files: readonly HandedFile[];
}

/** The arguments for `spec`. Names with commas are escaped as QEMU wants it, by doubling. */
export function qemuArguments(spec: MachineSpec, accelerator: Accelerator): QemuCommand {
  const files = new FileTable();
  const name = escapeValue(spec.name);
  const args = [
    ...["-nodefaults", "-no-user-config", "-display", "none"],
    ...["-name", `guest=${name},process=${name}`],
    ...["-fw_cfg", `name=opt/goalstate/attempt,string=${spec.attempt}`],
    ...identityArguments(spec.vmId),
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ...machineArguments(accelerator),
    ...["-smp", `cpus=${spec.cpus}`, "-m", `${spec.memoryMib}M`],
    ...consoleArguments(),
    ...["-chardev", `socket,id=qmp,fd=${DESCRIPTORS.monitor},server=on,wait=off`],
    ...["-mon", "chardev=qmp,mode=control"],
    // vhost needs /dev/vhost-net, which an unprivileged QEMU may not open.
    ...["-netdev", `tap,id=net0,fd=${DESCRIPTORS.tap},vhost=off`],
    // romfile empty: nothing boots from the network, and the ROM costs start-up time.
    ...["-device", `virtio-net-pci,netdev=net0,mac=${formatMac(spec.mac)},romfile=`],
    ...["-device", "virtio-rng-pci"],
    ...bootArguments(spec.boot, spec.hostname, files),
    ...(spec.provisioningDisc === undefined ? [] : discArguments(spec.provisioningDisc, files)),
  ];
  return { args: [...args.slice(0, 4), ...files.args, ...args.slice(4)], files: files.list };
}

/** Gives each file a descriptor. */
class FileTable {
  readonly list: HandedFile[] = [];
  readonly args: string[] = [];

  /** The name under which QEMU's block layer finds the file. */
  disk(path: string, access: "read" | "read-write"): string {
    const fd = this.#add({ path, access });
    this.args.push("-add-fd", `fd=${fd},set=${fd}`);
    return `/dev/fdset/${fd}`;
  }

  /** A path for what reads a file by itself. */
  path(path: string): string {
    return `/proc/self/fd/${this.#add({ path, access: "reopen" })}`;
  }

  #add(file: HandedFile): number {
    return DESCRIPTORS.firstFile - 1 + this.list.push(file);
  }
}

/** Everything is logged; whoever connects to the socket sees what comes from then on, and may type. */
function consoleArguments(): string[] {
  const { consoleLog, consoleSocket } = DESCRIPTORS;
  const log = `logfile=/dev/fdset/${consoleLog},logappend=off`;
  return [
    ...["-add-fd", `fd=${consoleLog},set=${consoleLog}`],
    ...["-chardev", `socket,id=console,fd=${consoleSocket},server=on,wait=off,${log}`],
    ...["-serial", "chardev:console"],
  ];
}

function bootArguments(boot: MachineBoot, hostname: string, files: FileTable): string[] {
  switch (boot.kind) {
    case "own": {
      const { image, appDisk } = boot;
      return [
        ...["-no-reboot", "-kernel", files.path(image.kernel), "-initrd", files.path(image.initrd)],
        ...["-append", ownCommandLine(hostname)],
        ...readOnlyDisk("system", SYSTEM_SERIAL, image.systemDisk, files),
        ...(appDisk === undefined ? [] : readOnlyDisk("app", APP_SERIAL, appDisk, files)),
      ];
    }
    case "disk":
      return diskArguments(boot.disk, ",bootindex=0", files);
    case "kernel": {
      const { kernel, initrd, commandLine, disk } = boot;
      return [
        // Without a disk there is nothing that could make a second boot differ from the first.
        ...(disk === undefined ? ["-no-reboot"] : []),
        ...["-kernel", files.path(kernel)],
        ...(initrd === undefined ? [] : ["-initrd", files.path(initrd)]),
        ...["-append", `${CONSOLE} ${commandLine}`.trim()],
        ...(disk === undefined ? [] : diskArguments(disk, "", files)),
      ];
    }
  }
}

/**
 * The command line of our own kernel. panic=-1 restarts at once, which -no-reboot turns into an exit; quiet keeps
 * the kernel's own lines off the emulated UART and the console readable.
 */
function ownCommandLine(hostname: string): string {
  assert.match(hostname, HOSTNAME);
  return `${CONSOLE} quiet panic=-1 audit=0 goalstate.hostname=${hostname}`;
}

/**
 * q35: its virtio devices set up in 0.2 s under TCG where those of pc take 0.8 s. Without 57-bit addresses the emulated
 * page walks have four levels instead of five, which brings the guest's init 0.6 s forward.
 */
function machineArguments(accelerator: Accelerator): string[] {
  const machine = "q35,usb=off,smm=off,vmport=off,graphics=off";
  switch (accelerator.kind) {
    case "kvm":
      return ["-machine", machine, "-accel", "kvm", "-cpu", "host"];
    case "tcg":
      return ["-machine", machine, "-accel", "tcg,thread=multi", "-cpu", "max,la57=off"];
  }
}

function readOnlyDisk(id: string, serial: string, path: string, files: FileTable): string[] {
  const node = readOnlyNode(id, { path, format: "raw" }, files);
  return [...node, "-device", `virtio-blk-pci,drive=${id},serial=${serial}`];
}

function diskArguments(disk: DiskImage, extra: string, files: FileTable): string[] {
  const file = `file.driver=file,file.filename=${files.disk(disk.path, "read-write")}`;
  const backing = disk.backing === undefined ? "" : ",backing=disk-base";
  return [
    ...(disk.backing === undefined ? [] : readOnlyNode("disk-base", disk.backing, files)),
    ...["-blockdev", `driver=${disk.format},node-name=disk,${file}${backing},discard=unmap`],
    ...["-device", `virtio-blk-pci,drive=disk,serial=${DISK_SERIAL}${extra}`],
  ];
}

function readOnlyNode(id: string, disk: DiskImage, files: FileTable): string[] {
  const filename = files.disk(disk.path, "read");
  const file = `file.driver=file,file.filename=${filename},file.read-only=on`;
  const below = disk.backing === undefined ? [] : readOnlyNode(`${id}-base`, disk.backing, files);
  const backing = disk.backing === undefined ? "" : `,backing=${id}-base`;
  return [
    ...below,
    "-blockdev",
    `driver=${disk.format},node-name=${id},read-only=on,${file}${backing}`,
  ];
}

/** On SCSI: Debian's cloud kernel has no driver for an IDE or SATA drive. */
function discArguments(path: string, files: FileTable): string[] {
  return [
    ...["-device", "virtio-scsi-pci,id=scsi0"],
    ...readOnlyNode("provisioning", { path, format: "raw" }, files),
    ...["-device", "scsi-cd,bus=scsi0.0,drive=provisioning"],
  ];
}

function escapeValue(text: string): string {
  return text.replaceAll(",", ",,");
}
