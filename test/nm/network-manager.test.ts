import { describe, expect, test } from "vitest";
import { asDocument, keys, type VnetGoal } from "../../src/model/documents.ts";
import { parseSubnet } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { NetworkManager } from "../../src/nm/index.ts";
import { openMemoryStore } from "../../src/store/index.ts";

function startManager() {
  const store = openMemoryStore();
  const manager = new NetworkManager({ store });
  const allocate = (vnet: string, containers: readonly string[], space = "10.20.0.0/24") =>
    manager.allocate({
      tenant: "lab",
      isPublic: false,
      vnet,
      addressSpace: parseSubnet(space),
      nics: containers.map((container) => ({ container, hostname: container, role: "web" })),
    });
  return { store, manager, allocate };
}

const names = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}_${index}`);

describe("NetworkManager", () => {
  test("gives the gateway the first address and NICs those from the fourth on", async () => {
    const { store, allocate } = startManager();
    const nics = await allocate("v", names("web", 3));
    expect(nics.map(({ address }) => address).sort()).toEqual([
      "10.20.0.4",
      "10.20.0.5",
      "10.20.0.6",
    ]);
    const { kv } = await store.get(keys.vnet("v"));
    expect(asDocument<VnetGoal>(kv?.value)).toEqual({
      vnet: "v",
      tenant: "lab",
      addressSpace: "10.20.0.0/24",
      gateway: "10.20.0.1",
      vni: 1,
    });
  });

  test("MACs are locally administered, and stay a container's own", async () => {
    const first = await startManager().allocate("v", ["web_0"]);
    const again = await startManager().allocate("v", ["db_0", "web_0"]);
    expect(first[0]?.mac).toMatch(/^02:67:73:/);
    expect(again.find(({ container }) => container === "web_0")?.mac).toBe(first[0]?.mac);
  });

  test("allocating again changes nothing", async () => {
    const { store, allocate } = startManager();
    const first = await allocate("v", names("web", 3));
    const { rev } = await store.status();
    expect(await allocate("v", names("web", 3))).toEqual(first);
    expect((await store.status()).rev).toBe(rev);
  });

  test("no address of a VNET and no MAC at all is given twice, whoever asks at the same time", async () => {
    const { store, allocate } = startManager();
    await Promise.all([
      allocate("v", names("a", 20)),
      allocate("v", names("b", 20)),
      allocate("v", names("c", 20)),
      allocate("other", names("d", 20)),
    ]);
    const kvs = (await store.list("/vnets/")).kvs.filter(({ key }) => key.includes("/nics/"));
    const goals = kvs.map(({ value }) =>
      asDocument<{ mac: string; vnet: string; address: string }>(value),
    );
    expect(goals).toHaveLength(80);
    expect(new Set(goals.map(({ mac }) => mac)).size).toBe(80);
    expect(new Set(goals.map(({ vnet, address }) => `${vnet} ${address}`)).size).toBe(80);
    const inOther = goals.filter(({ vnet }) => vnet === "other").map(({ address }) => address);
    expect(inOther).toContain("10.20.0.4"); // VNETs may use the same addresses
  });

  test("more than one transaction's worth of NICs", async () => {
    const { allocate } = startManager();
    const nics = await allocate("v", names("web", 200), "10.20.0.0/16");
    expect(new Set(nics.map(({ address }) => address)).size).toBe(200);
  });

  test("says when an address space is full", async () => {
    const { allocate } = startManager();
    const full = { code: "ERR_NM_ADDRESS_SPACE_FULL" };
    expect(await allocate("v", names("web", 3), "10.20.0.0/29")).toHaveLength(3);
    await expect(allocate("v", names("web", 4), "10.20.0.0/29")).rejects.toMatchObject(full);
    await expect(allocate("tiny", ["web_0"], "10.20.0.0/30")).rejects.toMatchObject(full);
  });

  test("release takes back a VNET's NICs and no other's", async () => {
    const { store, manager, allocate } = startManager();
    await allocate("v", names("web", 2));
    await allocate("w", names("db", 2));
    await manager.release("lab", "v");
    const kvs = (await store.list("/vnets/")).kvs.filter(({ key }) => key.includes("/nics/"));
    expect(kvs.map(({ value }) => asDocument<{ vnet: string }>(value).vnet)).toEqual(["w", "w"]);
    expect((await store.get(keys.vnet("v"))).kv).toBeUndefined();
    expect((await store.get(keys.vnet("w"))).kv).toBeDefined();
  });

  test("tells whose a MAC is: a tenant's, a physical host's, or nobody's", async () => {
    const { store, manager, allocate } = startManager();
    const [nic] = await allocate("v", ["web_0"]);
    expect(await manager.findOwner(parseMac(nic!.mac))).toEqual({ kind: "tenant", nic });
    const host = "00:0c:01:00:00:01";
    await store.txn({ success: [{ kind: "put", key: keys.host(host), value: {} }] });
    expect(await manager.findOwner(parseMac(host))).toEqual({ kind: "host" });
    await manager.release("lab", "v");
    expect(await manager.findOwner(parseMac(nic!.mac))).toBeUndefined();
  });
});
