import { expect, onTestFinished, test, vi } from "vitest";
import { startVnetDirectory } from "../../src/cli/fabric/vnet-directory.ts";
import { keys, type NicGoal } from "../../src/model/documents.ts";
import { parseTenant } from "../../src/model/tenant.ts";
import { type FabricStore, openMemoryStore } from "../../src/store/index.ts";

const DESCRIPTION = parseTenant(
  {
    tenant: "lab",
    vnet: { name: "net", addressSpace: "10.20.0.0/24" },
    roles: [{ name: "web", endpoints: [{ name: "http", port: 8080 }] }, { name: "db" }],
  },
  "test",
);

function nic(role: string, index: number, node: string): NicGoal {
  return {
    ...{ vnet: "lab.net", role, node, inService: true },
    mac: `02:67:73:00:00:0${index}`,
    container: `lab.${role}_${index}`,
    hostname: `${role}-${index}`,
    address: `10.20.0.${index}`,
  };
}

async function put(store: FabricStore, key: string, value: unknown): Promise<void> {
  await store.txn({ success: [{ kind: "put", key, value }] });
}

test("a guest is shown all instances of its tenant, on whatever node, with their roles' endpoints", async () => {
  const store = openMemoryStore();
  const errors: unknown[] = [];
  const directory = startVnetDirectory({
    ...{ store, vnet: "lab.net", tenant: "lab" },
    onError: (error) => errors.push(error),
  });
  onTestFinished(async () => {
    await directory[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    expect(errors).toEqual([]);
  });
  const shown = () =>
    directory
      .listInstances()
      .map(({ instance, address, endpoints }) => [instance, address, endpoints.length]);
  await put(store, keys.tenant("lab"), { description: DESCRIPTION });
  await put(store, keys.tenant("lab2"), { description: { roles: [] } });
  for (const goal of [nic("web", 5, "n2"), nic("web", 4, "n1"), nic("db", 6, "n3")]) {
    await put(store, keys.nic("lab.net", goal.mac), goal);
  }
  await vi.waitFor(() =>
    expect(shown()).toEqual([
      ["db_6", "10.20.0.6", 0],
      ["web_4", "10.20.0.4", 1],
      ["web_5", "10.20.0.5", 1],
    ]),
  );
  expect(directory.zone.findAddresses("db")).toEqual(["10.20.0.6"]);
  expect(directory.listInstances()).toBe(directory.listInstances());
  const gone = nic("web", 4, "n1");
  await store.txn({ success: [{ kind: "delete", key: keys.nic("lab.net", gone.mac) }] });
  await vi.waitFor(() => expect(shown()).toHaveLength(2));
});
