/** Token buckets in arrays: each fills at a steady rate up to its size, and every frame takes one token out. */

/** Tokens a second, and how many a bucket holds: what may come at once. */
export interface BucketSize {
  readonly rate: number;
  readonly burst: number;
}

/** A fixed number of buckets of one size. Nothing is allocated after the constructor. */
export class TokenBuckets {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #tokens: Float64Array;
  readonly #filledMs: Float64Array;

  constructor(count: number, { rate, burst }: BucketSize) {
    this.#perMs = rate / 1000;
    this.#burst = burst;
    this.#tokens = new Float64Array(count).fill(burst);
    this.#filledMs = new Float64Array(count);
  }

  /** Makes a bucket full. */
  fill(index: number, nowMs: number): void {
    this.#tokens[index] = this.#burst;
    this.#filledMs[index] = nowMs;
  }

  /**
   * Takes a token out, if that leaves at least `reserve` tokens.
   *
   * @returns the tokens that are left, or -1 if there were not enough
   */
  take(index: number, nowMs: number, reserve = 0): number {
    // A clock that steps back takes nothing away.
    const elapsedMs = Math.max(0, nowMs - this.#filledMs[index]!);
    const tokens = Math.min(this.#burst, this.#tokens[index]! + elapsedMs * this.#perMs);
    this.#filledMs[index] = nowMs;
    const isEnough = tokens >= 1 + reserve;
    this.#tokens[index] = isEnough ? tokens - 1 : tokens;
    return isEnough ? tokens - 1 : -1;
  }
}
