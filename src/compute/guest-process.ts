/** The process of a guest, whether we started it or an agent before us did. */
import type { ChildProcess } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { errorText } from "../model/errors.ts";
import type { StopStep } from "./hypervisor.ts";
import type { HeldProcess } from "./processes.ts";

/** How often a process that is not our child is looked at. */
const WATCH_INTERVAL_MS = 100;

/** How a process ended. Of one that is not our child nobody can tell. */
export type ProcessEnd =
  | { readonly kind: "exit"; readonly code: number | null; readonly signal: string | null }
  | { readonly kind: "unknown" }
  | { readonly kind: "not-started"; readonly reason: string };

/** A process that runs a guest. */
export interface GuestProcess {
  readonly pid: number;
  /** Never rejects; stays open after {@link release}. */
  readonly ended: Promise<ProcessEnd>;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
  /** Looks now, without waiting for news of its end; for one that is watched from afar. */
  look(): void;
  /** Forgets it, so that our own process may end. */
  release(): void;
}

/** A child that was started with `detached`. */
export function processOfChild(child: ChildProcess): GuestProcess {
  const { promise: ended, resolve } = Promise.withResolvers<ProcessEnd>();
  child.once("error", (error) => {
    if (child.pid === undefined) resolve({ kind: "not-started", reason: errorText(error) });
  });
  child.once("exit", (code, signal) => resolve({ kind: "exit", code, signal }));
  return {
    pid: child.pid ?? 0,
    ended,
    kill: (signal) => void child.kill(signal),
    look: () => undefined,
    release: () => {
      child.removeAllListeners("exit");
      child.unref();
    },
  };
}

/** A process of an earlier agent; owned from now on. */
export function processOfFound(held: HeldProcess): GuestProcess {
  const { promise: ended, resolve } = Promise.withResolvers<ProcessEnd>();
  const look = () => {
    if (!held.hasEnded) return;
    clearInterval(timer);
    held[Symbol.dispose]();
    resolve({ kind: "unknown" });
  };
  const timer = setInterval(look, WATCH_INTERVAL_MS);
  return {
    pid: held.pid,
    ended,
    kill: (signal) => held.kill(signal),
    look,
    release: () => {
      clearInterval(timer);
      held[Symbol.dispose]();
    },
  };
}

/** One step of a stop: what is done, and how long it may take to end the process. */
export interface StopAction {
  readonly step: StopStep;
  readonly ms: number;
  readonly act: () => void | Promise<void>;
}

/**
 * Takes the steps in order until the process has ended, SIGKILL being the last. A step that throws is over at once.
 *
 * @param signal - aborted: SIGKILL at once
 */
export async function stopBySteps(
  process: GuestProcess,
  steps: readonly StopAction[],
  signal: AbortSignal | undefined,
): Promise<StopStep> {
  let hasEnded = false;
  void process.ended.then(() => {
    hasEnded = true;
  });
  process.look();
  await Promise.resolve();
  for (const { step, ms, act } of steps) {
    if (hasEnded || signal?.aborted === true) break;
    if (ms > 0 && (await endsWithin(process, ms, act, signal))) return step;
  }
  if (hasEnded) return "ended";
  process.kill("SIGKILL");
  await process.ended;
  return "sigkill";
}

async function endsWithin(
  { ended, look }: GuestProcess,
  ms: number,
  act: StopAction["act"],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const over = new AbortController();
  const given = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
  const late = delay(ms, false, { signal: given }).catch(() => false);
  const acted = (async () => act())();
  const refused = acted.then(
    () => late,
    () => false,
  );
  const result = await Promise.race([ended.then(() => true), late, refused]);
  over.abort();
  look();
  return result;
}
