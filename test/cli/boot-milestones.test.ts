import { expect, test } from "vitest";
import { createNodeTrace } from "../../src/cli/boot-milestones.ts";
import type { Milestone } from "../../src/model/milestone.ts";

/** A node's trace, and what it told the trace behind it, in order. */
function traced() {
  const told: Milestone[] = [];
  const trace = createNodeTrace({
    reach: (_container, milestone) => void told.push(milestone),
    hasReached: (_container, milestone) => told.includes(milestone),
    joinBoot: async () => undefined,
    furthest: () => told.at(-1),
    leave: () => undefined,
    settled: async () => undefined,
  });
  return { told, reach: (milestone: Milestone) => trace.reach("web_0", milestone, {}) };
}

test("a port that is programmed before its VM is said to be created is told right after it", () => {
  const { told, reach } = traced();
  for (const milestone of [
    "image-ready",
    "port-programmed",
    "vm-created",
    "dhcp-discover",
  ] as const) {
    reach(milestone);
  }
  expect(told).toEqual(["image-ready", "vm-created", "port-programmed", "dhcp-discover"]);
});

test("a port of a VM that another process created is told with the next step", () => {
  const { told, reach } = traced();
  reach("port-programmed");
  expect(told).toEqual([]);
  reach("dhcp-discover");
  expect(told).toEqual(["port-programmed", "dhcp-discover"]);
});

test("a port that is programmed after its VM was created is told at once, and once", () => {
  const { told, reach } = traced();
  for (const milestone of ["vm-created", "port-programmed", "dhcp-ack"] as const) reach(milestone);
  expect(told).toEqual(["vm-created", "port-programmed", "dhcp-ack"]);
});
