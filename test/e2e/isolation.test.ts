import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { describe, expect, test } from "vitest";
import { parseIpv4, WIRE_SERVER_ADDRESS } from "../../src/model/ipv4-address.ts";
import { type MacAddress, parseMac, writeMac } from "../../src/model/mac-address.ts";
import { portName } from "../../src/model/names.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { Poller } from "../../src/net/poller.ts";
import { readPortCounts } from "../../src/net/port-filter.ts";
import { openListener } from "../../src/net/sockets.ts";
import { createLinuxNetwork } from "../../src/nm/index.ts";
import { ask } from "../net/fabric-network.ts";
import { canMakeNamespaces, connect, disableIpv6, ip, ipBatch } from "../net/namespaces.ts";
import { finish } from "./processes.ts";

const PREFIX = `gst-iso${process.pid}-`;
const GATEWAY = parseIpv4("10.20.0.1");
/** What a guest answers where nobody listens: it was reached. */
const REFUSED = "errno 111";
const BROADCAST = "ff:ff:ff:ff:ff:ff";

interface Guest {
  readonly namespace: string;
  readonly mac: string;
  readonly address: string;
  readonly port: string;
}

/** VNETs as the agent makes them, each with two guests that have the same addresses as the other's. */
async function makeTenants(...vnets: string[]) {
  const stack = new DisposableStack();
  const network = createLinuxNetwork({
    namespacePrefix: PREFIX,
    canFilter: true,
    poller: new Poller(),
  });
  stack.use(network);
  const tenants = new Map<string, { a: Guest; b: Guest }>();
  for (const [index, vnet] of vnets.entries()) {
    const goal = {
      vnet,
      tenant: "t",
      addressSpace: "10.20.0.0/24",
      gateway: "10.20.0.1",
      vni: index + 1,
    };
    stack.defer(() => void ip("netns", "del", network.namespaceOf(vnet)));
    await network.ensureVnet(goal);
    const [a, b] = [4, 5].map((number) => {
      const guest = plug(network.namespaceOf(vnet), `${vnet}_${number}`, index, number);
      stack.defer(() => void ip("netns", "del", guest.namespace));
      return guest;
    });
    const ports = [a!, b!].map(({ port, mac, address }) => ({
      ...{ name: port, mac: parseMac(mac), address: parseIpv4(address) },
    }));
    await network.applyFilter(vnet, ports, GATEWAY);
    const indexes = network.listPorts(vnet)!.map(({ ifindex }) => ifindex);
    expect([...network.openPorts(vnet, indexes)]).toEqual([]);
    tenants.set(vnet, { a: a!, b: b! });
  }
  return { network, tenants, [Symbol.dispose]: () => stack.dispose() };
}

function plug(vnetNamespace: string, name: string, vnet: number, number: number): Guest {
  const mac = `02:67:73:00:0${vnet}:0${number}`;
  const address = `10.20.0.${number}`;
  const guest = { namespace: `${PREFIX}${name}`, mac, address, port: portName(mac) };
  ip("netns", "add", guest.namespace);
  disableIpv6(guest.namespace);
  connect(vnetNamespace, guest.port, guest.namespace, "eth0");
  ip("-n", vnetNamespace, "link", "set", "dev", guest.port, "down");
  ipBatch(guest.namespace, [
    `link set dev eth0 address ${mac}`,
    `addr add ${address}/24 dev eth0`,
    "route add 168.63.129.16 via 10.20.0.1",
  ]);
  return guest;
}

const mac = (text: string) => {
  const bytes = Buffer.alloc(6);
  writeMac(bytes, 0, parseMac(text) as MacAddress);
  return bytes.toString("hex");
};
const ipv4 = (text: string) => parseIpv4(text).toString(16).padStart(8, "0");

/** An Ethernet frame as hexadecimal text. */
const frame = (to: string, from: string, payload: string) => `${mac(to)}${mac(from)}${payload}`;
const arp = (operation: number, sender: string, senderIp: string, targetIp: string) =>
  `08060001080006040${"0"}0${operation}${mac(sender)}${ipv4(senderIp)}000000000000${ipv4(targetIp)}`;

/** UDP without checksum; `flags` is the fragment word. */
function udp(from: string, to: string, ports: readonly [number, number], flags = "0000"): string {
  const [source, target] = ports.map((port) => port.toString(16).padStart(4, "0"));
  const header = Buffer.from(`4500002000010000401100${"00"}${ipv4(from)}${ipv4(to)}`, "hex");
  header.write(flags, 6, "hex");
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += header.readUInt16BE(at);
  header.writeUInt16BE(~((sum & 0xffff) + (sum >> 16)) & 0xffff, 10);
  return `0800${header.toString("hex")}${source}${target}000c0000deadbeef`;
}

/** Sends raw frames from a guest, past its own network stack. */
async function inject(guest: Guest, ...frames: string[]): Promise<void> {
  const script = [
    "import socket, sys",
    "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "s.bind(('eth0', 0))",
    "[s.send(bytes.fromhex(f)) for f in sys.argv[1:]]",
  ].join("\n");
  const { code, stderr } = await finish(["python3", "-c", script, ...frames], guest.namespace);
  expect([code, stderr]).toEqual([0, ""]);
}

/** Frames that an interface of a guest received so far. */
function received(guest: Guest): number {
  const text = ip("-n", guest.namespace, "-s", "-j", "link", "show", "dev", "eth0");
  return (JSON.parse(text) as { stats64: { rx: { packets: number } } }[])[0]!.stats64.rx.packets;
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("isolation (needs root, nft)", () => {
  test("forged frames get nowhere and are counted by reason; the neighbour hears nothing and goes on", async () => {
    using fabric = await makeTenants("red.net", "blue.net");
    const { a, b } = fabric.tenants.get("red.net")!;
    const blue = fabric.tenants.get("blue.net")!;
    const space = fabric.network.namespaceOf("red.net");
    const knock = () => ask(a.namespace, parseIpv4(b.address), { port: 9 });
    expect(await knock()).toBe(REFUSED);
    // So that neither asks again for the other's MAC meanwhile, which would be counted.
    for (const [guest, other] of [
      [a, b],
      [b, a],
    ] as const) {
      ipBatch(guest.namespace, [
        `neigh replace ${other.address} lladdr ${other.mac} nud permanent dev eth0`,
      ]);
    }
    const counts = async () => (await readPortCounts(space)).get(a.port)!;
    const forged = [
      ["mac", frame(BROADCAST, b.mac, arp(1, b.mac, b.address, "10.20.0.9"))],
      ["arp", frame(BROADCAST, a.mac, arp(2, a.mac, b.address, b.address))],
      ["arp", frame(BROADCAST, a.mac, arp(2, b.mac, a.address, a.address))],
      ["platform", frame(BROADCAST, a.mac, arp(2, a.mac, "10.20.0.1", "10.20.0.1"))],
      ["platform", frame(b.mac, a.mac, udp("168.63.129.16", b.address, [80, 9]))],
      ["ip", frame(b.mac, a.mac, udp("10.20.0.77", b.address, [9, 9]))],
      ["dhcp", frame(BROADCAST, a.mac, udp(a.address, "255.255.255.255", [67, 68]))],
      ["dhcp", frame(b.mac, a.mac, udp(a.address, b.address, [1067, 68]))],
      ["dhcp", frame(b.mac, a.mac, udp(a.address, b.address, [67, 1068], "2000"))],
      ["ethertype", frame(b.mac, a.mac, `81000005${udp(a.address, b.address, [9, 9])}`)],
      ["ethertype", frame(b.mac, a.mac, `88a80005${udp(a.address, b.address, [9, 9])}`)],
      ["ethertype", frame(b.mac, a.mac, "88b5deadbeef")],
      ["ipv6", frame("33:33:00:00:00:01", a.mac, "86dd6000000000003a40")],
    ] as const;
    for (const [reason, bytes] of forged) {
      const [before, heard] = [await counts(), [b, blue.a, blue.b].map(received)];
      await inject(a, bytes);
      const after = await counts();
      expect([bytes, after]).toEqual([bytes, { ...before, [reason]: before[reason] + 1 }]);
      expect([b, blue.a, blue.b].map(received)).toEqual(heard);
    }
    expect(await knock()).toBe(REFUSED);
  });

  test("what a client does by right passes: gratuitous ARP, a probe, and DHCP, which no neighbour hears", async () => {
    using fabric = await makeTenants("red.net");
    const { a, b } = fabric.tenants.get("red.net")!;
    const space = fabric.network.namespaceOf("red.net");
    const accepted = async () => (await readPortCounts(space)).get(a.port)!.accepted;
    const heard = received(b);
    const before = await accepted();
    await inject(
      a,
      frame(BROADCAST, a.mac, arp(1, a.mac, a.address, a.address)),
      frame(BROADCAST, a.mac, arp(1, a.mac, "0.0.0.0", a.address)),
    );
    expect(received(b) - heard).toBe(2);
    await inject(a, frame(BROADCAST, a.mac, udp("0.0.0.0", "255.255.255.255", [68, 67])));
    expect([received(b) - heard, (await accepted()) - before]).toEqual([2, 3]);
  });

  test("two tenants with the same addresses hear nothing of each other, and each reaches its own wire server as itself", async () => {
    using fabric = await makeTenants("red.net", "blue.net");
    const callers: string[] = [];
    using servers = new DisposableStack();
    for (const vnet of fabric.tenants.keys()) {
      const fd = inNamespace(fabric.network.namespaceOf(vnet), () =>
        openListener(WIRE_SERVER_ADDRESS, 80),
      );
      const server = createServer((socket) => {
        callers.push(`${vnet} ${socket.remoteAddress}`);
        socket.on("error", () => undefined).end(vnet);
      }).listen({ fd });
      servers.defer(() => void server.close());
    }
    const { a, b } = fabric.tenants.get("red.net")!;
    const blue = fabric.tenants.get("blue.net")!;
    const quiet = [blue.a, blue.b].map(received);
    expect(await ask(a.namespace, parseIpv4(b.address), { port: 9 })).toBe(REFUSED);
    expect(await ask(a.namespace, WIRE_SERVER_ADDRESS)).toBe("red.net");
    expect([blue.a, blue.b].map(received)).toEqual(quiet);
    expect(await ask(blue.a.namespace, WIRE_SERVER_ADDRESS)).toBe("blue.net");
    // As its neighbour: the packets leave the guest and end at its port.
    ipBatch(a.namespace, [
      `addr add ${b.address}/32 dev eth0`,
      `route replace 168.63.129.16 via 10.20.0.1 src ${b.address}`,
    ]);
    expect(await ask(a.namespace, WIRE_SERVER_ADDRESS, { waitMs: 1_500 })).toBe("ETIMEDOUT");
    expect(callers).toEqual(
      ["red.net 10.20.0.4", "blue.net 10.20.0.4"].map((text) => expect.stringContaining(text)),
    );
    const { ip: forged } = (await readPortCounts(fabric.network.namespaceOf("red.net"))).get(
      a.port,
    )!;
    expect(forged).toBeGreaterThan(0);
  });

  test("a name of a namespace that a killed process left is no VNET, and is made one", async () => {
    using fabric = await makeTenants();
    const name = fabric.network.namespaceOf("half.net");
    writeFileSync(`/run/netns/${name}`, "");
    using _name = { [Symbol.dispose]: () => void ip("netns", "del", name) };
    expect(fabric.network.listPorts("half.net")).toBeUndefined();
    const goal = { tenant: "t", addressSpace: "10.20.0.0/24", gateway: "10.20.0.1", vni: 1 };
    await fabric.network.ensureVnet({ vnet: "half.net", ...goal });
    expect(fabric.network.listPorts("half.net")).toEqual([]);
  });
});
