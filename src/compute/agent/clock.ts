/** Time for the compute agent: the real one comes from the CLI, tests have another. */

export interface AgentClock {
  /** Epoch milliseconds, for what is written down. */
  now(): number;
  /** Milliseconds of a clock that never jumps, for deadlines. */
  monotonic(): number;
  /** Calls `callback` once after `ms`, unless the returned function was called before. */
  after(ms: number, callback: () => void): () => void;
}

/** A clock with the process's own timers, which do not keep the process alive. */
export function systemClock(now: () => number): AgentClock {
  return {
    now,
    monotonic: () => performance.now(),
    after: (ms, callback) => {
      const timer = setTimeout(callback, ms).unref();
      return () => clearTimeout(timer);
    },
  };
}

/** Resolves after `ms`, or as soon as `signal` aborts; never rejects. */
export function pause(clock: AgentClock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.after(ms, done);
    signal.addEventListener("abort", done, { once: true });
  });
}
