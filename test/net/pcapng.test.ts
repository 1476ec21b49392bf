/** pcapng files: hand-made ones of each kind and byte order, and those of somebody else's writer. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeCapture, readCapture } from "../../src/net/capture-file.ts";
import { temporaryFolder } from "../temporary-folder.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/pcap");
const ARP = [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1];
const SECOND_NS = 1_000_000_000n;

/** Writes pcapng blocks in one byte order. */
function writer(little: boolean) {
  const number = (value: number, bytes: 2 | 4) => {
    const view = new DataView(new ArrayBuffer(bytes));
    if (bytes === 2) view.setUint16(0, value, little);
    else view.setUint32(0, value, little);
    return [...new Uint8Array(view.buffer)];
  };
  const u16 = (value: number) => number(value, 2);
  const u32 = (value: number) => number(value, 4);
  const padded = (bytes: readonly number[]) => [
    ...bytes,
    ...new Array<number>((4 - (bytes.length % 4)) % 4).fill(0),
  ];
  const block = (type: number, body: readonly number[]) => {
    const length = u32(12 + padded(body).length);
    return [...u32(type), ...length, ...padded(body), ...length];
  };
  const option = (code: number, data: readonly number[]) => [
    ...u16(code),
    ...u16(data.length),
    ...padded(data),
  ];
  const time = (ticks: bigint) => [
    ...u32(Number(ticks >> 32n)),
    ...u32(Number(ticks & 0xffff_ffffn)),
  ];
  const unlimited = u32(0xffff_ffff);
  return {
    block,
    option,
    u32,
    section: (major = 1) =>
      block(0x0a0d0d0a, [...u32(0x1a2b3c4d), ...u16(major), ...u16(0), ...unlimited, ...unlimited]),
    interface: (linktype: number, snaplen = 0, options: readonly number[] = []) =>
      block(1, [...u16(linktype), ...u16(0), ...u32(snaplen), ...options]),
    enhanced: (id: number, ticks: bigint, frame: readonly number[], wire = frame.length) =>
      block(6, [...u32(id), ...time(ticks), ...u32(frame.length), ...u32(wire), ...padded(frame)]),
    packet: (id: number, ticks: bigint, frame: readonly number[]) =>
      block(2, [
        ...[...u16(id), ...u16(0), ...time(ticks), ...u32(frame.length), ...u32(frame.length)],
        ...padded(frame),
      ]),
    simple: (frame: readonly number[], wire = frame.length) => block(3, [...u32(wire), ...frame]),
  };
}

const BIG = writer(false);
const LITTLE = writer(true);
const ETHERNET = 1;
const COOKED = 113;

function decode(...blocks: readonly (readonly number[])[]) {
  const capture = decodeCapture(Uint8Array.from(blocks.flat()));
  if (capture.kind !== "capture") throw new Error(capture.reason);
  return {
    ...capture,
    frames: capture.frames.map((frame) => ({ ...frame, bytes: [...frame.bytes] })),
  };
}

describe("a pcapng file", () => {
  for (const [order, w] of [["big", BIG] as const, ["little", LITTLE] as const]) {
    test(`is read if it is ${order}-endian`, () => {
      const ticks = 1_700_000_000_123_456n;
      const capture = decode(
        w.section(),
        w.interface(ETHERNET, 100),
        w.enhanced(0, ticks, ARP, 60),
        w.packet(0, ticks + 1n, [1, 2, 3]),
      );
      expect(capture).toEqual({
        kind: "capture",
        resolution: "microseconds",
        snaplen: 100,
        frames: [
          { timestampNs: ticks * 1_000n, bytes: ARP, wireLength: 60 },
          { timestampNs: ticks * 1_000n + 1_000n, bytes: [1, 2, 3], wireLength: 3 },
        ],
        end: { kind: "complete" },
      });
    });
  }

  const clocks = [
    { name: "nanoseconds", options: LITTLE.option(9, [9]), ticks: 5n, ns: 5n },
    { name: "milliseconds", options: LITTLE.option(9, [3]), ticks: 5n, ns: 5_000_000n },
    { name: "1/1024 s", options: LITTLE.option(9, [0x8a]), ticks: 512n, ns: SECOND_NS / 2n },
    {
      name: "microseconds since 10 s",
      options: LITTLE.option(14, [10, 0, 0, 0, 0, 0, 0, 0]),
      ticks: 1n,
      ns: 10n * SECOND_NS + 1_000n,
    },
    {
      name: "microseconds, named eth0",
      options: [...LITTLE.option(2, [101, 116, 104, 48]), ...LITTLE.option(0, [])],
      ticks: 1n,
      ns: 1_000n,
    },
  ];
  for (const { name, options, ticks, ns } of clocks) {
    test(`may count ${name}`, () => {
      const { frames } = decode(
        LITTLE.section(),
        LITTLE.interface(ETHERNET, 0, options),
        LITTLE.enhanced(0, ticks, ARP),
      );
      expect(frames.map(({ timestampNs }) => timestampNs)).toEqual([ns]);
    });
  }

  test("may have packets without a time, which have that of the one before", () => {
    const { frames } = decode(
      LITTLE.section(),
      LITTLE.interface(ETHERNET, 4),
      LITTLE.enhanced(0, 7n, ARP),
      LITTLE.simple([1, 2, 3, 4], 9),
    );
    expect(frames[1]).toEqual({ timestampNs: 7_000n, bytes: [1, 2, 3, 4], wireLength: 9 });
  });

  test("may have sections of both byte orders, each with its own interfaces", () => {
    const { frames } = decode(
      ...[LITTLE.section(), LITTLE.interface(ETHERNET), LITTLE.enhanced(0, 1n, ARP)],
      ...[BIG.section(), BIG.interface(ETHERNET), BIG.enhanced(0, 2n, ARP)],
    );
    expect(frames.map(({ timestampNs }) => timestampNs)).toEqual([1_000n, 2_000n]);
  });

  test("may have blocks that are not known", () => {
    const { frames } = decode(
      LITTLE.section(),
      LITTLE.block(0x0bad, [1, 2, 3, 4]),
      LITTLE.interface(ETHERNET),
      LITTLE.block(5, LITTLE.u32(0)),
      LITTLE.enhanced(0, 1n, ARP),
    );
    expect(frames).toHaveLength(1);
  });

  test("may have interfaces that are not Ethernet; their frames are left out", () => {
    const { frames } = decode(
      LITTLE.section(),
      LITTLE.interface(COOKED),
      LITTLE.interface(ETHERNET),
      LITTLE.enhanced(0, 1n, [9]),
      LITTLE.enhanced(1, 2n, ARP),
    );
    expect(frames.map(({ timestampNs }) => timestampNs)).toEqual([2_000n]);
  });

  const start = [LITTLE.section(), LITTLE.interface(ETHERNET), LITTLE.enhanced(0, 1n, ARP)];
  const offset = start.flat().length;
  const wrongEnd = LITTLE.enhanced(0, 1n, ARP);
  wrongEnd[wrongEnd.length - 4]! += 4;
  const damaged: readonly (readonly [string, readonly number[], "truncated" | "damaged"])[] = [
    ["a block of eight octets", [...LITTLE.u32(6), ...LITTLE.u32(8), 0, 0, 0, 0], "damaged"],
    ["a block of odd length", [...LITTLE.u32(6), ...LITTLE.u32(13), 0, 0, 0, 0], "damaged"],
    [
      "a block that is far too long",
      [...LITTLE.u32(6), ...LITTLE.u32(2 ** 30), 0, 0, 0, 0],
      "damaged",
    ],
    ["two lengths of one block that differ", wrongEnd, "damaged"],
    ["a packet of an interface that it does not have", LITTLE.enhanced(1, 1n, ARP), "damaged"],
    [
      "a packet that is longer than its block",
      LITTLE.block(6, [...new Array(12).fill(0), ...LITTLE.u32(99), ...LITTLE.u32(99)]),
      "damaged",
    ],
    ["a packet without its fixed part", LITTLE.block(6, LITTLE.u32(0)), "damaged"],
    ["a simple packet that is longer than its block", LITTLE.simple([1], 99), "damaged"],
    ["an interface without its fixed part", LITTLE.block(1, LITTLE.u32(1)), "damaged"],
    ["a section of another version", LITTLE.section(2), "damaged"],
    ["a section of no byte order", LITTLE.block(0x0a0d0d0a, [1, 2, 3, 4, 5, 6, 7, 8]), "damaged"],
    ["a block that is cut", LITTLE.enhanced(0, 1n, ARP).slice(0, -1), "truncated"],
    ["a block of which only the type is left", LITTLE.u32(6), "truncated"],
  ];
  for (const [name, bytes, kind] of damaged) {
    test(`ends, with what was before, at ${name}`, () => {
      expect(decode(...start, bytes)).toMatchObject({
        frames: { length: 1 },
        end: { kind, offset },
      });
    });
  }

  const malformed = [
    { reason: "unknown-version", blocks: [LITTLE.section(2)] },
    { reason: "not-ethernet", blocks: [LITTLE.section(), LITTLE.interface(COOKED)] },
  ];
  for (const { reason, blocks } of malformed) {
    test(`is refused if it is ${reason}`, async () => {
      const bytes = Uint8Array.from(blocks.flat());
      expect(decodeCapture(bytes)).toEqual({ kind: "malformed", reason });
      await expect(readCapture(bytes)).rejects.toMatchObject({ code: "ERR_CAPTURE_FORMAT" });
    });
  }

  test("never makes the decoder throw or read outside, however damaged", () => {
    const whole = Uint8Array.from([...start, LITTLE.simple([1, 2, 3, 4])].flat());
    const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 8 }), fc.nat(whole.length), (changes, length) => {
        const bytes = Uint8Array.from(whole);
        for (const [at, value] of changes) bytes[at] = value;
        const file = bytes.subarray(0, length);
        const capture = decodeCapture(file);
        if (capture.kind !== "capture") return;
        for (const frame of capture.frames) {
          expect(frame.bytes.byteOffset + frame.bytes.length).toBeLessThanOrEqual(length);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

const hasEditcap = existsSync("/usr/bin/editcap");
describe.skipIf(!hasEditcap && !process.env["CI"])("editcap's pcapng (needs tshark)", () => {
  const names = readdirSync(FIXTURES).filter((name) => name.endsWith(".pcap"));
  test("holds the frames of each capture that it was made from", async () => {
    const folder = temporaryFolder("pcapng");
    for (const name of names) {
      const path = join(folder, `${name}ng`);
      execFileSync("editcap", ["-F", "pcapng", join(FIXTURES, name), path], { stdio: "ignore" });
      const [theirs, ours] = [await readCapture(path), await readCapture(join(FIXTURES, name))];
      expect(theirs.frames).toEqual(ours.frames);
      expect(theirs.end).toEqual({ kind: "complete" });
    }
  });
});
