/** How much may be logged of what guests cause: some lines at once, then a few a minute. */
const LINES_MAX = 100;
const LINE_MS = 1_000;

/** See the file's comment. */
export class LogAllowance {
  readonly #now: () => number;
  #lines = LINES_MAX;
  #sinceMs: number;

  /** @param now - milliseconds of a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now;
    this.#sinceMs = now();
  }

  /** True if a line may be written; it counts as written then. */
  take(): boolean {
    const nowMs = this.#now();
    const earned = Math.floor((nowMs - this.#sinceMs) / LINE_MS);
    this.#lines = Math.min(LINES_MAX, this.#lines + earned);
    this.#sinceMs += earned * LINE_MS;
    if (this.#lines === 0) return false;
    this.#lines -= 1;
    return true;
  }
}
