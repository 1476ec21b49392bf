/** How often a guest may do something. */

/** The service's own rule for telemetry. */
export const TELEMETRY_CALLS_MAX = 15;
export const TELEMETRY_PERIOD_MS = 15_000;
/**
 * Of requests for what is encrypted to the guest's own certificate: each costs the host some milliseconds. An agent asks
 * twice at its start, once for each new goal state, and again with another cipher.
 */
export const SECRET_CALLS_MAX = 30;
export const SECRET_PERIOD_MS = 15_000;
/** Beyond, the guest that was quiet longest is forgotten: it may then do as much again. */
const GUESTS_MAX = 16_384;

/** Counts calls of guests in periods of the same length. */
export class RateRule {
  readonly #callsMax: number;
  readonly #periodMs: number;
  readonly #now: () => number;
  /** The present period of each guest, in order of their begin. */
  readonly #periods = new Map<string, { readonly startMs: number; calls: number }>();

  /** @param now - milliseconds of a clock that is never set back */
  constructor(callsMax: number, periodMs: number, now: () => number) {
    this.#callsMax = callsMax;
    this.#periodMs = periodMs;
    this.#now = now;
  }

  /** Counts a call; false if it is too much. */
  admits(guest: string): boolean {
    const now = this.#now();
    const period = this.#periods.get(guest);
    if (period !== undefined && now - period.startMs < this.#periodMs) {
      period.calls += 1;
      return period.calls <= this.#callsMax;
    }
    this.#periods.delete(guest);
    if (this.#periods.size >= GUESTS_MAX) this.#periods.delete(this.#periods.keys().next().value!);
    this.#periods.set(guest, { startMs: now, calls: 1 });
    return this.#callsMax >= 1;
  }
}
