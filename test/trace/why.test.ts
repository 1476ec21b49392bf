import { describe, expect, test } from "vitest";
import { MILESTONES, type Milestone } from "../../src/model/milestone.ts";
import { type Evidence, findWait, type TimelineEntry, why } from "../../src/trace/index.ts";

const entry = (milestone: Milestone, atMs: number, evidence: Evidence = {}): TimelineEntry => ({
  ...{ milestone, atMs, sinceStartMs: atMs, evidence },
});

describe("why()", () => {
  test("names the step, the time, the actor, the cause, the evidence and the place", () => {
    const timeline = [
      entry("port-programmed", 1_000),
      entry("dhcp-ack", 2_000, { ip: "10.0.0.4" }),
    ];
    expect(why(timeline, 190_000)).toBe(
      "It waits for the first request to the wire server (agent-contact) for 3 min 8 s, since dhcp-ack " +
        "(ip 10.0.0.4): the guest agent must act; usually the agent is not installed, or the guest has no " +
        "route to 168.63.129.16; look at the guest's console, and /var/log/waagent.log in the guest.",
    );
  });

  test("speaks of a boot in which nothing has happened", () => {
    expect(why([], 5_000)).toMatch(/^It waits for a node \(placed\) and nothing has happened yet:/);
  });

  test("says when there is nothing left to wait for", () => {
    const done = [entry("endpoint-open", 12_300, { port: 80 })];
    const text = "It waits for nothing: endpoint-open was reached 12 s after the start (port 80).";
    expect(why(done, 99_000)).toBe(text);
    expect(why([entry("dhcp-ack", 400)], 99_000, ["placed", "dhcp-ack"])).toContain("0.4 s after");
  });

  test("goes by the furthest step, not by the latest", () => {
    const timeline = [entry("agent-contact", 1_000), entry("dhcp-ack", 2_000)];
    expect(findWait(timeline, 3_000)).toMatchObject({ next: "goalstate-fetched", waitedMs: 2_000 });
  });

  test("skips what the container is not expected to reach", () => {
    const expected: Milestone[] = ["placed", "dhcp-ack", "endpoint-open"];
    expect(findWait([entry("dhcp-ack", 0)], 10, expected)?.next).toBe("endpoint-open");
  });

  for (const [index, next] of MILESTONES.entries()) {
    test(`has one sentence for ${next}`, () => {
      const timeline = MILESTONES.slice(0, index).map((milestone) => entry(milestone, 0));
      const text = why(timeline, 3 * 3600_000);
      expect(text).toContain(`(${next})`);
      expect(text.match(/[.] /g)).toBeNull();
      if (index > 0) expect(text).toContain("for 3 h 0 min");
    });
  }
});
