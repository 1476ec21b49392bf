import { describe, expect, test } from "vitest";
import { readMac } from "../../src/model/mac-address.ts";
import {
  addressHolderOf,
  chooseInterfaces,
  INTERFACES_MAX,
  parseInterfaceSelector,
} from "../../src/net/interface-selection.ts";
import type { Link } from "../../src/net/link-messages.ts";

const link = (ifindex: number, name: string, changes: Partial<Link> = {}): Link => ({
  ifindex,
  name,
  isEthernet: true,
  isUp: true,
  hasCarrier: true,
  mtu: 1500,
  mac: readMac(new Uint8Array(6), 0),
  hasXdp: false,
  ...changes,
});
const mapOf = (...links: readonly Link[]) => new Map(links.map((one) => [one.ifindex, one]));
const NOTHING: ReadonlySet<number> = new Set();
const choose = (links: ReadonlyMap<number, Link>, texts: readonly string[], before = NOTHING) => {
  const { chosen, served } = chooseInterfaces(links, before, texts.map(parseInterfaceSelector));
  return { chosen, served: served.map(({ name }) => name) };
};

describe("parseInterfaceSelector()", () => {
  const matching: readonly (readonly [pattern: string, yes: string, no: string])[] = [
    ["tap*", "tap0", "xtap0"],
    ["*0", "eth0", "eth1"],
    ["tap?", "tap1", "tap10"],
    ["vm[0-9]", "vm7", "vma"],
    ["vm[!0-9]", "vma", "vm7"],
    ["[]a]", "]", "b"],
    ["[[]x", "[x", "x"],
    ["a.b", "a.b", "axb"],
    ["a.*", "a.1", "ab1"],
    ["a+*", "a+1", "aa1"],
    ["[\\d]", "d", "5"],
    ["[a^]", "^", "b"],
  ];
  for (const [pattern, yes, no] of matching) {
    test(`${pattern} matches "${yes}" and not "${no}"`, () => {
      const { matches } = parseInterfaceSelector(pattern);
      expect([matches(yes), matches(no)]).toEqual([true, false]);
    });
  }

  test("a name is no pattern, and matches itself alone", () => {
    const selector = parseInterfaceSelector("eth0.5");
    expect(selector).toMatchObject({ text: "eth0.5", isPattern: false });
    expect([selector.matches("eth0.5"), selector.matches("eth0x5")]).toEqual([true, false]);
  });

  for (const bad of ["", "a b", "a/b", "sixteencharacter", "tap[0", "[z-a]", "*".repeat(65)]) {
    test(`"${bad}" is refused`, () => {
      expect(() => parseInterfaceSelector(bad)).toThrow("is not the name of an interface");
    });
  }
});

describe("chooseInterfaces()", () => {
  const lo = link(1, "lo", { isEthernet: false });

  test("a pattern chooses Ethernet interfaces only, a name any", () => {
    const links = mapOf(lo, link(2, "eth0"), link(3, "tun0", { isEthernet: false }));
    expect(choose(links, ["*"]).served).toEqual(["eth0"]);
    expect(choose(links, ["lo"]).served).toEqual(["lo"]);
  });

  test("what is down, or has no carrier, is served", () => {
    expect(
      choose(mapOf(link(2, "tap0", { isUp: false, hasCarrier: false })), ["tap*"]).served,
    ).toEqual(["tap0"]);
  });

  test("a renamed interface stays chosen, and one of the old name is chosen as well", () => {
    const { chosen } = choose(mapOf(link(2, "tap0")), ["tap0"]);
    const links = mapOf(link(2, "other"), link(5, "tap0"));
    expect(choose(links, ["tap0"], chosen).served).toEqual(["other", "tap0"]);
  });

  test("a port of a chosen bridge is left to the bridge, until it leaves it", () => {
    const bridge = link(9, "br0", { kind: "bridge" });
    const texts = ["br0", "tap*"];
    const { chosen, served } = choose(mapOf(bridge, link(2, "tap0", { master: 9 })), texts);
    expect(served).toEqual(["br0"]);
    expect(choose(mapOf(bridge, link(2, "tap0")), texts, chosen).served).toEqual(["br0", "tap0"]);
  });

  test("a port of a bridge that is not chosen is served", () => {
    const links = mapOf(link(9, "br0", { kind: "bridge" }), link(2, "tap0", { master: 9 }));
    expect(choose(links, ["tap*"]).served).toEqual(["tap0"]);
  });

  test("there is a most", () => {
    const many = Array.from({ length: INTERFACES_MAX + 1 }, (_, n) => link(n + 1, `tap${n}`));
    expect(choose(mapOf(...many), ["tap*"]).served).toHaveLength(INTERFACES_MAX);
  });
});

test("addressHolderOf() is a port's bridge, and else the interface itself", () => {
  const bridge = link(9, "br0", { kind: "bridge" });
  const vrf = link(8, "vrf0", { kind: "vrf" });
  const links = mapOf(bridge, vrf);
  expect(addressHolderOf(links, link(2, "a", { master: 9 })).name).toBe("br0");
  expect(addressHolderOf(links, link(2, "a", { master: 8 })).name).toBe("a");
  expect(addressHolderOf(links, link(2, "a", { master: 7 })).name).toBe("a");
  expect(addressHolderOf(links, link(2, "a")).name).toBe("a");
});
