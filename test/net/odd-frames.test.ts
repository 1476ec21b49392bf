/** Frames as networks really carry them: tags, offloaded and absent checksums, trailers, fragments; on the real kernel. */
import { closeSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { formatMac } from "../../src/model/mac-address.ts";
import { checksumOf, sumWords } from "../../src/net/checksum.ts";
import {
  AF_INET,
  openSocket,
  SOCK_DGRAM,
  sendMessage,
  setSocketFlag,
  setSocketOption,
  startConnect,
} from "../../src/net/libc.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { requestFrame } from "../dhcp/packets.ts";
import { canMakeNamespaces, connect, disableIpv6, ip, makeNamespace } from "./namespaces.ts";
import { macOf, makeTapNetwork, type SocketKind, until } from "./tap-server.ts";

const DISCOVER = { type: "DHCPDISCOVER" } as const;
const IP = 14;
const UDP = 34;
const KINDS: readonly SocketKind[] = ["ring", "queue"];

/** A DISCOVER of the guest on `tap0`. */
const discover = (): Buffer => Buffer.from(requestFrame({ ...DISCOVER, mac: macOf(1) }));

/** Puts tags between the addresses and the ethertype, the outer one first. */
function tagged(...tags: readonly (readonly [tpid: number, vid: number])[]): Buffer {
  const frame = discover();
  const header = Buffer.alloc(tags.length * 4);
  tags.forEach(([tpid, vid], index) => {
    header.writeUInt16BE(tpid, index * 4);
    header.writeUInt16BE(vid, index * 4 + 2);
  });
  return Buffer.concat([frame.subarray(0, 12), header, frame.subarray(12)]);
}

/** Changes a DISCOVER, and makes its IPv4 checksum right again. */
function changed(change: (frame: Buffer) => void): Buffer {
  const frame = discover();
  change(frame);
  frame.writeUInt16BE(0, IP + 10);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  frame.writeUInt16BE(checksumOf(sumWords(view, IP, UDP, 0)), IP + 10);
  return frame;
}

const ANSWERED: readonly (readonly [name: string, frame: () => Buffer])[] = [
  ["a priority tag (VLAN 0), which it does not have in the answer", () => tagged([0x8100, 0])],
  ["a priority tag with a priority", () => tagged([0x8100, 0xe000])],
  ["no UDP checksum", () => changed((frame) => frame.writeUInt16BE(0, UDP + 6))],
  ["a trailer of 60 octets", () => Buffer.concat([discover(), Buffer.alloc(60, 0xff)])],
];

const SILENT: readonly (readonly [
  name: string,
  reason: string | undefined,
  frame: () => Buffer,
])[] = [
  ["VLAN 5", "l2.vlan", () => tagged([0x8100, 5])],
  ["VLAN 5 of a provider", "l2.vlan", () => tagged([0x88a8, 5])],
  ["two tags", undefined, () => tagged([0x88a8, 5], [0x8100, 6])],
  ["two tags, the outer one a priority", undefined, () => tagged([0x8100, 0], [0x8100, 6])],
  ["a wrong UDP checksum", "udp.csum", () => changed((f) => f.writeUInt16BE(0x1234, UDP + 6))],
  ["an IP length beyond the frame", "ip.len", () => changed((f) => f.writeUInt16BE(900, IP + 2))],
  ["more fragments to come", undefined, () => changed((f) => f.writeUInt16BE(0x2000, IP + 6))],
];

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("odd frames (needs root)", () => {
  for (const kind of KINDS) {
    test(`a ${kind} answers, and counts what it does not`, async () => {
      const network = makeTapNetwork();
      const guest = network.tap("tap0", 1);
      const counters = network.serve(network.open(kind, "tap0"));
      for (const [name, frame] of ANSWERED) {
        guest.send(frame());
        const frames: Buffer[] = [];
        await until(() => frames.push(...guest.read()) > 0);
        expect([name, frames.length, frames[0]!.readUInt16BE(12)]).toEqual([name, 1, 0x0800]);
      }
      for (const [, , frame] of SILENT) guest.send(frame());
      await guest.ask(DISCOVER);
      const dropped = SILENT.flatMap(([, reason]) => reason ?? []);
      expect(Object.fromEntries(counters.drops)).toEqual(
        Object.fromEntries(
          dropped.map((reason) => [reason, dropped.filter((other) => other === reason).length]),
        ),
      );
      // What the kernel's filter drops is not even counted.
      expect(counters.received).toBe(ANSWERED.length + dropped.length + 1);
    });

    test(`a ${kind} takes what a kernel sends without a whole checksum, and answers with one`, async () => {
      const network = makeTapNetwork();
      using client = makeNamespace("client");
      disableIpv6(client.name);
      connect(network.namespace, "served", client.name, "eth0");
      ip("-n", client.name, "link", "set", "dev", "eth0", "address", formatMac(macOf(1)));
      ip("-n", client.name, "addr", "add", "10.0.0.1/24", "broadcast", "10.0.0.255", "dev", "eth0");
      const socket = network.open(kind, "served");
      let checksumNotReady: boolean | undefined;
      let checksum = 0;
      const receive = socket.receive.bind(socket);
      socket.receive = (handler, signal) =>
        receive((frame) => {
          checksumNotReady = frame.checksumNotReady;
          checksum = frame.view.getUint16(frame.offset + UDP + 6);
          handler(frame);
        }, signal);
      const counters = network.serve(socket);
      const message = Buffer.from(requestFrame({ ...DISCOVER, mac: macOf(1) }).subarray(UDP + 8));
      const fd = inNamespace(client.name, () => openBroadcastSocket());
      onTestFinished(() => closeSync(fd));
      sendMessage(fd, message, "a DISCOVER");
      await until(() => counters.received > 0);
      expect(checksumNotReady).toBe(true);
      expect(checksum).not.toBe(0);
      expect(counters.replies.DHCPOFFER).toBe(1);
      expect(socket.counters.transmitFailed).toBe(0);
    });
  }
});

/** A UDP socket whose datagrams go to 255.255.255.255, port 67; the kernel leaves their checksum to the device. */
function openBroadcastSocket(): number {
  const fd = openSocket(AF_INET, SOCK_DGRAM, 0);
  setSocketFlag(fd, 1, 6, 1); // SO_BROADCAST
  setSocketOption(fd, 1, 25, Buffer.from("eth0")); // SO_BINDTODEVICE
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(67, 2);
  address.fill(0xff, 4, 8);
  startConnect(fd, address);
  return fd;
}
