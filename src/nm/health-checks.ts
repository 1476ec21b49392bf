/**
 * Checks the targets of public endpoints again and again, and says which are healthy. The judgement is a pure function;
 * the class around it only keeps time.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ProbeResult } from "./endpoint-probe.ts";

/** How a target is judged. */
export interface HealthPolicy {
  /** From the end of a round to the next. */
  readonly intervalMs: number;
  /** Good answers in a row until a target that failed is healthy again. */
  readonly healthyThreshold: number;
  /** Failures in a row until a healthy target is not. */
  readonly unhealthyThreshold: number;
}

/** A guest that stops answering gets no new flows after some 4 s. */
export const HEALTH_POLICY_DEFAULT: HealthPolicy = {
  intervalMs: 2_000,
  healthyThreshold: 2,
  unhealthyThreshold: 2,
};

/** A target that was never healthy is only just starting: so often, and so many times, it is probed more eagerly. */
const START_INTERVAL_MS = 500;
const START_PROBES_MAX = 60;

/** Probes under way at once. */
const PROBES_MAX = 32;

/** What is known of a target. */
export type TargetHealth =
  /** It was not asked yet, and gets no flows. */
  | { readonly kind: "unknown" }
  | { readonly kind: "healthy"; readonly failures: number }
  | { readonly kind: "unhealthy"; readonly successes: number; readonly reason: string };

/** Judges a target by one more probe. The first one decides alone. */
export function judgeTarget(
  health: TargetHealth,
  result: ProbeResult,
  policy: HealthPolicy,
): TargetHealth {
  if (result.kind === "open") {
    if (health.kind !== "unhealthy") return { kind: "healthy", failures: 0 };
    const successes = health.successes + 1;
    return successes >= policy.healthyThreshold
      ? { kind: "healthy", failures: 0 }
      : { ...health, successes };
  }
  const { reason } = result;
  if (health.kind !== "healthy") return { kind: "unhealthy", successes: 0, reason };
  const failures = health.failures + 1;
  return failures >= policy.unhealthyThreshold
    ? { kind: "unhealthy", successes: 0, reason }
    : { kind: "healthy", failures };
}

export interface HealthChecksOptions<Target> {
  readonly policy: HealthPolicy;
  /** Targets with the same key are the same target. */
  readonly keyOf: (target: Target) => string;
  readonly probe: (target: Target) => Promise<ProbeResult>;
  /** Called after a round in which a target became healthy or unhealthy, and when the targets were changed. */
  readonly onChange: (healthy: readonly Target[]) => void;
}

interface Entry<Target> {
  readonly target: Target;
  health: TargetHealth;
  /** Probes until it was healthy for the first time; undefined since then. */
  startProbes: number | undefined;
}

/** Follows the health of a set of targets; see {@link HealthChecks.run}. */
export class HealthChecks<Target> {
  readonly #options: HealthChecksOptions<Target>;
  readonly #targets = new Map<string, Entry<Target>>();
  #wake: () => void = () => undefined;
  #isWoken = false;

  constructor(options: HealthChecksOptions<Target>) {
    this.#options = options;
  }

  /** Replaces the targets; those that stay keep their health, new ones are probed at once. */
  setTargets(targets: readonly Target[]): void {
    const { keyOf, onChange } = this.#options;
    const before = this.#healthyKeys();
    const wanted = new Map(targets.map((target) => [keyOf(target), target]));
    for (const key of this.#targets.keys()) if (!wanted.has(key)) this.#targets.delete(key);
    for (const [key, target] of wanted) {
      const known = this.#targets.get(key);
      const { health, startProbes } = known ?? { health: { kind: "unknown" }, startProbes: 0 };
      this.#targets.set(key, { target, health, startProbes });
      if (health.kind === "unknown") this.#isWoken = true;
    }
    if (this.#isWoken) this.#wake();
    if (this.#healthyKeys() !== before) onChange(this.healthy());
  }

  /** The targets that may get flows. */
  healthy(): Target[] {
    return this.#entries("healthy").map(({ target }) => target);
  }

  /** What is known of a target; undefined if it is none. */
  healthOf(target: Target): TargetHealth | undefined {
    return this.#targets.get(this.#options.keyOf(target))?.health;
  }

  /** Probes all targets, round after round, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#isWoken = false;
      await this.#round(signal);
      await this.#pause(signal);
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const before = this.#healthyKeys();
    const queue = [...this.#targets.keys()].values();
    const worker = async () => {
      for (const key of queue) if (!signal.aborted) await this.#probe(key);
    };
    await Promise.all(Array.from({ length: Math.min(PROBES_MAX, this.#targets.size) }, worker));
    if (!signal.aborted && this.#healthyKeys() !== before) this.#options.onChange(this.healthy());
  }

  async #probe(key: string): Promise<void> {
    const entry = this.#targets.get(key);
    if (entry === undefined) return; // taken away during the round
    const { probe, policy } = this.#options;
    const result = await probe(entry.target).catch(
      (error: unknown): ProbeResult => ({ kind: "closed", reason: String(error) }),
    );
    // It may have been replaced meanwhile: what is judged is what is there now.
    const now = this.#targets.get(key);
    if (now === undefined) return;
    if (now.startProbes !== undefined) {
      // What it was before it started says nothing against it.
      now.health = judgeTarget({ kind: "unknown" }, result, policy);
      now.startProbes = now.health.kind === "healthy" ? undefined : now.startProbes + 1;
    } else now.health = judgeTarget(now.health, result, policy);
  }

  async #pause(signal: AbortSignal): Promise<void> {
    if (this.#isWoken || signal.aborted) return;
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    const either = AbortSignal.any([signal, woken.signal]);
    await delay(this.#pauseMs(), undefined, { signal: either }).catch(() => undefined);
  }

  #pauseMs(): number {
    const { intervalMs } = this.#options.policy;
    const isStarting = [...this.#targets.values()].some(
      ({ startProbes }) => startProbes !== undefined && startProbes < START_PROBES_MAX,
    );
    return isStarting ? Math.min(START_INTERVAL_MS, intervalMs) : intervalMs;
  }

  #entries(kind: TargetHealth["kind"]) {
    return [...this.#targets.values()].filter(({ health }) => health.kind === kind);
  }

  #healthyKeys(): string {
    return this.healthy().map(this.#options.keyOf).sort().join(" ");
  }
}
