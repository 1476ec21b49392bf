/**
 * One deadline per owner, any number of owners, one timer. A deadline that is put off costs a Map write: its place in
 * the heap is corrected when it comes up.
 */
import type { AgentClock } from "./clock.ts";

/** A timer fires at most so much later than its deadline, and so seldom, however many owners there are. */
const RESOLUTION_MS = 10;
/** The longest that a timer takes: setTimeout() has no more bits. */
const WAIT_MS_MAX = 2 ** 31 - 1;

interface Deadline {
  /** Infinity: deleted. */
  atMs: number;
  /** Of its entry in the heap, not later than `atMs`. */
  queuedMs: number;
}

interface Entry<T> {
  readonly owner: T;
  readonly atMs: number;
}

/** Calls `due(owner)` once the owner's deadline has passed; it then has none. */
export class Deadlines<T> implements Disposable {
  readonly #clock: AgentClock;
  readonly #due: (owner: T) => void;
  readonly #deadlines = new Map<T, Deadline>();
  /** A binary min-heap by time. Of an owner's entries only the one at its `queuedMs` counts. */
  readonly #heap: Entry<T>[] = [];
  #timer: { readonly atMs: number; readonly cancel: () => void } | undefined;

  constructor(clock: AgentClock, due: (owner: T) => void) {
    this.#clock = clock;
    this.#due = due;
  }

  /** Replaces the owner's deadline. Infinity: it has none. */
  set(owner: T, atMs: number): void {
    const known = this.#deadlines.get(owner);
    if (known !== undefined) known.atMs = atMs;
    // A later one is found when the earlier comes up.
    if (atMs === Number.POSITIVE_INFINITY || (known?.queuedMs ?? Number.POSITIVE_INFINITY) <= atMs)
      return;
    if (known === undefined) this.#deadlines.set(owner, { atMs, queuedMs: atMs });
    else known.queuedMs = atMs;
    push(this.#heap, { owner, atMs });
    this.#arm();
  }

  delete(owner: T): void {
    this.set(owner, Number.POSITIVE_INFINITY);
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#deadlines.clear();
    this.#heap.length = 0;
  }

  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined) return;
    if (this.#timer !== undefined && this.#timer.atMs <= first.atMs + RESOLUTION_MS) return;
    this.#timer?.cancel();
    const waitMs = Math.max(first.atMs - this.#clock.monotonic(), 0) + RESOLUTION_MS;
    const cancel = this.#clock.after(Math.min(waitMs, WAIT_MS_MAX), () => this.#onTimer());
    this.#timer = { atMs: first.atMs + RESOLUTION_MS, cancel };
  }

  #onTimer(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonic();
    for (
      let first = this.#heap[0];
      first !== undefined && first.atMs <= nowMs;
      first = this.#heap[0]
    ) {
      pop(this.#heap);
      this.#onEntry(first, nowMs);
    }
    this.#arm();
  }

  #onEntry({ owner, atMs }: Entry<T>, nowMs: number): void {
    const deadline = this.#deadlines.get(owner);
    if (deadline?.queuedMs !== atMs) return; // it was brought forward
    if (deadline.atMs > nowMs && deadline.atMs !== Number.POSITIVE_INFINITY) {
      deadline.queuedMs = deadline.atMs;
      push(this.#heap, { owner, atMs: deadline.atMs });
      return;
    }
    this.#deadlines.delete(owner);
    if (deadline.atMs <= nowMs) this.#due(owner);
  }
}

function push<T>(heap: Entry<T>[], entry: Entry<T>): void {
  let at = heap.length;
  heap.push(entry);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (heap[parent]!.atMs <= entry.atMs) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = entry;
}

function pop<T>(heap: Entry<T>[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]!.atMs < heap[child]!.atMs) child++;
    if (heap[child]!.atMs >= last.atMs) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
}
