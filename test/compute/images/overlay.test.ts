/** Disks over images that qemu-img made. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import {
  type ImageStore,
  type Overlay,
  openImageStore,
} from "../../../src/compute/images/index.ts";
import type { ImageDescription } from "../../../src/model/image.ts";
import { temporaryFolder } from "../../temporary-folder.ts";
import { sha256, startImageServer, testContent } from "./image-server.ts";

const MIB = 2 ** 20;
const SEED = testContent(MIB, "disk");

let folder: string;
let store: ImageStore;
let nowMs: number;

beforeEach(async () => {
  folder = temporaryFolder("overlay");
  nowMs = Date.now();
  store = await openStore();
});

async function openStore(): Promise<ImageStore> {
  return await openImageStore({ cacheDirectory: join(folder, "cache"), now: () => nowMs });
}

const signal = (): AbortSignal => AbortSignal.timeout(15_000);

/** A disk that begins with SEED, in a format of qemu-img. */
function makeImage(name: string, args: readonly string[] = ["-O", "raw"]): string {
  const raw = join(folder, "seed.raw");
  writeFileSync(raw, Buffer.concat([SEED, Buffer.alloc(7 * MIB)]));
  execFileSync("qemu-img", ["convert", "-f", "raw", ...args, raw, join(folder, name)]);
  return join(folder, name);
}

async function prepare(image: ImageDescription, sizeBytes?: number): Promise<Overlay> {
  const path = join(folder, "disk.qcow2");
  return (await store.prepare(image, { path, sizeBytes, signal: signal() })).overlay!;
}

/** The content of a disk as a guest would see it. */
function contentOf(overlay: Overlay): Buffer {
  const raw = join(folder, "content.raw");
  execFileSync("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", overlay.path, raw]);
  return readFileSync(raw);
}

function writeByte(overlay: Overlay, at: number): void {
  execFileSync("qemu-io", ["-f", "qcow2", "-c", `write -P 0x5a ${at} 512`, overlay.path]);
}

describe("an overlay", () => {
  test.each([
    ["raw", ["-O", "raw"]],
    ["qcow2", ["-O", "qcow2"]],
    ["qcow2", ["-O", "qcow2", "-c", "-o", "compat=0.10"]],
    ["vhd", ["-O", "vpc", "-o", "force_size=on"]],
    ["vhd", ["-O", "vpc", "-o", "force_size=on,subformat=fixed"]],
    ["vhd", ["-O", "vpc"]],
  ])("of %s (%j) shows the image; writing leaves the image as it is", async (format, args) => {
    const image = makeImage("image", args);
    const before = sha256(readFileSync(image));
    const overlay = await prepare({ path: image });
    expect(overlay.base).toEqual({ path: image, format });
    expect(contentOf(overlay).subarray(0, MIB).equals(SEED)).toBe(true);
    writeByte(overlay, 4096);
    expect(contentOf(overlay)[4096]).toBe(0x5a);
    expect(sha256(readFileSync(image))).toBe(before);
    expect(readdirSync(folder).filter((name) => name.includes(".new"))).toEqual([]);
  });

  test("is kept by a restart, also of the process, and removed with all that belongs to it", async () => {
    const image = { path: makeImage("image") };
    const first = await prepare(image);
    writeByte(first, 4096);
    store = await openStore();
    const path = join(folder, "disk.qcow2");
    const again = await store.prepare(image, { path, signal: signal() });
    expect(again.overlay).toEqual(first);
    expect(again.evidence).toMatchObject({ imageSource: "kept disk", format: "raw" });
    expect(contentOf(first)[4096]).toBe(0x5a);
    await store.removeOverlay(path);
    await store.removeOverlay(path);
    expect(readdirSync(folder).filter((name) => name.startsWith("disk"))).toEqual([]);
    expect(readdirSync(join(folder, "cache/uses"))).toEqual([]);
  });

  test("may be larger than its image, not smaller", async () => {
    const image = { path: makeImage("image") };
    await expect(prepare(image, MIB)).rejects.toMatchObject({ code: "ERR_IMAGE_SIZE" });
    await expect(prepare(image, 2 ** 45)).rejects.toMatchObject({ code: "ERR_IMAGE_SIZE" });
    const overlay = await prepare(image, 64 * MIB + 1);
    expect(overlay.virtualBytes).toBe(64 * MIB + 512);
    expect(contentOf(overlay)).toHaveLength(64 * MIB + 512);
  });

  test("that was left half by a killed process is made anew", async () => {
    writeFileSync(join(folder, "disk.qcow2.new"), "half");
    writeFileSync(join(folder, "disk.qcow2.json.new"), "{");
    const overlay = await prepare({ path: makeImage("image") });
    expect(contentOf(overlay)).toHaveLength(8 * MIB);
    expect(existsSync(join(folder, "disk.qcow2.new"))).toBe(false);
  });

  test("whose image was changed or is gone is refused, and works again with the old image", async () => {
    const image = makeImage("image");
    await prepare({ path: image });
    renameSync(image, `${image}.old`);
    await expect(prepare({ path: image })).rejects.toMatchObject({
      code: "ERR_IMAGE_BASE",
      message: expect.stringContaining(`${image}, over which it lies, is gone`),
    });
    writeFileSync(image, Buffer.alloc(8 * MIB));
    await expect(prepare({ path: image })).rejects.toThrow(
      `${image}, over which it lies, was changed`,
    );
    renameSync(`${image}.old`, image);
    expect((await prepare({ path: image })).base.path).toBe(image);
  });

  test("whose header was turned to another file, or whose note is lost, is refused", async () => {
    const overlay = await prepare({ path: makeImage("image") });
    const rebase = ["rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow", overlay.path];
    execFileSync("qemu-img", rebase);
    await expect(prepare({ path: "/x" })).rejects.toMatchObject({
      code: "ERR_IMAGE_OVERLAY",
      message: expect.stringContaining("it lies over another file than"),
    });
    rmSync(`${overlay.path}.json`);
    await expect(prepare({ path: "/x" })).rejects.toThrow("what it lies over is not known");
    writeFileSync(overlay.path, "no disk");
    await expect(prepare({ path: "/x" })).rejects.toMatchObject({ code: "ERR_IMAGE_OVERLAY" });
  });

  test("that two starts want at once is made once", async () => {
    const image = { path: makeImage("image") };
    const [one, other] = await Promise.all([prepare(image), prepare(image)]);
    expect(one).toEqual(other);
  });

  test("of a URL stays on its version when the URL has a new one, and finds it after the cache was removed", async () => {
    const server = await startImageServer({ content: SEED });
    const first = await prepare({ url: server.url });
    Object.assign(server.served, { content: testContent(MIB, "new"), etag: '"v2"' });
    expect(await prepare({ url: server.url })).toEqual(first);
    expect(server.log).toEqual(["whole -> 200"]);
    rmSync(join(folder, "cache"), { recursive: true });
    store = await openStore();
    await expect(prepare({ url: server.url })).rejects.toMatchObject({ code: "ERR_IMAGE_BASE" });
    server.served.content = SEED;
    server.served.etag = '"v3"';
    expect(await prepare({ url: server.url })).toEqual(first);
    const disks = (await store.list()).flatMap((image) => image.disks);
    expect(disks).toEqual([first.path]);
  });
});

describe("a local image", () => {
  test("must exist, be a plain file, and be a disk", async () => {
    mkdirSync(join(folder, "d"));
    execFileSync("mkfifo", [join(folder, "pipe")]);
    for (const path of ["/nowhere", join(folder, "d"), join(folder, "pipe"), "/dev/zero"]) {
      await expect(store.fetch({ path }, { signal: signal() })).rejects.toMatchObject({
        code: "ERR_IMAGE_FILE",
        message: expect.stringContaining(path),
      });
    }
  });

  test("that is not as declared, or that qemu-img finds damaged, is refused", async () => {
    const image = makeImage("image", ["-O", "qcow2"]);
    await expect(prepare({ path: image, format: "raw" })).rejects.toMatchObject({
      code: "ERR_IMAGE_FORMAT",
      message: `Cannot use image ${image}: it is declared as raw, but its content is qcow2; mend "format", or leave it out`,
    });
    const damaged = readFileSync(image);
    damaged.writeUInt32BE(0xffff_ffff, 36); // entries of the first table
    writeFileSync(image, damaged);
    await expect(prepare({ path: image })).rejects.toMatchObject({
      code: "ERR_IMAGE_FORMAT",
      message: expect.stringMatching(/it is damaged: .*qemu-img/),
    });
  });

  test("has its checksum verified, once, and again when it changed", async () => {
    const image = makeImage("image");
    const past = new Date(Date.now() - 60_000);
    utimesSync(image, past, past);
    nowMs += 60_000;
    const read: number[] = [];
    const check = async (sum: string) =>
      await store.fetch(
        { path: image, sha256: sum },
        { signal: signal(), onProgress: ({ bytes }) => read.push(bytes) },
      );
    const sum = sha256(readFileSync(image));
    expect((await check(sum)).disk).toMatchObject({ source: "local", sha256: sum, path: image });
    expect(read.at(-1)).toBe(8 * MIB);
    read.length = 0;
    store = await openStore();
    await check(sum);
    expect(read).toEqual([]);
    writeFileSync(image, Buffer.alloc(8 * MIB));
    utimesSync(image, past, past);
    await expect(check(sum)).rejects.toMatchObject({
      code: "ERR_IMAGE_CHECKSUM",
      message: expect.stringContaining(
        `its SHA-256 is ${sha256(Buffer.alloc(8 * MIB))}, not ${sum}`,
      ),
    });
    expect(existsSync(image)).toBe(true);
  });

  test("may be named by a link", async () => {
    symlinkSync(makeImage("image"), join(folder, "link"));
    expect((await prepare({ path: join(folder, "link") })).base.path).toBe(join(folder, "link"));
  });
});

describe("prune()", () => {
  const HOUR_MS = 3_600_000;

  test("removes what no disk needs, longest unused first, down to the bound", async () => {
    const server = await startImageServer();
    const fetched: string[] = [];
    for (const seed of ["a", "b", "c"]) {
      nowMs += HOUR_MS;
      Object.assign(server.served, { content: testContent(MIB, seed), etag: `"${seed}"` });
      const { disk } = await store.fetch({ url: `${server.url}-${seed}` }, { signal: signal() });
      fetched.push(disk!.path);
      if (seed === "a") await prepare({ url: `${server.url}-${seed}` });
    }
    nowMs += HOUR_MS;
    const { removed, sizeBytes } = await store.prune({ bytesMax: 2.5 * MIB, signal: signal() });
    expect(removed.map(({ path }) => path)).toEqual([fetched[1]]);
    expect(sizeBytes).toBe(2 * MIB);
    await store.removeOverlay(join(folder, "disk.qcow2"));
    await store.prune({ bytesMax: 0, signal: signal() });
    expect(await store.list()).toEqual([]);
    expect(readdirSync(join(folder, "cache/urls"))).toEqual([]);
  });

  test("keeps what was used a moment ago, and forgets disks that are gone", async () => {
    const server = await startImageServer();
    const overlay = await prepare({ url: server.url });
    rmSync(overlay.path);
    expect((await store.prune({ bytesMax: 0, signal: signal() })).removed).toEqual([]);
    nowMs += HOUR_MS;
    expect((await store.prune({ bytesMax: 0, signal: signal() })).removed).toHaveLength(1);
  });

  test("runs after a download, with the store's bound", async () => {
    const server = await startImageServer({ content: testContent(MIB) });
    const small = { cacheDirectory: join(folder, "small"), now: () => nowMs, cacheBytesMax: MIB };
    const bounded = await openImageStore(small);
    await bounded.fetch({ url: `${server.url}-1` }, { signal: signal() });
    nowMs += HOUR_MS;
    Object.assign(server.served, { content: testContent(MIB, "2"), etag: '"2"' });
    await bounded.fetch({ url: `${server.url}-2` }, { signal: signal() });
    expect((await bounded.list()).map(({ urls }) => urls)).toEqual([[`${server.url}-2`]]);
  });
});
