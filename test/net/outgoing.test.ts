/** Row M01 of the malformed inputs, on a real bridge: what the host itself sends comes back on every port as outgoing. */
import { describe, expect, test } from "vitest";
import { IPV4_BROADCAST, IPV4_UNSPECIFIED } from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST, parseMac, readMac } from "../../src/model/mac-address.ts";
import { UDP_PAYLOAD_OFFSET, writeUdpFrame } from "../../src/net/frame.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { openPacketRing } from "../../src/net/packet-ring.ts";
import { Poller } from "../../src/net/poller.ts";
import { canMakeNamespaces, connect, disableIpv6, ip, makeNamespace } from "./namespaces.ts";

const SENDER = "02:00:00:00:00:51";

/** A broadcast to port 67 with op 1, as the filter lets pass. */
function writeFrame(bytes: Uint8Array, view: DataView): number {
  bytes[UDP_PAYLOAD_OFFSET] = 1;
  return writeUdpFrame(bytes, view, {
    sourceMac: parseMac(SENDER),
    destinationMac: MAC_BROADCAST,
    sourceIp: IPV4_UNSPECIFIED,
    destinationIp: IPV4_BROADCAST,
    sourcePort: 68,
    destinationPort: 67,
    payloadLength: 300,
  });
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("packet ring (needs root)", () => {
  test("M01 a broadcast that is flooded out of a port is not received there", async () => {
    using host = makeNamespace("out-host");
    using one = makeNamespace("out-one");
    using two = makeNamespace("out-two");
    disableIpv6(host.name);
    ip("-n", host.name, "link", "add", "name", "br", "type", "bridge");
    ip("-n", host.name, "link", "set", "dev", "br", "up");
    for (const [port, guest] of [
      ["p1", one.name],
      ["p2", two.name],
    ] as const) {
      connect(host.name, port, guest, "eth0");
      ip("-n", host.name, "link", "set", "dev", port, "master", "br");
    }
    const poller = new Poller();
    const open = (name: string, interfaceName: string) =>
      inNamespace(name, () => openPacketRing({ interfaceName, udpPort: 67, bootpOp: 1, poller }));
    await using sender = open(one.name, "eth0");
    await using bridge = open(host.name, "br");
    await using otherPort = open(host.name, "p2");
    const stop = new AbortController();
    const seen = { bridge: 0, otherPort: 0 };
    const isOurs = (bytes: Uint8Array, offset: number) =>
      readMac(bytes, offset + 6) === parseMac(SENDER);
    const arrived = Promise.withResolvers<void>();
    const done = Promise.all([
      bridge.receive(({ bytes, offset }) => {
        if (isOurs(bytes, offset) && ++seen.bridge === 3) arrived.resolve();
      }, stop.signal),
      otherPort.receive(({ bytes, offset }) => {
        if (isOurs(bytes, offset)) seen.otherPort++;
      }, stop.signal),
    ]);
    for (let count = 0; count < 3; count++) {
      const buffer = sender.reserve()!;
      sender.commit(writeFrame(buffer.bytes, buffer.view), sender.ifindex);
    }
    const late = setTimeout(() => arrived.reject(new Error("the bridge heard nothing")), 10_000);
    await arrived.promise.finally(() => clearTimeout(late));
    stop.abort();
    await done;
    expect(seen).toEqual({ bridge: 3, otherPort: 0 });
    expect(otherPort.readStatistics()).toMatchObject({ received: 0, droppedByKernel: 0 });
    expect(otherPort.counters.received).toBe(0);
  });
});
