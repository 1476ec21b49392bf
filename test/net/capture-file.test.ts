import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type CapturedFrame,
  decodeCapture,
  encodeCaptureHeader,
  encodeCaptureRecord,
  openCaptureWriter,
  readCapture,
} from "../../src/net/capture-file.ts";

interface ParsedPacket {
  readonly header: {
    readonly timestampSeconds: number;
    readonly timestampMicroseconds: number;
    readonly capturedLength: number;
    readonly originalLength: number;
  };
  readonly data: Buffer;
}

/** pcap-parser has no types; this is the part of it that is used. */
interface PcapParser {
  parse(path: string): {
    on(event: "packet", listener: (packet: ParsedPacket) => void): void;
    on(event: "end", listener: () => void): void;
    on(event: "error", listener: (error: Error) => void): void;
  };
}
const pcapParser: PcapParser = createRequire(import.meta.url)("pcap-parser");

function parseIndependently(path: string): Promise<ParsedPacket[]> {
  return new Promise((resolve, reject) => {
    const packets: ParsedPacket[] = [];
    const parser = pcapParser.parse(path);
    parser.on("packet", (packet) => packets.push(packet));
    parser.on("end", () => resolve(packets));
    parser.on("error", reject);
  });
}

function temporaryFolder() {
  const path = mkdtempSync(join(tmpdir(), "goalstate-capture-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

function isInstalled(tool: string): boolean {
  try {
    execFileSync(tool, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const frame = (timestampNs: bigint, bytes: number[], wireLength = bytes.length): CapturedFrame => ({
  ...{ timestampNs, bytes: Uint8Array.from(bytes), wireLength },
});
const ARP = [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1];
const frames = [frame(1_700_000_000_123_456_000n, ARP), frame(1_700_000_001_000_001_000n, [1, 2])];

function encode(list: readonly CapturedFrame[], format = {}): Uint8Array {
  const records = list.map((item) => encodeCaptureRecord(item, format));
  return Uint8Array.from(Buffer.concat([encodeCaptureHeader(format), ...records]));
}

/** The same file as a big-endian machine writes it. */
function bigEndian(little: Uint8Array): Uint8Array {
  const bytes = Buffer.from(little);
  const swap = (from: number, to: number) => bytes.subarray(from, to).reverse();
  for (const at of [0, 8, 12, 16, 20]) swap(at, at + 4);
  for (const at of [4, 6]) swap(at, at + 2);
  for (let at = 24; at < bytes.length; ) {
    const captured = bytes.readUInt32LE(at + 8);
    for (const field of [0, 4, 8, 12]) swap(at + field, at + field + 4);
    at += 16 + captured;
  }
  return bytes;
}

describe("openCaptureWriter()", () => {
  test("writes what pcap-parser, an independent reader, reads", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "out.pcap");
    {
      await using writer = await openCaptureWriter(path);
      for (const item of frames) writer.write(item);
    }
    const packets = await parseIndependently(path);
    expect(packets.map((packet) => [...packet.data])).toEqual([ARP, [1, 2]]);
    expect(packets[0]?.header).toEqual({
      timestampSeconds: 1_700_000_000,
      timestampMicroseconds: 123_456,
      capturedLength: 16,
      originalLength: 16,
    });
  });

  test("cuts frames to the snaplen and keeps their length on the wire", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "out.pcap");
    {
      await using writer = await openCaptureWriter(path, { snaplen: 4 });
      writer.write(frames[0]!);
      await writer.flush();
      writer.write(frames[1]!);
    }
    const capture = await readCapture(path);
    expect(capture.snaplen).toBe(4);
    expect(capture.frames.map((f) => [f.bytes.length, f.wireLength])).toEqual([
      [4, 16],
      [2, 2],
    ]);
  });

  test("copies the frame when it is written", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "out.pcap");
    const reused = frame(0n, [1, 2, 3]);
    {
      await using writer = await openCaptureWriter(path);
      writer.write(reused);
      reused.bytes.fill(9);
    }
    expect([...(await readCapture(path)).frames[0]!.bytes]).toEqual([1, 2, 3]);
  });

  test("drops and counts frames that the disk cannot keep up with", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "out.pcap");
    const large = { timestampNs: 0n, bytes: new Uint8Array(200_000), wireLength: 200_000 };
    const writer = await openCaptureWriter(path);
    for (let n = 0; n < 200; n++) writer.write(large);
    await writer[Symbol.asyncDispose]();
    await writer[Symbol.asyncDispose]();
    expect(writer.droppedFrames).toBeGreaterThan(0);
    writer.write(large);
    expect((await readCapture(path)).frames.length + writer.droppedFrames).toBe(201);
  });

  test("names a path that cannot be created, and a disk that is full", async () => {
    const missing = openCaptureWriter("/nonexistent/out.pcap");
    await expect(missing).rejects.toMatchObject({
      code: "ERR_CAPTURE_WRITE",
      message: expect.stringContaining("/nonexistent/out.pcap"),
    });
    const full = openCaptureWriter("/dev/full");
    await expect(full).rejects.toMatchObject({ code: "ERR_CAPTURE_WRITE" });
  });
});

describe("decodeCapture()", () => {
  for (const resolution of ["microseconds", "nanoseconds"] as const) {
    const little = encode(frames, { resolution });
    for (const [order, bytes] of [["little", little] as const, ["big", bigEndian(little)] as const])
      test(`reads ${resolution}, ${order}-endian`, () => {
        const capture = decodeCapture(bytes);
        expect(capture).toMatchObject({ kind: "capture", resolution, end: { kind: "complete" } });
        if (capture.kind !== "capture") return;
        expect(capture.frames.map((f) => ({ ...f, bytes: Uint8Array.from(f.bytes) }))).toEqual(
          frames,
        );
      });
  }

  const whole = encode(frames);
  const last = whole.length - 18;
  const ends = [
    {
      name: "inside the last frame",
      length: whole.length - 1,
      end: { kind: "truncated", offset: last },
    },
    { name: "inside a record header", length: last + 15, end: { kind: "truncated", offset: last } },
    { name: "between two records", length: last, end: { kind: "complete" } },
  ];
  for (const { name, length, end } of ends)
    test(`keeps the whole frames of a file cut ${name}`, () => {
      expect(decodeCapture(whole.subarray(0, length))).toMatchObject({
        frames: { length: 1 },
        end,
      });
    });

  test("stops at a record of impossible length", () => {
    const bytes = Uint8Array.from(whole);
    new DataView(bytes.buffer).setUint32(last + 8, 262_145, true);
    const end = { kind: "damaged", offset: last };
    expect(decodeCapture(bytes)).toMatchObject({ frames: { length: 1 }, end });
  });

  const change = (offset: number, value: number) =>
    Uint8Array.from(whole).fill(value, offset, offset + 1);
  const malformed = [
    { reason: "too-short", bytes: whole.subarray(0, 23) },
    { reason: "not-pcap", bytes: change(0, 0) },
    { reason: "unknown-version", bytes: change(4, 3) },
    { reason: "not-ethernet", bytes: change(20, 113) },
  ];
  for (const { reason, bytes } of malformed)
    test(`refuses a file that is ${reason}`, async () => {
      expect(decodeCapture(bytes)).toEqual({ kind: "malformed", reason });
      await expect(readCapture(bytes)).rejects.toMatchObject({
        code: "ERR_CAPTURE_FORMAT",
        message: expect.stringContaining(reason),
      });
    });

  test("reads back every list of frames", () => {
    const anyFrame = fc.record({
      timestampNs: fc.bigInt({ min: 0n, max: 4_294_967_295_999_999_999n }),
      bytes: fc.uint8Array({ maxLength: 200 }),
      wireLength: fc.nat(),
    });
    const resolution = "nanoseconds";
    fc.assert(
      fc.property(fc.array(anyFrame), (list) => {
        const capture = decodeCapture(encode(list, { resolution }));
        const read = capture.kind === "capture" ? capture.frames : [];
        expect(read.map((f) => ({ ...f, bytes: Uint8Array.from(f.bytes) }))).toEqual(list);
      }),
    );
  });

  test("never throws on damaged files", () => {
    fc.assert(
      fc.property(
        fc.nat(whole.length - 1),
        fc.nat(255),
        fc.nat(whole.length),
        (at, value, length) => {
          const bytes = Uint8Array.from(whole);
          bytes[at] = value;
          decodeCapture(bytes.subarray(0, length));
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe("readCapture()", () => {
  test("names a file that is not there", async () => {
    await expect(readCapture("/nonexistent.pcap")).rejects.toMatchObject({
      code: "ERR_CAPTURE_READ",
      message: expect.stringContaining("/nonexistent.pcap"),
    });
  });

  const skipped = !isInstalled("text2pcap") || !isInstalled("tshark");
  describe.skipIf(skipped)("with the tools of the package tshark", () => {
    for (const type of ["pcap", "nsecpcap"]) {
      test(`reads what text2pcap and tshark write (-F ${type})`, async () => {
        using folder = temporaryFolder();
        const text = join(folder.path, "in.txt");
        const first = join(folder.path, "first.pcap");
        const second = join(folder.path, "second.pcap");
        const dump = Buffer.from(ARP).toString("hex").replaceAll(/../g, " $&");
        writeFileSync(text, `10:00:01.250000\n0000${dump}\n`);
        execFileSync("text2pcap", ["-q", "-F", type, "-t", "%H:%M:%S.%f", text, first]);
        execFileSync("tshark", ["-r", first, "-F", type, "-w", second], { stdio: "ignore" });
        for (const path of [first, second]) {
          const capture = await readCapture(path);
          expect(capture).toMatchObject({ frames: { length: 1 }, end: { kind: "complete" } });
          expect([...capture.frames[0]!.bytes]).toEqual(ARP);
          expect(capture.frames[0]!.timestampNs % 1_000_000_000n).toBe(250_000_000n);
        }
      });
    }

    test("tshark reads what is written, to the nanosecond", () => {
      using folder = temporaryFolder();
      const path = join(folder.path, "out.pcap");
      const list = [frame(1_700_000_000_123_456_789n, ARP, 60)];
      writeFileSync(path, encode(list, { resolution: "nanoseconds" }));
      const fields = ["frame.time_epoch", "frame.cap_len", "frame.len", "eth.src"];
      const args = ["-r", path, "-T", "fields", ...fields.flatMap((field) => ["-e", field])];
      const [time, ...rest] = execFileSync("tshark", args, { encoding: "utf8" }).trim().split("\t");
      expect(time).toMatch(/1700000000\.123456789|2023-11-14T22:13:20\.123456789Z/);
      expect(rest).toEqual(["16", "60", "02:00:00:00:00:01"]);
    });
  });
});
