/** QEMU's command line, as a pure function. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { formatMac } from "../../../model/mac-address.ts";
import type { Accelerator } from "./accelerator.ts";
import type { MachineSpec } from "./machine.ts";

/** The descriptor under which QEMU gets the tap. */
export const TAP_FD = 3;
/** The descriptor of QEMU's end of the QMP socket pair: no path, so no length limit and nothing to clean up. */
export const QMP_FD = 4;

/** Files in the run directory. */
export const RUN_FILES = {
  console: "console.log",
  log: "qemu.log",
  pid: "qemu.pid",
} as const;

/** Serial numbers of the disks; `/init` of the guest finds them by these. */
const SYSTEM_SERIAL = "gs-system";
const APP_SERIAL = "gs-app";

/** Nothing that could add a word to the kernel's command line. */
const HOSTNAME = /^[a-zA-Z0-9][a-zA-Z0-9.-]{0,62}$/;

/** The arguments for `spec`. Paths with commas are escaped as QEMU wants it, by doubling. */
export function qemuArguments(spec: MachineSpec, accelerator: Accelerator): string[] {
  const run = (file: string): string => join(spec.runDirectory, file);
  return [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-name", `guest=${escapeValue(spec.name)},process=${escapeValue(spec.name)}`],
    ...["-uuid", spec.vmId],
    ...["-pidfile", run(RUN_FILES.pid)],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ...machineArguments(accelerator),
    ...["-smp", `cpus=${spec.cpus}`, "-m", `${spec.memoryMib}M`],
    ...["-kernel", spec.image.kernel, "-initrd", spec.image.initrd],
    ...["-append", kernelCommandLine(spec.hostname)],
    ...["-chardev", `file,id=console,path=${escapeValue(run(RUN_FILES.console))}`],
    ...["-serial", "chardev:console"],
    ...["-chardev", `socket,id=qmp,fd=${QMP_FD}`, "-mon", "chardev=qmp,mode=control"],
    // vhost needs /dev/vhost-net, which an unprivileged QEMU may not open.
    ...["-netdev", `tap,id=net0,fd=${TAP_FD},vhost=off`],
    // romfile empty: nothing boots from the network, and the ROM costs start-up time.
    ...["-device", `virtio-net-pci,netdev=net0,mac=${formatMac(spec.mac)},romfile=`],
    ...["-device", "virtio-rng-pci"],
    ...diskArguments("system", SYSTEM_SERIAL, spec.image.systemDisk),
    ...(spec.appDisk === undefined ? [] : diskArguments("app", APP_SERIAL, spec.appDisk)),
  ];
}

/**
 * The kernel's command line. panic=-1 restarts at once, which -no-reboot turns into an exit; quiet keeps
 * the kernel's own lines off the emulated UART and the console readable.
 */
function kernelCommandLine(hostname: string): string {
  assert.match(hostname, HOSTNAME);
  return `console=ttyS0 quiet panic=-1 audit=0 goalstate.hostname=${hostname}`;
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

function diskArguments(id: string, serial: string, path: string): string[] {
  const file = `file.driver=file,file.filename=${escapeValue(path)}`;
  return [
    "-blockdev",
    `driver=raw,node-name=${id},read-only=on,${file},file.read-only=on`,
    "-device",
    `virtio-blk-pci,drive=${id},serial=${serial}`,
  ];
}

function escapeValue(text: string): string {
  return text.replaceAll(",", ",,");
}
