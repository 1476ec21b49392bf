import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readUpConfig } from "../../src/cli/fabric/up-config.ts";
import { temporaryFolder } from "../temporary-folder.ts";

function read(text: string, nodes?: number) {
  const path = join(temporaryFolder("up"), "up.yaml");
  writeFileSync(path, text);
  return readUpConfig(path, nodes);
}

describe("readUpConfig()", () => {
  test("without a file there is one node, or as many as are asked for, each a fault domain", () => {
    expect(readUpConfig(undefined, undefined).nodes).toMatchObject([{ name: "node-1" }]);
    const { nodes } = readUpConfig(undefined, 3);
    expect(nodes.map(({ name, faultDomain, address }) => [name, faultDomain, address])).toEqual([
      ["node-1", "node-1", "100.127.0.1/24"],
      ["node-2", "node-2", "100.127.0.2/24"],
      ["node-3", "node-3", "100.127.0.3/24"],
    ]);
    for (const { cpus, memoryMib } of nodes) {
      expect(cpus).toBeGreaterThan(0);
      expect(memoryMib).toBeGreaterThan(127);
    }
  });

  test("takes from the file what it says", () => {
    const config = read(
      "nodes: [{ name: a, faultDomain: rack, cpus: 3, memoryMib: 512 }]\nunderlay: 172.30.0.0/16\nnodeTtlSeconds: 2",
    );
    expect(config.nodes).toEqual([
      { name: "a", faultDomain: "rack", cpus: 3, memoryMib: 512, address: "172.30.0.1/16" },
    ]);
    expect(config.nodeTtlSeconds).toBe(2);
  });

  const wrong: readonly [what: string, text: string, message: string, nodes?: number][] = [
    ["nodes in both places", "nodes: [{ name: a }]", "leave out --nodes", 2],
    ["two nodes of one name", "nodes: [{ name: a }, { name: a }]", "two nodes are called a"],
    [
      "a name that begins another",
      "nodes: [{ name: a }, { name: a-b }]",
      "begins with that of node a",
    ],
    ["the switch's name", "nodes: [{ name: underlay }]", "may be called underlay"],
    [
      "more nodes than addresses",
      "nodes: [{ name: a }, { name: b }, { name: c }]\nunderlay: 10.9.0.0/30",
      "no address for node c",
    ],
    ["a key that nobody knows", "vip: 10.0.0.0/8", "vip"],
  ];
  test.each(wrong)("refuses %s", (_what, text, message, nodes) => {
    expect(() => read(text, nodes)).toThrow(
      expect.objectContaining({
        code: "ERR_USAGE_UP_CONFIG",
        message: expect.stringContaining(message),
      }),
    );
  });
});
