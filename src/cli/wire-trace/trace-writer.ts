/** Keeps a node's trace of requests in files of bounded size and number. */
import { mkdirSync, readdirSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { TRACE_FILE_BYTES_MAX, type TraceBatch } from "../../wireserver/index.ts";

/** Folder of the files, in a node's own. */
export const TRACE_FOLDER = "requests";
/** 256 MiB in all. The oldest goes. */
export const TRACE_FILES_MAX = 4;
/** What waits for the disk; a batch more is not taken. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
/** Whoever hands batches on ends a file in time; one who does not is cut off here. */
const FILE_BYTES_MAX = 2 * TRACE_FILE_BYTES_MAX;
const NAME = /^(\d{8})\.jsonl$/;

/** Numbers of the files in a folder, oldest first; none if it is not there. */
export function listTraceFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => NAME.test(name))
      .sort();
  } catch {
    return [];
  }
}

/** See {@link openTraceWriter}. Disposing waits for what was taken. */
export interface TraceWriter extends AsyncDisposable {
  /**
   * False: it is lost, for too much waits for the disk, or it cannot be written. Then nothing is taken until a batch
   * begins a file. Never throws, never blocks.
   */
  take(batch: TraceBatch): boolean;
}

/**
 * Goes on after the files that are there, with a new one.
 *
 * @param folder - made if it is not there; only its owner may read it
 * @param onError - a disk that is full costs the trace, never a guest
 */
export function openTraceWriter(folder: string, onError: (error: unknown) => void): TraceWriter {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const last = listTraceFiles(folder).at(-1);
  let number = last === undefined ? 0 : Number(NAME.exec(last)?.[1]);
  let fileBytes = 0;
  // False: a batch of the present file is lost, and with it names that the next ones use.
  let isWhole = false;
  let waitingBytes = 0;
  let queue: Promise<void> = Promise.resolve();
  const write = async ({ text, begins }: TraceBatch): Promise<void> => {
    if (begins) {
      number += 1;
      fileBytes = 0;
      const old = listTraceFiles(folder).slice(0, 1 - TRACE_FILES_MAX);
      for (const name of old) await rm(join(folder, name), { force: true });
    }
    if (fileBytes > FILE_BYTES_MAX) return;
    fileBytes += text.length;
    const file = await open(join(folder, `${String(number).padStart(8, "0")}.jsonl`), "a", 0o600);
    try {
      await file.write(text);
    } finally {
      await file.close();
    }
  };
  return {
    take: (batch) => {
      if (batch.begins) isWhole = true;
      if (waitingBytes > WAITING_BYTES_MAX) isWhole = false;
      if (!isWhole) return false;
      waitingBytes += batch.text.length;
      queue = queue
        .then(() => write(batch))
        .catch((error: unknown) => {
          isWhole = false;
          onError(error);
        })
        .finally(() => {
          waitingBytes -= batch.text.length;
        });
      return true;
    },
    [Symbol.asyncDispose]: () => queue,
  };
}
