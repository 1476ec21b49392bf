import { describe, expect, onTestFinished, test, vi } from "vitest";
import { keys, type NicGoal, type VipGoal } from "../../src/model/documents.ts";
import { formatIpv4, parseIpv4, parseSubnet } from "../../src/model/ipv4-address.ts";
import { formatMac } from "../../src/model/mac-address.ts";
import { NodeVips, VnetVips } from "../../src/nm/index.ts";
import { type FabricStore, openMemoryStore } from "../../src/store/index.ts";
import { ask, makeTestFabric, type TestGuest, tellAll } from "../net/fabric-network.ts";
import { canMakeNamespaces, ip } from "../net/namespaces.ts";

const VNET = "lab.net";
const VNI = 77;
const VIP = "172.31.128.1";
const HEALTH = { intervalSeconds: 1, unhealthyAfter: 1 };
const ENDPOINT = { name: "web", role: "web", protocol: "tcp", publicPort: 8080, port: 80 } as const;

function nicOf(guest: TestGuest, node: string, inService = true): NicGoal {
  return {
    ...{ vnet: VNET, role: "web", node, inService },
    mac: formatMac(guest.mac),
    address: formatIpv4(guest.address),
    container: `lab.${guest.name}`,
    hostname: guest.name,
  };
}

function vipOf(node: string, endpoints: VipGoal["endpoints"]): VipGoal {
  return { vip: VIP, tenant: "lab", vnet: VNET, node, endpoints };
}

async function put(store: FabricStore, key: string, value: unknown): Promise<void> {
  await store.txn({ success: [{ kind: "put", key, value }] });
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("VnetVips (needs root, nft)", () => {
  test("flows go where the goals say: in service, answering, on the node that serves", async () => {
    const fabric = await makeTestFabric(2);
    onTestFinished(() => fabric[Symbol.dispose]()); // last
    const store = openMemoryStore();
    const [n1, n2] = fabric.nodes;
    const v1 = await fabric.vnet(n1!, VNI);
    const v2 = await fabric.vnet(n2!, VNI);
    const a = await fabric.guest(v1, "a", 4);
    const b = await fabric.guest(v2, "b", 5);
    const c = await fabric.guest(v1, "c", 6); // never listens
    fabric.serve(a);
    fabric.serve(b);
    const placed = [
      [v1, a],
      [v2, b],
      [v1, c],
    ] as const;
    await tellAll([v1, v2], placed);
    const errors: unknown[] = [];
    const onError = (what: string, error: unknown) => errors.push([what, error]);
    const opened = [v1, v2].map((vnet, index) => {
      const nodeVips = new NodeVips({ nodeNamespace: vnet.node.namespace, onError });
      const vips = new VnetVips({
        ...{ store, vnet: VNET, namespace: vnet.namespace, vni: VNI, nodeVips, onError },
        checkMs: 500,
        node: `n${index + 1}`,
        subnet: parseSubnet("10.20.0.0/24"),
        gateway: parseIpv4("10.20.0.1"),
      });
      return { vips, nodeVips };
    });
    onTestFinished(async () => {
      for (const { vips, nodeVips } of opened) {
        await vips[Symbol.asyncDispose]();
        await nodeVips[Symbol.asyncDispose]();
      }
      await store[Symbol.asyncDispose]();
      expect(errors).toEqual([]);
    });
    for (const guest of [a, b, c]) {
      const nic = nicOf(guest, guest === b ? "n2" : "n1");
      await put(store, keys.nic(VNET, nic.mac), nic);
    }
    await put(store, keys.vip(VIP), vipOf("n1", [{ ...ENDPOINT, health: HEALTH }]));
    await put(store, keys.vipOfVnet(VNET, VIP), { vip: VIP });

    const client = await fabric.client("172.31.0.99");
    const answers = async () => {
      const said = new Set<string>();
      for (let turn = 0; turn < 6; turn += 1) {
        const text = await ask(client.namespace, parseIpv4(VIP), { port: 8080, waitMs: 500 });
        said.add(text.split(" ")[0] ?? "");
      }
      return [...said].sort();
    };
    const settles = (expected: string[]) =>
      vi.waitFor(async () => expect(await answers()).toEqual(expected), { timeout: 15_000 });
    await settles(["a", "b"]); // c is in service, and does not answer probes

    // Somebody else's doing, of which there is no news.
    ip("netns", "exec", v1.namespace, "nft", "flush", "chain", "ip", "goalstate", "vip_dnat");
    await settles(["a", "b"]);

    await put(store, keys.nic(VNET, formatMac(a.mac)), nicOf(a, "n1", false));
    await settles(["b"]);

    await put(store, keys.nic(VNET, formatMac(a.mac)), nicOf(a, "n1"));
    await put(store, keys.vip(VIP), vipOf("n2", [ENDPOINT]));
    await put(store, keys.nic(VNET, formatMac(c.mac)), { ...nicOf(c, "n1"), role: "other" });
    await settles(["a", "b"]); // n2 took the address over

    await store.txn({
      success: [
        { kind: "delete", key: keys.vip(VIP) },
        { kind: "delete", key: keys.vipOfVnet(VNET, VIP) },
      ],
    });
    await vi.waitFor(async () => expect((await answers()).join()).toMatch(/^(ETIMEDOUT|errno)/), {
      timeout: 15_000,
    });
  }, 60_000);
});
