/** How often a guest may ask: so many times a second, and some more after a pause. */

/** Of the metadata service: Azure's; a boot asks some dozen times at once. */
export const REQUESTS_PER_SECOND = 5;
export const REQUESTS_AT_ONCE = 50;
/** Callers that are remembered; one that is forgotten begins with a full budget. */
const CALLERS_MAX = 4_096;

interface Bucket {
  left: number;
  filledMs: number;
}

/** What a caller may ask. */
export interface RequestRate {
  readonly perSecond: number;
  /** After a pause. */
  readonly atOnce: number;
}

const METADATA_RATE: RequestRate = { perSecond: REQUESTS_PER_SECOND, atOnce: REQUESTS_AT_ONCE };

/** A token bucket for each caller. */
export class RequestBudget {
  readonly #now: () => number;
  readonly #rate: RequestRate;
  readonly #buckets = new Map<string, Bucket>();

  /** @param now - milliseconds, that only grow */
  constructor(now: () => number, rate: RequestRate = METADATA_RATE) {
    this.#now = now;
    this.#rate = rate;
  }

  /** False: it has asked too often. */
  take(caller: string): boolean {
    const nowMs = this.#now();
    const bucket = this.#bucket(caller, nowMs);
    const grown = ((nowMs - bucket.filledMs) / 1000) * this.#rate.perSecond;
    bucket.left = Math.min(this.#rate.atOnce, bucket.left + grown);
    bucket.filledMs = nowMs;
    if (bucket.left < 1) return false;
    bucket.left -= 1;
    return true;
  }

  #bucket(caller: string, nowMs: number): Bucket {
    const known = this.#buckets.get(caller);
    if (known !== undefined) return known;
    if (this.#buckets.size >= CALLERS_MAX) {
      const [oldest = ""] = this.#buckets.keys();
      this.#buckets.delete(oldest);
    }
    const made: Bucket = { left: this.#rate.atOnce, filledMs: nowMs };
    this.#buckets.set(caller, made);
    return made;
  }
}
