import { describe, expect, onTestFinished, test } from "vitest";
import { createIdentityVault, createMemoryVault } from "../../src/cli/fabric/identity-vault.ts";
import { keys } from "../../src/model/documents.ts";
import { FabricError } from "../../src/model/errors.ts";
import { type FabricStore, openMemoryStore, type Transaction } from "../../src/store/index.ts";
import type { WireIdentity } from "../../src/wireserver/index.ts";

const KEY = keys.containerIdentity("lab.web_0");
const GOAL = keys.containerGoal("lab.web_0");

/** A store with the goal of a container. */
async function openStore(): Promise<FabricStore> {
  const store = openMemoryStore();
  onTestFinished(() => store[Symbol.asyncDispose]());
  await put(store, GOAL, { attempt: 1 });
  return store;
}

async function put(store: FabricStore, key: string, value: unknown): Promise<void> {
  await store.txn({ success: [{ kind: "put", key, value }] });
}

async function remove(store: FabricStore): Promise<void> {
  await store.txn({ success: [KEY, GOAL].map((key) => ({ kind: "delete", key })) });
}

/** Identities that are numbered, and how many were made at once. */
function createMaker(before: () => Promise<void> = async () => undefined) {
  const counts = { made: 0, running: 0, most: 0 };
  const make = async (): Promise<WireIdentity> => {
    counts.running++;
    counts.most = Math.max(counts.most, counts.running);
    await before();
    counts.running--;
    const thumbprint = String(++counts.made);
    return { certificate: `c${thumbprint}`, privateKey: `k${thumbprint}`, thumbprint };
  };
  return { counts, make };
}

function vaultOn(store: FabricStore, make: () => Promise<WireIdentity>) {
  return createIdentityVault({ store, now: () => 0, make });
}

/** A store whose transactions go another way. */
function withTransactions(store: FabricStore, txn: FabricStore["txn"]): FabricStore {
  return new Proxy(store, {
    get: (target, name) => {
      if (name === "txn") return txn;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

describe("the vault of a node", () => {
  test("makes an identity once, keeps it in the store, and gives the same ever after", async () => {
    const store = await openStore();
    const { make, counts } = createMaker();
    const first = await vaultOn(store, make).identityOf("lab.web_0");
    expect((await store.get(KEY)).kv?.value).toEqual(first);
    expect(await vaultOn(store, make).identityOf("lab.web_0")).toEqual(first);
    expect(counts.made).toBe(1);
  });

  test("makes one for all that ask at once", async () => {
    const store = await openStore();
    const { make, counts } = createMaker();
    const vault = vaultOn(store, make);
    const asked = Array.from({ length: 10 }, () => vault.identityOf("lab.web_0"));
    expect(new Set((await Promise.all(asked)).map(({ thumbprint }) => thumbprint)).size).toBe(1);
    expect(counts.made).toBe(1);
  });

  test("ends with the same as another node that is asked at the same time", async () => {
    const store = await openStore();
    const { make, counts } = createMaker();
    const [one, two] = [vaultOn(store, make), vaultOn(store, make)];
    const [first, second] = await Promise.all(
      [one, two].map((vault) => vault.identityOf("lab.web_0")),
    );
    expect(counts.made).toBe(2);
    expect(first).toEqual(second);
    expect((await store.get(KEY)).kv?.value).toEqual(first);
  });

  test("writes again, and makes nothing again, if the goal changed meanwhile", async () => {
    const store = await openStore();
    let attempt = 1;
    const { make, counts } = createMaker(() => put(store, GOAL, { attempt: ++attempt }));
    const identity = await vaultOn(store, make).identityOf("lab.web_0");
    expect((await store.get(KEY)).kv?.value).toEqual(identity);
    expect(counts.made).toBe(1);
  });

  test("leaves nothing of a container that went meanwhile", async () => {
    const store = await openStore();
    const { make } = createMaker(() => remove(store));
    await expect(vaultOn(store, make).identityOf("lab.web_0")).rejects.toMatchObject({
      code: "ERR_USAGE_CONTAINER_UNKNOWN",
    });
    expect((await store.list("/containers/")).kvs).toEqual([]);
  });

  test("gives a container of the same name another one after the first is gone", async () => {
    const store = await openStore();
    const { make } = createMaker();
    const vault = vaultOn(store, make);
    expect((await vault.identityOf("lab.web_0")).thumbprint).toBe("1");
    await remove(store);
    await expect(vault.identityOf("lab.web_0")).rejects.toThrow("no container lab.web_0");
    await put(store, GOAL, { attempt: 1 });
    expect((await vault.identityOf("lab.web_0")).thumbprint).toBe("2");
  });

  test("takes what is stored where it is not known if a write was kept", async () => {
    const store = await openStore();
    const { make, counts } = createMaker();
    for (const isKept of [true, false]) {
      await store.txn({ success: [{ kind: "delete", key: KEY }] });
      let isFirst = true;
      const uncertain = withTransactions(store, async (transaction: Transaction) => {
        const was = isFirst;
        isFirst = false;
        if (!was || isKept) await store.txn(transaction);
        if (was) throw new FabricError("ERR_STORE_UNCERTAIN", "the answer did not come");
        return await store.txn({ success: [] }).then((result) => ({ ...result, ok: true }));
      });
      const before = counts.made;
      const identity = await vaultOn(uncertain, make).identityOf("lab.web_0");
      expect((await store.get(KEY)).kv?.value).toEqual(identity);
      expect(counts.made).toBe(before + 1);
    }
  });

  test("rejects while the store is away, and is well after", async () => {
    const store = await openStore();
    let isAway = true;
    const broken = withTransactions(store, async (transaction) => {
      if (isAway) throw new FabricError("ERR_STORE_UNAVAILABLE", "away");
      return await store.txn(transaction);
    });
    const vault = vaultOn(broken, createMaker().make);
    await expect(vault.identityOf("lab.web_0")).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
    });
    isAway = false;
    expect((await vault.identityOf("lab.web_0")).thumbprint).toBe("2");
  });

  test("makes no more than two keys at once", async () => {
    const store = await openStore();
    const names = Array.from({ length: 9 }, (_, index) => `lab.web_${index}`);
    for (const name of names) await put(store, keys.containerGoal(name), {});
    const { make, counts } = createMaker(() => new Promise((resolve) => setImmediate(resolve)));
    const vault = vaultOn(store, make);
    const identities = await Promise.all(names.map((name) => vault.identityOf(name)));
    expect(new Set(identities.map(({ thumbprint }) => thumbprint)).size).toBe(9);
    expect(counts).toMatchObject({ made: 9, most: 2 });
  });
});

test("a vault in memory gives each host the same certificate, and real ones", async () => {
  const vault = createMemoryVault(Date.now);
  const [one, again] = await Promise.all([vault.identityOf("a"), vault.identityOf("a")]);
  const other = await vault.identityOf("b");
  expect(one).toEqual(again);
  expect(other.thumbprint).not.toBe(one.thumbprint);
  expect(one.thumbprint).toMatch(/^[0-9A-F]{40}$/);
  expect(one.privateKey).toContain("BEGIN PRIVATE KEY");
});
