/** Epoch milliseconds with fractions: differences are exact, and the clock's own corrections are followed. */

/** So long, a correction of the wall clock may go unseen. */
const ANCHOR_MS = 60_000;

/**
 * @param wall - epoch milliseconds
 * @param monotonic - milliseconds, with fractions
 */
export function wallClock(wall: () => number, monotonic: () => number): () => number {
  let anchoredMs = Number.NEGATIVE_INFINITY;
  let offsetMs = 0;
  return () => {
    const nowMs = monotonic();
    if (nowMs - anchoredMs >= ANCHOR_MS) {
      anchoredMs = nowMs;
      offsetMs = wall() - nowMs;
    }
    return nowMs + offsetMs;
  };
}
