/** One QEMU process and the connection to its monitor: how it ended, and its end by steps. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { openSocketPath } from "../../../net/socket-path.ts";
import { clearGuest, type GuestPlace } from "../../guest-finder.ts";
import { type GuestProcess, type ProcessEnd, stopBySteps } from "../../guest-process.ts";
import type { StopOptions, StopStep, Vm, VmExit, VmPort } from "../../hypervisor.ts";
import { QmpClient, type QmpEvent } from "./qmp.ts";

/** Files in the run directory. */
export const RUN_FILES = {
  console: "console.log",
  consoleSocket: "console.sock",
  log: "qemu.log",
  monitor: "qmp.sock",
} as const;

const STATUS_INTERVAL_MS = 50;
/** A monitor that is connected to only to stop the machine. */
const RECONNECT_MS = 1_000;
const QUIT_MS = 2_000;
const TERMINATE_MS = 2_000;
/** For QEMU's last words on a connection whose other end is gone. */
const LAST_WORDS_MS = 500;
const TAIL_CHARACTERS = 2_000;

/** Owns the process, the connection, and what is left in the run directory. */
export class QemuVm implements Vm {
  readonly container: string;
  readonly attempt: number;
  readonly port: VmPort;
  readonly consolePath: string;
  readonly consoleSocket: string;
  readonly evidence: Vm["evidence"];
  readonly exited: Promise<VmExit>;
  readonly #folder: string;
  readonly #process: GuestProcess;
  #qmp: QmpClient | undefined;
  #shutdownReason: string | undefined;
  #isStopping = false;

  constructor(place: GuestPlace, process: GuestProcess, evidence: Vm["evidence"]) {
    const { container, attempt, port } = place.record;
    this.container = container;
    this.attempt = attempt;
    this.port = port;
    this.evidence = evidence;
    this.#folder = place.folder;
    this.consolePath = join(place.folder, RUN_FILES.console);
    this.consoleSocket = join(place.folder, RUN_FILES.consoleSocket);
    this.#process = process;
    this.exited = process.ended.then(async (end): Promise<VmExit> => {
      await this.#awaitLastWords();
      const exit = this.#exitOf(end);
      await clearGuest(place).catch(() => undefined); // the next start, or adoption, tries again
      return exit;
    });
  }

  get pid(): number {
    return this.#process.pid;
  }

  /**
   * Connects to the monitor and asks until QEMU says that the guest's processors run.
   *
   * @throws FabricError ERR_QMP_CLOSED, ERR_QMP_TIMEOUT
   */
  async awaitRunning(signal: AbortSignal): Promise<void> {
    const qmp = await this.#connect(signal);
    while ((await readStatus(qmp, signal)) !== "running") {
      await delay(STATUS_INTERVAL_MS, null, { signal });
    }
  }

  /**
   * What QEMU says that the guest does, in QMP's words; `running` is as it should be.
   *
   * @throws FabricError ERR_QMP_CLOSED, ERR_QMP_TIMEOUT
   */
  async readStatus(signal: AbortSignal): Promise<string> {
    return await readStatus(await this.#connect(signal), signal);
  }

  async stop(options: StopOptions = {}): Promise<StopStep> {
    const { acpiMs = 0, quitMs = QUIT_MS, terminateMs = TERMINATE_MS, signal } = options;
    this.#isStopping = true;
    const tell = (command: string) => async () => {
      const bounded = AbortSignal.timeout(RECONNECT_MS);
      await (await this.#connect(bounded)).execute(command, {}, bounded);
    };
    const step = await stopBySteps(
      this.#process,
      [
        { step: "acpi", ms: acpiMs, act: tell("system_powerdown") },
        { step: "quit", ms: quitMs, act: tell("quit") },
        { step: "sigterm", ms: terminateMs, act: () => this.#process.kill("SIGTERM") },
      ],
      signal,
    );
    await this.exited;
    return step;
  }

  /** Ends it at once; resolves with what QEMU said on its standard error. */
  async abandon(): Promise<string> {
    this.#process.kill("SIGKILL");
    const end = await this.#process.ended;
    await this.exited;
    return end.kind === "not-started" ? end.reason : this.#logTail();
  }

  release(): void {
    this.#process.release();
    this.#qmp?.[Symbol.dispose]();
  }

  async #connect(signal: AbortSignal): Promise<QmpClient> {
    if (this.#qmp?.isClosed === false) return this.#qmp;
    const stream = await connectMonitor(this.#folder, signal);
    const onEvent = (event: QmpEvent): void => this.#note(event);
    this.#qmp = await QmpClient.open({ stream, onEvent, signal });
    // Of a process that is not our child, this is the first news of its end.
    void this.#qmp.closed.then(() => this.#process.look());
    return this.#qmp;
  }

  #note(event: QmpEvent): void {
    if (event.name === "SHUTDOWN") this.#shutdownReason = String(event.data["reason"]);
  }

  async #awaitLastWords(): Promise<void> {
    if (this.#qmp === undefined) return;
    const over = new AbortController();
    const late = delay(LAST_WORDS_MS, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([this.#qmp.closed, late]);
    over.abort();
    this.#qmp[Symbol.dispose]();
  }

  #exitOf(end: ProcessEnd): VmExit {
    if (this.#isStopping) return { kind: "stopped" };
    if (end.kind === "not-started") return { kind: "failed", reason: end.reason };
    switch (this.#shutdownReason) {
      case "guest-shutdown":
      case "host-qmp-quit":
      case "host-qmp-system-powerdown":
        return { kind: "stopped" };
      case "guest-reset": // a kernel that panics resets the machine
        return { kind: "failed", reason: "the guest reset itself; its console says why" };
      default: {
        if (end.kind === "exit" && end.code === 0 && this.#shutdownReason === undefined) {
          return { kind: "stopped" }; // its words did not reach us
        }
        const how = end.kind === "exit" ? ` with ${end.signal ?? `exit code ${end.code}`}` : "";
        return { kind: "failed", reason: `QEMU ended${how}: ${this.#logTail() || "no message"}` };
      }
    }
  }

  #logTail(): string {
    try {
      const text = readFileSync(join(this.#folder, RUN_FILES.log), "utf8");
      return text.slice(-TAIL_CHARACTERS).trim();
    } catch {
      return "";
    }
  }
}

/** The signal is for the connecting only: a connection that stands outlives it. */
async function connectMonitor(folder: string, signal: AbortSignal): Promise<Socket> {
  using socketPath = openSocketPath(folder, RUN_FILES.monitor);
  const stream = createConnection(socketPath.path);
  try {
    await once(stream, "connect", { signal });
    return stream;
  } catch (error) {
    stream.destroy();
    throw error;
  }
}

async function readStatus(qmp: QmpClient, signal: AbortSignal): Promise<string> {
  const status = await qmp.execute("query-status", {}, signal);
  const isKnown = typeof status === "object" && status !== null && "status" in status;
  return isKnown ? String(status.status) : "unknown";
}
