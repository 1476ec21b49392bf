import { describe, expect, test } from "vitest";
import {
  type Assignment,
  createDhcpRequest,
  createOptionProfile,
  createRequestContext,
  type RequestContext,
} from "../../src/dhcp/index.ts";
import { parseIpv4, parseSubnet } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import {
  createChain,
  createHardwarePlugin,
  createNmPlugin,
  NEXT,
  type Plugin,
  type ResolveVerdict,
} from "../../src/wds/index.ts";

const MAC = parseMac("00:0c:01:00:00:01");
const REQUEST = Object.assign(createDhcpRequest(), { chaddr: MAC });
const CONTEXT: RequestContext = createRequestContext();
const PROFILE = createOptionProfile({
  subnet: parseSubnet("10.0.0.0/24"),
  ...{ dns: [], leaseSeconds: 3600, mtu: 1500, routes: [], authoritative: true },
});
const assignmentOf = (address: string): Assignment => ({
  address: parseIpv4(address),
  profile: PROFILE,
});

function plugin(name: string, resolve: () => ResolveVerdict): Plugin & { asked: number } {
  const made = {
    name,
    asked: 0,
    resolve: () => {
      made.asked += 1;
      return resolve();
    },
  };
  return made;
}

describe("createChain()", () => {
  test("asks in order until one has an opinion, and counts who decided", () => {
    const first = plugin("first", () => NEXT);
    const second = plugin("second", () => ({ kind: "drop", reason: "port.mismatch" }));
    const third = plugin("third", () => ({ kind: "wrong-network" }));
    const chain = createChain([first, second, third]);
    expect(chain.decide(REQUEST, CONTEXT)).toEqual({ kind: "drop", reason: "port.mismatch" });
    expect([first.asked, second.asked, third.asked]).toEqual([1, 1, 0]);
    expect(Object.fromEntries(chain.counters)).toEqual({
      first: { decided: 0, failed: 0, timedOut: 0 },
      second: { decided: 1, failed: 0, timedOut: 0 },
      third: { decided: 0, failed: 0, timedOut: 0 },
    });
  });

  test("is silent where nobody has an opinion", () => {
    expect(createChain([]).decide(REQUEST, CONTEXT)).toEqual({ kind: "unknown" });
    const chain = createChain([plugin("only", () => NEXT)]);
    expect(chain.decide(REQUEST, CONTEXT)).toEqual({ kind: "unknown" });
  });

  test("a provider that throws is an error, not a refusal, and later ones are not asked", () => {
    const broken = plugin("broken", () => {
      throw new Error("no");
    });
    const later = plugin("later", () => ({
      kind: "assigned",
      assignment: assignmentOf("10.0.0.9"),
    }));
    const chain = createChain([broken, later]);
    expect(chain.decide(REQUEST, CONTEXT)).toEqual({ kind: "error", reason: "plugin.broken" });
    expect([chain.counters.get("broken")?.failed, later.asked]).toEqual([1, 0]);
    chain.decide(REQUEST, CONTEXT);
    expect(chain.counters.get("broken")?.failed).toBe(2);
  });

  test("the hardware manager answers for its hosts, the network manager for its NICs", () => {
    const host = assignmentOf("10.0.0.2");
    const nic = assignmentOf("10.0.0.3");
    const chainOf = (isHost: boolean, isNic: boolean) =>
      createChain([
        createHardwarePlugin({ findHost: (mac) => (isHost && mac === MAC ? host : undefined) }),
        createNmPlugin({ findByMac: (mac) => (isNic && mac === MAC ? nic : undefined) }),
      ]).decide(REQUEST, CONTEXT);
    expect(chainOf(true, true)).toEqual({ kind: "assigned", assignment: host });
    expect(chainOf(false, true)).toEqual({ kind: "assigned", assignment: nic });
    expect(chainOf(false, false)).toEqual({ kind: "unknown" });
  });

  test("a NIC that is seen on another port than its own is dropped, an unknown one is passed on", () => {
    const nic = assignmentOf("10.0.0.3");
    const decide = (mac: number) =>
      createChain([
        createNmPlugin({
          findByMac: (asked) => (asked === mac ? nic : undefined),
          isElsewhere: () => true,
        }),
      ]).decide(REQUEST, CONTEXT);
    expect(decide(MAC)).toMatchObject({ kind: "drop", reason: "port.mismatch" });
    expect(decide(0)).toEqual({ kind: "unknown" });
  });
});
