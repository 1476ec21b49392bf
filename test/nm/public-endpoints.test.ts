import { describe, expect, onTestFinished, test, vi } from "vitest";
import {
  asDocument,
  type ContainerGoal,
  type ContainerStatus,
  keys,
  type NicGoal,
  type VipGoal,
} from "../../src/model/documents.ts";
import { parseSubnet } from "../../src/model/ipv4-address.ts";
import { EndpointManager, NetworkManager } from "../../src/nm/index.ts";
import { type FabricStore, openMemoryStore } from "../../src/store/index.ts";

const HTTP = { name: "http", role: "web", protocol: "tcp", publicPort: 80, port: 8080 } as const;

/** A tenant whose containers are played by the test. */
async function startNetwork(pool = "198.18.0.0/29") {
  const store = openMemoryStore();
  const manager = new NetworkManager({ store, vips: parseSubnet(pool) });
  const errors: unknown[] = [];
  const runEndpoints = () => {
    const stop = new AbortController();
    const endpoints = new EndpointManager({ store, onError: (_what, error) => errors.push(error) });
    const ended = endpoints.run(stop.signal);
    return async () => {
      stop.abort();
      await ended;
    };
  };
  const allocate = (tenant: string, containers: readonly string[], isPublic = true) =>
    manager.allocate({
      ...{ tenant, isPublic, vnet: `${tenant}.net` },
      addressSpace: parseSubnet("10.20.0.0/24"),
      nics: containers.map((container) => ({ container, hostname: container, role: "web" })),
    });
  onTestFinished(async () => {
    await store[Symbol.asyncDispose]();
    expect(errors).toEqual([]);
  });
  return { store, manager, allocate, runEndpoints };
}

const put = (store: FabricStore, key: string, value: unknown) =>
  store.txn({ success: [{ kind: "put", key, value }] });

function putContainer(store: FabricStore, nic: NicGoal, tenant: string, node: string, attempt = 1) {
  const { container, vnet, mac } = nic;
  const goal: Partial<ContainerGoal> = {
    ...{ container, vnet, mac, tenant, node, attempt },
    expectedState: "Started",
  };
  return put(store, keys.containerGoal(container), goal);
}

function putStatus(store: FabricStore, container: string, status: Partial<ContainerStatus>) {
  return put(store, keys.containerStatus(container), status);
}

async function nicOf(store: FabricStore, { vnet, mac }: NicGoal): Promise<NicGoal> {
  return asDocument<NicGoal>((await store.get(keys.nic(vnet, mac))).kv?.value);
}

async function vipOf(store: FabricStore, vip: string): Promise<VipGoal | undefined> {
  const { kv } = await store.get(keys.vip(vip));
  return kv === undefined ? undefined : asDocument<VipGoal>(kv.value);
}

describe("public addresses", () => {
  test("a tenant with a public endpoint has one address, and keeps it", async () => {
    const { store, manager, allocate } = await startNetwork();
    await allocate("a", ["a_0"]);
    await allocate("b", ["b_0"]);
    await allocate("a", ["a_0", "a_1"]);
    const { kvs } = await store.list("/vips/");
    expect(kvs.map(({ key }) => key)).toEqual(["/vips/198.18.0.1", "/vips/198.18.0.2"]);
    await manager.publish("a", [HTTP]);
    expect(await vipOf(store, "198.18.0.1")).toMatchObject({ tenant: "a", endpoints: [HTTP] });
    const { rev } = await store.status();
    await manager.publish("a", [HTTP]);
    expect((await store.status()).rev).toBe(rev);
  });

  test("a tenant without one has none", async () => {
    const { store, allocate } = await startNetwork();
    await allocate("a", ["a_0"], false);
    expect((await store.list("/vips/")).kvs).toEqual([]);
  });

  test("an address that was released is given again, and a restarted manager knows those that are held", async () => {
    const { store, manager, allocate } = await startNetwork();
    await allocate("a", ["a_0"]);
    await allocate("b", ["b_0"]);
    await manager.release("a", "a.net");
    expect(await vipOf(store, "198.18.0.1")).toBeUndefined();
    const restarted = new NetworkManager({ store, vips: parseSubnet("198.18.0.0/29") });
    await restarted.allocate({
      ...{ tenant: "c", vnet: "c.net", isPublic: true, nics: [] },
      addressSpace: parseSubnet("10.20.0.0/24"),
    });
    expect((await vipOf(store, "198.18.0.1"))?.tenant).toBe("c");
  });

  test("says when the pool is used up", async () => {
    const { allocate } = await startNetwork("198.18.0.0/30");
    await allocate("a", []);
    await allocate("b", []);
    await expect(allocate("c", [])).rejects.toMatchObject({ code: "ERR_NM_VIPS_FULL" });
  });
});

describe("EndpointManager", () => {
  test("a NIC is in service while its container is Ready in this very start", async () => {
    const { store, allocate, runEndpoints } = await startNetwork();
    const [nic] = await allocate("a", ["a_0"]);
    const stop = runEndpoints();
    await putContainer(store, nic!, "a", "n1");
    await putStatus(store, "a_0", { state: "Ready", node: "n1", attempt: 1 });
    await vi.waitFor(async () => expect((await nicOf(store, nic!)).inService).toBe(true));
    await putContainer(store, nic!, "a", "n1", 2);
    await vi.waitFor(async () => expect((await nicOf(store, nic!)).inService).toBe(false));
    await putStatus(store, "a_0", { state: "Ready", node: "n1", attempt: 2 });
    await vi.waitFor(async () => expect((await nicOf(store, nic!)).inService).toBe(true));
    await putStatus(store, "a_0", { state: "Unresponsive", node: "n1", attempt: 2 });
    await vi.waitFor(async () => expect((await nicOf(store, nic!)).inService).toBe(false));
    await stop();
  });

  test("a restarted one mends what happened meanwhile", async () => {
    const { store, allocate, runEndpoints } = await startNetwork();
    const [nic] = await allocate("a", ["a_0"]);
    await putContainer(store, nic!, "a", "n1");
    await putStatus(store, "a_0", { state: "Ready", node: "n1", attempt: 1 });
    const stop = runEndpoints();
    await vi.waitFor(async () => expect((await nicOf(store, nic!)).inService).toBe(true));
    await stop();
  });

  test("a live node with a container of the tenant answers for its address, and stays as long as it can", async () => {
    const { store, allocate, runEndpoints } = await startNetwork();
    const nics = await allocate("a", ["a_0", "a_1"]);
    const stop = runEndpoints();
    const vip = "198.18.0.1";
    const answers = (node: string) =>
      vi.waitFor(async () => {
        expect((await vipOf(store, vip))?.node).toBe(node);
        const { kvs } = await store.list("/on/");
        const pointers = node === "" ? [] : [keys.vipOnNode(node, vip)];
        expect(kvs.map(({ key }) => key)).toEqual(pointers);
      });
    await answers("");
    await put(store, keys.node("n2"), {});
    await putContainer(store, nics[0]!, "a", "n1");
    await putContainer(store, nics[1]!, "a", "n2");
    await answers("n2"); // n1 is not live
    await put(store, keys.node("n1"), {});
    await putContainer(store, nics[1]!, "a", "n1");
    await answers("n1");
    await putContainer(store, nics[0]!, "a", "n2");
    await putContainer(store, nics[1]!, "a", "n2");
    await answers("n2");
    await store.txn({ success: [{ kind: "delete", key: keys.node("n2") }] });
    await answers("");
    await stop();
  });
});
