/**
 * What this project believes of the Linux kernel, asserted on the one that runs: which socket sees a frame, what happens
 * to sockets when their interface changes, and what the kernel says when it cannot deliver.
 */
import { execFileSync } from "node:child_process";
import { closeSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { DROP_ALL, encodeBpf } from "../../src/net/bpf.ts";
import { findInterfaceIndex } from "../../src/net/interface-info.ts";
import {
  AF_PACKET,
  attachSocketFilter,
  bindSocket,
  getSocketOption,
  openSocket,
  receiveMessage,
  SOCK_RAW,
  socketName,
} from "../../src/net/libc.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { openPacketRing } from "../../src/net/packet-ring.ts";
import { openPacketSocket } from "../../src/net/packet-socket.ts";
import { profileWith, requestFrame } from "../dhcp/packets.ts";
import { canMakeNamespaces, ipBatch, makeNamespace } from "./namespaces.ts";
import { macOf, makeTapNetwork, type SocketKind, until } from "./tap-server.ts";

const DISCOVER = { type: "DHCPDISCOVER" } as const;
const ETH_P_ALL = 3;
const ETH_P_IP = 0x0800;
const BROADCAST = 1;
const OTHER_HOST = 3;
const OUTGOING = 4;
const KINDS: readonly SocketKind[] = ["ring", "queue"];

/** A plain packet socket: what it sees, as packet types. */
function openSniffer(namespace: string, interfaceName: string, protocol: number) {
  const fd = inNamespace(namespace, () => {
    const socket = openSocket(AF_PACKET, SOCK_RAW, 0);
    const address = Buffer.alloc(20);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16BE(protocol, 2);
    address.writeInt32LE(findInterfaceIndex(interfaceName)!, 4);
    bindSocket(socket, address, interfaceName);
    return socket;
  });
  onTestFinished(() => closeSync(fd));
  const bytes = Buffer.alloc(2048);
  const address = Buffer.alloc(20);
  return {
    packetTypes: (): number[] => {
      const types: number[] = [];
      while (typeof receiveMessage(fd, bytes, address) === "number") {
        if (bytes.readUInt16BE(12) === ETH_P_IP) types.push(address[10]!);
      }
      return types;
    },
  };
}

/** As many as make a reply of more than 1400 octets. */
const ROUTES = Array.from({ length: 62 }, (_, net) => ({
  destination: { network: parseIpv4(`10.9.0.${net}`), prefixLength: 32 },
  gateway: parseIpv4("10.0.0.1"),
}));

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("on a bridge (needs root)", () => {
  test("a socket for IPv4 alone sees nothing on a port, one for all protocols everything", () => {
    const network = makeTapNetwork();
    network.bridge("br0");
    const guest = network.tap("tap0", 1, "br0");
    const ipv4 = openSniffer(network.namespace, "tap0", ETH_P_IP);
    const all = openSniffer(network.namespace, "tap0", ETH_P_ALL);
    const bridge = openSniffer(network.namespace, "br0", ETH_P_IP);
    guest.send(requestFrame({ ...DISCOVER, mac: guest.mac }));
    expect(ipv4.packetTypes()).toEqual([]);
    expect(all.packetTypes()).toEqual([BROADCAST]);
    expect(bridge.packetTypes()).toEqual([BROADCAST]);
  });

  test("a broadcast leaves by the other ports, where a socket sees it as outgoing", () => {
    const network = makeTapNetwork();
    network.bridge("br0");
    const guest = network.tap("tap0", 1, "br0");
    network.tap("tap1", 2, "br0");
    const other = openSniffer(network.namespace, "tap1", ETH_P_ALL);
    guest.send(requestFrame({ ...DISCOVER, mac: guest.mac }));
    expect(other.packetTypes()).toEqual([OUTGOING]);
  });

  test("a frame to another station is seen on its port, as another host's, and not on the bridge", () => {
    const network = makeTapNetwork();
    network.bridge("br0");
    const guest = network.tap("tap0", 1, "br0");
    const port = openSniffer(network.namespace, "tap0", ETH_P_ALL);
    const bridge = openSniffer(network.namespace, "br0", ETH_P_ALL);
    guest.send(requestFrame({ ...DISCOVER, mac: guest.mac }, { destinationMac: macOf(99) }));
    expect(port.packetTypes()).toEqual([OTHER_HOST]);
    expect(bridge.packetTypes()).toEqual([]);
  });

  for (const kind of KINDS) {
    test(`S89 raw-outgoing: with a ${kind} on each of three ports a DISCOVER gets one OFFER, on its own port`, async () => {
      const network = makeTapNetwork();
      network.bridge("br0");
      const guests = [1, 2, 3].map((n) => network.tap(`tap${n}`, n, "br0"));
      const counters = guests.map(({ name }) => network.serve(network.open(kind, name)));
      const { message } = await guests[1]!.ask({ ...DISCOVER, broadcast: true });
      expect(message.flags).toBe(0x8000);
      await pause(50);
      expect(guests.map((guest) => guest.readReplies().length)).toEqual([0, 0, 0]);
      expect(counters.map(({ received }) => received)).toEqual([0, 1, 0]);
    });
  }

  test("what is sent on a port reaches its guest alone, and other sockets as outgoing", () => {
    const network = makeTapNetwork();
    network.bridge("br0");
    const guests = [1, 2].map((n) => network.tap(`tap${n}`, n, "br0"));
    const socket = network.open("ring", "tap1");
    const port = openSniffer(network.namespace, "tap1", ETH_P_ALL);
    const bridge = openSniffer(network.namespace, "br0", ETH_P_ALL);
    socket.reserve()!.bytes.set(requestFrame(DISCOVER));
    socket.commit(300, socket.ifindex);
    expect(guests.map((guest) => guest.read().length)).toEqual([1, 0]);
    expect(port.packetTypes()).toEqual([OUTGOING]);
    expect(bridge.packetTypes()).toEqual([]);
  });

  test("a filter of the bridge hides a frame from the bridge's socket, not from the port's", () => {
    const network = makeTapNetwork();
    network.bridge("br0");
    const guest = network.tap("tap0", 1, "br0");
    const rules =
      "table bridge t { chain c { type filter hook prerouting priority 0; udp dport 67 drop; }; }";
    execFileSync("ip", ["netns", "exec", network.namespace, "nft", rules]);
    const port = openSniffer(network.namespace, "tap0", ETH_P_ALL);
    const bridge = openSniffer(network.namespace, "br0", ETH_P_ALL);
    guest.send(requestFrame({ ...DISCOVER, mac: guest.mac }));
    expect(port.packetTypes()).toEqual([BROADCAST]);
    expect(bridge.packetTypes()).toEqual([]);
  });
});

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("packet socket (needs root)", () => {
  test("has its filter before it is bound, and nobody can change it afterwards", () => {
    const network = makeTapNetwork();
    network.tap("tap0", 1);
    const SO_GET_FILTER = 26;
    const socket = inNamespace(network.namespace, () =>
      openPacketSocket({ interfaceName: "tap0", udpPort: 67, bootpOp: 1 }, (fd) => ({
        instructions: getSocketOption(fd, 1, SO_GET_FILTER, Buffer.alloc(1024)),
        boundTo: socketName(fd, 20).readInt32LE(4),
        protocol: socketName(fd, 20).readUInt16BE(2),
      })),
    );
    onTestFinished(() => closeSync(socket.fd));
    expect(socket.prepared).toEqual({ instructions: 15, boundTo: 0, protocol: 0 });
    expect(socketName(socket.fd, 20).readInt32LE(4)).toBe(socket.ifindex);
    expect(() => attachSocketFilter(socket.fd, encodeBpf(DROP_ALL))).toThrow("EPERM");
  });

  for (const kind of KINDS) {
    test(`S95 raw-ifdown-up: a ${kind} outlives down and up, and the poll does not spin while it is down`, async () => {
      const network = makeTapNetwork();
      const guest = network.tap("tap0", 1);
      const counters = network.serve(network.open(kind, "tap0"));
      await guest.ask(DISCOVER);
      network.link("set", "dev", "tap0", "down");
      await pause(50);
      const before = network.poller.wakeups;
      await pause(200);
      expect(network.poller.wakeups - before).toBeLessThanOrEqual(1);
      network.link("set", "dev", "tap0", "up");
      await guest.ask(DISCOVER);
      expect(counters.replies.DHCPOFFER).toBe(2);
    });

    test(`S97 raw-no-carrier-open: a ${kind} that was opened while its tap was down and had no reader answers the first DISCOVER`, async () => {
      const network = makeTapNetwork();
      ipBatch(network.namespace, ["tuntap add dev tap0 mode tap"]);
      const socket = network.open(kind, "tap0");
      network.serve(socket);
      const guest = network.tap("tap0", 1);
      await guest.ask(DISCOVER);
      expect(socket.readStatistics()).toMatchObject({ transmitted: 1, transmitFailed: 0 });
    });

    test(`a ${kind} does not take to a new tap of the same name, and its error is over once read`, async () => {
      const network = makeTapNetwork();
      const first = network.tap("tap0", 1);
      const socket = network.open(kind, "tap0");
      const counters = network.serve(socket);
      await first.ask(DISCOVER);
      first[Symbol.dispose]();
      const second = network.tap("tap0", 1);
      await pause(50);
      const before = network.poller.wakeups;
      second.send(requestFrame({ ...DISCOVER, mac: second.mac }));
      await pause(100);
      expect(network.poller.wakeups - before).toBeLessThanOrEqual(1);
      expect(second.readReplies()).toEqual([]);
      expect(counters.received).toBe(1);
      const buffer = socket.reserve()!;
      buffer.bytes.set(requestFrame(DISCOVER));
      socket.commit(300, socket.ifindex);
      expect(socket.counters.transmitFailed).toBe(1);
    });

    test(`S98 raw-overflow: of 20,000 DISCOVERs at once a ${kind} loses what the kernel says, and answers the next one`, async () => {
      const network = makeTapNetwork();
      const guest = network.tap("tap0", 1);
      const socket = network.open(kind, "tap0", { bypassQueue: true });
      const counters = network.serve(socket);
      const count = 20_000;
      const frame = requestFrame({ ...DISCOVER, mac: guest.mac });
      // Nothing is read meanwhile: one thread.
      for (let sent = 0; sent < count; sent += 1) guest.send(frame);
      await until(() => {
        guest.read();
        const { received, droppedByKernel } = socket.readStatistics();
        return received + droppedByKernel >= count;
      });
      const { received, droppedByKernel } = socket.readStatistics();
      expect(received + droppedByKernel).toBe(count);
      expect(droppedByKernel).toBeGreaterThan(count / 2);
      expect(counters.received).toBe(received);
      await guest.ask(DISCOVER);
    });

    test(`S99 raw-stalled-guest: a guest that stops reading costs refused frames, and others are answered through a ${kind}`, async () => {
      const network = makeTapNetwork();
      const stalled = network.tap("tap0", 1);
      const other = network.tap("tap1", 2);
      const socket = network.open(kind, "tap0", { bypassQueue: true });
      const counters = network.serve(socket);
      network.serve(network.open(kind, "tap1", { bypassQueue: true }));
      const frame = requestFrame({ ...DISCOVER, mac: stalled.mac });
      for (let round = 0; round < 100; round += 1) {
        for (let sent = 0; sent < 40; sent += 1) stalled.send(frame);
        await other.ask(DISCOVER);
      }
      await until(() => counters.received === 4000);
      const { transmitted, transmitFailed } = socket.counters;
      expect(transmitted + transmitFailed).toBe(4000);
      // The tap holds a thousand, its own queue length.
      expect(transmitFailed).toBeGreaterThan(2000);
      expect(stalled.readReplies().length).toBe(transmitted);
    });
  }

  test("without the bypass the kernel says that it sent what a stalled guest never gets", async () => {
    const network = makeTapNetwork();
    const stalled = network.tap("tap0", 1);
    const socket = network.open("queue", "tap0");
    const counters = network.serve(socket);
    for (let sent = 0; sent < 4000; sent += 1) {
      stalled.send(requestFrame({ ...DISCOVER, mac: stalled.mac }));
      if (sent % 40 === 39) await until(() => counters.received === sent + 1);
    }
    expect(socket.counters).toMatchObject({ transmitted: 4000, transmitFailed: 0 });
    expect(stalled.readReplies().length).toBeLessThan(3000);
  });

  test("a frame for a tap that nobody reads counts as sent: sent is not delivered", () => {
    const network = makeTapNetwork();
    ipBatch(network.namespace, ["tuntap add dev tap0 mode tap", "link set dev tap0 up"]);
    const socket = network.open("ring", "tap0");
    socket.reserve()!.bytes.set(requestFrame(DISCOVER));
    socket.commit(300, socket.ifindex);
    expect(socket.counters).toMatchObject({ transmitted: 1, transmitFailed: 0 });
  });

  test("S101 raw-mtu-change: the kernel refuses a frame that is longer than the interface's MTU, and the server makes none", async () => {
    const network = makeTapNetwork();
    const guest = network.tap("tap0", 1);
    let mtu = 1500;
    const socket = network.open("queue", "tap0");
    network.serve(socket, { profile: profileWith({ routes: ROUTES }), mtu: () => mtu });
    const options = { 55: [1, 3, 121], 57: [0x05, 0xdc] };
    const ask = () => guest.ask({ ...DISCOVER, options });
    expect((await ask()).payload.length + 28).toBeGreaterThan(1400);
    network.link("set", "dev", "tap0", "mtu", "1400");
    guest.send(requestFrame({ ...DISCOVER, mac: guest.mac, options }));
    await until(() => socket.counters.transmitFailed === 1);
    mtu = 1400;
    expect((await ask()).payload.length + 28).toBeLessThanOrEqual(1400);
  });

  test("a filter on a device's way out refuses the frame, bypass or not, and it is counted", () => {
    for (const bypassQueue of [false, true]) {
      const network = makeTapNetwork();
      const guest = network.tap("tap0", 1);
      const rules =
        'table netdev t { chain c { type filter hook egress device "tap0" priority 0; drop; }; }';
      execFileSync("ip", ["netns", "exec", network.namespace, "nft", rules]);
      const socket = network.open("queue", "tap0", { bypassQueue });
      socket.reserve()!.bytes.set(requestFrame(DISCOVER));
      socket.commit(300, socket.ifindex);
      expect([bypassQueue, socket.counters.transmitFailed, guest.read().length]).toEqual([
        bypassQueue,
        1,
        0,
      ]);
    }
  });

  test("a ring that looks itself says that its interface is removed, or moved to another namespace", async () => {
    for (const how of ["removed", "moved"] as const) {
      const network = makeTapNetwork();
      network.tap("tap0", 1);
      const ring = inNamespace(network.namespace, () =>
        openPacketRing({ interfaceName: "tap0", udpPort: 67, bootpOp: 1, poller: network.poller }),
      );
      onTestFinished(() => ring[Symbol.asyncDispose]());
      const receiving = ring.receive(() => undefined, new AbortController().signal);
      const other = makeNamespace("other");
      onTestFinished(() => other[Symbol.dispose]());
      if (how === "removed") network.link("del", "dev", "tap0");
      else network.link("set", "dev", "tap0", "netns", other.name);
      await expect(receiving).rejects.toMatchObject({ code: "ERR_NET_INTERFACE_REMOVED" });
    }
  });
});
