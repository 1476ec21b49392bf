/** What every FrameSocket must do, whatever is behind it. */
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { FRAME_BYTES_MAX, type FrameSocket } from "../../src/net/frame-socket.ts";

/** A socket under test and the world around it. */
export interface FrameSocketHarness {
  readonly socket: FrameSocket;
  /** Makes what was given to `open` arrive; called while the socket receives. */
  deliver(): void;
  /** Everything that the socket has sent so far, as the world saw it. */
  sent(): Promise<readonly Uint8Array[]>;
}

/** Opens a socket at which `frames` will arrive. What it opened is closed when the test has ended. */
export type OpenHarness = (frames: readonly Uint8Array[]) => Promise<FrameSocketHarness>;

const FRAME_BYTES = 300;
const OFFSET = { number: 60 };

/** A broadcast BOOTREQUEST to UDP port 67 that carries `number`: every implementation lets it through. */
export function numberedFrame(number: number, length = FRAME_BYTES): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes.fill(0xff, 0, 6);
  bytes.set([2, 0, 0, 0, 0, 1], 6);
  view.setUint16(12, 0x0800);
  bytes[14] = 0x45;
  bytes[23] = 17;
  view.setUint16(36, 67);
  bytes[42] = 1;
  view.setUint32(OFFSET.number, number);
  return bytes;
}

const numberOf = (bytes: Uint8Array, offset = 0): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset + OFFSET.number);

function send(socket: FrameSocket, number: number): void {
  const buffer = socket.reserve();
  if (buffer === undefined) throw new Error(`no buffer for frame ${number}`);
  buffer.bytes.set(numberedFrame(number));
  socket.commit(FRAME_BYTES, socket.ifindex);
}

const range = (count: number) => Array.from({ length: count }, (_, index) => index);

/** Receives until `count` frames were handled or the input ends. */
async function receiveAll(
  { socket, deliver }: FrameSocketHarness,
  count: number,
  handle: (bytes: Uint8Array, number: number) => void,
): Promise<void> {
  const stop = new AbortController();
  let seen = 0;
  const done = socket.receive((frame) => {
    const bytes = frame.bytes.slice(frame.offset, frame.offset + frame.length);
    handle(bytes, numberOf(frame.bytes, frame.offset));
    seen += 1;
  }, stop.signal);
  deliver();
  await vi.waitFor(() => expect(seen).toBe(count), { timeout: 10_000, interval: 5 });
  stop.abort();
  await done;
}

/** Runs the suite over one implementation. */
export function describeFrameSocket(name: string, open: OpenHarness, isSkipped = false): void {
  describe.skipIf(isSkipped)(`FrameSocket: ${name}`, () => {
    const start = async (frames: readonly Uint8Array[] = []) => {
      const harness = await open(frames);
      onTestFinished(() => harness.socket[Symbol.asyncDispose]());
      return harness;
    };

    test("hands frames over whole, in order, and counts them", async () => {
      const harness = await start(range(50).map((number) => numberedFrame(number)));
      const numbers: number[] = [];
      await receiveAll(harness, 50, (bytes, number) => {
        expect(Buffer.from(bytes).equals(numberedFrame(number))).toBe(true);
        numbers.push(number);
      });
      expect(numbers).toEqual(range(50));
      expect(harness.socket.counters.received).toBe(50);
    });

    test("says how long a frame is, in memory and on the wire, and where it came from", async () => {
      const lengths = [64, 300, 1400];
      const harness = await start(lengths.map((length) => numberedFrame(length, length)));
      const facts: unknown[] = [];
      const stop = new AbortController();
      const done = harness.socket.receive((frame) => {
        const { length, wireLength, ifindex, vlanId } = frame;
        facts.push({ length, wireLength, ifindex, vlanId });
      }, stop.signal);
      harness.deliver();
      await vi.waitFor(() => expect(facts).toHaveLength(3), { timeout: 10_000, interval: 5 });
      stop.abort();
      await done;
      const { ifindex } = harness.socket;
      expect(facts).toEqual(
        lengths.map((length) => ({ length, wireLength: length, ifindex, vlanId: 0 })),
      );
    });

    test("gives a zeroed buffer of the full size each time, also after more than its rings hold", async () => {
      const harness = await start();
      for (const number of range(1300)) {
        const buffer = harness.socket.reserve();
        expect(buffer?.bytes.length).toBe(FRAME_BYTES_MAX);
        expect(buffer?.view.byteLength).toBe(FRAME_BYTES_MAX);
        expect(buffer?.bytes.every((octet) => octet === 0)).toBe(true);
        buffer?.bytes.fill(0xaa); // forgotten: the next one is clean all the same
        send(harness.socket, number);
      }
      await vi.waitFor(async () => expect(await harness.sent()).toHaveLength(1300), {
        timeout: 10_000,
        interval: 20,
      });
      expect((await harness.sent()).map((bytes) => numberOf(bytes))).toEqual(range(1300));
      expect(harness.socket.counters).toMatchObject({ transmitted: 1300, transmitFailed: 0 });
    });

    test("sends from inside a handler, one answer a frame", async () => {
      const harness = await start(range(40).map((number) => numberedFrame(number)));
      await receiveAll(harness, 40, (_bytes, number) => send(harness.socket, number + 1000));
      await vi.waitFor(async () => expect(await harness.sent()).toHaveLength(40), {
        timeout: 10_000,
        interval: 5,
      });
      const numbers = (await harness.sent()).map((bytes) => numberOf(bytes));
      expect(numbers).toEqual(range(40).map((number) => number + 1000));
    });

    test("receives nothing for a signal that has aborted, and ends on abort", async () => {
      const harness = await start([numberedFrame(1)]);
      let count = 0;
      await harness.socket.receive(() => count++, AbortSignal.abort());
      expect(count).toBe(0);
      await receiveAll(harness, 1, () => undefined);
    });

    test("ends a receiver when disposed", async () => {
      const harness = await start([numberedFrame(1)]);
      let count = 0;
      const done = harness.socket.receive(() => count++, new AbortController().signal);
      harness.deliver();
      await vi.waitFor(() => expect(count).toBe(1), { timeout: 10_000, interval: 5 });
      await harness.socket[Symbol.asyncDispose]();
      await done;
    });

    test("can be disposed twice", async () => {
      const { socket } = await start();
      await socket[Symbol.asyncDispose]();
      await socket[Symbol.asyncDispose]();
    });
  });
}
