import { execFileSync, spawnSync } from "node:child_process";
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type CpioEntry, encodeCpio, foldersOf } from "../../src/compute/guest/cpio.ts";

const hasCpio = spawnSync("cpio", ["--version"]).status === 0;
const entries: readonly CpioEntry[] = [
  ...foldersOf(["bin/sh", "etc/x/y"]),
  { kind: "file", path: "bin/busybox", content: Buffer.from("odd"), executable: true },
  { kind: "file", path: "etc/x/y", content: Buffer.from("plain"), executable: false },
  { kind: "symlink", path: "bin/sh", target: "busybox" },
];

test("encodeCpio() renders the header of a file", () => {
  const text = Buffer.from(encodeCpio(entries.slice(3, 4))).toString("latin1");
  const header = [1, 0o100755, 0, 0, 1, 0, 3, 0, 0, 0, 0, 12, 0];
  expect(text.slice(0, 110)).toBe(
    `070701${header.map((field) => field.toString(16).padStart(8, "0")).join("")}`,
  );
  expect(text.slice(110, 128)).toBe("bin/busybox\0\0\0odd\0");
});

test("encodeCpio() gives the same bytes for the same entries", () =>
  expect(encodeCpio(entries)).toEqual(encodeCpio(entries)));

test("encodeCpio() keeps every part on a multiple of four bytes", () =>
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.uint8Array(), (path, content) => {
      const one = encodeCpio([{ kind: "file", path, content, executable: false }]);
      expect(one.length % 4).toBe(0);
    }),
  ));

test("foldersOf() gives parents first, each once", () =>
  expect(foldersOf(["a/b/c", "a/d", "e"]).map((entry) => entry.path)).toEqual(["a", "a/b"]));

test.skipIf(!hasCpio)("encodeCpio() is what cpio unpacks (needs cpio)", () => {
  const folder = mkdtempSync(join(tmpdir(), "gs-cpio-"));
  try {
    execFileSync("cpio", ["-i", "--quiet"], { cwd: folder, input: encodeCpio(entries) });
    expect(readFileSync(join(folder, "bin/busybox"), "utf8")).toBe("odd");
    expect(lstatSync(join(folder, "bin/busybox")).mode & 0o777).toBe(0o755);
    expect(readFileSync(join(folder, "etc/x/y"), "utf8")).toBe("plain");
    expect(readlinkSync(join(folder, "bin/sh"))).toBe("busybox");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
