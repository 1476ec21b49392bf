/**
 * What is known of a guest on disk: `vm.json` in its run directory. It is there before anything else of the guest is,
 * and goes after everything else, so that whatever an interrupted start or stop left is known to somebody. A lock
 * beside it is held by the guest's process as long as that lives: there is never a second one.
 */
import { randomUUID } from "node:crypto";
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { FabricError } from "../model/errors.ts";
import { tryLockFile } from "../net/libc.ts";
import type { VmSpec } from "./hypervisor.ts";

const RECORD_FILE = "vm.json";
const LOCK_FILE = "vm.lock";
const LOCK_WAIT_MS = 5_000;
const LOCK_POLL_MS = 20;

const RecordSchema = z.object({
  /** Of this start alone: tells it from an earlier or later one of the same container. */
  id: z.string(),
  hypervisor: z.enum(["qemu", "netns"]),
  name: z.string(),
  container: z.string(),
  attempt: z.number().int(),
  vmId: z.string(),
  port: z.object({ namespace: z.string(), name: z.string() }),
});

/** A guest that was to be started. */
export type VmRecord = z.infer<typeof RecordSchema>;

/** The record of a guest that is about to be started. */
export function recordOf(spec: VmSpec, hypervisor: VmRecord["hypervisor"]): VmRecord {
  const { name, container, attempt, vmId, port } = spec;
  return { id: randomUUID(), hypervisor, name, container, attempt, vmId, port };
}

/** Writes it whole or not at all. */
export function writeRecord(folder: string, record: VmRecord): void {
  const path = join(folder, RECORD_FILE);
  writeFileSync(`${path}.new`, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Undefined if there is none, or if it makes no sense. */
export function readRecord(folder: string): VmRecord | undefined {
  try {
    const text = readFileSync(join(folder, RECORD_FILE), "utf8");
    return RecordSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

export function removeRecord(folder: string): void {
  rmSync(join(folder, RECORD_FILE), { force: true });
}

/** The run directories below a folder that may have a record. */
export function listRunDirectories(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
  } catch {
    return []; // nothing was ever started here
  }
}

/** The lock of a guest, held by its descriptor and by every process that inherits it. */
export interface GuestLock extends Disposable {
  readonly fd: number;
}

/**
 * Takes the lock of a run directory.
 *
 * @param clear - ends what may hold it; called again while somebody does
 * @throws FabricError ERR_VM_BUSY if somebody keeps it
 */
export async function lockGuest(
  folder: string,
  container: string,
  clear: () => Promise<void>,
): Promise<GuestLock> {
  const fd = openSync(join(folder, LOCK_FILE), "a", 0o600);
  for (let waitedMs = 0; waitedMs <= LOCK_WAIT_MS; waitedMs += LOCK_POLL_MS) {
    if (tryLockFile(fd)) return { fd, [Symbol.dispose]: () => closeSync(fd) };
    await clear();
    await delay(LOCK_POLL_MS);
  }
  closeSync(fd);
  throw new FabricError(
    "ERR_VM_BUSY",
    `Cannot start ${container}: a process of an earlier start still holds ${join(folder, LOCK_FILE)} and could not be ended ('fuser' names it)`,
  );
}
