/** A node's hypervisor without guests: a VM is an entry in a table, with a port on the simulated network. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Hypervisor, StopStep, Vm, VmExit, VmSpec } from "../../src/compute/index.ts";

/** What {@link simulateVms} needs. */
export interface SimulatedVmsOptions {
  /** Milliseconds of the creation of a VM. */
  readonly createMs: number;
  readonly addPort: (spec: VmSpec) => void;
  readonly removePort: (spec: VmSpec) => void;
  /** Its guest exists no more. */
  readonly onEnd: (spec: VmSpec) => void;
}

let nextPid = 1;

/** A hypervisor, and its guests. */
export interface SimulatedVms {
  readonly hypervisor: Hypervisor;
  /** The guest of this container powers off by itself. */
  powerOff(container: string): void;
}

interface SimulatedVm {
  readonly vm: Vm;
  end(step: StopStep): StopStep;
}

/** Makes the hypervisor of one node. */
export function simulateVms(options: SimulatedVmsOptions): SimulatedVms {
  const running = new Map<string, SimulatedVm>();
  const hypervisor: Hypervisor = {
    kind: "netns",
    description: "simulated",
    prepare: async () => ({
      evidence: { image: "simulated" },
      boot: async (spec, signal) => {
        await sleep(options.createMs, undefined, { signal });
        const created = createVm(spec, options, () => running.delete(spec.container));
        running.set(spec.container, created);
        return created.vm;
      },
    }),
    adopt: async () => ({ running: [], ended: [] }),
  };
  return { hypervisor, powerOff: (container) => running.get(container)?.end("ended") };
}

function createVm(
  spec: VmSpec,
  { addPort, removePort, onEnd }: SimulatedVmsOptions,
  forget: () => void,
): SimulatedVm {
  const { container, attempt, port } = spec;
  const { promise: exited, resolve } = Promise.withResolvers<VmExit>();
  let isRunning = true;
  const end = (step: StopStep): StopStep => {
    if (!isRunning) return "ended";
    isRunning = false;
    forget();
    removePort(spec);
    onEnd(spec);
    resolve({ kind: "stopped" });
    return step;
  };
  nextPid += 1;
  addPort(spec);
  const vm: Vm = {
    ...{ container, attempt, port, exited, pid: nextPid, evidence: {} },
    consolePath: `${spec.runDirectory}/console.log`,
    stop: async () => end("quit"),
    release: () => undefined,
  };
  return { vm, end };
}
