/** What the agent needs from outside: time, chance and a voice. `main.ts` has the real ones, tests have others. */

/** Time and chance. */
export interface AgentEdge {
  /** Milliseconds; only differences count. */
  now(): number;
  /** Resolves after `ms`, or as soon as `signal` aborts; never rejects. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** 0 <= value < 1 */
  random(): number;
  /** Writes one line to the console. */
  log(line: string): void;
}

/** Waits that grow: 1, 2, 4 ... times `baseMs`, at most `maxMs`. */
export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
}

/**
 * The wait before try number `failures + 1`.
 *
 * @param failures - how often it failed, 1 or more
 * @param random - 0 to 1; spreads the wait over its upper half, so that a node's guests do not come all at once
 */
export function backoffMs({ baseMs, maxMs }: Backoff, failures: number, random: number): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return full / 2 + (full / 2) * random;
}
