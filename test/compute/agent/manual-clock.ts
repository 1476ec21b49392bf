/** Time that passes only when a test says so, also for an agent that is killed: its timers die with it. */
import type { AgentClock } from "../../../src/compute/index.ts";

const START_MS = Date.parse("2026-01-01T00:00:00Z");

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

export class ManualClock implements AgentClock {
  #passedMs = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return START_MS + this.#passedMs;
  }

  monotonic(): number {
    return this.#passedMs;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.#passedMs + ms, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  get timerCount(): number {
    return this.#timers.size;
  }

  /** Calls what becomes due, in order; what it sets up for the same time too. */
  advance(ms: number): void {
    const endMs = this.#passedMs + ms;
    for (;;) {
      const due = [...this.#timers]
        .filter(({ atMs }) => atMs <= endMs)
        .sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#passedMs = Math.max(this.#passedMs, due.atMs);
      due.callback();
    }
    this.#passedMs = endMs;
  }
}
