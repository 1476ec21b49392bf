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

/** Called when the descriptor is readable or in error; must drain it without blocking and must not throw. */
export type ReadyHandler = (failed: boolean) => void;

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
      if (ready > 0) this.#dispatch(fds, table);
    }
    this.#wakeFd = undefined;
    closeSync(wakeFd);
  }

  #dispatch(fds: readonly number[], table: Buffer): void {
    fds.forEach((fd, index) => {
      const events = table.readInt16LE(index * POLLFD_BYTES + 6);
      if (events === 0) return;
      if (index === 0) readSync(fd, Buffer.alloc(8));
      else this.#handlers.get(fd)?.((events & (POLLERR | POLLNVAL)) !== 0);
    });
  }
}

function pollTable(fds: readonly number[]): Buffer {
  const table = Buffer.alloc(fds.length * POLLFD_BYTES);
  fds.forEach((fd, index) => {
    table.writeInt32LE(fd, index * POLLFD_BYTES);
    table.writeInt16LE(POLLIN, index * POLLFD_BYTES + 4);
  });
  return table;
}
