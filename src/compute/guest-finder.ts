/**
 * Finds what exists of guests on this machine, and removes it. A guest's process bears `guest=NAME` on its command line
 * and works in the guest's run directory. Both together make it ours: the names of two nodes may begin alike.
 */
import { basename, dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorText } from "../model/errors.ts";
import { ipBatch } from "../net/iproute.ts";
import { findNamespaceInode } from "../net/namespace.ts";
import type { Adoption, AdoptionScope, EndedGuest, Vm, VmSpec } from "./hypervisor.ts";
import { removeNamespace } from "./leftovers.ts";
import { HeldProcess, killProcesses, listProcesses, type ProcessInfo } from "./processes.ts";
import {
  listRunDirectories,
  lockGuest,
  readRecord,
  recordOf,
  removeRecord,
  type VmRecord,
  writeRecord,
} from "./vm-record.ts";

/** On QEMU's command line it is followed by a comma and more. */
const GUEST_ARGUMENT = /^guest=([^,]+)/;
/** As each hypervisor writes it. */
const ATTEMPT_ARGUMENT = /^(?:name=opt\/goalstate\/attempt,string=|--attempt=)(\d+)$/;
/** Tools that make a guest's namespace and NIC work in its run directory, and may outlive the agent that called them. */
const TOOL = "ip";
/** From a process's fork to its exec, on a machine that is busy. */
const FORK_WAIT_MS = 1_000;
const FORK_POLL_MS = 10;

/** The guest that a process runs; undefined if it runs none. */
export function guestNameOf({ args }: ProcessInfo): string | undefined {
  return firstMatch(args, GUEST_ARGUMENT);
}

function attemptOf({ args }: ProcessInfo): number | undefined {
  const text = firstMatch(args, ATTEMPT_ARGUMENT);
  return text === undefined ? undefined : Number(text);
}

function firstMatch(args: readonly string[], pattern: RegExp): string | undefined {
  return args.map((arg) => pattern.exec(arg)?.[1]).find((found) => found !== undefined);
}

/** One start of a guest. */
export interface GuestPlace {
  readonly folder: string;
  readonly record: VmRecord;
}

/** What is being done in a run directory, one after another: a clean-up must not hit the start that follows it. */
const turns = new Map<string, Promise<unknown>>();

async function inTurn<T>(folder: string, action: () => Promise<T>): Promise<T> {
  const before = turns.get(folder) ?? Promise.resolve();
  const mine = before.then(action, action);
  turns.set(folder, mine);
  try {
    return await mine;
  } finally {
    if (turns.get(folder) === mine) turns.delete(folder);
  }
}

/**
 * Puts a guest on record and starts its process, after everything that an earlier start left was ended and removed.
 *
 * @param start - makes the process; it must inherit the lock's descriptor
 * @throws FabricError ERR_VM_BUSY if a process of an earlier start cannot be ended, and what `start` throws; nothing is
 *   left then
 */
export function startGuest<T>(
  spec: VmSpec,
  hypervisor: VmRecord["hypervisor"],
  start: (place: GuestPlace, lockFd: number) => Promise<T>,
): Promise<T> {
  const folder = spec.runDirectory;
  const place = { folder, record: recordOf(spec, hypervisor) };
  return inTurn(folder, async () => {
    const earlier = readRecord(folder);
    if (earlier !== undefined) await removeGuest({ folder, record: earlier });
    await endGuest(place);
    using lock = await lockGuest(folder, spec.container, () => endGuest(place));
    writeRecord(folder, place.record);
    try {
      return await start(place, lock.fd);
    } catch (error) {
      await removeGuest(place);
      throw error;
    }
  });
}

/**
 * Ends every process of a guest and removes its namespace, its port and, at last, its record; unless it has been
 * started anew meanwhile.
 *
 * @throws FabricError ERR_VM_BUSY if a process of it cannot be ended; its record then stays
 */
export function clearGuest(place: GuestPlace): Promise<void> {
  const { folder, record } = place;
  return inTurn(folder, async () => {
    if (readRecord(folder)?.id !== record.id) return;
    await endGuest(place);
    // Nobody holds it: then no process of the guest is left, whatever /proc has shown.
    using _lock = await lockGuest(folder, record.container, () => endGuest(place));
    removeRecord(folder);
  });
}

async function removeGuest(place: GuestPlace): Promise<void> {
  await endGuest(place);
  removeRecord(place.folder);
}

/** What is not there is no error. */
async function endGuest({ folder, record }: GuestPlace): Promise<void> {
  const { name, port } = record;
  await killProcesses((info) => info.folder === folder && (isOf(info, name) || isTool(info)));
  if (record.hypervisor === "qemu") return; // its tap went with it
  if (findNamespaceInode(name) === undefined && readRecord(folder) === undefined) return;
  // The kernel would remove the port some time after the namespace: until then a new one could not have its name.
  await ipBatch(port.namespace, [`link del dev ${port.name}`]).catch(() => undefined);
  await removeNamespace(name);
}

function isOf(info: ProcessInfo, name: string): boolean {
  return guestNameOf(info) === name;
}

function isTool({ args }: ProcessInfo): boolean {
  return basename(args[0] ?? "") === TOOL;
}

/** Makes a running guest's handle, or says why it cannot be kept. */
export type Attach = (place: GuestPlace, held: HeldProcess) => Promise<Vm | { reason: string }>;

/**
 * Goes through the guests of a node: what runs whole is attached, all else is ended and removed.
 *
 * @param kind - guests of another hypervisor are not kept
 */
export async function adoptGuests(
  scope: AdoptionScope,
  kind: VmRecord["hypervisor"],
  attach: Attach,
): Promise<Adoption> {
  const places = listRunDirectories(scope.runDirectory).flatMap((folder): GuestPlace[] => {
    const record = readRecord(folder);
    const isOurs = record?.name === `${scope.namePrefix}${record?.container}`;
    return record !== undefined && isOurs && basename(folder) === record.container
      ? [{ folder, record }]
      : [];
  });
  await killUnrecorded(scope, places);
  const results = await Promise.all(places.map((place) => adoptGuest(place, kind, attach)));
  return {
    running: results.filter((result) => "vm" in result).map(({ vm }) => vm),
    ended: results.filter((result) => "reason" in result),
  };
}

/** A process without a record cannot be told from an older attempt. */
async function killUnrecorded(
  { namePrefix, runDirectory }: AdoptionScope,
  places: readonly GuestPlace[],
): Promise<void> {
  const recorded = new Map(places.map(({ folder, record }) => [folder, record]));
  await killProcesses((info) => {
    const name = guestNameOf(info);
    if (name?.startsWith(namePrefix) !== true || info.folder === undefined) return false;
    if (dirname(info.folder) !== runDirectory) return false;
    const record = recorded.get(info.folder);
    return record?.name !== name || record.attempt !== attemptOf(info);
  });
}

async function adoptGuest(
  place: GuestPlace,
  kind: VmRecord["hypervisor"],
  attach: Attach,
): Promise<{ readonly vm: Vm } | EndedGuest> {
  const found = await attachOne(place, kind, attach);
  if (!("reason" in found)) return { vm: found };
  const { container, attempt } = place.record;
  const failure = await clearGuest(place).then(() => "", errorText); // its next start tries again
  return { container, attempt, reason: [found.reason, failure].filter(Boolean).join("; ") };
}

/** A process that starts another shows twice until the new one becomes its program: not two guests. */
async function findSettled(isRight: (info: ProcessInfo) => boolean): Promise<ProcessInfo[]> {
  let found = listProcesses().filter(isRight);
  for (let waitedMs = 0; found.length > 1 && waitedMs < FORK_WAIT_MS; waitedMs += FORK_POLL_MS) {
    await delay(FORK_POLL_MS);
    found = listProcesses().filter(isRight);
  }
  return found;
}

async function attachOne(
  place: GuestPlace,
  kind: VmRecord["hypervisor"],
  attach: Attach,
): Promise<Vm | { reason: string }> {
  const { folder, record } = place;
  if (record.hypervisor !== kind) return { reason: `it ran on ${record.hypervisor}, not ${kind}` };
  const isRight = (info: ProcessInfo) => info.folder === folder && isOf(info, record.name);
  const processes = await findSettled(isRight);
  const [first] = processes;
  if (first === undefined) return { reason: "it ended, or was never started, while no agent ran" };
  if (processes.length > 1) return { reason: `${processes.length} processes ran for it` };
  const held = HeldProcess.hold(first.pid, isRight);
  if (held === undefined) return { reason: "it ended while it was looked at" };
  try {
    const result = await attach(place, held);
    if ("reason" in result) held[Symbol.dispose]();
    return result;
  } catch (error) {
    held[Symbol.dispose]();
    throw error;
  }
}
