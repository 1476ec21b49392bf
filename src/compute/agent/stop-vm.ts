/** Stops a VM: its guest is asked first, twice, and then no more. */
import type { StopStep, Vm, VmExit } from "../hypervisor.ts";
import { type AgentClock, pause } from "./clock.ts";
import type { StopManner } from "./decide.ts";
import type { ComputePolicy } from "./policy.ts";

export interface StopRequest {
  readonly vm: Vm;
  readonly manner: StopManner;
  /** Its agent is there and is told by its goal state. */
  readonly canAsk: boolean;
  readonly policy: ComputePolicy;
  readonly clock: AgentClock;
  /** Aborted: it is killed at once. */
  readonly hurry: AbortSignal;
}

const BY_ITS_AGENT = "powered off by its agent";
const STEPS: Readonly<Record<StopStep, string>> = {
  ended: "it had ended by itself",
  acpi: "powered off by its power button",
  quit: "switched off",
  sigterm: "switched off with SIGTERM",
  sigkill: "killed",
};

/**
 * Resolves when nothing of the VM is left.
 *
 * @returns what ended it, for people
 * @throws as {@link Vm.stop}
 */
export async function stopVm(request: StopRequest): Promise<string> {
  const { vm, manner, canAsk, policy, hurry } = request;
  const { quitMs, terminateMs } = policy;
  switch (manner) {
    case "kill":
      return STEPS[await vm.stop({ signal: AbortSignal.abort() })];
    case "switch-off":
      return STEPS[await vm.stop({ quitMs, terminateMs, signal: hurry })];
    case "ask": {
      const exit = canAsk && policy.agentStopMs > 0 ? await awaitItsAgent(request) : undefined;
      if (exit !== undefined) return exit.kind === "stopped" ? BY_ITS_AGENT : exit.reason;
      const acpiMs = policy.acpiStopMs;
      return STEPS[await vm.stop({ acpiMs, quitMs, terminateMs, signal: hurry })];
    }
    default:
      throw manner satisfies never;
  }
}

/** How it ended, if it did in its time. */
async function awaitItsAgent(request: StopRequest): Promise<VmExit | undefined> {
  const { vm, policy, clock, hurry } = request;
  const over = new AbortController();
  const waited = pause(clock, policy.agentStopMs, AbortSignal.any([hurry, over.signal]));
  const exit = await Promise.race([vm.exited, waited.then(() => undefined)]);
  over.abort();
  return exit;
}
