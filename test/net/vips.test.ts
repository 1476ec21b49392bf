import { once } from "node:events";
import { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { type Ipv4Address, parseIpv4, parseSubnet } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { readFlow } from "../../src/net/flows.ts";
import { gratuitousArp } from "../../src/net/gratuitous-arp.ts";
import { exposeToHost, unexposeFromHost } from "../../src/net/host-exposure.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { readNetworkCounters } from "../../src/net/nft.ts";
import { openConnection } from "../../src/net/sockets.ts";
import { endpointCounters, renderVips, type VipEndpoint } from "../../src/net/vip-table.ts";
import { attachVipLink, detachVipLink, serveVips, setVips } from "../../src/net/vips.ts";
import {
  ask,
  makeTestFabric,
  openUdp,
  serveUdp,
  type TestFabric,
  type TestGuest,
  type TestVnet,
  tellAll,
} from "./fabric-network.ts";
import { canMakeNamespaces, ip, makeNamespace } from "./namespaces.ts";

const VIP = parseIpv4("172.31.128.1");
const OTHER_VIP = parseIpv4("172.31.128.2");
const NETWORK = { subnet: parseSubnet("10.20.0.0/24"), gateway: parseIpv4("10.20.0.1") };
const REFUSED = "errno 111";
const PUBLIC = { port: 8080 };

type TargetGuest = Pick<TestGuest, "address">;

function endpoint(guests: readonly TargetGuest[], change: Partial<VipEndpoint> = {}): VipEndpoint {
  const targets = guests.map(({ address }) => ({ address, isReady: true }));
  return { vip: VIP, protocol: "tcp", publicPort: 8080, port: 80, targets, ...change };
}

describe("renderVips()", () => {
  const guests = [{ address: parseIpv4("10.20.0.4") }, { address: parseIpv4("10.20.0.5") }];
  const [ready] = endpoint(guests).targets;

  test("leads new flows to ready guests only, and lets the others keep theirs", () => {
    const targets = [ready!, { ...endpoint(guests).targets[1]!, isReady: false }];
    const script = renderVips({ ...NETWORK, endpoints: [endpoint([], { targets })] }, []);
    expect(script).toContain(
      'ip daddr 172.31.128.1 tcp dport 8080 counter name "vip_172_31_128_1_tcp_8080_flows" ' +
        "dnat to numgen inc mod 1 map { 0 : 10.20.0.4 } : 80",
    );
    expect(script).toContain("{ 10.20.0.4 . tcp . 80, 10.20.0.5 . tcp . 80 }");
  });

  test("takes away the counters of endpoints that are gone, and no others", () => {
    const old = ["vip_172_31_128_1_tcp_8080_flows", "vip_172_31_128_1_tcp_99_flows", "cut_off"];
    const script = renderVips({ ...NETWORK, endpoints: [endpoint(guests)] }, old);
    expect(script.split("\n").filter((line) => line.startsWith("delete"))).toEqual([
      "delete counter ip goalstate vip_172_31_128_1_tcp_99_flows",
    ]);
  });
});

test("readFlow() finds the guest in the reply's direction", () => {
  const line =
    "udp      17 29 src=172.31.0.99 dst=172.31.128.1 sport=4000 dport=53 " +
    "src=10.20.0.4 dst=172.31.0.99 sport=5353 dport=4000 mark=0 use=1";
  expect(readFlow(line)).toEqual({ protocol: "udp", target: "10.20.0.4", port: 5353 });
  expect(readFlow("icmp 1 29 src=10.20.0.4 dst=10.20.0.5 type=8 code=0 id=1")).toBeUndefined();
  expect(readFlow("")).toBeUndefined();
});

test("gratuitousArp() is a broadcast request from and for the address", () => {
  expect(gratuitousArp(parseMac("02:67:73:00:00:09"), VIP).toString("hex")).toBe(
    "ffffffffffff026773000009080600010800060400010267730000" + "09ac1f8001000000000000ac1f8001",
  );
});

async function countersOf(namespace: string): Promise<Record<string, number>> {
  const counters = await readNetworkCounters(namespace);
  return Object.fromEntries(counters.map(({ name, packets }) => [name, packets]));
}

function linkOf(vnet: TestVnet, vni: number) {
  return { nodeNamespace: vnet.node.namespace, vnetNamespace: vnet.namespace, vni };
}

/** A VNET on two nodes with a guest on each; the first node serves the VIP. */
async function makeService(fabric: TestFabric) {
  const v1 = await fabric.vnet(fabric.nodes[0]!, 77);
  const v2 = await fabric.vnet(fabric.nodes[1]!, 77);
  const a = await fabric.guest(v1, "a", 4);
  const b = await fabric.guest(v2, "b", 5);
  for (const guest of [a, b]) {
    fabric.serve(guest);
    fabric.serve(guest, 81);
  }
  await tellAll(
    [v1, v2],
    [
      [v1, a],
      [v2, b],
    ],
  );
  await attachVipLink(linkOf(v1, 77));
  await setVips(v1.namespace, { ...NETWORK, endpoints: [endpoint([a, b])] });
  await serveVips({ nodeNamespace: v1.node.namespace, vips: [{ vip: VIP, vni: 77 }] });
  return { v1, v2, a, b };
}

/** A TCP connection to a VIP, on which the caller may ask again and again. */
async function converse(from: string, address: Ipv4Address, port: number) {
  const connection = inNamespace(from, () => openConnection(address, port));
  if (typeof connection === "string") throw new Error(connection);
  expect(await connection.connected(2_000)).toBeUndefined();
  const socket = new Socket({ fd: connection.fd, readable: true, writable: true });
  let failure: string | undefined;
  socket.on("error", (error: NodeJS.ErrnoException) => {
    failure = error.code;
  });
  return {
    async say(): Promise<string> {
      if (failure !== undefined) return failure;
      const answered = once(socket, "data").then(([bytes]) => String(bytes));
      const closed = once(socket, "close").then(() => failure ?? "closed");
      socket.write("?");
      return await Promise.race([answered, closed]).catch((error) => error.code);
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("VIPs (needs root, nft)", () => {
  test("flows go to guests near and far in turn, from outside and from the tenant itself", async () => {
    using fabric = await makeTestFabric(2);
    const { v1, v2, a, b } = await makeService(fabric);
    await setVips(v2.namespace, { ...NETWORK, endpoints: [endpoint([a, b])] });
    const client = await fabric.client("172.31.0.99");
    const from = async (namespace: string) => [
      await ask(namespace, VIP, PUBLIC),
      await ask(namespace, VIP, PUBLIC),
    ];
    // The source address is kept where the answer finds the way back by itself.
    expect(await from(client.namespace)).toEqual(["a 172.31.0.99", "b 169.254.0.1"]);
    expect(await from(a.namespace)).toEqual(["a 10.20.0.1", "b 169.254.0.1"]);
    expect(await from(b.namespace)).toEqual(["a 169.254.0.2", "b 10.20.0.1"]);
    expect(await countersOf(v1.namespace)).toMatchObject({
      [endpointCounters(endpoint([])).flows]: 4,
      not_forwarded: 0,
    });
    // A VNET is no way out, and another address is no way in.
    expect(await ask(a.namespace, client.address, { waitMs: 200 })).toBe("ETIMEDOUT");
    ip("-n", client.namespace, "route", "add", "10.20.0.0/24", "via", "172.31.0.1");
    expect(await ask(client.namespace, a.address, { waitMs: 200 })).toMatch(/ETIMEDOUT|errno/);
    // The guest on the other node comes to this one: old flows are forgotten, new ones keep the source address.
    const flowsTo = (guest: string) =>
      ip("netns", "exec", v1.namespace, "conntrack", "-L", "-f", "ipv4", "--dst-nat")
        .split("\n")
        .filter((line) => readFlow(line)?.target === guest);
    expect(flowsTo("10.20.0.5")).not.toEqual([]);
    await fabric.unplug(v2, b);
    await fabric.plug(v1, b);
    await tellAll(
      [v1, v2],
      [
        [v1, a],
        [v1, b],
      ],
    );
    expect(flowsTo("10.20.0.5")).toEqual([]);
    expect(flowsTo("10.20.0.4")).not.toEqual([]);
    expect(await from(client.namespace)).toEqual(["a 172.31.0.99", "b 172.31.0.99"]);
  });

  test("two tenants with the same addresses serve two VIPs at once", async () => {
    using fabric = await makeTestFabric(1);
    const client = await fabric.client("172.31.0.99");
    const nodeNamespace = fabric.nodes[0]!.namespace;
    const served = [];
    for (const [vni, vip, name] of [
      [77, VIP, "a"],
      [78, OTHER_VIP, "b"],
    ] as const) {
      const vnet = await fabric.vnet(fabric.nodes[0]!, vni);
      const guest = await fabric.guest(vnet, name, 4);
      fabric.serve(guest);
      await attachVipLink(linkOf(vnet, vni));
      await setVips(vnet.namespace, { ...NETWORK, endpoints: [endpoint([guest], { vip })] });
      served.push({ vip, vni });
    }
    await serveVips({ nodeNamespace, vips: served });
    expect(await ask(client.namespace, VIP, PUBLIC)).toBe("a 172.31.0.99");
    expect(await ask(client.namespace, OTHER_VIP, PUBLIC)).toBe("b 172.31.0.99");
    await serveVips({ nodeNamespace, vips: served.slice(1) });
    expect(await ask(client.namespace, VIP, { ...PUBLIC, waitMs: 200 })).toMatch(/ETIMEDOUT|errno/);
    expect(await ask(client.namespace, OTHER_VIP, PUBLIC)).toBe("b 172.31.0.99");
    await detachVipLink({ nodeNamespace, vni: 78 });
    expect(ip("-n", nodeNamespace, "route")).not.toContain("172.31.128.2");
  });

  test("a link of the same number that leads to another VNET is replaced", async () => {
    using fabric = await makeTestFabric(1);
    const old = await fabric.vnet(fabric.nodes[0]!, 77, "old");
    await attachVipLink(linkOf(old, 78));
    const vnet = await fabric.vnet(fabric.nodes[0]!, 78, "new");
    await attachVipLink(linkOf(vnet, 78));
    expect(ip("-n", vnet.namespace, "link")).toContain("vip0");
    expect(ip("-n", old.namespace, "link")).not.toContain("vip0");
    const before = ip("-n", vnet.namespace, "link", "show", "vip0");
    await attachVipLink(linkOf(vnet, 78));
    expect(ip("-n", vnet.namespace, "link", "show", "vip0")).toBe(before); // adopted
  });

  test("a flow stays with its guest when the set changes, and is cut off when its guest is gone", async () => {
    using fabric = await makeTestFabric(2);
    const { v1, a, b } = await makeService(fabric);
    const client = await fabric.client("172.31.0.99");
    const set = (guests: readonly TestGuest[], notReady: readonly TestGuest[] = []) => {
      const targets = [
        ...guests.map(({ address }) => ({ address, isReady: true })),
        ...notReady.map(({ address }) => ({ address, isReady: false })),
      ];
      const tcp = endpoint([], { port: 81, targets });
      const udp = endpoint([], { protocol: "udp", port: 5353, targets });
      return setVips(v1.namespace, { ...NETWORK, endpoints: [tcp, udp] });
    };
    await serveUdp(fabric, a, 5353);
    await serveUdp(fabric, b, 5353);
    await set([a]);
    using near = await converse(client.namespace, VIP, 8080);
    const datagrams = await openUdp(client.namespace, client.address, 4000);
    const sendDatagram = async () => {
      const answered = once(datagrams, "message");
      datagrams.send("?", 8080, "172.31.128.1");
      return String((await answered)[0]);
    };
    try {
      expect(await near.say()).toBe("a 172.31.0.99");
      expect(await sendDatagram()).toBe("a");
      await set([b], [a]);
      using far = await converse(client.namespace, VIP, 8080);
      expect(await far.say()).toBe("b 169.254.0.1");
      expect(await near.say()).toBe("a 172.31.0.99");
      expect(await sendDatagram()).toBe("a");
      await set([b]);
      expect(await near.say()).toBe("ECONNRESET");
      expect(await sendDatagram()).toBe("b");
      expect(await far.say()).toBe("b 169.254.0.1");
      expect((await countersOf(v1.namespace))["cut_off"]).toBeGreaterThan(0);
    } finally {
      datagrams.close();
    }
  });

  test("without a ready guest connections are refused at once, and counted", async () => {
    using fabric = await makeTestFabric(2);
    const { v1, a } = await makeService(fabric);
    const client = await fabric.client("172.31.0.99");
    const targets = [{ address: a.address, isReady: false }];
    await setVips(v1.namespace, { ...NETWORK, endpoints: [endpoint([], { targets })] });
    expect(await ask(client.namespace, VIP, PUBLIC)).toBe(REFUSED);
    expect(await ask(client.namespace, VIP, { port: 9 })).toBe(REFUSED);
    const counters = await countersOf(v1.namespace);
    expect(counters[endpointCounters(endpoint([])).refused]).toBe(1);
    expect(counters["unknown_port"]).toBe(1);
    await setVips(v1.namespace, { ...NETWORK, endpoints: [endpoint([a])] });
    expect(await ask(client.namespace, VIP, PUBLIC)).toBe("a 172.31.0.99");
    expect((await countersOf(v1.namespace))[endpointCounters(endpoint([])).refused]).toBe(1);
  });

  test("another node takes a VIP over, and one whose agent is dead falls silent", async () => {
    using fabric = await makeTestFabric(2);
    const { v1, v2, a, b } = await makeService(fabric);
    const client = await fabric.client("172.31.0.99");
    const vips = [{ vip: VIP, vni: 77 }];
    expect(await ask(client.namespace, VIP, PUBLIC)).toBe("a 172.31.0.99");
    // The first node's agent is dead from here on: nobody takes its routes away.
    await serveVips({ nodeNamespace: v1.node.namespace, vips, answerSeconds: 1 });
    await attachVipLink(linkOf(v2, 77));
    await setVips(v2.namespace, { ...NETWORK, endpoints: [endpoint([a, b])] });
    await serveVips({ nodeNamespace: v2.node.namespace, vips });
    // The client has an entry for the first node; the announcement has replaced it.
    const mac = /link\/ether (\S+)/.exec(
      ip("-n", v2.node.namespace, "link", "show", "underlay0"),
    )![1]!;
    expect(ip("-n", client.namespace, "neigh", "show", "172.31.128.1")).toContain(mac);
    expect(await ask(client.namespace, VIP, PUBLIC)).toBe("a 169.254.0.2");
    expect(await ask(client.namespace, VIP, PUBLIC)).toBe("b 172.31.0.99");
    await expect
      .poll(async () => {
        ip("-n", client.namespace, "neigh", "flush", "all");
        await ask(client.namespace, VIP, PUBLIC);
        return (await countersOf(v1.node.namespace))["silent"];
      })
      .toBeGreaterThan(0);
    expect(ip("-n", client.namespace, "neigh", "show", "172.31.128.1")).toContain(mac);
    // Again, as after a restart of the agent.
    await serveVips({ nodeNamespace: v1.node.namespace, vips, announceAll: true });
    await expect.poll(() => ask(client.namespace, VIP, PUBLIC)).toBe("a 172.31.0.99");
  });

  test("a machine reaches the pool by one link and one route, while it is exposed", async () => {
    using fabric = await makeTestFabric(2);
    await makeService(fabric);
    using host = makeNamespace("host");
    const namespace = host.name;
    const pool = parseSubnet("172.31.128.0/24");
    const address = parseIpv4("172.31.255.254");
    const before = ip("-n", namespace, "route");
    const { underlay } = fabric;
    for (let time = 0; time < 2; time += 1) {
      expect(await exposeToHost({ underlay, address, pool, namespace })).toBe("gsx-ac1ffffe");
    }
    expect(ip("-n", namespace, "route").trim().split("\n")).toHaveLength(1);
    expect(await ask(namespace, VIP, PUBLIC)).toBe("a 172.31.255.254");
    for (let time = 0; time < 2; time += 1) await unexposeFromHost({ address, namespace });
    expect(ip("-n", namespace, "route")).toBe(before);
    expect(ip("-n", namespace, "-br", "link").trim().split("\n")).toHaveLength(1);
  });
});
