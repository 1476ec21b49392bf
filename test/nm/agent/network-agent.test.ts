import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keys, type NodeNetworkStatus } from "../../../src/model/documents.ts";
import { formatIpv4, type Ipv4Address, parseIpv4 } from "../../../src/model/ipv4-address.ts";
import { parseMac } from "../../../src/model/mac-address.ts";
import { FULL_LOOKS } from "../../../src/nm/agent/network-agent.ts";
import { FakeFabric, NODE, nicOf, portOf, settle } from "./fake-fabric.ts";

const V = "a.net";
const W = "b.net";

/** A fabric with one NIC placed, an agent, and the port that its VM made. */
async function withOpenPort() {
  const fabric = new FakeFabric();
  const nic = nicOf(4, V);
  await fabric.vnet(V);
  await fabric.place(nic);
  const running = await fabric.start();
  fabric.network.addPort(V, portOf(nic));
  await settle();
  return { fabric, nic, running };
}

async function nodeStatus({ store }: FakeFabric): Promise<NodeNetworkStatus> {
  return (await store.get(keys.nodeNetwork(NODE))).kv?.value as NodeNetworkStatus;
}

describe("network agent", () => {
  test("lets in nodes that were there before it knew them, and tries again where that failed", async () => {
    const fabric = new FakeFabric();
    const address = "100.127.0.2";
    const value = { node: "node-2", address };
    await fabric.store.txn({ success: [{ kind: "put", key: keys.node("node-2"), value }] });
    const live: string[] = [];
    let failures = 1;
    const overlay = {
      setLiveNodes: async (addresses: readonly Ipv4Address[]) => {
        failures -= 1;
        if (failures >= 0) throw new Error("nft is busy");
        live.push(addresses.map(formatIpv4).join());
      },
      setPeers: async () => undefined,
    };
    Object.assign(fabric.network, { overlay });
    const running = await fabric.start();
    expect(running.errors).toHaveLength(1);
    await running.agent.reconcile();
    await running.agent.reconcile();
    expect(live).toEqual([address]);
    await running.kill();
  });

  test("tells the kernel again of guests and nodes elsewhere, each so many looks, though nothing is new", async () => {
    const fabric = new FakeFabric();
    const value = { node: "node-2", address: "100.127.0.2" };
    await fabric.store.txn({ success: [{ kind: "put", key: keys.node("node-2"), value }] });
    await fabric.vnet(V);
    await fabric.place(nicOf(4, V));
    const far = nicOf(5, V, "node-2");
    await fabric.store.txn({ success: [{ kind: "put", key: keys.nic(V, far.mac), value: far }] });
    const told: string[] = [];
    const overlay = {
      setLiveNodes: async (live: readonly Ipv4Address[]) => void told.push(`fence ${live.length}`),
      setPeers: async (_goal: unknown, peers: readonly unknown[]) =>
        void told.push(`peers ${peers.length}`),
    };
    Object.assign(fabric.network, { overlay });
    const running = await fabric.start();
    for (const cycle of ["first", "second"]) {
      told.length = 0;
      for (let look = 0; look < FULL_LOOKS; look += 1) await running.agent.reconcile();
      expect(told.toSorted(), cycle).toEqual(["fence 1", "peers 1"]);
    }
    await running.kill();
  });

  test("makes the VNET with the first container here, says blocked, and programs the port that comes", async () => {
    const fabric = new FakeFabric();
    const nic = nicOf(4, V);
    await fabric.vnet(V);
    await fabric.vnet(W);
    const running = await fabric.start();
    expect(await fabric.network.listVnets()).toEqual([]);
    await fabric.place(nic);
    await settle();
    expect(await fabric.network.listVnets()).toEqual([V]);
    expect(await fabric.status(nic)).toEqual({
      kind: "blocked",
      namespace: "sim-a.net",
      bridge: "br0",
    });
    fabric.network.addPort(V, portOf(nic));
    await settle();
    expect(fabric.isOpen(nic)).toBe(true);
    expect(await fabric.status(nic)).toMatchObject({ kind: "programmed", port: portOf(nic) });
    expect(running.programmed).toEqual([nic.container]);
    const vnet = running.vnets.get(V)!;
    expect(vnet.findByMac(parseMac(nic.mac))).toMatchObject({
      address: parseIpv4(nic.address),
      ifindex: 1,
    });
    expect(vnet.findContainer(parseIpv4(nic.address))).toBe(nic.container);
    await running.kill();
  });

  test("a port that is made again under the same name is programmed again, with its new index", async () => {
    const { fabric, nic, running } = await withOpenPort();
    fabric.network.addPort(V, portOf(nic));
    expect(fabric.isOpen(nic)).toBe(false);
    await settle();
    expect(fabric.isOpen(nic)).toBe(true);
    expect(running.programmed).toHaveLength(2);
    expect(running.vnets.get(V)!.findByMac(parseMac(nic.mac))?.ifindex).toBe(2);
    await running.kill();
  });

  test("a VM that ended leaves a blocked NIC, whose MAC nobody answers", async () => {
    const { fabric, nic, running } = await withOpenPort();
    fabric.network.removePort(V, portOf(nic));
    await settle();
    expect(await fabric.status(nic)).toMatchObject({ kind: "blocked" });
    expect(running.vnets.get(V)!.findByMac(parseMac(nic.mac))).toBeUndefined();
    await running.kill();
  });

  test("a container that moves away loses its port and its status at once; without ports the VNET goes", async () => {
    const { fabric, nic, running } = await withOpenPort();
    await fabric.place({ ...nic, node: "node-2" });
    await settle();
    expect(fabric.isOpen(nic)).toBe(false);
    expect(await fabric.status(nic)).toBeUndefined();
    await running.agent.reconcile();
    await settle();
    expect((await nodeStatus(fabric)).blockedPorts).toEqual([
      { namespace: "sim-a.net", port: portOf(nic), reason: "no-vnet" },
    ]);
    fabric.network.removePort(V, portOf(nic));
    await running.agent.reconcile();
    await settle();
    expect(await fabric.network.listVnets()).toEqual([]);
    expect((await nodeStatus(fabric)).blockedPorts).toEqual([]);
    expect(running.vnets.size).toBe(0);
    await running.kill();
  });

  test("a port without a goal is closed and named, and said once only", async () => {
    const { fabric, running } = await withOpenPort();
    fabric.network.addPort(V, "tapstranger");
    fabric.network.meddle(V, "open-ports");
    await settle();
    await running.agent.reconcile();
    await settle();
    const ports = fabric.network.listPorts(V)!;
    expect(ports.find(({ name }) => name === "tapstranger")).toMatchObject({
      isUp: false,
      isAttached: false,
    });
    expect((await nodeStatus(fabric)).blockedPorts).toEqual([
      { namespace: "sim-a.net", port: "tapstranger", reason: "no-goal" },
    ]);
    const { rev } = await fabric.store.get(keys.nodeNetwork(NODE));
    await running.agent.reconcile();
    await settle();
    expect((await fabric.store.get(keys.nodeNetwork(NODE))).rev).toBe(rev);
    await running.kill();
  });

  test("what fails is said, waits and is tried again; what runs is not touched", async () => {
    const { fabric, nic, running } = await withOpenPort();
    const second = nicOf(5, V);
    fabric.network.filterFailures = 1;
    await fabric.place(second);
    fabric.network.addPort(V, portOf(second));
    await settle();
    expect(await fabric.status(second)).toMatchObject({
      kind: "failed",
      reason: expect.stringContaining("filter"),
    });
    expect([fabric.isOpen(nic), fabric.isOpen(second)]).toEqual([true, false]);
    await running.agent.reconcile();
    expect(fabric.isOpen(second)).toBe(false);
    fabric.nowMs += 1_000;
    await running.agent.reconcile();
    await settle();
    expect(fabric.isOpen(second)).toBe(true);
    expect(await fabric.status(second)).toMatchObject({ kind: "programmed" });
    await running.kill();
  });

  test("a goal that cannot be read fails its own NIC alone", async () => {
    const { fabric, nic, running } = await withOpenPort();
    const bad = { ...nicOf(5, V), address: "10.20.0.999" };
    await fabric.place(bad);
    fabric.network.addPort(V, portOf(bad));
    await settle();
    expect(await fabric.status(bad)).toMatchObject({ kind: "failed" });
    expect([fabric.isOpen(nic), fabric.isOpen(bad)]).toEqual([true, false]);
    await running.kill();
  });

  test("rules that somebody threw away are there again after one look", async () => {
    const { fabric, nic, running } = await withOpenPort();
    fabric.network.meddle(V, "flush-rules");
    await running.agent.reconcile();
    expect(fabric.network.filterOf(V)).toMatchObject([{ name: portOf(nic) }]);
    await running.kill();
  });

  test("after a kill, running guests keep their ports; what lost its goal meanwhile is closed, its status deleted", async () => {
    const { fabric, nic, running } = await withOpenPort();
    const [second, third] = [nicOf(5, V), nicOf(6, V)];
    for (const each of [second, third]) {
      await fabric.place(each);
      fabric.network.addPort(V, portOf(each));
    }
    await settle();
    await running.kill();
    expect([nic, second, third].map((each) => fabric.isOpen(each))).toEqual([true, true, true]);
    await fabric.remove(second);
    const again = await fabric.start();
    expect([nic, second, third].map((each) => fabric.isOpen(each))).toEqual([true, false, true]);
    expect(await fabric.status(second)).toBeUndefined();
    expect(again.programmed.toSorted()).toEqual([nic.container, third.container]);
    expect(again.errors).toEqual([]);
    await again.kill();
  });

  test("statuses of a machine that was started again are gone before anything is made", async () => {
    const fabric = new FakeFabric();
    const nic = nicOf(4, V);
    const value = {
      kind: "programmed",
      namespace: "sim-a.net",
      bridge: "br0",
      port: "tap",
      filter: "none",
    };
    await fabric.store.txn({
      success: [{ kind: "put", key: keys.nicStatus(NODE, nic.mac), value }],
    });
    const running = await fabric.start();
    expect(await fabric.status(nic)).toBeUndefined();
    await running.kill();
  });

  const nic = fc.nat(5);
  const what = fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant("place" as const), nic }) },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("boot" as const), nic }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("move" as const), nic }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("remove" as const), nic }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("end" as const), nic }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constantFrom("open-ports" as const, "flush-rules" as const),
        vnet: fc.constantFrom(V, W),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("fail" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("kill" as const) }) },
  );
  /** How far the agent gets before the next event. */
  const step = fc.record({ what, turns: fc.constantFrom(0, 1, 2, 3, 5, 30) });
  const steps = fc.array(step, { minLength: 20, maxLength: 60, size: "max" });

  test("whatever happens in whatever order, only ports with a goal here are open, judged by it, and all of them in the end", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (events) => {
        const fabric = new FakeFabric();
        await fabric.vnet(V);
        await fabric.vnet(W);
        const nics = Array.from({ length: 6 }, (_, index) => nicOf(index + 4, index % 2 ? V : W));
        const goals = new Map<number, string>();
        const openPorts = fabric.network.openPorts.bind(fabric.network);
        fabric.network.openPorts = (vnet, ifindexes) => {
          const judged = new Set(fabric.network.filterOf(vnet).map(({ name }) => name));
          for (const { name, ifindex } of fabric.network.listPorts(vnet) ?? []) {
            if (ifindexes.includes(ifindex)) expect(judged).toContain(name);
          }
          return openPorts(vnet, ifindexes);
        };
        let running = await fabric.start();
        /** Nothing lets a port through that was not in the filter with the goal's own MAC and address. */
        const check = () => {
          for (const nic of nics) {
            const filtered = fabric.network
              .filterOf(nic.vnet)
              .filter(({ name }) => name === portOf(nic));
            for (const { mac, address } of filtered) {
              expect([mac, address]).toEqual([parseMac(nic.mac), parseIpv4(nic.address)]);
            }
          }
        };
        for (const { what: event, turns } of events) {
          if (event.kind === "place" || event.kind === "move") {
            const node = event.kind === "place" ? NODE : "node-2";
            goals.set(event.nic, node);
            await fabric.place({ ...nics[event.nic]!, node });
          } else if (event.kind === "remove") {
            goals.delete(event.nic);
            await fabric.remove(nics[event.nic]!);
          } else if (event.kind === "boot") {
            const booted = nics[event.nic]!;
            fabric.network.addPort(booted.vnet, portOf(booted));
          } else if (event.kind === "end") {
            const ended = nics[event.nic]!;
            fabric.network.removePort(ended.vnet, portOf(ended));
          } else if (event.kind === "fail") fabric.network.filterFailures += 1;
          else if (event.kind === "kill") {
            await running.kill();
            running = await fabric.start();
          } else fabric.network.meddle(event.vnet, event.kind);
          check();
          await settle(turns);
          check();
        }
        fabric.network.filterFailures = 0;
        for (let round = 0; round < 8; round += 1) {
          await settle();
          fabric.nowMs += 60_000;
          await running.agent.reconcile();
        }
        await settle();
        for (const [index, nic] of nics.entries()) {
          const here = goals.get(index) === NODE;
          const hasPort = fabric.network
            .listPorts(nic.vnet)
            ?.some(({ name }) => name === portOf(nic));
          expect(fabric.isOpen(nic)).toBe(here && hasPort === true);
          const kind = !here ? undefined : hasPort === true ? "programmed" : "blocked";
          expect((await fabric.status(nic))?.kind).toBe(kind);
        }
        const needed = new Set(
          nics.filter((_, index) => goals.get(index) === NODE).map(({ vnet }) => vnet),
        );
        for (const vnet of await fabric.network.listVnets()) {
          const hasPorts = (fabric.network.listPorts(vnet) ?? []).length > 0;
          expect(needed.has(vnet) || hasPorts).toBe(true);
        }
        await running.kill();
      }),
      { numRuns: 60 },
    );
  });
});
