/**
 * Keeps one process per node running. A node process outlives this one when it is killed, so that guests go on being
 * answered; the next supervisor takes over those that still run.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { listProcesses } from "../../compute/index.ts";
import type { NodeConfig } from "./up-config.ts";

const LOOK_MS = 200;
const BACKOFF_MS = 200;
const BACKOFF_MAX_MS = 10_000;
/** A process that ran this long starts the back-off anew. */
const STABLE_MS = 30_000;
/** From SIGTERM to SIGKILL. */
const STOP_MS = 20_000;

/** What {@link superviseNodes} needs. */
export interface SupervisorOptions {
  readonly nodes: readonly NodeConfig[];
  /** Absolute path of the data folder. */
  readonly folder: string;
  /** The command line of a node process, program first. */
  readonly command: (node: NodeConfig) => readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Logger;
}

/** Node processes that are kept running. */
export interface Supervisor extends AsyncDisposable {
  /** Process id of a node's process, if it runs now. */
  findPid(node: string): number | undefined;
}

/** Starts what does not run yet. Disposing ends the processes, but not the VMs that they started. */
export function superviseNodes(options: SupervisorOptions): Supervisor {
  const stop = new AbortController();
  const pids = new Map<string, number>();
  const keepers = options.nodes.map((node) => keep(node, options, pids, stop.signal));
  return {
    findPid: (node) => pids.get(node),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all(keepers);
    },
  };
}

async function keep(
  node: NodeConfig,
  options: SupervisorOptions,
  pids: Map<string, number>,
  signal: AbortSignal,
): Promise<void> {
  const { log, command } = options;
  const line = command(node);
  let backoffMs = BACKOFF_MS;
  while (!signal.aborted) {
    const startedMs = performance.now();
    const pid = findProcess(line) ?? start(node, options);
    pids.set(node.name, pid);
    await ended(pid, line, signal);
    pids.delete(node.name);
    if (signal.aborted) break;
    if (performance.now() - startedMs > STABLE_MS) backoffMs = BACKOFF_MS;
    log.error({ node: node.name, backoffMs }, "node process ended; it is started again");
    await delay(backoffMs, undefined, { signal }).catch(() => undefined);
    backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
  }
}

/** In a session of its own, so that Ctrl-C at the terminal reaches this process alone; its log is a file. */
function start(node: NodeConfig, { folder, command, environment }: SupervisorOptions): number {
  const nodeFolder = join(folder, "nodes", node.name);
  mkdirSync(nodeFolder, { recursive: true, mode: 0o700 });
  const log = openSync(join(nodeFolder, "node.log"), "a", 0o600);
  try {
    const [program = "", ...args] = command(node);
    const stdio: ["ignore", number, number] = ["ignore", log, log];
    const child = spawn(program, args, { stdio, detached: true, env: environment });
    child.on("error", () => undefined); // seen as a process that is not there
    child.unref();
    return child.pid ?? 0;
  } finally {
    closeSync(log);
  }
}

/** Resolves when the process is gone; when `signal` aborts, it is asked to end and, if it does not, killed. */
async function ended(pid: number, line: readonly string[], signal: AbortSignal): Promise<void> {
  let askedMs: number | undefined;
  while (isAlive(pid, line)) {
    if (signal.aborted && askedMs === undefined) {
      askedMs = performance.now();
      send(pid, "SIGTERM");
    } else if (askedMs !== undefined && performance.now() - askedMs > STOP_MS) {
      send(pid, "SIGKILL");
    }
    await delay(LOOK_MS, undefined, { signal: askedMs === undefined ? signal : undefined }).catch(
      () => undefined,
    );
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended meanwhile.
  }
}

/** A process id alone may be somebody else's by now. */
function isAlive(pid: number, line: readonly string[]): boolean {
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    return isSame(args, line);
  } catch {
    return false;
  }
}

function findProcess(line: readonly string[]): number | undefined {
  return listProcesses().find(({ args }) => isSame(args, line))?.pid;
}

/** The shell's or the loader's words may come before ours. */
function isSame(args: readonly string[], [, ...words]: readonly string[]): boolean {
  return words.join("\0") === args.slice(-words.length).join("\0");
}
