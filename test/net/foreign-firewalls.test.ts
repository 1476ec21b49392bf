import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { findForeignFirewalls, readForeignFirewalls } from "../../src/net/foreign-firewalls.ts";
import { applyPortFilter } from "../../src/net/port-filter.ts";
import { canMakeNamespaces, makeNamespace } from "./namespaces.ts";

function nft(namespace: string, script: string): void {
  execFileSync("ip", ["netns", "exec", namespace, "nft", "-f", "-"], { input: script });
}

const DOCKER = `table ip filter {
  chain DOCKER-USER { return; }
  chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }
}`;
const UFW = `table ip filter {
  chain ufw-before-input { accept; }
  chain INPUT { type filter hook input priority 0; policy drop; jump ufw-before-input; }
}`;
const FIREWALLD = `table inet firewalld {
  chain filter_FORWARD { type filter hook forward priority 10; policy accept; reject; }
}`;

describe("findForeignFirewalls()", () => {
  test("reads what iptables-save says where the old interface is in use", () => {
    const iptablesSave =
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\nCOMMIT\n";
    const found = findForeignFirewalls({
      ruleset: undefined,
      iptablesSave,
      bridgeCallsIptables: true,
    });
    expect(found).toMatchObject([
      { name: "Docker", evidence: expect.stringContaining("filter/FORWARD") },
    ]);
    expect(found[0]!.effect).toContain("bridge-nf-call-iptables");
  });

  test("finds nothing in nothing, and nothing in what it cannot read", () => {
    for (const ruleset of [
      undefined,
      null,
      7,
      { nftables: [] },
      { nftables: [{ metainfo: {} }] },
    ]) {
      expect(findForeignFirewalls({ ruleset, bridgeCallsIptables: true })).toEqual([]);
    }
  });
});

describe.skipIf(!canMakeNamespaces && !process.env["CI"])(
  "foreign firewalls (needs root, nft)",
  () => {
    const cases = [
      { name: "Docker", script: DOCKER, effect: "forwarded" },
      { name: "ufw", script: UFW, effect: "to this namespace" },
      { name: "firewalld", script: FIREWALLD, effect: "its policies do not" },
      {
        name: "mine",
        script:
          "table inet mine { chain f { type filter hook forward priority 0; policy drop; }; }",
        effect: "forwarded",
      },
    ];
    for (const { name, script, effect } of cases) {
      test(`${name} is named, with evidence and effect; our own tables are not`, async () => {
        using space = makeNamespace("fw");
        await applyPortFilter(space.name, []);
        expect(await readForeignFirewalls([space.name])).toEqual([]);
        nft(space.name, script);
        const [found, ...more] = await readForeignFirewalls([space.name]);
        expect(more).toEqual([]);
        expect(found).toMatchObject({ name, evidence: expect.stringContaining(space.name) });
        expect(found!.effect).toContain(effect);
      });
    }
  },
);
