/** A histogram of latencies in whole microseconds; recording allocates nothing. */

const LATENCY_US_MAX = 2_000_000;

/** Percentiles in microseconds; all 0 if nothing was recorded. */
export interface LatencySummary {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export class Latencies {
  readonly #counts = new Uint32Array(LATENCY_US_MAX + 1);
  #total = 0;
  #max = 0;

  /** Records one latency; those above 2 s count as 2 s. */
  record(milliseconds: number): void {
    const microseconds = Math.min(Math.round(milliseconds * 1000), LATENCY_US_MAX);
    this.#counts[microseconds]! += 1;
    this.#total += 1;
    if (microseconds > this.#max) this.#max = microseconds;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
    this.#max = 0;
  }

  summarise(): LatencySummary {
    return {
      p50: this.#percentile(0.5),
      p99: this.#percentile(0.99),
      p999: this.#percentile(0.999),
      max: this.#max,
    };
  }

  #percentile(share: number): number {
    const rank = Math.ceil(this.#total * share);
    let seen = 0;
    for (let microseconds = 0; microseconds <= this.#max; microseconds++) {
      seen += this.#counts[microseconds]!;
      if (seen >= rank && seen > 0) return microseconds;
    }
    return 0;
  }
}
