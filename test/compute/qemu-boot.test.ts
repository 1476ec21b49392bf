/** Boots the real image on the real QEMU: the one test that shows that the guest side works. */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildAppDisk } from "../../src/compute/app-disk.ts";
import type { GuestImage } from "../../src/compute/guest-image.ts";
import { buildGuestImage } from "../../src/compute/guest-image.ts";
import { systemUuid } from "../../src/compute/hypervisors/qemu/azure-identity.ts";
import type {
  MachineSpec,
  OpenTap,
  QemuMachines,
} from "../../src/compute/hypervisors/qemu/index.ts";
import { findQemu, openQemuMachines } from "../../src/compute/hypervisors/qemu/index.ts";
import { createQcow2Over } from "../../src/compute/images/qemu-img.ts";
import type { VmSpec } from "../../src/compute/index.ts";
import { writeProvisioningDisc } from "../../src/compute/provisioning-disc.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { makeNamespace } from "../net/namespaces.ts";
import { adoptAndCheck, expectNothingLeft, killAgent, startAgent } from "./adoption.ts";
import { openHypervisor } from "./fixtures/boot-over-and-over.ts";
import { openScratchNetwork, type ScratchNetwork } from "./scratch-network.ts";
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
      const spec = await specFor("t.web_0", { folder, image });
      const startedAt = performance.now();
      const vm = await hypervisor.create(
        { ...spec, boot: { kind: "own", image, appDisk } },
        tapOf(network),
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
        expect(/^placeholder machine: (.*)$/m.exec(text)?.[1]?.trim().split("; ")).toEqual([
          "sys_vendor=Microsoft Corporation",
          "product_name=Virtual Machine",
          "product_version=7.0",
          `product_uuid=${systemUuid(spec.vmId)}`,
          "board_vendor=Microsoft Corporation",
          "chassis_vendor=Microsoft Corporation",
          "chassis_version=7.0",
          "chassis_asset_tag=7783-7084-3265-9085-8269-3286-77",
        ]);
        // What is typed at the console's socket reaches the guest, which echoes it.
        await using typist = connectConsole(vm.consoleSocket ?? "");
        typist.write("hello console\n");
        await typist.reads("hello console");
        expect(readStatusOf(vm.pid)).toMatchObject(UNPRIVILEGED);
        await expect
          .poll(() => readFile(vm.consolePath, "utf8"), { timeout: 40_000 })
          .toContain("the power button is watched");
        expect(await vm.stop({ acpiMs: BOOT_TIMEOUT_MS / 3 })).toBe("acpi");
        const last = await readFile(vm.consolePath, "utf8");
        expect(last).toContain("placeholder agent: SIGTERM");
        expect(last).not.toContain("cannot load");
      } finally {
        await vm.stop();
      }
      expect(await vm.stop()).toBe("ended");
      expect(await vm.exited).toEqual({ kind: "stopped" });
      expect(existsSync(`/proc/${vm.pid}`)).toBe(false);
    },
    BOOT_TIMEOUT_MS,
  );

  test(
    "a VM outlives its agent: killed at any moment, it is adopted whole, or nothing is left",
    async () => {
      using host = makeNamespace("qemu");
      const container = "t.kept_0";
      const base = await specFor(container, { folder, image });
      const port = { namespace: host.name, name: "tap010203" };
      // Longer than a socket's path may be, and its parents closed to QEMU's user.
      const runDirectory = join(folder, "a-long-name-".repeat(10), container);
      await mkdir(runDirectory, { recursive: true });
      const spec: VmSpec = { ...base, name: `gst${process.pid}-${container}`, port, runDirectory };
      const guest = { kind: "qemu", image } as const;
      const successor = await openHypervisor(guest);
      for (const killAfterMs of [30, 90, 200]) {
        const agent = await startAgent({ guest, spec, once: true }, "go");
        await delay(killAfterMs);
        await killAgent(agent);
        const { vm } = await adoptAndCheck(successor, spec);
        await vm?.stop();
        await expectNothingLeft(spec);
      }
      const agent = await startAgent({ guest, spec, once: true }, "booted");
      await killAgent(agent);
      const { vm } = await adoptAndCheck(successor, spec);
      expect(vm?.attempt).toBe(1);
      if (vm === undefined) return;
      vm.release(); // and is adopted again
      const again = (await adoptAndCheck(successor, spec)).vm;
      expect(again?.pid).toBe(vm.pid);
      process.kill(vm.pid, "SIGKILL");
      expect(await again?.exited).toEqual({ kind: "failed", reason: "QEMU ended: no message" });
      await expectNothingLeft(spec);
    },
    BOOT_TIMEOUT_MS,
  );

  test("the firmware boots a guest's own disk, which lies on a read-only one", async () => {
    await using network = await openScratchNetwork(folder, MAC);
    const spec = await specFor("t.disk_0", { folder, image });
    const base = { path: join(folder, "base.img"), format: "raw" } as const;
    await writeFile(base.path, bootSector("BOOTED FROM DISK"), { mode: 0o400 });
    const path = join(spec.runDirectory, "disk.qcow2");
    const { signal } = new AbortController();
    await createQcow2Over(base, { path, virtualBytes: 2 ** 20, signal });
    const provisioningDisc = join(spec.runDirectory, "provisioning.iso");
    await writeProvisioningDisc({ file: provisioningDisc, ovfEnvironment: "<Environment/>" });
    const disk = { path, format: "qcow2", backing: base } as const;
    const vm = await hypervisor.create(
      { ...spec, boot: { kind: "disk", disk }, provisioningDisc },
      tapOf(network),
      AbortSignal.timeout(BOOT_TIMEOUT_MS),
    );
    try {
      await expect
        .poll(() => readFile(vm.consolePath, "utf8"), { timeout: 30_000 })
        .toContain("BOOTED FROM DISK");
    } finally {
      await vm.stop();
    }
  }, 45_000);

  test("create() tells QEMU's own words when it cannot start", async () => {
    await using network = await openScratchNetwork(folder, MAC);
    const spec = await specFor("t.bad_0", { folder, image });
    const broken = withImage(spec, { ...image, kernel: join(folder, "no-kernel") });
    await expect(
      hypervisor.create(broken, tapOf(network), AbortSignal.timeout(10_000)),
    ).rejects.toMatchObject({
      code: "ERR_QEMU_START",
      message: expect.stringContaining("no-kernel"),
    });
  });

  test("a guest that finds no system disk says so and powers off", async () => {
    await using network = await openScratchNetwork(folder, MAC);
    const spec = await specFor("t.empty_0", { folder, image });
    const systemDisk = join(folder, "empty.img");
    await writeFile(systemDisk, Buffer.alloc(1024 * 1024));
    const broken = withImage(spec, { ...image, systemDisk });
    const start = new AbortController();
    const vm = await hypervisor.create(broken, tapOf(network), start.signal);
    start.abort(); // too late: it has started
    expect(await vm.exited).toEqual({ kind: "stopped" });
    expect(await readFile(vm.consolePath, "utf8")).toContain("no system disk, powering off");
  }, 60_000);

  test("a VM dies with the process that started it", async () => {
    await using network = await openScratchNetwork(folder, MAC);
    const spec = await specFor("t.orphan_0", { folder, image });
    const script = join(import.meta.dirname, "fixtures/start-and-wait.ts");
    const parent = spawn(process.execPath, [script, JSON.stringify(spec)], {
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
  rest: { folder: string; image: GuestImage },
): Promise<MachineSpec> {
  const { folder, image } = rest;
  const runDirectory = join(folder, container);
  await mkdir(runDirectory, { recursive: true });
  return {
    ...{ container, attempt: 1, boot: { kind: "own", image } },
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

/** A master boot record that writes `text` to the first serial line and stops. */
function bootSector(text: string): Buffer {
  const code = Buffer.from([
    ...[0xfc, 0x31, 0xc0, 0x8e, 0xd8], // cld; xor ax, ax; mov ds, ax
    ...[0xbe, 0x20, 0x7c, 0xba, 0xf8, 0x03], // mov si, 0x7c20; mov dx, 0x3f8
    ...[0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8], // next: lodsb; test al, al; jz end; out dx, al; jmp next
    ...[0xf4, 0xeb, 0xfd], // end: hlt; jmp end
  ]);
  const sector = Buffer.alloc(512);
  code.copy(sector);
  sector.write(text, 0x20, "latin1");
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** No capability, now or later, and no other user's groups. */
const UNPRIVILEGED = {
  Uid: "65432",
  Gid: "65432",
  Groups: "",
  CapPrm: "0000000000000000",
  CapEff: "0000000000000000",
  CapBnd: "0000000000000000",
  NoNewPrivs: "1",
  Seccomp: "2",
};

/** The first value of each line of a process's status. */
function readStatusOf(pid: number): Record<string, string> {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Object.fromEntries(
    text.split("\n").map((line) => {
      const [name = "", values = ""] = line.split(":");
      return [name, values.trim().split(/\s+/)[0] ?? ""];
    }),
  );
}

function connectConsole(path: string) {
  const socket = createConnection(path);
  let seen = "";
  socket.on("data", (part: Buffer) => {
    seen += part;
  });
  return {
    write: (text: string) => socket.write(text),
    reads: (text: string) => expect.poll(() => seen, { timeout: 10_000 }).toContain(text),
    [Symbol.asyncDispose]: async () => {
      if (socket.closed) return;
      const closed = once(socket, "close");
      socket.destroy();
      await closed;
    },
  };
}

/** The tap stays the network's. */
function tapOf({ tapFd }: ScratchNetwork): () => OpenTap {
  return () => ({ fd: tapFd, [Symbol.dispose]: () => undefined });
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
