/**
 * Waits for many descriptors with one thread of Node's pool, however many packet sockets there are: a blocked
 * poll per socket would eat the pool (four threads) and with it file and DNS access. The set of descriptors is the
 * kernel's (epoll), so that a frame on one of a thousand costs as much as on one of one.
 */
import { closeSync, readSync, writeSync } from "node:fs";
import {
  addToEpoll,
  EPOLL_EVENT_BYTES,
  lookAtEpoll,
  openEpoll,
  openEventFd,
  removeFromEpoll,
  waitForEpoll,
} from "./libc.ts";

const POLLIN = 1;
const POLLFD_BYTES = 8;
const EPOLLERR = 8;
/** Descriptors that one wait reports; the kernel goes round if more are ready. */
const EVENTS_MAX = 1024;
/** A safety net only: everything that matters wakes the wait by its event descriptor. */
const WAIT_TIMEOUT_MS = 5_000;

/**
 * How often a handler that just had something is asked again before the thread pool is. A client answers an offer
 * within microseconds, and to be woken through the pool costs more than to look: at most some 50 us of it.
 */
const LOOKS_MAX = 1000;

/** Rounds of those that always have something before the others are asked: a flooded port must not starve the rest. */
const BUSY_ROUNDS_MAX = 4;

/**
 * Called when the descriptor is readable or in error, and again while it says so; must handle what is there without
 * blocking and must not throw.
 *
 * @returns true if there was something and to look again costs next to nothing, or if there is more
 */
export type ReadyHandler = (failed: boolean) => boolean;

/** What the kernel watches for us. */
interface WaitSet {
  readonly epollFd: number;
  /** Ends a wait. */
  readonly wakeFd: number;
  readonly events: Buffer;
}

/** Hands readiness of raw descriptors to handlers on the main thread. */
export class Poller {
  readonly #handlers = new Map<number, ReadyHandler>();
  #set: WaitSet | undefined;
  #wakeups = 0;

  /** How often the wait has ended: a descriptor whose error nobody reads would make it grow without end. */
  get wakeups(): number {
    return this.#wakeups;
  }

  /** Starts watching; the first watched descriptor starts the loop, the last one unwatched ends it. */
  watch(fd: number, handler: ReadyHandler): void {
    const isNew = !this.#handlers.has(fd);
    const set = this.#set ?? openWaitSet();
    if (isNew) addToEpoll(set.epollFd, fd);
    this.#handlers.set(fd, handler);
    if (this.#set !== undefined) return;
    this.#set = set;
    void this.#run(set);
  }

  /** Stops watching; call it before you close the descriptor. The handler is not called again. */
  unwatch(fd: number): void {
    if (!this.#handlers.delete(fd) || this.#set === undefined) return;
    removeFromEpoll(this.#set.epollFd, fd);
    if (this.#handlers.size === 0) writeSync(this.#set.wakeFd, new BigUint64Array([1n]));
  }

  async #run(set: WaitSet): Promise<void> {
    while (this.#handlers.size > 0) {
      const ready = await waitForEpoll(set.epollFd, set.events, WAIT_TIMEOUT_MS);
      this.#wakeups += 1;
      if (ready > 0) await this.#dispatch(set, ready);
    }
    this.#set = undefined;
    closeSync(set.epollFd);
    closeSync(set.wakeFd);
  }

  /** Serves those that are ready until none has anything more. The event loop gets a turn after each round. */
  async #dispatch(set: WaitSet, ready: number): Promise<void> {
    const busy = new Set<number>();
    this.#serve(set, ready, busy);
    for (let round = 1; busy.size > 0; round += 1) {
      await nextTurn(); // before the next look, so that what waits for a promise does not wait for a look as well
      const isOthersTurn = round % BUSY_ROUNDS_MAX === 0;
      if (isOthersTurn) this.#serve(set, lookAtEpoll(set.epollFd, set.events), busy);
      if (!this.#look(busy)) break;
    }
  }

  #serve({ events, wakeFd }: WaitSet, ready: number, busy: Set<number>): void {
    for (let index = 0; index < ready; index += 1) {
      const flags = events.readUInt32LE(index * EPOLL_EVENT_BYTES);
      const fd = events.readInt32LE(index * EPOLL_EVENT_BYTES + 4);
      if (fd === wakeFd) readSync(fd, Buffer.alloc(8));
      else if (this.#handlers.get(fd)?.((flags & EPOLLERR) !== 0) === true) busy.add(fd);
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

function openWaitSet(): WaitSet {
  const wakeFd = openEventFd();
  const epollFd = openEpoll();
  addToEpoll(epollFd, wakeFd);
  return { epollFd, wakeFd, events: Buffer.alloc(EVENTS_MAX * EPOLL_EVENT_BYTES) };
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
