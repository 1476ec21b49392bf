/**
 * A lock between processes, on a file: the kernel's flock(2). A lock file with a process id in it would need to be
 * judged stale after a crash, by an id that may belong to somebody else by then; this one ends with its holder.
 */

import { type FileHandle, open, stat, unlink } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { tryLockFile } from "../../net/libc.ts";

const POLL_MS = 50;

/** Dispose it to let others in. */
export interface FileLock extends AsyncDisposable {
  /** True if somebody else had it first. */
  readonly waited: boolean;
}

/**
 * Waits until the lock is ours. It is also exclusive between two callers in one process.
 *
 * @param onWait - called at each look while somebody else has it
 * @throws the signal's reason; a system error if the file cannot be made
 */
export async function lockFile(
  path: string,
  signal: AbortSignal,
  onWait?: () => void | PromiseLike<void>,
): Promise<FileLock> {
  for (let looks = 0; ; looks += 1) {
    signal.throwIfAborted();
    const file = await tryLock(path);
    if (file !== undefined) return heldLock(file, path, looks > 0);
    await onWait?.();
    await delay(POLL_MS, undefined, { signal });
  }
}

/** The lock if it is free, without waiting. */
export async function tryLockPath(path: string): Promise<FileLock | undefined> {
  const file = await tryLock(path);
  return file && heldLock(file, path, false);
}

async function tryLock(path: string): Promise<FileHandle | undefined> {
  const file = await open(path, "a", 0o600);
  try {
    if (tryLockFile(file.fd) && (await isAt(file, path))) return file;
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  return undefined;
}

/** False if the last holder removed the file after we opened it: then our lock is on nothing that others can see. */
async function isAt(file: FileHandle, path: string): Promise<boolean> {
  const [ours, theirs] = await Promise.all([
    file.stat({ bigint: true }),
    stat(path, { bigint: true }).catch(() => undefined),
  ]);
  return theirs?.ino === ours.ino && theirs.dev === ours.dev;
}

function heldLock(file: FileHandle, path: string, waited: boolean): FileLock {
  let held = true;
  return {
    waited,
    async [Symbol.asyncDispose]() {
      if (!held) return;
      held = false;
      await unlink(path).catch(() => undefined); // while we hold it, so that the folder does not fill up
      await file.close();
    },
  };
}
