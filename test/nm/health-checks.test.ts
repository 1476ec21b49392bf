import { describe, expect, test } from "vitest";
import type { ProbeResult } from "../../src/nm/endpoint-probe.ts";
import {
  HealthChecks,
  type HealthPolicy,
  judgeTarget,
  type TargetHealth,
} from "../../src/nm/health-checks.ts";

const POLICY: HealthPolicy = { intervalMs: 1, healthyThreshold: 2, unhealthyThreshold: 3 };
const OPEN: ProbeResult = { kind: "open", answer: "connected" };
const CLOSED: ProbeResult = { kind: "closed", reason: "refused" };

/** The kinds after each probe: `+` open, `-` closed. */
function judge(probes: string): string[] {
  let health: TargetHealth = { kind: "unknown" };
  return [...probes].map((probe) => {
    health = judgeTarget(health, probe === "+" ? OPEN : CLOSED, POLICY);
    return health.kind;
  });
}

describe("judgeTarget()", () => {
  test("believes the first probe", () => {
    expect(judge("+")).toEqual(["healthy"]);
    expect(judge("-")).toEqual(["unhealthy"]);
  });

  test("gives a healthy target up after three failures in a row", () => {
    expect(judge("+--+---").at(-2)).toBe("healthy");
    expect(judge("+--+---").at(-1)).toBe("unhealthy");
  });

  test("takes a target back after two good answers in a row", () => {
    expect(judge("-+-+")).toEqual(["unhealthy", "unhealthy", "unhealthy", "unhealthy"]);
    expect(judge("-+-++").at(-1)).toBe("healthy");
  });

  test("keeps the reason", () => {
    expect(judgeTarget({ kind: "unknown" }, CLOSED, POLICY)).toMatchObject({ reason: "refused" });
  });
});

describe("HealthChecks", () => {
  /** Runs checks until `done` is true of the healthy targets that were reported last. */
  async function follow(options: {
    readonly policy?: Partial<HealthPolicy>;
    readonly probe: (target: string) => Promise<ProbeResult>;
    readonly steps: (checks: HealthChecks<string>, healthy: string) => boolean;
    readonly start: readonly string[];
  }): Promise<string[]> {
    const abort = new AbortController();
    const seen: string[] = [];
    const checks: HealthChecks<string> = new HealthChecks({
      policy: { ...POLICY, ...options.policy },
      keyOf: (target) => target,
      probe: options.probe,
      onChange: (healthy) => {
        seen.push(healthy.join(","));
        if (options.steps(checks, seen.at(-1)!)) abort.abort();
      },
    });
    checks.setTargets(options.start);
    await checks.run(abort.signal);
    return seen;
  }

  test("reports the healthy subset when it changes, and only then", async () => {
    let rounds = 0;
    const seen = await follow({
      start: ["a", "b", "c"],
      probe: async (target) => {
        if (target === "a") rounds += 1;
        const isOpen = target === "a" || (target === "b" && rounds < 5);
        return isOpen ? OPEN : CLOSED;
      },
      steps: (_checks, healthy) => healthy === "a",
    });
    expect(seen).toEqual(["a,b", "a"]);
    expect(rounds).toBe(7); // b failed in rounds 5, 6 and 7
  });

  test("probes a new target at once, and forgets one that was taken away", async () => {
    const seen = await follow({
      policy: { intervalMs: 1_000_000 },
      start: ["a"],
      probe: async () => OPEN,
      steps: (checks, healthy) => {
        if (healthy === "a") setImmediate(() => checks.setTargets(["b"]));
        return healthy === "b";
      },
    });
    expect(seen).toEqual(["a", "", "b"]);
  });

  test("a target that only starts is probed eagerly, and healthy with its first good answer", async () => {
    let probes = 0;
    const seen = await follow({
      policy: { intervalMs: 1_000_000 },
      start: ["a"],
      probe: async () => {
        probes += 1;
        return probes === 2 ? OPEN : CLOSED;
      },
      steps: (_checks, healthy) => healthy === "a",
    });
    expect(seen).toEqual(["a"]);
    expect(probes).toBe(2);
  });

  test("takes a probe that throws for a failure", async () => {
    const checks = new HealthChecks<string>({
      policy: POLICY,
      keyOf: (target) => target,
      probe: () => Promise.reject(new Error("no namespace")),
      onChange: () => undefined,
    });
    checks.setTargets(["a"]);
    const abort = new AbortController();
    const running = checks.run(abort.signal);
    while (checks.healthOf("a")?.kind === "unknown") await new Promise(setImmediate);
    abort.abort();
    await running;
    expect(checks.healthOf("a")).toMatchObject({
      kind: "unhealthy",
      reason: "Error: no namespace",
    });
    expect(checks.healthOf("b")).toBeUndefined();
  });

  test("has at most 32 probes under way", async () => {
    let [now, most] = [0, 0];
    await follow({
      start: Array.from({ length: 100 }, (_, index) => `t${index}`),
      probe: async () => {
        now += 1;
        most = Math.max(most, now);
        await new Promise(setImmediate);
        now -= 1;
        return OPEN;
      },
      steps: () => true,
    });
    expect(most).toBe(32);
  });
});
