import { describe, expect, test } from "vitest";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { formatMac, parseMac } from "../../src/model/mac-address.ts";
import {
  applyPortFilter,
  namedParts,
  PORT_COUNTERS,
  readPortCounts,
  renderPortFilter,
} from "../../src/net/port-filter.ts";
import { createVnetBridge, openPort } from "../../src/net/vnet-bridge.ts";
import { finish } from "../e2e/processes.ts";
import { canMakeNamespaces, connect, disableIpv6, ip, makeNamespace } from "./namespaces.ts";

const A = { name: "tapa", mac: parseMac("02:67:73:00:00:0a"), address: parseIpv4("10.20.0.4") };
const B = { name: "tapb", mac: parseMac("02:67:73:00:00:0b"), address: parseIpv4("10.20.0.5") };

describe("renderPortFilter()", () => {
  test("drops everything at every hook where no port is open, but for the overlay's", () => {
    const script = renderPortFilter([]);
    expect(script.match(/policy drop/g)).toHaveLength(4);
    expect(script).not.toContain("vmap");
    expect(script.match(/accept/g)).toHaveLength(4);
    expect(script).toContain('    iifname "vxlan0" accept');
  });

  test("lets a port send with its own MAC and address only, and be no DHCP server", () => {
    const script = renderPortFilter([A, B], { gateway: parseIpv4("10.20.0.1") });
    const platform = "{ 10.20.0.1, 168.63.129.16, 169.254.169.254 }";
    const count = (what: string) => `counter name "tapa_${what}"`;
    expect(script).toContain(
      [
        "  chain port_tapa {",
        `    ether saddr != 02:67:73:00:00:0a ${count("mac")} drop`,
        `    ether type ip6 ${count("ipv6")} drop`,
        `    ether type != { ip, arp } ${count("ethertype")} drop`,
        `    ether type arp arp saddr ip ${platform} ${count("platform")} drop`,
        "    ether type arp arp operation { request, reply } arp saddr ether 02:67:73:00:00:0a " +
          `arp saddr ip { 0.0.0.0, 10.20.0.4 } ${count("accepted")} accept`,
        `    ether type arp ${count("arp")} drop`,
        `    udp sport 67 ${count("dhcp")} drop`,
        `    udp dport 68 ${count("dhcp")} drop`,
        "    ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 " +
          `${count("accepted")} accept`,
        `    ip saddr 10.20.0.4 ${count("accepted")} accept`,
        `    ip saddr ${platform} ${count("platform")} drop`,
        `    ${count("ip")} drop`,
        "  }",
      ].join("\n"),
    );
    expect(script).toContain('iifname vmap { "tapa" : jump port_tapa, "tapb" : jump port_tapb }');
  });

  test("deletes what is left of ports that are gone, and nothing else", () => {
    const script = renderPortFilter([A], { before: namedParts([A, B]) });
    const deleted = script.split("\n").filter((line) => line.startsWith("delete"));
    expect(deleted).toHaveLength(1 + PORT_COUNTERS.length);
    expect(deleted.every((line) => line.includes("tapb"))).toBe(true);
  });
});

/** Sends one datagram to each target from an address, and prints nothing. */
function send(namespace: string, from: string, port: number, ...targets: string[]) {
  const script = `
    const socket = require("node:dgram").createSocket("udp4");
    socket.bind(${port}, ${JSON.stringify(from)}, () => {
      const targets = ${JSON.stringify(targets)};
      let left = targets.length;
      for (const to of targets) socket.send("x", 9, to, () => --left || socket.close());
    });`;
  return finish([process.execPath, "-e", script], namespace);
}

async function countersOf(namespace: string, name: string): Promise<Record<string, number>> {
  return { ...(await readPortCounts(namespace)).get(name) };
}

/** So that no ARP is needed, which would be counted too. */
function setNeighbour(guest: string): void {
  const mac = "02:67:73:00:00:0b";
  ip("-n", guest, "neigh", "replace", "10.20.0.5", "lladdr", mac, "dev", "eth0");
}

/** What `action` sends from port A is counted as refused for this reason, and nothing as accepted. */
async function expectDropped(
  vnet: string,
  reason: string,
  action: () => Promise<unknown>,
): Promise<void> {
  const before = await countersOf(vnet, "tapa");
  await action();
  const after = await countersOf(vnet, "tapa");
  expect(after["accepted"]).toBe(before["accepted"]);
  expect(after[reason]).toBeGreaterThan(before[reason]!);
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("port filter (needs root, nft)", () => {
  test("holds on a bridge: who spoofs is dropped and counted, who is not listed is silent", async () => {
    using guestA = makeNamespace("a");
    using guestB = makeNamespace("b");
    const vnet = `gst-vnet-${process.pid}`;
    const gateway = parseIpv4("10.20.0.1");
    await createVnetBridge({ namespace: vnet, gateway, prefixLength: 24 });
    using _vnet = { [Symbol.dispose]: () => void ip("netns", "del", vnet) };
    for (const [port, guest] of [
      [A, guestA],
      [B, guestB],
    ] as const) {
      disableIpv6(guest.name);
      connect(vnet, port.name, guest.name, "eth0");
      const mac = port === A ? "02:67:73:00:00:0a" : "02:67:73:00:00:0b";
      const address = port === A ? "10.20.0.4" : "10.20.0.5";
      ip("-n", guest.name, "link", "set", "dev", "eth0", "address", mac);
      ip("-n", guest.name, "addr", "add", `${address}/24`, "dev", "eth0");
      await openPort(vnet, port.name);
    }
    await applyPortFilter(vnet, [A]);
    // A may speak; B is not listed, so even its answer to A's ARP is dropped.
    await send(guestA.name, "10.20.0.4", 0, "10.20.0.1");
    expect((await countersOf(vnet, "tapa"))["accepted"]).toBeGreaterThan(0);
    expect(await countersOf(vnet, "tapb")).toEqual({});
    await applyPortFilter(vnet, [A, B]);
    expect((await countersOf(vnet, "tapa"))["accepted"]).toBeGreaterThan(0); // kept
    // Another's address, then DHCP server, then another MAC.
    ip("-n", guestA.name, "addr", "add", "10.20.0.9/24", "dev", "eth0");
    setNeighbour(guestA.name);
    await expectDropped(vnet, "ip", () => send(guestA.name, "10.20.0.9", 0, "10.20.0.5"));
    await expectDropped(vnet, "dhcp", () => send(guestA.name, "10.20.0.4", 67, "10.20.0.5"));
    const heard = await countersOf(vnet, "tapa");
    await send(guestA.name, "10.20.0.4", 0, "10.20.0.5");
    expect((await countersOf(vnet, "tapa"))["accepted"]).toBeGreaterThan(heard["accepted"]!);
    ip("-n", guestA.name, "link", "set", "dev", "eth0", "address", "02:67:73:00:00:0c");
    setNeighbour(guestA.name);
    await expectDropped(vnet, "mac", () => send(guestA.name, "10.20.0.4", 0, "10.20.0.5"));
  });

  test("a forged sender is not learned: another's traffic is not drawn to the port", async () => {
    using guestA = makeNamespace("a");
    disableIpv6(guestA.name);
    const vnet = `gst-vnet-learn-${process.pid}`;
    const gateway = parseIpv4("10.20.0.1");
    await createVnetBridge({ namespace: vnet, gateway, prefixLength: 24 });
    using _vnet = { [Symbol.dispose]: () => void ip("netns", "del", vnet) };
    connect(vnet, A.name, guestA.name, "eth0");
    await applyPortFilter(vnet, [A]);
    await openPort(vnet, A.name);
    ip("-n", guestA.name, "addr", "add", "10.20.0.4/24", "dev", "eth0");
    const learned = () => ip("netns", "exec", vnet, "bridge", "fdb", "show", "dev", A.name);
    // Frames to reserved groups take other ways through the bridge.
    ip("-n", guestA.name, "link", "set", "dev", "eth0", "address", formatMac(B.mac));
    for (const to of ["ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:03", "01:80:c2:00:00:0e"]) {
      ip("-n", guestA.name, "neigh", "replace", "10.20.0.9", "lladdr", to, "dev", "eth0");
      await send(guestA.name, "10.20.0.4", 0, "10.20.0.9");
    }
    expect(learned()).not.toContain(formatMac(B.mac));
    ip("-n", guestA.name, "link", "set", "dev", "eth0", "address", formatMac(A.mac));
    ip(
      "-n",
      guestA.name,
      "neigh",
      "replace",
      "10.20.0.9",
      "lladdr",
      formatMac(B.mac),
      "dev",
      "eth0",
    );
    await send(guestA.name, "10.20.0.4", 0, "10.20.0.9");
    expect(learned()).toContain(formatMac(A.mac));
  });
});
