/**
 * A machine whose VMs are entries in a table. They outlive the agent that started them, as processes do, and a later
 * agent can adopt them. What must never happen is written down where it happens.
 */
import { setImmediate } from "node:timers/promises";
import type {
  Adoption,
  AgentClock,
  GuestDescription,
  Hypervisor,
  StopOptions,
  StopStep,
  Vm,
  VmExit,
  VmSpec,
} from "../../../src/compute/index.ts";

/** A process that can be killed between any two steps of its work. */
export interface Gate {
  /** Resolves while the process lives; stays open for ever once it was killed. */
  pass(): Promise<void>;
}

const OPEN_GATE: Gate = { pass: () => Promise.resolve() };

export interface SimulatedVm {
  readonly spec: VmSpec;
  readonly guest: GuestDescription;
  readonly startedMs: number;
  readonly exited: Promise<VmExit>;
  /** Ends it. */
  readonly end: (exit: VmExit) => void;
  readonly isRunning: boolean;
}

export interface SimulatedMachineOptions {
  readonly clock: AgentClock;
  readonly prepareMs?: number;
  readonly bootMs?: number;
  /** The guest powers off when its power button is pressed. */
  readonly heedsAcpi?: boolean;
  /** A VM runs: plays its guest. */
  readonly onRunning?: (vm: SimulatedVm) => void;
  /** A VM is about to be stopped. */
  readonly onStop?: (vm: SimulatedVm) => void;
}

export class SimulatedMachine {
  /** All that ever ran, in the order of their start. */
  readonly vms: SimulatedVm[] = [];
  /** What must not happen and did. */
  readonly violations: string[] = [];
  /** Set it to let prepare() or boot() fail. */
  failure: { readonly at: "prepare" | "boot"; readonly error: Error } | undefined;
  bootMs: number;
  prepareMs: number;
  heedsAcpi: boolean;
  readonly #options: SimulatedMachineOptions;

  constructor(options: SimulatedMachineOptions) {
    this.#options = options;
    this.bootMs = options.bootMs ?? 0;
    this.prepareMs = options.prepareMs ?? 0;
    this.heedsAcpi = options.heedsAcpi ?? false;
  }

  running(container?: string): SimulatedVm[] {
    return this.vms.filter(
      ({ isRunning, spec }) =>
        isRunning && (container === undefined || spec.container === container),
    );
  }

  /** The hypervisor as the process behind `gate` sees it. */
  hypervisor(gate: Gate = OPEN_GATE): Hypervisor {
    return {
      kind: "netns",
      description: "simulated",
      prepare: async (guest, signal) => {
        await this.#work(gate, this.prepareMs, signal);
        if (this.failure?.at === "prepare") throw this.failure.error;
        return {
          evidence: { image: "simulated" },
          boot: (spec, bootSignal) => this.#boot(gate, guest, spec, bootSignal),
        };
      },
      adopt: async ({ namePrefix }): Promise<Adoption> => {
        await gate.pass();
        const found = this.running().filter(({ spec }) => spec.name.startsWith(namePrefix));
        return { running: found.map((vm) => this.#handle(gate, vm)), ended: [] };
      },
    };
  }

  async #boot(gate: Gate, guest: GuestDescription, spec: VmSpec, signal: AbortSignal): Promise<Vm> {
    await this.#work(gate, this.bootMs, signal);
    if (this.failure?.at === "boot") throw this.failure.error;
    if (this.running(spec.container).length > 0) {
      this.violations.push(`two VMs of ${spec.container}`);
    }
    const { promise: exited, resolve } = Promise.withResolvers<VmExit>();
    const vm = {
      ...{ spec, guest, exited },
      startedMs: this.#options.clock.monotonic(),
      isRunning: true,
      end: (exit: VmExit) => {
        vm.isRunning = false;
        resolve(exit);
      },
    };
    this.vms.push(vm);
    this.#options.onRunning?.(vm);
    await gate.pass();
    return this.#handle(gate, vm);
  }

  #handle(gate: Gate, vm: SimulatedVm): Vm {
    const { container, attempt, port } = vm.spec;
    return {
      ...{ container, attempt, port },
      pid: this.vms.indexOf(vm) + 1,
      consolePath: `${vm.spec.runDirectory}/console.log`,
      evidence: {},
      exited: vm.exited.then(async (exit) => {
        await gate.pass();
        return exit;
      }),
      stop: async (options) => {
        await gate.pass();
        const step = await this.#stop(vm, options ?? {});
        await gate.pass();
        return step;
      },
      release: () => undefined,
    };
  }

  async #stop(vm: SimulatedVm, { acpiMs = 0, quitMs = 0, signal }: StopOptions): Promise<StopStep> {
    if (!vm.isRunning) return "ended";
    this.#options.onStop?.(vm);
    const end = (step: StopStep): StopStep => {
      vm.end({ kind: "stopped" });
      return step;
    };
    if (acpiMs > 0 && signal?.aborted !== true) {
      if (this.heedsAcpi) return end("acpi");
      const hurry = new Promise<void>((resolve) =>
        signal?.addEventListener("abort", () => resolve(), { once: true }),
      );
      const { promise: waited, resolve } = Promise.withResolvers<void>();
      this.#options.clock.after(acpiMs, resolve);
      await Promise.race([waited, hurry, vm.exited]);
      if (!vm.isRunning) return "acpi";
    }
    return end(quitMs > 0 && signal?.aborted !== true ? "quit" : "sigkill");
  }

  async #work(gate: Gate, ms: number, signal: AbortSignal): Promise<void> {
    await gate.pass();
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      if (ms === 0) return resolve();
      const cancel = this.#options.clock.after(ms, resolve);
      signal.addEventListener(
        "abort",
        () => {
          cancel();
          reject(signal.reason);
        },
        { once: true },
      );
    });
    await gate.pass();
  }
}

/** Lets everything run that needs no time. */
export async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await setImmediate();
}
