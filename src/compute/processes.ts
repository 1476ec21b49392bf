/** Finds and ends processes by what they are, read from /proc: a process number alone may be someone else's by now. */
import { closeSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { openProcessDescriptor, pollNow, signalProcess } from "../net/libc.ts";

const POLL_MS = 20;
const KILL_WAIT_MS = 10_000;
const POLLIN = 1;
const EXEC_LOOKS_MAX = 50;
const EXEC_LOOK_MS = 1;
/** Nobody writes to it: to wait for that is to sleep. */
const NEVER = new Int32Array(new SharedArrayBuffer(4));

/** A process as /proc shows it. */
export interface ProcessInfo {
  readonly pid: number;
  readonly args: readonly string[];
  /** Inode of its network namespace; undefined if it may not be read. */
  readonly networkNamespace: number | undefined;
  /** Where it works; undefined if it may not be read. */
  readonly folder: string | undefined;
}

/** All processes that exist now, zombies left out. */
export function listProcesses(): ProcessInfo[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(Number(name)) ?? []);
}

/** What a process is now; undefined if it is no more. */
export function readProcess(pid: number): ProcessInfo | undefined {
  try {
    const args = readArguments(pid);
    if (args.length === 0) return undefined; // a kernel thread or a zombie
    return { pid, args, networkNamespace: readNamespace(pid), folder: readFolder(pid) };
  } catch {
    return undefined; // gone meanwhile
  }
}

/** A process that is just becoming another program shows no arguments for a moment, but a program. */
function readArguments(pid: number): string[] {
  for (let attempt = 0; ; attempt += 1) {
    const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").filter(Boolean);
    if (args.length > 0 || attempt === EXEC_LOOKS_MAX) return args;
    readlinkSync(`/proc/${pid}/exe`); // fails for a kernel thread and a zombie
    Atomics.wait(NEVER, 0, 0, EXEC_LOOK_MS);
  }
}

function readNamespace(pid: number): number | undefined {
  try {
    return statSync(`/proc/${pid}/ns/net`).ino;
  } catch {
    return undefined;
  }
}

function readFolder(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, "");
  } catch {
    return undefined;
  }
}

/** One process, held by a descriptor: what is done to it never hits another one that got its number. */
export class HeldProcess implements Disposable {
  readonly pid: number;
  readonly #fd: number;
  #isOpen = true;

  private constructor(pid: number, fd: number) {
    this.pid = pid;
    this.#fd = fd;
  }

  /**
   * Holds the process of a number, if it is what it is looked for.
   *
   * @param isRight - judges what /proc shows once the process is held, so that it is that process which is judged
   */
  static hold(pid: number, isRight: (info: ProcessInfo) => boolean): HeldProcess | undefined {
    const fd = openProcessDescriptor(pid);
    if (fd === undefined) return undefined;
    const held = new HeldProcess(pid, fd);
    const info = readProcess(pid);
    if (info !== undefined && isRight(info) && !held.hasEnded) return held;
    held[Symbol.dispose]();
    return undefined;
  }

  /** True also while it is a zombie. */
  get hasEnded(): boolean {
    if (!this.#isOpen) return false;
    const request = Buffer.alloc(8);
    request.writeInt32LE(this.#fd, 0);
    request.writeInt16LE(POLLIN, 4);
    return pollNow(request, 1, 0) > 0;
  }

  kill(signal: "SIGTERM" | "SIGKILL"): void {
    if (this.#isOpen) signalProcess(this.#fd, constants.signals[signal]);
  }

  /** Lets go of it; it is not ended. */
  [Symbol.dispose](): void {
    if (this.#isOpen) closeSync(this.#fd);
    this.#isOpen = false;
  }
}

/**
 * Kills every process that `matches`, again and again until none is left (a process may fork meanwhile).
 *
 * @returns how many were killed
 */
export async function killProcesses(matches: (info: ProcessInfo) => boolean): Promise<number> {
  const killed = new Set<number>();
  for (let waitedMs = 0; waitedMs < KILL_WAIT_MS; waitedMs += POLL_MS) {
    const found = listProcesses().filter((info) => info.pid !== process.pid && matches(info));
    if (found.length === 0) break;
    for (const { pid } of found) {
      using held = HeldProcess.hold(pid, matches);
      if (held === undefined) continue; // it ended by itself
      killed.add(pid);
      held.kill("SIGKILL");
    }
    await delay(POLL_MS);
  }
  return killed.size;
}
