import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NodeTable } from "../../../src/compute/manager/node-table.ts";
import {
  type Candidate,
  chooseNode,
  hasRoom,
  NODES_NAMED_MAX,
} from "../../../src/compute/manager/placement.ts";

const NEED = { cpus: 1, memoryMib: 512 };

function candidate(node: string, change: Partial<Candidate> = {}): Candidate {
  const room = { cpus: 4, memoryMib: 4096 };
  return { node, faultDomain: node, total: room, free: room, ofRole: 0, ...change };
}

function chosen(
  candidates: readonly Candidate[],
  failedNodes: readonly string[] = [],
  faultDomains = 9,
): string {
  const choice = chooseNode(candidates, { ...NEED, failedNodes, faultDomains });
  return choice.kind === "node" ? choice.node : choice.reason;
}

describe("chooseNode", () => {
  test("spreads over fault domains, then over nodes, then takes the one with most room, then by name", () => {
    const crowdedDomain = [
      candidate("a", { faultDomain: "1", ofRole: 0 }),
      candidate("b", { faultDomain: "1", ofRole: 2 }),
      candidate("c", { faultDomain: "2", ofRole: 1, free: NEED }),
    ];
    expect(chosen(crowdedDomain)).toBe("c");
    expect(chosen(crowdedDomain.slice(0, 2))).toBe("a");
    const half = { cpus: 2, memoryMib: 2048 };
    expect(chosen([candidate("a", { free: half }), candidate("b")])).toBe("b");
    expect(chosen([candidate("b"), candidate("a")])).toBe("a");
  });

  test("avoids a node where it failed, while another one could hold it", () => {
    const full = { cpus: 0, memoryMib: 0 };
    const nodes = [candidate("a"), candidate("b", { ofRole: 5 })];
    expect(chosen(nodes, ["a"])).toBe("b");
    expect(chosen(nodes, ["a", "b"])).toBe("a");
    expect(chosen([candidate("a"), candidate("b", { free: full })], ["a"])).toBe(
      "needs 1 CPU and 512 MiB; a has 4 CPUs and 4096 MiB free, but it failed there; " +
        "b has 0 CPUs and 0 MiB free",
    );
    expect(chosen([candidate("a"), candidate("b", { free: full, total: full })], ["a"])).toBe("a");
  });

  test("goes beyond the wanted number of fault domains only if these have no room", () => {
    const full = { cpus: 0, memoryMib: 0 };
    const nodes = [candidate("a", { ofRole: 1 }), candidate("b", { ofRole: 2 }), candidate("c")];
    expect(chosen(nodes, [], 3)).toBe("c");
    expect(chosen(nodes, [], 2)).toBe("a");
    const crowded = nodes.map((one) => (one.ofRole > 0 ? { ...one, free: full } : one));
    expect(chosen(crowded, [], 2)).toBe("c");
  });

  test("says that no node is up, and names a bounded number of nodes", () => {
    expect(chosen([])).toBe("needs 1 CPU and 512 MiB; no node is up");
    const free = { cpus: 0, memoryMib: 8 };
    const many = Array.from({ length: 200 }, (_, index) => candidate(`n${index}`, { free }));
    const reason = chosen(many);
    expect(reason.split("free").length - 1).toBe(NODES_NAMED_MAX);
    expect(reason).toMatch(/; 192 more have less$/);
  });
});

describe("NodeTable", () => {
  const NODES = ["n1", "n2", "n3"];
  const status = (node: string, cpus: number) => ({
    ...{ node, faultDomain: node, cpus, memoryMib: 4096 },
    ...{ hypervisor: "", version: "", pid: 1, sinceMs: 0 },
  });
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("assign" as const),
      container: fc.nat(9),
      node: fc.constantFrom("", ...NODES),
      cpus: fc.integer({ min: 1, max: 3 }),
    }),
    fc.record({ kind: fc.constant("release" as const), container: fc.nat(9) }),
    fc.record({
      kind: fc.constant("up" as const),
      node: fc.constantFrom(...NODES),
      cpus: fc.nat(9),
    }),
    fc.record({ kind: fc.constant("down" as const), node: fc.constantFrom(...NODES) }),
  );

  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

  test("agrees with a count of everything after any changes", () => {
    const agrees = (steps: readonly Step[]): void => {
      const table = new NodeTable();
      const shares = new Map<
        string,
        { node: string; cpus: number; memoryMib: number; group: string }
      >();
      const up = new Map<string, number>();
      for (const one of steps) {
        if (one.kind === "up") {
          table.put(status(one.node, one.cpus));
          up.set(one.node, one.cpus);
        } else if (one.kind === "down") {
          table.remove(one.node);
          up.delete(one.node);
        } else if (one.kind === "release") {
          table.release(`c${one.container}`);
          shares.delete(`c${one.container}`);
        } else {
          const group = `g${one.container % 2}`;
          const share = { node: one.node, cpus: one.cpus, memoryMib: 100, group };
          table.assign(`c${one.container}`, share);
          shares.set(`c${one.container}`, share);
        }
      }
      const on = (node: string) => [...shares].filter(([, share]) => share.node === node);
      for (const node of NODES) {
        expect(new Set(table.containersOn(node))).toEqual(new Set(on(node).map(([name]) => name)));
        expect(table.isUp(node)).toBe(up.has(node));
      }
      for (const { node, free, ofRole } of table.candidates("g0", "c99")) {
        const used = on(node).reduce((sum, [, { cpus }]) => sum + cpus, 0);
        expect(free.cpus).toBe(up.get(node)! - used);
        expect(ofRole).toBe(on(node).filter(([, { group }]) => group === "g0").length);
      }
      expect(table.candidates("g0", "c0").length).toBe(up.size);
      for (const [name, { node, cpus }] of shares) {
        if (up.has(node))
          expect(table.fits(name, node, { cpus, memoryMib: 1 })).toBe(
            hasRoom(
              { ...table.free(node)!, cpus: table.free(node)!.cpus + cpus },
              { cpus, memoryMib: 1 },
            ),
          );
      }
    };
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), agrees));
  });
});
