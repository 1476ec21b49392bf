import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { parseMac } from "../../src/model/mac-address.ts";
import { openCaptureWriter, readCapture } from "../../src/net/capture-file.ts";
import { openCaptureFrameSocket } from "../../src/net/capture-frame-socket.ts";
import type { FrameSocket } from "../../src/net/frame-socket.ts";
import { createMemoryFrameSocket } from "../../src/net/memory-frame-socket.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { openPacketQueue } from "../../src/net/packet-queue.ts";
import { openPacketRing } from "../../src/net/packet-ring.ts";
import { Poller } from "../../src/net/poller.ts";
import { ReceiveBatch } from "../../src/net/receive-batch.ts";
import { canMakeNamespaces, connect, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { describeFrameSocket, type FrameSocketHarness } from "./frame-socket.ts";

const MAC = parseMac("02:00:00:00:00:02");

describeFrameSocket("memory", async (frames) => {
  const socket = createMemoryFrameSocket({ hardwareAddress: MAC, ifindex: 1 });
  return {
    socket,
    deliver: () => frames.forEach((bytes) => void socket.inject(bytes)),
    sent: async () => socket.sent.map(({ bytes }) => bytes),
  };
});

describeFrameSocket("capture file", async (frames) => {
  const folder = temporaryFolder("conformance");
  const [input, output] = [join(folder, "in.pcap"), join(folder, "out.pcap")];
  {
    await using writer = await openCaptureWriter(input);
    for (const bytes of frames) {
      writer.write({ timestampNs: 0n, bytes, wireLength: bytes.length });
    }
  }
  writeFileSync(output, "");
  const socket = await openCaptureFrameSocket({ input, output, hardwareAddress: MAC });
  return {
    socket,
    deliver: () => undefined, // they are in the file
    sent: async () => {
      await socket.receive(() => undefined, new AbortController().signal); // writes what waits
      return (await readCapture(output)).frames.map(({ bytes }) => bytes);
    },
  };
});

/** Opens a packet socket of either kind. */
type Open = (interfaceName: string, poller: Poller) => FrameSocket;

const openRing: Open = (interfaceName, poller) =>
  openPacketRing({ interfaceName, udpPort: 67, bootpOp: 1, poller });

const openQueue: Open = (interfaceName, poller) => {
  const batch = new ReceiveBatch();
  onTestFinished(() => batch[Symbol.dispose]());
  return openPacketQueue({ interfaceName, udpPort: 67, bootpOp: 1, poller, batch });
};

/** Two sockets with a veth between them: one under test, and a ring that plays the world. */
async function openPair(
  openSocket: Open,
  frames: readonly Uint8Array[],
): Promise<FrameSocketHarness> {
  const near = makeNamespace("near");
  const far = makeNamespace("far");
  onTestFinished(() => {
    near[Symbol.dispose]();
    far[Symbol.dispose]();
  });
  connect(near.name, "near0", far.name, "far0");
  const poller = new Poller();
  const socket = inNamespace(near.name, () => openSocket("near0", poller));
  const world = inNamespace(far.name, () => openRing("far0", poller));
  const sent: Uint8Array[] = [];
  const stop = new AbortController();
  const listening = world.receive(({ bytes, offset, length }) => {
    sent.push(bytes.slice(offset, offset + length));
  }, stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await listening;
    await world[Symbol.asyncDispose]();
  });
  return {
    socket,
    deliver: () => frames.forEach((bytes) => void sendRaw(world, bytes)),
    sent: async () => sent,
  };
}

function sendRaw(socket: FrameSocket, bytes: Uint8Array): void {
  const buffer = socket.reserve();
  if (buffer === undefined) throw new Error("the world has no buffer");
  buffer.bytes.set(bytes);
  socket.commit(bytes.length, socket.ifindex);
}

const isSkipped = !canMakeNamespaces && !process.env["CI"];

describeFrameSocket("packet ring (needs root)", (frames) => openPair(openRing, frames), isSkipped);
describeFrameSocket(
  "packet queue (needs root)",
  (frames) => openPair(openQueue, frames),
  isSkipped,
);
