/** How often a guest may ask: as the real service, five times a second, and some more after a pause. */

/** Azure's; a boot asks some dozen times at once. */
export const REQUESTS_PER_SECOND = 5;
export const REQUESTS_AT_ONCE = 50;
/** Containers that are remembered; one that is forgotten begins with a full budget. */
const CONTAINERS_MAX = 4_096;

interface Bucket {
  left: number;
  filledMs: number;
}

/** A token bucket for each container. */
export class RequestBudget {
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();

  /** @param now - milliseconds, that only grow */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** False: it has asked too often. */
  take(container: string): boolean {
    const nowMs = this.#now();
    const bucket = this.#bucket(container, nowMs);
    const grown = ((nowMs - bucket.filledMs) / 1000) * REQUESTS_PER_SECOND;
    bucket.left = Math.min(REQUESTS_AT_ONCE, bucket.left + grown);
    bucket.filledMs = nowMs;
    if (bucket.left < 1) return false;
    bucket.left -= 1;
    return true;
  }

  #bucket(container: string, nowMs: number): Bucket {
    const known = this.#buckets.get(container);
    if (known !== undefined) return known;
    if (this.#buckets.size >= CONTAINERS_MAX) {
      const [oldest = ""] = this.#buckets.keys();
      this.#buckets.delete(oldest);
    }
    const made: Bucket = { left: REQUESTS_AT_ONCE, filledMs: nowMs };
    this.#buckets.set(container, made);
    return made;
  }
}
