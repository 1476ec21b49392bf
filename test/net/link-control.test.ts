import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { changeLinks, dumpLinks } from "../../src/net/link-control.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { readGeneration, readNftGeneration } from "../../src/net/nft-generation.ts";
import { canMakeNamespaces, ipBatch, makeNamespace } from "./namespaces.ts";

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("link control (needs root)", () => {
  test("opens and closes a hundred ports in one call; one that is gone is named and holds up no other", () => {
    using space = makeNamespace("control");
    const names = Array.from({ length: 100 }, (_, index) => `p${index}`);
    ipBatch(space.name, [
      "link add name br9 type bridge",
      ...names.map((name) => `link add name ${name} type veth peer name q${name}`),
    ]);
    const look = () => inNamespace(space.name, dumpLinks);
    const ports = () => look().filter(({ name }) => names.includes(name));
    const master = look().find(({ name }) => name === "br9")!.ifindex;
    const gone = { ifindex: 9_999, isUp: true };
    const open = ports().flatMap(({ ifindex }) => [
      { ifindex, master },
      { ifindex, isUp: true },
    ]);
    const failures = inNamespace(space.name, () => changeLinks([gone, ...open]));
    expect([...failures]).toEqual([[0, "ENODEV"]]);
    expect(ports().filter((port) => port.isUp && port.master === master)).toHaveLength(100);
    const close = ports().flatMap(({ ifindex }) => [
      { ifindex, isUp: false },
      { ifindex, master: 0 },
    ]);
    expect(inNamespace(space.name, () => changeLinks(close)).size).toBe(0);
    expect(ports().filter((port) => port.isUp || port.master !== undefined)).toEqual([]);
  });

  test("the ruleset's number stays while nobody changes it, and grows when somebody does", () => {
    using space = makeNamespace("control");
    const read = () => inNamespace(space.name, readNftGeneration)!;
    const before = read();
    expect(read()).toBe(before);
    execFileSync("ip", ["netns", "exec", space.name, "nft", "add", "table", "inet", "x"]);
    expect(read()).toBeGreaterThan(before);
  });

  test("an answer that is cut, or of something else, has no number", () => {
    for (const bytes of [0, 16, 27, 28, 64]) {
      expect(readGeneration(Buffer.alloc(bytes))).toBeUndefined();
    }
  });
});
