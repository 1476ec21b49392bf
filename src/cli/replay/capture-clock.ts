/** A clock that a capture's timestamps move on: whatever the server times, it times as when the frames were captured. */

interface Timer {
  readonly dueMs: number;
  readonly callback: () => void;
}

/** Never goes back, also where the capture's timestamps do. */
export class CaptureClock {
  #nowMs = 0;
  readonly #timers = new Set<Timer>();

  /** Milliseconds since the first frame. */
  now(): number {
    return this.#nowMs;
  }

  /** Calls back once when the clock has moved on that far; the returned function takes that back. */
  startTimer(milliseconds: number, callback: () => void): () => void {
    const timer = { dueMs: this.#nowMs + milliseconds, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** When the next timer is due; undefined if there is none. */
  nextDueMs(): number | undefined {
    return this.#earliest()?.dueMs;
  }

  /** Moves on, through every timer that is due until then. */
  advanceTo(nowMs: number): void {
    for (let timer = this.#earliest(); timer !== undefined; timer = this.#earliest()) {
      if (timer.dueMs > nowMs) break;
      this.#timers.delete(timer);
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      timer.callback();
    }
    this.#nowMs = Math.max(this.#nowMs, nowMs);
  }

  #earliest(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (first === undefined || timer.dueMs < first.dueMs) first = timer;
    }
    return first;
  }
}
