/** Finds and ends processes by what they are, read from /proc: a process number alone may be someone else's by now. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 20;
const KILL_WAIT_MS = 10_000;

/** A process as /proc shows it. */
export interface ProcessInfo {
  readonly pid: number;
  readonly args: readonly string[];
  /** Inode of its network namespace; undefined if it may not be read. */
  readonly networkNamespace: number | undefined;
}

/** All processes that exist now, zombies left out. */
export function listProcesses(): ProcessInfo[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(Number(name)) ?? []);
}

function readProcess(pid: number): ProcessInfo | undefined {
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").filter(Boolean);
    if (args.length === 0) return undefined; // a kernel thread or a zombie
    return { pid, args, networkNamespace: readNamespace(pid) };
  } catch {
    return undefined; // gone meanwhile
  }
}

function readNamespace(pid: number): number | undefined {
  try {
    return statSync(`/proc/${pid}/ns/net`).ino;
  } catch {
    return undefined;
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
      killed.add(pid);
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
    await delay(POLL_MS);
  }
  return killed.size;
}
