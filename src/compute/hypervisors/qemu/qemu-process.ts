/** One QEMU process: its start, how it ended, its end by steps. */

import { type ChildProcess, spawn } from "node:child_process";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { errorText, FabricError } from "../../../model/errors.ts";
import type { Accelerator } from "./accelerator.ts";
import type { QemuSearch } from "./find-qemu.ts";
import type { Machine, MachineExit, MachineSpec } from "./machine.ts";
import { QMP_FD, qemuArguments, RUN_FILES } from "./qemu-arguments.ts";
import { QmpClient, type QmpEvent } from "./qmp.ts";

const START_TIMEOUT_MS = 20_000;
const STATUS_INTERVAL_MS = 50;
/** How long each step of stop() may take: QMP quit, SIGTERM. SIGKILL then takes no time. */
const STOP_STEP_MS = 2_000;
const TAIL_CHARACTERS = 2_000;

/** QEMU where it was found. */
export type FoundQemu = Extract<QemuSearch, { kind: "found" }>;

/**
 * Starts QEMU; resolves when it says that the guest runs.
 *
 * @throws FabricError ERR_QEMU_START with QEMU's last words, ERR_QMP_TIMEOUT; no process is left then
 */
export async function startQemu(options: {
  readonly qemu: FoundQemu;
  readonly accelerator: Accelerator;
  readonly spec: MachineSpec;
  readonly signal: AbortSignal;
}): Promise<Machine> {
  const { spec, signal } = options;
  signal.throwIfAborted();
  const child = await spawnQemu(options);
  const vm = new QemuMachine(child, spec.runDirectory);
  try {
    await vm.running(AbortSignal.any([signal, AbortSignal.timeout(START_TIMEOUT_MS)]));
    return vm;
  } catch (cause) {
    child.kill("SIGKILL");
    const exit = await vm.exited;
    if (signal.aborted) throw cause;
    const words = exit.kind === "failed" ? exit.stderrTail : "";
    throw new FabricError(
      "ERR_QEMU_START",
      `Cannot start container ${spec.container}: ${words || errorText(cause)}`,
      { cause },
    );
  }
}

async function spawnQemu(options: {
  readonly qemu: FoundQemu;
  readonly accelerator: Accelerator;
  readonly spec: MachineSpec;
}): Promise<ChildProcess> {
  const { qemu, accelerator, spec } = options;
  const command = [qemu.path, ...qemuArguments(spec, accelerator)];
  // The kernel kills QEMU when the thread that started it dies. exec keeps that, and the process id with it.
  if (qemu.setpriv !== undefined) command.unshift(qemu.setpriv, "--pdeathsig", "KILL", "--");
  const [program = "", ...args] = command;
  await using log = await open(join(spec.runDirectory, RUN_FILES.log), "w", 0o600);
  const child = spawn(program, args, {
    stdio: ["ignore", log.fd, log.fd, spec.tapFd, "pipe"],
    cwd: spec.runDirectory,
    env: {},
  });
  return child;
}

class QemuMachine implements Machine {
  readonly pid: number;
  readonly consolePath: string;
  readonly exited: Promise<MachineExit>;
  readonly #child: ChildProcess;
  readonly #logPath: string;
  #qmp: QmpClient | undefined;
  #shutdownReason = "";
  #stopping = false;

  constructor(child: ChildProcess, runDirectory: string) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.consolePath = join(runDirectory, RUN_FILES.console);
    this.#logPath = join(runDirectory, RUN_FILES.log);
    this.exited = this.#watch();
  }

  /** Resolves when QMP says `running`. */
  async running(signal: AbortSignal): Promise<void> {
    const stream = this.#child.stdio[QMP_FD];
    if (!(stream instanceof Duplex)) throw new FabricError("ERR_QMP_CLOSED", "QEMU did not start");
    const onEvent = (event: QmpEvent): void => this.#note(event);
    this.#qmp = await QmpClient.open({ stream, onEvent, signal });
    while (!(await isRunning(this.#qmp, signal))) await delay(STATUS_INTERVAL_MS, null, { signal });
  }

  async stop(signal?: AbortSignal): Promise<void> {
    this.#stopping = true;
    if (signal?.aborted !== true) {
      await this.#qmp?.execute("quit", {}, bounded(signal)).catch(() => {}); // gone, or the next step
      if (await this.#endsWithin(bounded(signal))) return;
      this.#child.kill("SIGTERM");
      if (await this.#endsWithin(bounded(signal))) return;
    }
    this.#child.kill("SIGKILL");
    await this.exited;
  }

  #note(event: QmpEvent): void {
    if (event.name === "SHUTDOWN") this.#shutdownReason = String(event.data["reason"]);
  }

  async #endsWithin(signal: AbortSignal): Promise<boolean> {
    const over = delay(STOP_STEP_MS, false, { signal }).catch(() => false);
    return await Promise.race([this.exited.then(() => true), over]);
  }

  #watch(): Promise<MachineExit> {
    const { promise, resolve } = Promise.withResolvers<MachineExit>();
    this.#child.once("error", (error) => {
      if (this.#child.pid !== undefined) return;
      resolve({ kind: "failed", exitCode: null, signal: null, stderrTail: errorText(error) });
    });
    this.#child.once("exit", (exitCode, signal) => {
      this.#qmp?.[Symbol.dispose]();
      resolve(this.#exitOf(exitCode, signal));
    });
    return promise;
  }

  async #exitOf(exitCode: number | null, signal: string | null): Promise<MachineExit> {
    if (this.#stopping) return { kind: "stopped", by: "host" };
    if (exitCode === 0) {
      const reset = this.#shutdownReason === "guest-reset";
      return { kind: "stopped", by: reset ? "guest-reset" : "guest-shutdown" };
    }
    const log = await readFile(this.#logPath, "utf8").catch(() => "");
    return { kind: "failed", exitCode, signal, stderrTail: log.slice(-TAIL_CHARACTERS).trim() };
  }
}

function bounded(signal: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(STOP_STEP_MS);
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
}

async function isRunning(qmp: QmpClient, signal: AbortSignal): Promise<boolean> {
  const status = await qmp.execute("query-status", {}, signal);
  return (
    typeof status === "object" && status !== null && "running" in status && status.running === true
  );
}
