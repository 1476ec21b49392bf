/** Work on many keys at once, and on one key one after another. */

/** See the file's comment. */
export class WorkQueue {
  readonly #limit: number;
  /** The last work of each key that has some. */
  readonly #tails = new Map<string, Promise<void>>();
  /** Keys whose scheduled work has not begun. */
  readonly #scheduled = new Set<string>();
  readonly #waiting = new Set<() => void>();
  #running = 0;

  /** @param limit - most keys that are worked on at a time */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs `work` after all earlier work of the key; its outcome is the promise's. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(() => this.#withSlot(work));
    const tail = result.then(ignore, ignore).then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    this.#tails.set(key, tail);
    return result;
  }

  /** Runs `work`, unless the key has scheduled work that has not begun: that sees the same state. It must not reject. */
  schedule(key: string, work: () => Promise<void>): void {
    if (this.#scheduled.has(key)) return;
    this.#scheduled.add(key);
    void this.run(key, () => {
      this.#scheduled.delete(key);
      return work();
    });
  }

  /** Resolves when there is no work. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }

  async #withSlot<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#limit) this.#running += 1;
    else await new Promise<void>((resolve) => this.#waiting.add(resolve));
    try {
      return await work();
    } finally {
      const [next] = this.#waiting; // takes over this slot
      if (next === undefined) this.#running -= 1;
      else {
        this.#waiting.delete(next);
        next();
      }
    }
  }
}

function ignore(): void {}
