import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseMac } from "../../src/model/mac-address.ts";
import {
  encodeCaptureHeader,
  encodeCaptureRecord,
  readCapture,
} from "../../src/net/capture-file.ts";
import { openCaptureFrameSocket } from "../../src/net/capture-frame-socket.ts";
import { FRAME_BYTES_MAX, type ReceivedFrame } from "../../src/net/frame-socket.ts";

function temporaryFile() {
  const folder = mkdtempSync(join(tmpdir(), "goalstate-socket-"));
  return {
    path: join(folder, "out.pcap"),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  };
}

/** A pcap file whose n-th frame was seen n seconds after the epoch. */
function captureOf(...frames: (readonly number[] | Uint8Array)[]): Uint8Array {
  const records = frames.map((bytes, n) =>
    encodeCaptureRecord({
      ...{
        timestampNs: BigInt(n) * 1_000_000_000n,
        bytes: Uint8Array.from(bytes),
        wireLength: bytes.length,
      },
    }),
  );
  return Buffer.concat([encodeCaptureHeader(), ...records]);
}

const fixed = { hardwareAddress: parseMac("02:00:00:00:00:01"), ifindex: 7 };
const running = () => new AbortController().signal;
const seen = (frame: ReceivedFrame) => [
  ...frame.bytes.subarray(frame.offset, frame.offset + frame.length),
];

describe("openCaptureFrameSocket()", () => {
  test("receives every frame in order, then resolves", async () => {
    using output = temporaryFile();
    const input = captureOf([1, 2, 3], [4]);
    await using socket = await openCaptureFrameSocket({ input, output: output.path, ...fixed });
    const frames: number[][] = [];
    await socket.receive((frame) => {
      frames.push(seen(frame));
      expect(frame).toMatchObject({ ifindex: 7, vlanId: 0, checksumNotReady: false });
    }, running());
    expect(frames).toEqual([[1, 2, 3], [4]]);
    expect(socket.counters).toMatchObject({ received: 2, transmitted: 0 });
  });

  test("gives a reply the timestamp of its request, even if it is sent later", async () => {
    const replay = async () => {
      using output = temporaryFile();
      let work = Promise.resolve();
      const input = captureOf([10], [11], [12]);
      const settle = () => work;
      {
        await using socket = await openCaptureFrameSocket({
          input,
          output: output.path,
          settle,
          ...fixed,
        });
        const reply = (value: number) => {
          const buffer = socket.reserve()!;
          expect(buffer.bytes.length).toBe(FRAME_BYTES_MAX);
          expect(buffer.bytes.every((byte) => byte === 0)).toBe(true);
          buffer.view.setUint8(1, value);
          socket.commit(2, 7);
        };
        await socket.receive((frame) => {
          const value = frame.bytes[frame.offset]!;
          work = new Promise((resolve) => {
            setTimeout(() => resolve(reply(value)), 14 - value);
          });
        }, running());
        expect(socket.counters).toMatchObject({ received: 3, transmitted: 3, transmitFailed: 0 });
      }
      return readFileSync(output.path);
    };
    const bytes = await replay();
    const { frames } = await readCapture(bytes);
    expect(frames.map((f) => [Number(f.timestampNs / 1_000_000_000n), ...f.bytes])).toEqual([
      [0, 0, 10],
      [1, 0, 11],
      [2, 0, 12],
    ]);
    expect(await replay()).toEqual(bytes);
  });

  test("takes a VLAN tag out, as the kernel does", async () => {
    using output = temporaryFile();
    const addresses = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    const input = captureOf([...addresses, 0x81, 0, 0xe0, 5, 8, 0, 99]);
    await using socket = await openCaptureFrameSocket({ input, output: output.path, ...fixed });
    await socket.receive((frame) => {
      expect(frame).toMatchObject({ vlanId: 5, length: 15, wireLength: 15 });
      expect(seen(frame)).toEqual([...addresses, 8, 0, 99]);
    }, running());
    expect(socket.counters.received).toBe(1);
  });

  test("cuts a frame that is longer than a socket gives", async () => {
    using output = temporaryFile();
    const sizes = [FRAME_BYTES_MAX - 1, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1];
    const input = captureOf(...sizes.map((size) => new Uint8Array(size)));
    await using socket = await openCaptureFrameSocket({ input, output: output.path, ...fixed });
    const lengths: number[][] = [];
    await socket.receive((frame) => lengths.push([frame.length, frame.wireLength]), running());
    expect(lengths).toEqual([
      [FRAME_BYTES_MAX - 1, FRAME_BYTES_MAX - 1],
      [FRAME_BYTES_MAX, FRAME_BYTES_MAX],
      [FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1],
    ]);
  });

  test("stops on abort, and goes on where it stopped", async () => {
    using output = temporaryFile();
    const input = captureOf([1], [2], [3]);
    await using socket = await openCaptureFrameSocket({ input, output: output.path, ...fixed });
    const stop = new AbortController();
    const values: number[] = [];
    await socket.receive((frame) => {
      values.push(frame.bytes[frame.offset]!);
      stop.abort();
    }, stop.signal);
    expect(values).toEqual([1]);
    await socket.receive((frame) => values.push(frame.bytes[frame.offset]!), running());
    expect(values).toEqual([1, 2, 3]);
    await socket[Symbol.asyncDispose]();
  });

  test("shows that its input was cut", async () => {
    using output = temporaryFile();
    const input = captureOf([1], [2, 3]).subarray(0, -1);
    await using socket = await openCaptureFrameSocket({ input, output: output.path, ...fixed });
    expect(socket.capture.end.kind).toBe("truncated");
  });
});
