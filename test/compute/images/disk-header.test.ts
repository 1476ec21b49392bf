/** Headers as qemu-img writes them, and as somebody with bad intent would. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeDiskHeader,
  HEAD_BYTES,
  TAIL_BYTES,
} from "../../../src/compute/images/disk-header.ts";
import { decodeQcow2Header } from "../../../src/compute/images/qcow2-header.ts";

const MIB = 2 ** 20;

function decode(file: Buffer) {
  return decodeDiskHeader({
    head: file.subarray(0, HEAD_BYTES),
    tail: file.subarray(-TAIL_BYTES),
    fileBytes: file.length,
  });
}

/** A file as qemu-img makes it. */
function made(args: string, size = "10M"): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "goalstate-header-"));
  try {
    const path = join(folder, "disk");
    execFileSync("qemu-img", ["create", "-q", ...args.split(" "), path, size]);
    return readFileSync(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The file with some bytes changed. */
function changed(file: Buffer, at: number, bytes: string): Buffer {
  const copy = Buffer.from(file);
  Buffer.from(bytes, "hex").copy(copy, at);
  return copy;
}

describe("decodeDiskHeader() takes", () => {
  test.each([
    ["-f qcow2", "qcow2", 10 * MIB],
    ["-f qcow2 -o compat=0.10", "qcow2", 10 * MIB],
    ["-f qcow2 -o cluster_size=512", "qcow2", 10 * MIB],
    ["-f qcow2 -o extended_l2=on,compression_type=zstd", "qcow2", 10 * MIB],
    ["-f vpc -o force_size=on", "vhd", 10 * MIB],
    ["-f vpc -o force_size=on,subformat=fixed", "vhd", 10 * MIB],
    ["-f raw", "raw", 10 * MIB],
  ])("%s", (args, format, virtualBytes) => {
    expect(decode(made(args))).toEqual({ kind: "disk", format, virtualBytes });
  });

  test("raw content of any kind, its last sector filled up", () => {
    expect(decode(Buffer.alloc(1000, 0xab))).toMatchObject({ format: "raw", virtualBytes: 1024 });
  });
});

describe("decodeDiskHeader() refuses", () => {
  const qcow2 = made("-f qcow2");
  const vhd = made("-f vpc");

  test.each([
    ["a backing file", made("-f qcow2 -F raw -u -b /etc/shadow"), /lies over .*"\/etc\/shadow"/],
    ["a backing file outside", changed(qcow2, 8, "00000000ffffffff00000004"), /outside its header/],
    ["an external data file", changed(qcow2, 79, "04"), /keeps its data in another file/],
    ["its extension alone", changed(qcow2, 112, "44415441"), /keeps its data in another file/],
    ["AES", changed(qcow2, 35, "01"), /is encrypted/],
    ["LUKS in qcow2", changed(qcow2, 112, "0537be77"), /is encrypted/],
    ["corrupt", changed(qcow2, 79, "02"), /marked as corrupt/],
    ["unknown features", changed(qcow2, 72, "80"), /features of qcow2 that are not known/],
    ["version 1", changed(qcow2, 7, "01"), /old format qcow/],
    ["version 9", changed(qcow2, 7, "09"), /unknown version 9/],
    ["huge clusters", changed(qcow2, 23, "40"), /clusters of 2\^64 bytes/],
    ["8 EiB", changed(qcow2, 24, "7fffffffffffffff"), /9223372036854775807 bytes; at most 16 TiB/],
    ["no size", changed(qcow2, 24, "0000000000000000"), /disk is empty/],
    ["a long header", changed(qcow2, 100, "00ffffff"), /a header of 16777215 bytes/],
    ["a long extension", changed(qcow2, 116, "7fffffff"), /extension that is longer/],
    ["half a header", qcow2.subarray(0, 600).fill(0, 100), /has a header of 0 bytes/],
    ["a differencing VHD", changed(vhd, 60, "00000004"), /differencing VHD/],
    ["an unknown VHD", changed(vhd, 60, "00000007"), /unknown type 7/],
    ["a VHD without its second header", changed(vhd, 16, "ff"), /without its second header/],
    ["VMDK", made("-f vmdk"), /format VMDK; convert it/],
    ["VHDX", made("-f vhdx"), /format VHDX/],
    ["VDI", made("-f vdi"), /format VDI/],
    ["QED", made("-f qed"), /format QED/],
    [
      "gzip",
      Buffer.concat([Buffer.from("1f8b08", "hex"), Buffer.alloc(600)]),
      /compressed; unpack/,
    ],
    ["a web page", Buffer.from(`<!DOCTYPE html>${" ".repeat(600)}`), /web page/],
    ["511 bytes", Buffer.alloc(511), /511 bytes, which is no disk/],
  ])("%s", (_what, file, reason) => {
    expect(decode(file)).toEqual({ kind: "refused", reason: expect.stringMatching(reason) });
  });
});

test("no bytes make the decoders throw, and no qcow2 with a backing file becomes a disk", () => {
  const seeds = [made("-f qcow2"), made("-f qcow2 -F raw -u -b /x"), made("-f vpc")];
  const edit = fc.record({
    seed: fc.constantFrom(...seeds),
    edits: fc.array(fc.tuple(fc.nat(700), fc.integer({ min: 0, max: 255 })), { maxLength: 12 }),
    length: fc.integer({ min: 0, max: 70_000 }),
  });
  const property = fc.property(edit, ({ seed, edits, length }) => {
    const file = Buffer.from(seed.subarray(0, length));
    for (const [at, value] of edits) if (at < file.length) file[at] = value;
    const result = decode(file);
    const header = decodeQcow2Header(file.subarray(0, HEAD_BYTES));
    if (header.kind === "qcow2" && header.backing) expect(result.kind).toBe("refused");
    if (result.kind === "disk") expect(result.virtualBytes).toBeGreaterThan(0);
  });
  fc.assert(property, { numRuns: 3000 });
});

test("decodeQcow2Header() tells what an overlay of ours lies over", () => {
  expect(decodeQcow2Header(made("-f qcow2 -F vpc -u -b /images/a,b.vhd"))).toEqual({
    kind: "qcow2",
    virtualBytes: BigInt(10 * MIB),
    backing: { path: "/images/a,b.vhd", format: "vpc" },
  });
});
