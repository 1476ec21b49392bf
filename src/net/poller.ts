/**
 * Waits for many descriptors with one thread of Node's pool, however many packet rings there are: a blocked
 * poll per ring would eat the pool (four threads) and with it file and DNS access.
 */
import { closeSync, readSync, writeSync } from "node:fs";
import { openEventFd, pollAsync } from "./libc.ts";

const POLLIN = 1;
const POLLERR = 8;
const POLLNVAL = 32;
const POLLFD_BYTES = 8;
/** A safety net only: everything that matters wakes the poll by its event descriptor. */
const POLL_TIMEOUT_MS = 5_000;

/**
 * How often a handler that just had something is asked again before the thread pool is. A client answers an offer
 * within microseconds, and to be woken through the pool costs more than to look: at most some 50 us of it.
 */
const LOOKS_MAX = 1000;

/**
 * Called when the descriptor is readable or in error, and again while it had something; must handle what is there
 * without blocking and must not throw.
 *
 * @returns true if there was something
 */
export type ReadyHandler = (failed: boolean) => boolean;

/** Hands readiness of raw descriptors to handlers on the main thread. */
export class Poller {
  readonly #handlers = new Map<number, ReadyHandler>();
  #wakeFd: number | undefined;

  /** Starts watching; the first watched descriptor starts the loop, the last one unwatched ends it. */
  watch(fd: number, handler: ReadyHandler): void {
    this.#handlers.set(fd, handler);
    if (this.#wakeFd === undefined) void this.#run();
    else this.#wake();
  }

  /** Stops watching. The handler is not called again. */
  unwatch(fd: number): void {
    if (this.#handlers.delete(fd)) this.#wake();
  }

  #wake(): void {
    if (this.#wakeFd !== undefined) writeSync(this.#wakeFd, new BigUint64Array([1n]));
  }

  async #run(): Promise<void> {
    const wakeFd = openEventFd();
    this.#wakeFd = wakeFd;
    while (this.#handlers.size > 0) {
      const fds = [wakeFd, ...this.#handlers.keys()];
      const table = pollTable(fds);
      const ready = await pollAsync(table, fds.length, POLL_TIMEOUT_MS);
      if (ready > 0) await this.#dispatch(fds, table);
    }
    this.#wakeFd = undefined;
    closeSync(wakeFd);
  }

  /** Serves those that are ready until none has anything more. The event loop gets a turn after each round. */
  async #dispatch(fds: readonly number[], table: Buffer): Promise<void> {
    const busy: number[] = [];
    fds.forEach((fd, index) => {
      const events = table.readInt16LE(index * POLLFD_BYTES + 6);
      if (events === 0) return;
      if (index === 0) readSync(fd, Buffer.alloc(8));
      else if (this.#handlers.get(fd)?.((events & (POLLERR | POLLNVAL)) !== 0) === true)
        busy.push(fd);
    });
    while (busy.length > 0 && this.#look(busy)) await nextTurn();
  }

  /** @returns true as soon as one had something */
  #look(fds: readonly number[]): boolean {
    for (let looks = 0; looks < LOOKS_MAX; looks += fds.length) {
      let had = false;
      for (const fd of fds) if (this.#handlers.get(fd)?.(false) === true) had = true;
      if (had) return true;
    }
    return false;
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** An array of `struct pollfd` that waits for reading. */
export function pollTable(fds: readonly number[]): Buffer {
  const table = Buffer.alloc(fds.length * POLLFD_BYTES);
  fds.forEach((fd, index) => {
    table.writeInt32LE(fd, index * POLLFD_BYTES);
    table.writeInt16LE(POLLIN, index * POLLFD_BYTES + 4);
  });
  return table;
}
