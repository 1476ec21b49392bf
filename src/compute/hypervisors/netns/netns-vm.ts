/** One guest that runs in a network namespace. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { clearGuest, type GuestPlace } from "../../guest-finder.ts";
import { type GuestProcess, type ProcessEnd, stopBySteps } from "../../guest-process.ts";
import type { StopOptions, StopStep, Vm, VmExit, VmPort } from "../../hypervisor.ts";

export const CONSOLE_FILE = "console.log";
/** What init prints last when it ends as it should. */
const LAST_WORDS = /^goalstate-guest: .*powering off$/;
const TAIL_CHARACTERS = 600;

/** Owns the guest's process and what surrounds it. */
export class NetnsVm implements Vm {
  readonly container: string;
  readonly attempt: number;
  readonly port: VmPort;
  readonly consolePath: string;
  readonly evidence = {};
  readonly exited: Promise<VmExit>;
  readonly #process: GuestProcess;
  #isStopping = false;

  constructor(place: GuestPlace, process: GuestProcess) {
    const { container, attempt, port } = place.record;
    this.container = container;
    this.attempt = attempt;
    this.port = port;
    this.consolePath = join(place.folder, CONSOLE_FILE);
    this.#process = process;
    this.exited = process.ended.then(async (end): Promise<VmExit> => {
      const exit = this.#exitOf(end);
      await clearGuest(place).catch(() => undefined); // the next start, or adoption, tries again
      return exit;
    });
  }

  get pid(): number {
    return this.#process.pid;
  }

  async stop({ acpiMs = 0, signal }: StopOptions = {}): Promise<StopStep> {
    this.#isStopping = true;
    const ask = () => this.#process.kill("SIGTERM");
    const step = await stopBySteps(this.#process, [{ step: "acpi", ms: acpiMs, act: ask }], signal);
    await this.exited;
    return step;
  }

  release(): void {
    this.#process.release();
  }

  #exitOf(end: ProcessEnd): VmExit {
    if (this.#isStopping) return { kind: "stopped" };
    const tail = this.#consoleTail();
    switch (end.kind) {
      case "not-started":
        return { kind: "failed", reason: `its init did not start: ${end.reason}` };
      case "exit": {
        if (end.code === 0) return { kind: "stopped" };
        const how = end.signal ?? end.code;
        return { kind: "failed", reason: `its init ended (${how}): ${oneLine(tail)}` };
      }
      case "unknown": {
        if (LAST_WORDS.test(tail.split("\n").at(-1) ?? "")) return { kind: "stopped" };
        return { kind: "failed", reason: `its init ended: ${oneLine(tail)}` };
      }
    }
  }

  #consoleTail(): string {
    try {
      return readFileSync(this.consolePath, "utf8").trim().slice(-TAIL_CHARACTERS);
    } catch {
      return "";
    }
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, " | ") || "it printed nothing";
}
