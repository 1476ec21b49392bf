import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  displayUrl,
  ImageSchema,
  imageIdentity,
  resolveImagePaths,
} from "../../src/model/image.ts";
import { validate } from "../../src/model/schema.ts";

const SUM = "A".repeat(64);
const parse = (image: unknown) =>
  validate(z.strictObject({ image: ImageSchema }), { image }, "t.yaml", "ERR_USAGE_TENANT").image;

describe("ImageSchema", () => {
  test.each([
    ["a path", "./debian.qcow2", { path: "./debian.qcow2" }],
    ["a URL", "HTTPS://Example.org/a b.raw#x", { url: "https://example.org/a%20b.raw" }],
    [
      "a disk with sum and format",
      { url: "http://h/d", sha256: SUM, format: "vhd" },
      { url: "http://h/d", sha256: SUM.toLowerCase(), format: "vhd" },
    ],
    [
      "a kernel without a disk",
      { kernel: "/boot/vmlinuz", initrd: { url: "http://h/i", sha256: SUM }, cmdline: "quiet" },
      {
        kernel: { path: "/boot/vmlinuz" },
        initrd: { url: "http://h/i", sha256: SUM.toLowerCase() },
        cmdline: "quiet",
      },
    ],
    [
      "a kernel with a disk",
      { path: "d.img", kernel: "http://h/k" },
      { path: "d.img", kernel: { url: "http://h/k" } },
    ],
  ])("takes %s, and its own result again", (_what, image, expected) => {
    expect(parse(image)).toEqual(expected);
    expect(parse(JSON.parse(JSON.stringify(parse(image))))).toEqual(expected);
  });

  test.each([
    ["", "image.path: is empty; name a file"],
    ["ftp://h/x", "image.url: has the scheme ftp; images are read from http and https"],
    ["file:///x", "image.path: is a URL"],
    ["http://", "image.url: is no URL, for example"],
    ["http://me:secret@h/x", "image.url: has a user name or password"],
    ["a\nb", "image.path: has a control character"],
    ["x".repeat(1001), "image.path: is longer than 1000 characters"],
    [`http://h/${"x".repeat(4096)}`, "image.url: is longer than 4096 characters"],
    [{}, 'image: needs "path", "url" or "kernel"'],
    [{ path: "a", url: "http://h/a" }, 'image.url: is there beside "path"'],
    [{ path: "a", sha256: "12" }, "image.sha256: is no SHA-256 sum: 64 hexadecimal digits"],
    [{ path: "a", format: "vmdk" }, "image.format: is none of raw, qcow2, vhd"],
    [{ path: "a", initrd: "i" }, 'image.initrd: needs "kernel" too'],
    [{ path: "a", cmdline: "quiet" }, 'image.cmdline: needs "kernel" too'],
    [{ kernel: "k", cmdline: "a\nb" }, "image.cmdline: has a control character"],
    [{ kernel: "k", cmdline: "x".repeat(1537) }, "image.cmdline: is longer than 1536"],
    [{ kernel: "k", sha256: SUM }, "image.sha256: is of the disk, and there is none"],
    [{ kernel: "k", format: "raw" }, "image.format: is of a disk, and there is none"],
    [{ kernel: {} }, 'image.kernel: needs either "path" or "url"'],
    [{ kernel: { path: "k", url: "http://h/k" } }, 'image.kernel: needs either "path" or "url"'],
    [{ pth: "a", kernel: "k" }, "image.pth: is unknown; did you mean path?"],
    [7, "image: is 7; write an object"],
  ])("refuses %j and names place and fix", (image, words) => {
    const attempt = () => parse(image);
    expect(attempt).toThrow(words);
    expect(attempt).toThrow(expect.objectContaining({ code: "ERR_USAGE_TENANT" }));
  });
});

test("resolveImagePaths() makes paths absolute and leaves URLs", () => {
  const image = parse({ path: "d", kernel: "../k", initrd: "http://h/i" });
  expect(resolveImagePaths(image, "/t/a")).toEqual({
    path: "/t/a/d",
    kernel: { path: "/t/k" },
    initrd: { url: "http://h/i" },
  });
});

test("imageIdentity() differs between disks, not between kernels", () => {
  const base = imageIdentity(parse("a"));
  expect(base).toMatch(/^[0-9a-f]{16}$/);
  expect(imageIdentity(parse({ path: "a", kernel: "k" }))).toBe(base);
  const others = ["b", "http://h/a", { path: "a", format: "raw" }, { path: "a", sha256: SUM }];
  expect(new Set(others.map((image) => imageIdentity(parse(image))).concat(base)).size).toBe(5);
});

test("displayUrl() hides the query, which may be a signature", () => {
  expect(displayUrl("https://h/a.vhd?sig=secret")).toBe("https://h/a.vhd?...");
  expect(displayUrl("https://h/a.vhd")).toBe("https://h/a.vhd");
});
