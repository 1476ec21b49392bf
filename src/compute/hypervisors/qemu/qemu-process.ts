/** Starts QEMU: as whom, with which descriptors, and until it says that the guest runs. */

import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, closeSync, copyFileSync, fstatSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { errorText, FabricError } from "../../../model/errors.ts";
import { listenForOther } from "../../../net/socket-path.ts";
import { type GuestPlace, startGuest } from "../../guest-finder.ts";
import { processOfChild, processOfFound } from "../../guest-process.ts";
import type { Vm, VmLifetime } from "../../hypervisor.ts";
import type { HeldProcess } from "../../processes.ts";
import type { Accelerator } from "./accelerator.ts";
import type { QemuSearch } from "./find-qemu.ts";
import type { HandedFile, MachineSpec, OpenTap } from "./machine.ts";
import { DESCRIPTORS, qemuArguments } from "./qemu-arguments.ts";
import { describeUser, type QemuUser, setprivArguments } from "./qemu-user.ts";
import { QemuVm, RUN_FILES } from "./qemu-vm.ts";

const START_TIMEOUT_MS = 20_000;
const OTHERS_MAY_READ = 0o004;

/** QEMU where it was found. */
export type FoundQemu = Extract<QemuSearch, { kind: "found" }>;

/** How every machine is run. */
export interface QemuSetting {
  readonly qemu: FoundQemu;
  readonly accelerator: Accelerator;
  readonly user: QemuUser;
  /** Groups that QEMU needs beside its own. */
  readonly groups: readonly number[];
  readonly lifetime: VmLifetime;
}

/**
 * Starts QEMU; resolves when it says that the guest runs. What an earlier start of the container left is ended first.
 *
 * @param openTap - called when nothing holds the tap any more
 * @throws FabricError ERR_QEMU_START with QEMU's last words, ERR_QMP_TIMEOUT, ERR_VM_BUSY; no process is left then
 */
export async function startQemu(
  setting: QemuSetting,
  spec: MachineSpec,
  openTap: () => OpenTap,
  signal: AbortSignal,
): Promise<Vm> {
  const vm = await startGuest(spec, "qemu", async (place, lockFd) => {
    signal.throwIfAborted();
    using tap = openTap();
    const child = spawnQemu(setting, spec, { tapFd: tap.fd, lockFd });
    return new QemuVm(place, processOfChild(child), evidenceOf(setting));
  });
  try {
    await vm.awaitRunning(AbortSignal.any([signal, AbortSignal.timeout(START_TIMEOUT_MS)]));
    return vm;
  } catch (cause) {
    const words = await vm.abandon();
    if (signal.aborted) throw cause;
    throw new FabricError(
      "ERR_QEMU_START",
      `Cannot start container ${spec.container}: ${words || errorText(cause)}`,
      { cause },
    );
  }
}

/** Takes over a QEMU that runs; one that does not answer or whose machine stands still is ended. */
export async function attachQemu(
  setting: QemuSetting,
  place: GuestPlace,
  held: HeldProcess,
  signal: AbortSignal,
): Promise<Vm | { reason: string }> {
  const vm = new QemuVm(place, processOfFound(held), evidenceOf(setting));
  try {
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(START_TIMEOUT_MS)]);
    const status = await vm.readStatus(bounded);
    if (status === "running") return vm;
    await vm.abandon();
    return { reason: `its machine was "${status}", not running` };
  } catch (error) {
    const words = await vm.abandon();
    return { reason: `QEMU did not answer: ${words || errorText(error)}` };
  }
}

function evidenceOf({ user }: QemuSetting): Vm["evidence"] {
  return { user: describeUser(user) };
}

function spawnQemu(
  setting: QemuSetting,
  spec: MachineSpec,
  given: { readonly tapFd: number; readonly lockFd: number },
): ChildProcess {
  const { args, files } = qemuArguments(spec, setting.accelerator);
  const folder = spec.runDirectory;
  using opened = new DisposableStack();
  const keep = (fd: number): number => opened.adopt(fd, closeSync);
  const log = keep(openSync(join(folder, RUN_FILES.log), "w", 0o600));
  const descriptors: number[] = [];
  descriptors[DESCRIPTORS.tap] = given.tapFd;
  descriptors[DESCRIPTORS.monitor] = keep(listenForOther(folder, RUN_FILES.monitor));
  descriptors[DESCRIPTORS.lock] = given.lockFd;
  descriptors[DESCRIPTORS.consoleLog] = keep(openSync(join(folder, RUN_FILES.console), "w", 0o600));
  descriptors[DESCRIPTORS.consoleSocket] = keep(listenForOther(folder, RUN_FILES.consoleSocket));
  for (const file of files) descriptors.push(keep(openHanded(file, setting.user, spec)));
  const [program = "", ...rest] = [...prefixOf(setting), setting.qemu.path, ...args];
  return spawn(program, rest, {
    stdio: ["ignore", log, log, ...descriptors.slice(DESCRIPTORS.tap)],
    cwd: folder,
    env: {},
    detached: true, // what our terminal sends us is not for the guest
  });
}

/** Changes user and, if so wanted, ties QEMU to our life: the kernel kills it when the thread that started it dies. */
function prefixOf({ qemu, user, groups, lifetime }: QemuSetting): string[] {
  if (qemu.setpriv === undefined) return [];
  const args = [
    ...(user.kind === "account" ? setprivArguments(user.account, groups) : []),
    ...(lifetime === "agent" ? ["--pdeathsig", "KILL"] : []),
  ];
  return args.length === 0 ? [] : [qemu.setpriv, ...args, "--"];
}

function openHanded(file: HandedFile, user: QemuUser, spec: MachineSpec): number {
  try {
    return openFile(file, user, spec.runDirectory);
  } catch (cause) {
    const message = `Cannot start container ${spec.container}: ${errorText(cause)}`;
    throw new FabricError("ERR_QEMU_START", message, { cause });
  }
}

function openFile({ path, access }: HandedFile, user: QemuUser, folder: string): number {
  if (access !== "reopen") return openSync(path, access === "read" ? "r" : "r+");
  const fd = openSync(path, "r");
  if (user.kind === "ours" || (fstatSync(fd).mode & OTHERS_MAY_READ) !== 0) return fd;
  closeSync(fd);
  return openCopy(path, folder);
}

/** Of a file that QEMU's user may not read: a copy without a name, which goes when nobody has it open. */
function openCopy(path: string, folder: string): number {
  const copy = join(folder, "copy");
  rmSync(copy, { force: true });
  copyFileSync(path, copy);
  try {
    chmodSync(copy, 0o444);
    return openSync(copy, "r");
  } finally {
    rmSync(copy, { force: true });
  }
}
