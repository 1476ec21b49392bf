/**
 * Waits for many descriptors with one thread of Node's pool, however many packet rings there are: a blocked
 * poll per ring would eat the pool (four threads) and with it file and DNS access.
 */
import { closeSync, readSync, writeSync } from "node:fs";
import { openEventFd, pollAsync, pollNow } from "./libc.ts";

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

/** Rounds of those that always have something before the others are asked: a flooded port must not starve the rest. */
const BUSY_ROUNDS_MAX = 4;

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
  #set: PollSet = { fds: [], table: Buffer.alloc(0) };
  #isSetStale = true;
  #wakeups = 0;

  /** How often the poll has returned: a descriptor whose error nobody reads would make it grow without end. */
  get wakeups(): number {
    return this.#wakeups;
  }

  /** Starts watching; the first watched descriptor starts the loop, the last one unwatched ends it. */
  watch(fd: number, handler: ReadyHandler): void {
    this.#handlers.set(fd, handler);
    this.#isSetStale = true;
    if (this.#wakeFd === undefined) void this.#run();
    else this.#wake();
  }

  /** Stops watching. The handler is not called again. */
  unwatch(fd: number): void {
    if (!this.#handlers.delete(fd)) return;
    this.#isSetStale = true;
    this.#wake();
  }

  #wake(): void {
    if (this.#wakeFd !== undefined) writeSync(this.#wakeFd, new BigUint64Array([1n]));
  }

  async #run(): Promise<void> {
    const wakeFd = openEventFd();
    this.#wakeFd = wakeFd;
    while (this.#handlers.size > 0) {
      const set = this.#watched(wakeFd);
      const ready = await pollAsync(set.table, set.fds.length, POLL_TIMEOUT_MS);
      this.#wakeups += 1;
      if (ready > 0) await this.#dispatch(set);
    }
    this.#wakeFd = undefined;
    closeSync(wakeFd);
  }

  /** The table is made when descriptors come and go, not at every call: there may be a thousand. */
  #watched(wakeFd: number): PollSet {
    if (this.#isSetStale || this.#set.fds[0] !== wakeFd) {
      const fds = [wakeFd, ...this.#handlers.keys()];
      this.#set = { fds, table: pollTable(fds) };
      this.#isSetStale = false;
    }
    return this.#set;
  }

  /** Serves those that are ready until none has anything more. The event loop gets a turn after each round. */
  async #dispatch(set: PollSet): Promise<void> {
    const busy = new Set<number>();
    this.#serve(set, busy);
    for (let round = 1; busy.size > 0 && this.#look(busy); round += 1) {
      await nextTurn();
      const isOthersTurn = round % BUSY_ROUNDS_MAX === 0;
      if (isOthersTurn && pollNow(set.table, set.fds.length, 0) > 0) this.#serve(set, busy);
    }
  }

  #serve({ fds, table }: PollSet, busy: Set<number>): void {
    for (let index = 0; index < fds.length; index += 1) {
      const events = table.readInt16LE(index * POLLFD_BYTES + 6);
      if (events === 0) continue;
      const fd = fds[index]!;
      if (index === 0) readSync(fd, Buffer.alloc(8));
      else if (this.#handlers.get(fd)?.((events & (POLLERR | POLLNVAL)) !== 0) === true)
        busy.add(fd);
    }
  }

  /** @returns true as soon as one had something */
  #look(fds: ReadonlySet<number>): boolean {
    for (let looks = 0; looks < LOOKS_MAX; looks += fds.size) {
      let had = false;
      for (const fd of fds) if (this.#handlers.get(fd)?.(false) === true) had = true;
      if (had) return true;
    }
    return false;
  }
}

/** What is waited for: descriptors, the wake descriptor first, and the same as an array of `struct pollfd`. */
interface PollSet {
  readonly fds: readonly number[];
  readonly table: Buffer;
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
