import { describe, expect, test } from "vitest";
import type { FrameSocket } from "../../src/net/frame-socket.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { openPacketRing } from "../../src/net/packet-ring.ts";
import { Poller } from "../../src/net/poller.ts";
import { canMakeNamespaces, connect, makeNamespace } from "./namespaces.ts";

/** An IPv4/UDP frame to port `port` whose payload starts with `op`; checksums are not looked at by the ring. */
function writeFrame(bytes: Uint8Array, view: DataView, port: number, op: number): number {
  bytes.fill(0xff, 0, 6);
  view.setUint16(12, 0x0800);
  bytes[14] = 0x45;
  bytes[23] = 17;
  view.setUint16(36, port);
  bytes[42] = op;
  return 300;
}

function send(socket: FrameSocket, port: number, op: number): void {
  const buffer = socket.reserve()!;
  socket.commit(writeFrame(buffer.bytes, buffer.view, port, op), socket.ifindex);
}

async function waitFor(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("packet ring (needs root)", () => {
  test("receives what the filter keeps, and stops on abort", async () => {
    using left = makeNamespace("left");
    using right = makeNamespace("right");
    connect(left.name, "a", right.name, "b");
    const poller = new Poller();
    const open = (name: string, interfaceName: string) =>
      inNamespace(name, () => openPacketRing({ interfaceName, udpPort: 67, bootpOp: 1, poller }));
    await using sender = open(left.name, "a");
    await using receiver = open(right.name, "b");
    const seen: number[] = [];
    const stop = new AbortController();
    const done = receiver.receive((frame) => {
      expect(frame.ifindex).toBe(receiver.ifindex);
      seen.push(frame.length);
    }, stop.signal);
    send(sender, 68, 1); // another port
    send(sender, 67, 2); // a reply
    const count = 1500; // wraps the transmit ring
    for (let index = 0; index < count; index += 1) send(sender, 67, 1);
    await waitFor(() => seen.length >= count);
    stop.abort();
    await done;
    expect(seen).toEqual(Array.from({ length: count }, () => 300));
    expect(receiver.readStatistics()).toMatchObject({ received: count, droppedByKernel: 0 });
    expect(sender.counters).toMatchObject({ transmitted: count + 2, transmitFailed: 0 });
  });

  test("a frame that the kernel refuses costs only itself, and none is sent after the end", async () => {
    using left = makeNamespace("left");
    using right = makeNamespace("right");
    connect(left.name, "a", right.name, "b");
    const poller = new Poller();
    const socket = inNamespace(left.name, () =>
      openPacketRing({ interfaceName: "a", udpPort: 67, bootpOp: 1, poller }),
    );
    const NO_INTERFACE = 9999;
    socket.sendTogether(() => {
      for (const ifindex of [socket.ifindex, NO_INTERFACE, NO_INTERFACE, socket.ifindex]) {
        const buffer = socket.reserve()!;
        socket.commit(writeFrame(buffer.bytes, buffer.view, 67, 1), ifindex);
      }
    });
    expect(socket.counters).toMatchObject({ transmitted: 2, transmitFailed: 2 });
    await socket[Symbol.asyncDispose]();
    expect(socket.reserve()).toBeUndefined();
    socket.commit(300, socket.ifindex);
    expect(socket.counters).toMatchObject({ transmitted: 2, transmitFailed: 2 });
  });

  test("a program that owns its thread waits for frames by itself", async () => {
    using left = makeNamespace("left");
    using right = makeNamespace("right");
    connect(left.name, "a", right.name, "b");
    const poller = new Poller();
    const open = (name: string, interfaceName: string) =>
      inNamespace(name, () => openPacketRing({ interfaceName, udpPort: 67, bootpOp: 1, poller }));
    await using sender = open(left.name, "a");
    await using receiver = open(right.name, "b");
    expect(receiver.receiveNow(() => undefined)).toBe(0);
    send(sender, 67, 1);
    receiver.waitReadable(5_000);
    const lengths: number[] = [];
    expect(receiver.receiveNow(({ length }) => lengths.push(length))).toBe(1);
    expect(lengths).toEqual([300]);
  });

  test("a missing interface is one clear error", () => {
    const poller = new Poller();
    expect(() =>
      openPacketRing({ interfaceName: "nosuchif", udpPort: 67, bootpOp: 1, poller }),
    ).toThrow('Cannot receive on "nosuchif"');
  });
});
