/** A bounded number of places for work that costs the machine a lot. */
import type { AgentClock } from "./clock.ts";

/** Gives places in the order of asking. A place that is kept too long is given to the next as well. */
export class Slots {
  readonly #max: number;
  readonly #heldMs: number;
  readonly #clock: AgentClock;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(options: {
    readonly max: number;
    readonly heldMs: number;
    readonly clock: AgentClock;
  }) {
    this.#max = options.max;
    this.#heldMs = options.heldMs;
    this.#clock = options.clock;
  }

  /**
   * Runs `work` once there is a place.
   *
   * @throws the signal's reason if it aborts before that
   */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const leave = await this.#enter(signal);
    const cancel = this.#clock.after(this.#heldMs, leave);
    try {
      return await work();
    } finally {
      cancel();
      leave();
    }
  }

  async #enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#taken < this.#max) this.#taken++;
    else await this.#turn(signal); // whoever leaves takes the place for us
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#taken--;
      this.#callNext();
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const called = () => {
        signal.removeEventListener("abort", aborted);
        resolve();
      };
      const aborted = () => {
        this.#waiting.delete(called);
        reject(signal.reason);
      };
      signal.addEventListener("abort", aborted, { once: true });
      this.#waiting.add(called);
    });
  }

  #callNext(): void {
    const [next] = this.#waiting;
    if (next === undefined || this.#taken >= this.#max) return;
    this.#waiting.delete(next);
    this.#taken++;
    next();
  }
}
