/** What must be true of a guest after its agent was killed at any moment, and a new one has looked. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect } from "vitest";
import type { Hypervisor, Vm, VmSpec } from "../../src/compute/index.ts";
import { listProcesses } from "../../src/compute/processes.ts";
import { readRecord } from "../../src/compute/vm-record.ts";
import { listLinks } from "../../src/net/iproute.ts";
import type { BootOrder } from "./fixtures/boot-over-and-over.ts";

const AGENT = join(import.meta.dirname, "fixtures/boot-over-and-over.ts");

/** Starts an agent that boots as ordered; resolves when it has said `word`. */
export async function startAgent(order: BootOrder, word: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [AGENT, JSON.stringify(order)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let said = "";
  child.stdout.on("data", (part: Buffer) => {
    said += part;
    if (said.includes(word)) resolve();
  });
  child.once("exit", (code) => reject(new Error(`the agent ended with ${code} after "${said}"`)));
  await promise;
  return child;
}

export async function killAgent(child: ChildProcess): Promise<void> {
  const exit = once(child, "exit");
  if (!child.kill("SIGKILL")) throw new Error("the agent had ended before it was killed");
  await exit;
}

/** Processes on this machine that run the guest: the attempt that each is of is on its command line. */
export function processesOf({ name }: Pick<VmSpec, "name">): { pid: number; args: string }[] {
  return listProcesses()
    .filter(({ args }) => args.some((arg) => new RegExp(`^guest=${name}(,|$)`).test(arg)))
    .map(({ pid, args }) => ({ pid, args: args.join(" ") }));
}

/** Adopts, and checks that what is kept is whole and alone, and that of anything else nothing is left. */
export async function adoptAndCheck(
  hypervisor: Hypervisor,
  spec: VmSpec,
): Promise<{ vm: Vm | undefined; reasons: string[] }> {
  const scope = {
    namePrefix: spec.name.slice(0, -spec.container.length),
    runDirectory: dirname(spec.runDirectory),
  };
  const { running, ended } = await hypervisor.adopt(scope, new AbortController().signal);
  const reasons = ended.map(({ reason }) => reason);
  expect(running.length + ended.length).toBeLessThan(2);
  const [vm] = running;
  if (vm === undefined) {
    await expectNothingLeft(spec);
    return { vm, reasons };
  }
  expect(processesOf(spec).map(({ pid }) => pid)).toEqual([vm.pid]);
  expect(vm).toMatchObject({ container: spec.container, port: spec.port });
  expect(readRecord(spec.runDirectory)?.attempt).toBe(vm.attempt);
  expect(await hasPort(spec)).toBe(true);
  return { vm, reasons };
}

/** No process, no namespace, no port, no record. */
export async function expectNothingLeft(spec: VmSpec): Promise<void> {
  expect(processesOf(spec)).toEqual([]);
  expect(existsSync(`/run/netns/${spec.name}`)).toBe(false);
  expect(await hasPort(spec)).toBe(false);
  expect(readRecord(spec.runDirectory)).toBeUndefined();
}

async function hasPort({ port }: VmSpec): Promise<boolean> {
  return (await listLinks(port.namespace)).some(({ name }) => name === port.name);
}
