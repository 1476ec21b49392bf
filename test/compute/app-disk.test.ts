import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildAppDisk } from "../../src/compute/app-disk.ts";
import { writeTestApp } from "./test-app.ts";

describe("buildAppDisk()", () => {
  let folder: string;
  let cacheDirectory: string;
  let appFolder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "gs-app-"));
    cacheDirectory = join(folder, "cache");
    appFolder = await writeTestApp(join(folder, "app"));
  });
  afterEach(() => rm(folder, { recursive: true }));
  const build = (): Promise<string> => buildAppDisk({ appFolder, cacheDirectory });

  test("holds the folder, owned by root", async () => {
    const disk = await build();
    expect(debugfs(disk, "ls -p /")).toMatch(/\/100644\/0\/0\/app\.json\//);
    expect(debugfs(disk, "cat /lib/main.mjs")).toBe('console.log("hello");\n');
    expect(debugfs(disk, "stat /main")).toContain('Fast link dest: "lib/main.mjs"');
  });

  test("reuses an image of the same content, and makes a new one of other content", async () => {
    const first = await build();
    const { mtimeMs } = await stat(first);
    expect(await build()).toBe(first);
    expect((await stat(first)).mtimeMs).toBe(mtimeMs);
    await writeFile(join(appFolder, "lib/main.mjs"), "changed\n");
    expect(await build()).not.toBe(first);
    expect((await readdir(cacheDirectory)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("lets two builders race", async () => {
    const [first, second] = await Promise.all([build(), build()]);
    expect(first).toBe(second);
  });

  test("has room for many small files and a large one", async () => {
    await mkdir(join(appFolder, "many"));
    const names = Array.from({ length: 500 }, (_, index) => join(appFolder, "many", `${index}`));
    await Promise.all(names.map((name) => writeFile(name, "x")));
    await writeFile(join(appFolder, "large"), Buffer.alloc(20_000_000, 1));
    const disk = await build();
    expect(debugfs(disk, "stat /large")).toContain("Size: 20000000");
  });

  test("gives the same bytes for the same folder", async () => {
    const other = buildAppDisk({ appFolder, cacheDirectory: join(folder, "other") });
    expect(await digest(await other)).toBe(await digest(await build()));
  });

  test("refuses a folder without app.json, and a missing one", async () => {
    await rm(join(appFolder, "app.json"));
    await expect(build()).rejects.toMatchObject({ code: "ERR_APP_MISSING" });
    await rm(appFolder, { recursive: true });
    await expect(build()).rejects.toMatchObject({ code: "ERR_APP_MISSING" });
  });

  test("refuses what is neither file, folder nor link", async () => {
    execFileSync("mkfifo", [join(appFolder, "pipe")]);
    await expect(build()).rejects.toMatchObject({ code: "ERR_APP_ENTRY" });
  });
});

function debugfs(image: string, request: string): string {
  const env = { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" };
  const stdio: ["ignore", "pipe", "ignore"] = ["ignore", "pipe", "ignore"];
  return execFileSync("debugfs", ["-R", request, image], { encoding: "utf8", env, stdio });
}

async function digest(file: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(file))
    .digest("hex");
}
