/** Who failed waits longer each time, while others go on. */
const FIRST_MS = 1_000;
export const RETRY_MS_MAX = 30_000;

/** Remembers failures by key. */
export class BackOff {
  readonly #now: () => number;
  readonly #entries = new Map<string, { readonly waitMs: number; readonly untilMs: number }>();

  /** @param now - milliseconds of a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now;
  }

  failed(key: string): void {
    const before = this.#entries.get(key);
    const waitMs = before === undefined ? FIRST_MS : Math.min(before.waitMs * 2, RETRY_MS_MAX);
    this.#entries.set(key, { waitMs, untilMs: this.#now() + waitMs });
  }

  succeeded(key: string): void {
    this.#entries.delete(key);
  }

  /** True while it is not to be tried again. */
  isHeld(key: string): boolean {
    const entry = this.#entries.get(key);
    return entry !== undefined && this.#now() < entry.untilMs;
  }
}
