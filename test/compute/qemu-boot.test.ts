/** Boots the real image on the real QEMU: the one test that shows that the guest side works. */

import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildAppDisk } from "../../src/compute/app-disk.ts";
import type { GuestImage } from "../../src/compute/guest-image.ts";
import { buildGuestImage } from "../../src/compute/guest-image.ts";
import type { MachineSpec, QemuMachines } from "../../src/compute/hypervisors/qemu/index.ts";
import { findQemu, openQemuMachines } from "../../src/compute/hypervisors/qemu/index.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { openScratchNetwork } from "./scratch-network.ts";
import { writeTestApp } from "./test-app.ts";

const ROOT = join(import.meta.dirname, "../..");
const MAC = "00:0d:3a:01:02:03";
const BOOT_TIMEOUT_MS = 90_000;

const found = await findQemu(process.env["PATH"] ?? "");
const missing = [
  ...(process.getuid?.() === 0 ? [] : ["root"]),
  ...(found.kind === "found" ? [] : ["qemu-system-x86_64"]),
  ...(existsSync("/dev/net/tun") ? [] : ["/dev/net/tun"]),
];
const skipped = missing.length > 0 && process.env["CI"] !== "true";
const title = skipped ? `QEMU boot (needs ${missing.join(", ")})` : "QEMU boot";

describe.skipIf(skipped)(title, () => {
  let folder: string;
  let hypervisor: QemuMachines;
  let image: GuestImage;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "gs-boot-"));
    if (found.kind !== "found") throw new Error(found.reason);
    hypervisor = await openQemuMachines(found);
    image = await buildGuestImage({
      cacheDirectory: join(folder, "cache"),
      agentEntry: join(import.meta.dirname, "fixtures/placeholder-agent.mjs"),
      nodeBinary: join(ROOT, "node_modules/node/bin/node"),
      scriptsDirectory: join(ROOT, "tools/guest-image.d"),
      environment: process.env,
    });
  }, BOOT_TIMEOUT_MS);

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  test(
    "gets the lease with option 245, runs the agent, sees the app, stops",
    async () => {
      await using network = await openScratchNetwork(folder, MAC);
      const appDisk = await buildAppDisk({
        appFolder: await writeTestApp(join(folder, "app")),
        cacheDirectory: join(folder, "cache"),
      });
      const spec = await specFor("t.web_0", { folder, image, tapFd: network.tapFd });
      const startedAt = performance.now();
      const vm = await hypervisor.create(
        { ...spec, boot: { kind: "own", image, appDisk } },
        AbortSignal.timeout(BOOT_TIMEOUT_MS),
      );
      try {
        const seen = await watchConsole(vm.consolePath, startedAt);
        report(hypervisor.description, seen);
        const text = await readFile(vm.consolePath, "utf8");
        expect(text).toContain("ip=10.99.0.4");
        expect(text).toContain("opt245=a83f8110");
        expect(text).toContain("mtu=1400");
        expect(text).toMatch(/^placeholder app: .*app\.json/m);
        expect(text).toContain("placeholder host: web-0");
        expect(text).toMatch(/^placeholder routes: .*a83f8110\/ffffffff via 0a630001/m);
        expect(text).toMatch(/^placeholder routes: .*0a620000\/ffff0000 via 00000000/m);
        expect(text).not.toContain("cannot load");
      } finally {
        await vm.stop();
        await vm.stop();
      }
      expect(await vm.exited).toEqual({ kind: "stopped" });
      expect(existsSync(`/proc/${vm.pid}`)).toBe(false);
    },
    BOOT_TIMEOUT_MS,
  );

  test("create() tells QEMU's own words when it cannot start", async () => {
    await using network = await openScratchNetwork(folder, MAC);
    const spec = await specFor("t.bad_0", { folder, image, tapFd: network.tapFd });
    const broken = withImage(spec, { ...image, kernel: join(folder, "no-kernel") });
    await expect(hypervisor.create(broken, AbortSignal.timeout(10_000))).rejects.toMatchObject({
      code: "ERR_QEMU_START",
      message: expect.stringContaining("no-kernel"),
    });
  });

  test("a guest that finds no system disk says so and powers off", async () => {
    await using network = await openScratchNetwork(folder, MAC);
    const spec = await specFor("t.empty_0", { folder, image, tapFd: network.tapFd });
    const systemDisk = join(folder, "empty.img");
    await writeFile(systemDisk, Buffer.alloc(1024 * 1024));
    const broken = withImage(spec, { ...image, systemDisk });
    const vm = await hypervisor.create(broken, AbortSignal.timeout(20_000));
    expect(await vm.exited).toEqual({ kind: "stopped" });
    expect(await readFile(vm.consolePath, "utf8")).toContain("no system disk, powering off");
  }, 30_000);

  test("a VM dies with the process that started it", async () => {
    await using network = await openScratchNetwork(folder, MAC);
    const spec = await specFor("t.orphan_0", { folder, image, tapFd: network.tapFd });
    const script = join(import.meta.dirname, "fixtures/start-and-wait.ts");
    const parent = spawn(process.execPath, [script, JSON.stringify({ ...spec, tapFd: 3 })], {
      stdio: ["ignore", "pipe", "inherit", network.tapFd],
    });
    const pid = await firstNumber(parent.stdout);
    expect(execFileSync("ps", ["-o", "comm=", "-p", String(pid)], { encoding: "utf8" })).toMatch(
      /^gs-test/,
    );
    parent.kill("SIGKILL");
    await expect.poll(() => isAlive(pid), { timeout: 5_000 }).toBe(false);
  }, 30_000);
});

async function specFor(
  container: string,
  rest: { folder: string; image: GuestImage; tapFd: number },
): Promise<MachineSpec> {
  const { folder, image, tapFd } = rest;
  const runDirectory = join(folder, container);
  await mkdir(runDirectory, { recursive: true });
  return {
    ...{ container, attempt: 1, tapFd, boot: { kind: "own", image } },
    port: { namespace: "none", name: "tap" },
    name: `gs-test-${container}`,
    vmId: "6f1c6f0e-0000-4000-8000-000000000001",
    runDirectory,
    cpus: 1,
    memoryMib: 512,
    hostname: "web-0",
    mac: parseMac(MAC),
  };
}

function withImage(spec: MachineSpec, image: GuestImage): MachineSpec {
  return { ...spec, boot: { kind: "own", image } };
}

/** Waits for the last line of the placeholder agent; returns each line with the milliseconds since power-on. */
async function watchConsole(path: string, startedAt: number): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  while (![...seen.keys()].some((line) => line.startsWith("placeholder app"))) {
    const text = await readFile(path, "utf8").catch(() => "");
    for (const line of text.split("\n").slice(0, -1)) {
      if (!seen.has(line)) seen.set(line, performance.now() - startedAt);
    }
    if (performance.now() - startedAt > BOOT_TIMEOUT_MS / 2) throw new Error(`No agent: ${text}`);
    await delay(20);
  }
  return seen;
}

function report(description: string, seen: Map<string, number>): void {
  const lines = [...seen].filter(([line]) => /goalstate-guest|placeholder agent/.test(line));
  const rows = lines.map(
    ([line, ms]) =>
      `${ms.toFixed(0).padStart(6)} ms  ${line.replace(/^.*?goalstate-guest/, "goalstate-guest")}`,
  );
  process.stdout.write(`${description}\n${rows.join("\n")}\n`);
}

async function firstNumber(stream: Readable | null): Promise<number> {
  for await (const chunk of stream ?? []) return Number(String(chunk));
  throw new Error("The child said nothing");
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}
