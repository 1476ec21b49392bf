import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { formatIpv4, type Ipv4Address, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { formatMac, type MacAddress } from "../../src/model/mac-address.ts";
import { ensureNamespace } from "../../src/net/ensure-namespace.ts";
import { setLiveNodes } from "../../src/net/fence.ts";
import { namespacePath } from "../../src/net/namespace.ts";
import { readNetworkCounters } from "../../src/net/nft.ts";
import { createNodeNamespace, createUnderlay } from "../../src/net/node-network.ts";
import { attachOverlay, detachOverlay, setPeers } from "../../src/net/overlay.ts";
import { entriesOf, planOverlay, routerOf } from "../../src/net/overlay-plan.ts";
import { applyPortFilter } from "../../src/net/port-filter.ts";
import { GATEWAY_MAC } from "../../src/net/vnet-bridge.ts";
import { run } from "../e2e/processes.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import {
  ask,
  makeTestFabric,
  sendDatagrams,
  type TestFabric,
  tellAll,
  UNDERLAY_SUBNET,
} from "./fabric-network.ts";
import { canMakeNamespaces, ip, ipBatch, makeNamespace } from "./namespaces.ts";

const NODE_1 = parseIpv4("172.31.0.1");
const NODE_2 = parseIpv4("172.31.0.2");

function peer(number: number, nodeAddress: Ipv4Address) {
  return {
    mac: (0x0267_7300_0000 + number) as MacAddress,
    address: (parseIpv4("10.20.0.0") + number) as Ipv4Address,
    nodeAddress,
  };
}

describe("planOverlay()", () => {
  const nothing = entriesOf([]);

  test("changes nothing where all is as it should be", () => {
    const entries = entriesOf([peer(4, NODE_1)]);
    expect(Object.values(planOverlay(entries, entries)).flat()).toEqual([]);
  });

  test("adds a tunnel, a port and a neighbour for a guest, and removes them again", () => {
    const entries = entriesOf([peer(4, NODE_1)]);
    expect(planOverlay(nothing, entries)).toEqual({
      bridgeRemovals: [],
      bridgeAdditions: [
        "fdb replace 02:67:73:00:00:04 dev vxlan0 dst 172.31.0.1 self static",
        "fdb replace 02:67:73:00:00:04 dev vxlan0 master static",
      ],
      neighbourRemovals: [],
      neighbourAdditions: [
        "neigh replace 10.20.0.4 lladdr 02:67:73:00:00:04 dev br0 nud permanent",
      ],
      movedAddresses: ["10.20.0.4"],
    });
    expect(planOverlay(entries, nothing)).toEqual({
      bridgeRemovals: [
        "fdb del 02:67:73:00:00:04 dev vxlan0 self",
        "fdb del 02:67:73:00:00:04 dev vxlan0 master",
      ],
      bridgeAdditions: [],
      neighbourRemovals: ["neigh del 10.20.0.4 dev br0"],
      neighbourAdditions: [],
      movedAddresses: ["10.20.0.4"],
    });
  });

  test("changes only the tunnel of a guest that moved between other nodes", () => {
    const plan = planOverlay(entriesOf([peer(4, NODE_1)]), entriesOf([peer(4, NODE_2)]));
    expect(Object.values(plan).flat()).toEqual([
      "fdb replace 02:67:73:00:00:04 dev vxlan0 dst 172.31.0.2 self static",
    ]);
  });
});

test("routerOf() gives each node an address and a MAC of its own, away from the metadata service", () => {
  expect(formatMac(routerOf(NODE_2).mac)).toBe("06:67:ac:1f:00:02");
  expect(formatIpv4(routerOf(NODE_2).address)).toBe("169.254.0.2");
  expect(formatIpv4(routerOf(parseIpv4("172.31.169.254")).address)).toBe("169.254.41.254");
});

/** Two nodes with a VNET, guest `a` on the first and `b` on the second, both serving. */
async function makePair() {
  const fabric = await makeTestFabric(2);
  try {
    const v1 = await fabric.vnet(fabric.nodes[0]!, 77);
    const v2 = await fabric.vnet(fabric.nodes[1]!, 77);
    const a = await fabric.guest(v1, "a", 4);
    const b = await fabric.guest(v2, "b", 5);
    fabric.serve(a);
    fabric.serve(b);
    await tellAll(
      [v1, v2],
      [
        [v1, a],
        [v2, b],
      ],
    );
    return { fabric, v1, v2, a, b, [Symbol.dispose]: () => fabric[Symbol.dispose]() };
  } catch (error) {
    fabric[Symbol.dispose]();
    throw error;
  }
}

async function packetsOf(namespace: string, name: string): Promise<number> {
  const counters = await readNetworkCounters(namespace);
  return counters.find((counter) => counter.name === name)?.packets ?? -1;
}

/** Records what passes the switch while `action` runs. @returns a count of the packets that a tshark filter matches */
async function captureUnderlay(fabric: TestFabric, action: () => Promise<void>) {
  const path = join(temporaryFolder("overlay"), "underlay.pcap");
  const tcpdump = run(
    ["tcpdump", "--immediate-mode", "-U", "-n", "-i", "br0", "-w", path],
    fabric.underlay.namespace,
  );
  try {
    await tcpdump.says("listening on");
    await action();
    await new Promise((resolve) => setTimeout(resolve, 300)); // what is under way, and the capture's buffer
    tcpdump.kill("SIGINT");
    await tcpdump.ended;
  } finally {
    await tcpdump[Symbol.asyncDispose]();
  }
  const fields = ["eth.addr", "_ws.col.Protocol", "ip.len", "ip.flags.mf"];
  const text = execFileSync(
    "tshark",
    ["-r", path, "-Y", "vxlan", "-T", "fields", ...fields.flatMap((name) => ["-e", name])],
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
  );
  return text.trim().split("\n");
}

function listFdb(namespace: string): string[] {
  const text = execFileSync("bridge", ["-n", namespace, "fdb", "show", "dev", "vxlan0"], {
    encoding: "utf8",
  });
  const lines = text.split("\n").map((line) => line.trim());
  return lines.filter((line) => line.endsWith("static")).sort();
}

/** Sends an inner frame from a node to another, as VXLAN packet of VNET 77. */
async function forge(from: { namespace: string; address: Ipv4Address }, frames: Buffer[]) {
  const header = Buffer.from([0x08, 0, 0, 0, 0, 0, 77, 0]);
  const targets = frames.map(
    (frame) => ["172.31.0.1", 4789, Buffer.concat([header, frame])] as const,
  );
  await sendDatagrams(from, 40_000, targets);
}

/** An Ethernet frame with an empty UDP datagram (no checksums: nothing looks at them before the filter does). */
function frame(options: {
  to: string;
  from: string;
  source: string;
  target: string;
  port?: number;
}) {
  const hex = (mac: string) => mac.replaceAll(":", "");
  const word = (address: string) => parseIpv4(address).toString(16).padStart(8, "0");
  const port = (options.port ?? 9).toString(16).padStart(4, "0");
  return Buffer.from(
    `${hex(options.to)}${hex(options.from)}0800` +
      `4500001c0000000040110000${word(options.source)}${word(options.target)}` +
      `0009${port}00080000`,
    "hex",
  );
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("overlay (needs root, nft)", () => {
  test("guests on two nodes talk; ARP, DHCP and the gateway's frames do not cross", async () => {
    using pair = await makePair();
    const { fabric, v1, v2, a, b } = pair;
    const packets = await captureUnderlay(fabric, async () => {
      expect(await ask(a.namespace, b.address)).toBe("b 10.20.0.4");
      expect(await ask(b.namespace, a.address)).toBe("a 10.20.0.5");
      // A neighbour that is probed is asked by unicast; nobody has .99.
      const mac = formatMac(b.mac);
      ipBatch(a.namespace, [`neigh replace 10.20.0.5 lladdr ${mac} dev eth0 nud probe`]);
      expect(await ask(a.namespace, parseIpv4("10.20.0.99"), { waitMs: 300 })).toMatch("ETIMEDOUT");
      await sendDatagrams(a, 68, [
        ["10.20.0.255", 67, Buffer.alloc(300)],
        ["10.20.0.5", 67, Buffer.alloc(300)],
      ]);
      await sendDatagrams(a, 5000, [["10.20.0.5", 9, Buffer.alloc(1472)]]);
      // The node itself asks, as its router: the guest answers through its own gateway.
      expect(await ask(v1.namespace, b.address)).toBe("b 169.254.0.1");
      expect(await ask(v2.namespace, a.address)).toBe("a 169.254.0.2");
      expect(await ask(a.namespace, parseIpv4("10.20.0.1"))).toBe("errno 111");
    });
    expect(ip("-n", a.namespace, "neigh", "show", "10.20.0.5")).toContain("REACHABLE");
    expect(packets.length).toBeGreaterThan(20);
    expect(packets.filter((line) => /ARP|DHCP|BOOTP/.test(line))).toEqual([]);
    expect(packets.filter((line) => line.includes(GATEWAY_MAC))).toEqual([]);
    expect(packets.filter((line) => line.includes("ff:ff:ff:ff:ff:ff"))).toEqual([]);
    // A frame of 1500 bytes fits in one packet.
    expect(packets.some((line) => line.includes("1550,1500"))).toBe(true);
    expect(packets.filter((line) => /1(,|$)/.test(line.split("\t")[3] ?? ""))).toEqual([]);
    expect(await packetsOf(v2.namespace, "refused_entering")).toBe(0);
    expect(await packetsOf(v1.namespace, "left")).toBeGreaterThan(0);
  });

  test("the tunnel's socket is in the node's namespace, its device in the VNET's", async () => {
    using fabric = await makeTestFabric(1);
    const vnet = await fabric.vnet(fabric.nodes[0]!, 77);
    const sockets = (namespace: string) => ip("netns", "exec", namespace, "ss", "-Huln");
    expect(sockets(vnet.node.namespace)).toContain(":4789");
    expect(sockets(vnet.namespace)).toBe("");
    expect(ip("-n", vnet.namespace, "link", "show", "vxlan0")).toContain("mtu 1500");
    await detachOverlay(vnet.namespace);
    await detachOverlay(vnet.namespace);
    expect(sockets(vnet.node.namespace)).not.toContain(":4789");
  });

  test("nobody speaks from the tunnel as the gateway, the platform, a local guest or a stranger", async () => {
    using pair = await makePair();
    const { fabric, v1, a, b } = pair;
    const [to, from] = [formatMac(a.mac), formatMac(b.mac)];
    const good = { to, from, source: "10.20.0.5", target: "10.20.0.4" };
    const node = fabric.nodes[1]!;
    await forge(node, [frame(good)]);
    expect(await packetsOf(v1.namespace, "entered")).toBe(1);
    const arp = frame(good);
    arp.writeUInt16BE(0x0806, 12);
    const bad = [
      arp,
      frame({ ...good, from: GATEWAY_MAC, source: "10.20.0.1" }),
      frame({ ...good, source: "168.63.129.16" }),
      frame({ ...good, from: to, source: "10.20.0.4" }),
      frame({ ...good, source: "10.20.0.4" }),
      frame({ ...good, from: "02:67:73:00:09:09" }),
      frame({ ...good, to: GATEWAY_MAC, target: "10.20.0.1" }),
      frame({ ...good, to: "ff:ff:ff:ff:ff:ff", target: "10.20.0.255" }),
      frame({ ...good, port: 67 }),
      frame({ ...good, port: 68 }),
      frame({ ...good, to: formatMac(routerOf(NODE_1).mac), target: "168.63.129.16" }),
      frame({ ...good, from: formatMac(routerOf(NODE_2).mac), source: "10.20.0.1" }),
    ];
    await forge(node, bad);
    expect(await packetsOf(v1.namespace, "refused_entering")).toBe(bad.length);
    expect(await packetsOf(v1.namespace, "entered")).toBe(1);
    expect(await ask(a.namespace, b.address)).toBe("b 10.20.0.4");
  });

  test("a node that is not alive is fenced off, and let in again", async () => {
    using pair = await makePair();
    const { v1, a, b } = pair;
    await setLiveNodes(v1.node.namespace, [NODE_1]);
    expect(await ask(a.namespace, b.address, { waitMs: 300 })).toBe("ETIMEDOUT");
    expect(await packetsOf(v1.node.namespace, "fenced")).toBeGreaterThan(0);
    await setLiveNodes(v1.node.namespace, [NODE_1, NODE_2]);
    expect(await ask(a.namespace, b.address)).toBe("b 10.20.0.4");
  });

  test("a guest that moves keeps its MAC and address, and answers at once, far and near", async () => {
    using fabric = await makeTestFabric(3);
    const vnets = [];
    for (const node of fabric.nodes) vnets.push(await fabric.vnet(node, 77));
    const [v1, v2, v3] = vnets as [(typeof vnets)[0], (typeof vnets)[0], (typeof vnets)[0]];
    const a = await fabric.guest(v1, "a", 4);
    const b = await fabric.guest(v2, "b", 5);
    const c = await fabric.guest(v3, "c", 6);
    for (const guest of [a, b, c]) fabric.serve(guest);
    const others = [
      [v1, a],
      [v3, c],
    ] as const;
    for (const [from, to] of [
      [v2, v3],
      [v3, v1],
      [v1, v2],
    ] as const) {
      await tellAll(vnets, [...others, [from, b]]);
      expect(await ask(a.namespace, b.address)).toBe("b 10.20.0.4");
      expect(await ask(c.namespace, b.address)).toBe("b 10.20.0.6");
      await fabric.unplug(from, b);
      await fabric.plug(to, b);
      await tellAll(vnets, [...others, [to, b]]);
      expect(await ask(a.namespace, b.address)).toBe("b 10.20.0.4");
      expect(await ask(c.namespace, b.address)).toBe("b 10.20.0.6");
      expect(await ask(b.namespace, a.address)).toBe("a 10.20.0.5");
    }
  });

  test("what is there is adopted, and what is wrong in the kernel is put right", async () => {
    using pair = await makePair();
    const { fabric, v1, v2, a, b } = pair;
    const before = listFdb(v1.namespace);
    expect(before).toHaveLength(4); // b and the router of its node, each in the bridge and in the tunnel
    const inode = ip("netns", "exec", v1.namespace, "readlink", "/proc/self/ns/net");
    const { prefix } = fabric;
    await createUnderlay({ prefix, subnet: UNDERLAY_SUBNET });
    const { underlay } = fabric;
    await createNodeNamespace({ underlay, node: "n1", address: NODE_1 });
    await fabric.vnet(v1.node, 77);
    expect(listFdb(v1.namespace)).toEqual(before);
    expect(ip("netns", "exec", v1.namespace, "readlink", "/proc/self/ns/net")).toBe(inode);
    const lines = `fdb add 02:67:73:00:09:09 dev vxlan0 dst 172.31.0.9 self static
      fdb replace ${formatMac(b.mac)} dev vxlan0 dst 172.31.0.9 self static
      fdb add 02:67:73:00:09:08 dev vxlan0 master static`;
    execFileSync("bridge", ["-n", v1.namespace, "-batch", "-"], { input: lines });
    ip("-n", v1.namespace, "neigh", "del", "10.20.0.5", "dev", "br0");
    await tellAll(
      [v1, v2],
      [
        [v1, a],
        [v2, b],
      ],
    );
    await applyPortFilter(v1.namespace, v1.ports);
    expect(listFdb(v1.namespace)).toEqual(before);
    expect(await ask(a.namespace, b.address)).toBe("b 10.20.0.4");
    // Another VNI is another network: the device is made again.
    const { namespace: vnetNamespace } = v1;
    const nodeNamespace = v1.node.namespace;
    await attachOverlay({ nodeNamespace, vnetNamespace, vni: 78, localAddress: NODE_1 });
    expect(listFdb(v1.namespace)).toEqual([]);
  });

  test("a namespace whose maker was killed on the way is made anew", async () => {
    using half = makeNamespace("half");
    const lo = () => ip("-n", half.name, "link", "show", "lo", "up");
    expect(await ensureNamespace(half.name)).toBe("adopted");
    // `ip netns add` makes a file and mounts a namespace on it; `lo` comes up last.
    ip("-n", half.name, "link", "set", "lo", "down");
    expect(await ensureNamespace(half.name)).toBe("made");
    expect(lo()).toContain("LOOPBACK");
    ip("netns", "del", half.name);
    writeFileSync(namespacePath(half.name), "");
    expect(await ensureNamespace(half.name)).toBe("made");
    expect(lo()).toContain("LOOPBACK");
  });

  test("a thousand guests elsewhere are programmed in one go, and one more or less is a small change", async () => {
    using fabric = await makeTestFabric(1);
    const { overlay, namespace } = await fabric.vnet(fabric.nodes[0]!, 77);
    const peers = Array.from({ length: 1000 }, (_, index) => peer(index + 300, NODE_2));
    await setPeers(overlay, { peers, nodes: [NODE_2] });
    expect(listFdb(namespace)).toHaveLength(2002);
    await setPeers(overlay, { peers: peers.slice(1), nodes: [NODE_2] });
    expect(listFdb(namespace)).toHaveLength(2000);
  });
});
