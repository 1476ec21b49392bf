/** Keeps the role's program running: starts it, starts it again when it dies, stops it. */

import { type ChildProcess, spawn } from "node:child_process";
import { errorText } from "../model/errors.ts";
import { type AgentEdge, type Backoff, backoffMs } from "./edge.ts";
import { createLineSplitter } from "./line-splitter.ts";
import { isSameProgram, type RoleProgram } from "./role-program.ts";

/** Where the role is. */
export type RoleState =
  | { readonly kind: "no-program" }
  | { readonly kind: "starting" }
  | { readonly kind: "started"; readonly pid: number }
  | { readonly kind: "crashed"; readonly reason: string }
  | { readonly kind: "stopped" };

/** What should be: a program that runs, or none because there is none, because it is broken, or because it was stopped. */
export type RoleGoal =
  | { readonly kind: "run"; readonly program: RoleProgram }
  | { readonly kind: "no-program" }
  | { readonly kind: "broken"; readonly reason: string }
  | { readonly kind: "stop" };

/** How patient the supervisor is. */
export interface SupervisorPolicy {
  readonly backoff: Backoff;
  /** A program that ran this long has recovered: the next crash is its first again. */
  readonly stableMs: number;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number;
}

export const SUPERVISOR_POLICY: SupervisorPolicy = {
  backoff: { baseMs: 1_000, maxMs: 30_000 },
  stableMs: 60_000,
  graceMs: 10_000,
};

/** What a {@link RoleSupervisor} needs. */
export interface RoleSupervisorOptions {
  readonly edge: AgentEdge;
  /** Called after each change of {@link RoleSupervisor.state}. */
  readonly onChange: () => void;
  readonly policy?: SupervisorPolicy;
}

interface Run {
  readonly program: RoleProgram;
  readonly halt: AbortController;
  readonly ended: Promise<void>;
}

/** Owns at most one child process. Dispose it, or the child outlives it. */
export class RoleSupervisor implements AsyncDisposable {
  readonly #edge: AgentEdge;
  readonly #onChange: () => void;
  readonly #policy: SupervisorPolicy;
  #state: RoleState = { kind: "stopped" };
  #run: Run | undefined;

  constructor(options: RoleSupervisorOptions) {
    this.#edge = options.edge;
    this.#onChange = options.onChange;
    this.#policy = options.policy ?? SUPERVISOR_POLICY;
  }

  get state(): RoleState {
    return this.#state;
  }

  /** Converges to a goal; the same program is left running. One call at a time. */
  async converge(goal: RoleGoal): Promise<void> {
    switch (goal.kind) {
      case "run":
        if (this.#run !== undefined && isSameProgram(this.#run.program, goal.program)) return;
        await this.#halt();
        this.#begin(goal.program);
        return;
      case "no-program":
        await this.#halt();
        return this.#become({ kind: "no-program" });
      case "broken":
        await this.#halt();
        return this.#become({ kind: "crashed", reason: goal.reason });
      case "stop":
        await this.#halt();
        return this.#become({ kind: "stopped" });
      default:
        throw goal satisfies never;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#halt();
  }

  #begin(program: RoleProgram): void {
    const halt = new AbortController();
    this.#become({ kind: "starting" });
    this.#run = { program, halt, ended: this.#keepRunning(program, halt.signal) };
  }

  async #halt(): Promise<void> {
    const run = this.#run;
    if (run === undefined) return;
    this.#edge.log("stopping the role program");
    run.halt.abort();
    await run.ended;
    this.#run = undefined;
  }

  /** Never rejects: what goes wrong with the program is a state. */
  async #keepRunning(program: RoleProgram, halted: AbortSignal): Promise<void> {
    const { backoff, stableMs } = this.#policy;
    for (let failures = 1; !halted.aborted; failures++) {
      const beganAt = this.#edge.now();
      const reason = await this.#runOnce(program, halted);
      if (halted.aborted) return;
      if (this.#edge.now() - beganAt >= stableMs) failures = 1;
      const waitMs = backoffMs(backoff, failures, this.#edge.random());
      this.#edge.log(`role program ${reason}; starting it again in ${Math.ceil(waitMs / 1000)} s`);
      this.#become({ kind: "crashed", reason });
      await this.#edge.sleep(waitMs, halted);
    }
  }

  /** Runs the program until it ends, by itself or because of `halted`; resolves with how it ended. */
  #runOnce(program: RoleProgram, halted: AbortSignal): Promise<string> {
    return new Promise((resolve) => {
      const child = startProgram(program, this.#edge);
      if (child instanceof Error) return resolve(`did not start: ${child.message}`);
      const closed = new AbortController();
      const stop = () => void this.#terminate(child, closed.signal);
      halted.addEventListener("abort", stop, { once: true });
      const end = (reason: string) => {
        closed.abort();
        halted.removeEventListener("abort", stop);
        resolve(reason);
      };
      child.once("spawn", () => {
        this.#edge.log(`role program started, pid ${child.pid}`);
        this.#become({ kind: "started", pid: child.pid! });
      });
      child.on("error", (error) => end(`did not start: ${errorText(error)}`));
      // Not "close": a grandchild that keeps the pipes open must not hide that the program died.
      child.once("exit", (code, killer) =>
        end(killer === null ? `exited with code ${code}` : `was killed by ${killer}`),
      );
    });
  }

  async #terminate(child: ChildProcess, closed: AbortSignal): Promise<void> {
    child.kill("SIGTERM");
    await this.#edge.sleep(this.#policy.graceMs, closed);
    if (!closed.aborted) child.kill("SIGKILL");
  }

  #become(state: RoleState): void {
    this.#state = state;
    this.#onChange();
  }
}

/** `spawn` throws for some mistakes (a null byte in a value) and tells others through an event. */
function startProgram(program: RoleProgram, edge: AgentEdge): ChildProcess | Error {
  const [command, ...args] = program.command;
  try {
    const child = spawn(command, args, {
      cwd: program.folder,
      env: { ...program.environment, GOALSTATE_INCARNATION: program.incarnation },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [child.stdout, child.stderr]) {
      const lines = createLineSplitter((line) => edge.log(`role: ${line}`));
      stream.on("data", (bytes) => lines.write(bytes));
      stream.on("end", () => lines.end());
    }
    return child;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
