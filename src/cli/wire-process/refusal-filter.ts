/** Says whether a refusal is worth a line in the log: one a minute for each address and reason. */
const QUIET_MS = 60_000;
const REMEMBERED_MAX = 4_096;

/** Remembers who was refused for what. */
export class RefusalFilter {
  readonly #now: () => number;
  /** The oldest first. */
  readonly #toldMs = new Map<string, number>();

  /** @param now - milliseconds of a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now;
  }

  isNews(address: string, reason: string): boolean {
    const key = `${address} ${reason}`;
    const nowMs = this.#now();
    const toldMs = this.#toldMs.get(key);
    if (toldMs !== undefined && nowMs - toldMs < QUIET_MS) return false;
    this.#toldMs.delete(key);
    this.#toldMs.set(key, nowMs);
    if (this.#toldMs.size > REMEMBERED_MAX) {
      const [oldest = ""] = this.#toldMs.keys();
      this.#toldMs.delete(oldest);
    }
    return true;
  }
}
