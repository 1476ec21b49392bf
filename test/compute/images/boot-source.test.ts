import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import {
  guestBoot,
  type ImageStore,
  imageBootSource,
  openImageStore,
} from "../../../src/compute/images/index.ts";
import type { ContainerGoal } from "../../../src/model/documents.ts";
import { type ImageDescription, imageIdentity } from "../../../src/model/image.ts";
import { temporaryFolder } from "../../temporary-folder.ts";
import { startImageServer, testContent } from "./image-server.ts";

describe("imageBootSource()", () => {
  let root: string;
  let folder: string;
  let images: ImageStore;
  beforeEach(async () => {
    root = temporaryFolder("source");
    folder = join(root, "t.web_0");
    images = await openImageStore({ cacheDirectory: join(root, "cache"), now: Date.now });
  });

  const progress: [number, number | undefined][] = [];
  const prepare = async (image?: ImageDescription) =>
    await imageBootSource(images)({
      goal: { ...(image && { image }) } as ContainerGoal,
      folder,
      onProgress: (bytes, total) => progress.push([bytes, total]),
      signal: AbortSignal.timeout(15_000),
    });
  const disks = () => readdirSync(folder).filter((name) => name.endsWith(".qcow2"));

  function localImage(name: string): ImageDescription {
    writeFileSync(join(root, name), testContent(65_536, name));
    return { path: join(root, name) };
  }

  test("gives a goal without an image goalstate's own", async () => {
    expect(await prepare()).toEqual({ evidence: {} });
    expect(existsSync(folder)).toBe(false);
  });

  test("keeps the disk of an image, begins a new one for another image, and removes the old one", async () => {
    const [a, b] = [localImage("a"), localImage("b")];
    const first = await prepare(a);
    const path = join(folder, `disk-${imageIdentity(a)}.qcow2`);
    expect(first).toEqual({
      boot: {
        kind: "disk",
        disk: { path, format: "qcow2", backing: { path: a.path, format: "raw" } },
      },
      evidence: { image: a.path, imageSource: "local", format: "raw", diskBytes: 65_536 },
    });
    expect((await prepare(a)).evidence).toMatchObject({ imageSource: "kept disk" });
    const missing = { path: join(root, "missing") };
    await expect(prepare(missing)).rejects.toMatchObject({ code: "ERR_IMAGE_FILE" });
    expect(disks()).toEqual([`disk-${imageIdentity(a)}.qcow2`]);
    await prepare(b);
    expect(disks()).toEqual([`disk-${imageIdentity(b)}.qcow2`]);
    await prepare();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("boots a kernel with or without a disk, and sums up the progress of all parts", async () => {
    const server = await startImageServer({ content: testContent(65_536) });
    const url = (name: string) => ({ url: `${server.url}-${name}` });
    progress.length = 0;
    const kernel = { kernel: url("kernel"), initrd: url("initrd"), cmdline: "a b" };
    const bare = await prepare(kernel);
    expect(bare.boot).toMatchObject({ kind: "kernel", commandLine: "a b" });
    expect(bare.boot).not.toHaveProperty("disk");
    expect(bare.evidence).toMatchObject({
      kernel: `${server.url}-kernel`,
      kernelSource: "download",
    });
    expect(progress.at(-1)).toEqual([131_072, 131_072]);
    const { boot } = await prepare({ ...kernel, ...localImage("d") });
    expect(boot).toMatchObject({ kind: "kernel", disk: { backing: { format: "raw" } } });
  });
});

test("guestBoot() names VHD in QEMU's words", () => {
  const overlay = { path: "/o", virtualBytes: 1, base: { path: "/b", format: "vhd" } } as const;
  expect(guestBoot({ overlay, evidence: {} })).toEqual({
    kind: "disk",
    disk: { path: "/o", format: "qcow2", backing: { path: "/b", format: "vpc" } },
  });
});
