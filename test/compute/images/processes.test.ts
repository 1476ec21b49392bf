/** Several processes on one cache, which are killed. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { temporaryFolder } from "../../temporary-folder.ts";
import { type ImageServer, sha256, startImageServer, testContent } from "./image-server.ts";

const SCRIPT = join(import.meta.dirname, "fixtures/fetch-image.ts");
const SIZE = 8_000_000;
const AT_A_BYTE = expect.stringMatching(/^bytes=\d+- -> 206$/);

interface Fetcher {
  readonly child: ChildProcess;
  /** The last of its lines so far. */
  readonly said: () => string;
}

function startFetcher(folder: string, server: ImageServer, disk: string): Fetcher {
  const args = [SCRIPT, join(folder, "cache"), server.url, join(folder, disk)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  let last = "";
  createInterface({ input: child.stdout }).on("line", (text) => {
    last = text;
  });
  return { child, said: () => last };
}

/** Waits until it has more than so many bytes. */
async function has({ said }: Fetcher, bytes: number): Promise<void> {
  const seen = () => Number(/^bytes (\d+)$/.exec(said())?.[1] ?? 0);
  await expect.poll(seen, { timeout: 15_000 }).toBeGreaterThan(bytes);
}

/** Waits until it is done; returns where it had the image from. */
async function source({ said }: Fetcher): Promise<string> {
  await expect.poll(said, { timeout: 15_000 }).toMatch(/^done/);
  return said().split(" ")[1]!;
}

async function killNow({ child }: Fetcher): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

function expectWhole(folder: string, disk: string, server: ImageServer): void {
  const raw = join(folder, "content.raw");
  execFileSync("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", join(folder, disk), raw]);
  expect(sha256(readFileSync(raw))).toBe(sha256(server.served.content));
  expect(readdirSync(join(folder, "cache/parts"))).toEqual([]);
}

test("a download whose process is killed is gone on with by the next one", async () => {
  const folder = temporaryFolder("kill");
  const server = await startImageServer({
    content: testContent(SIZE),
    faults: [{ stallAfter: 3_000_000 }, { stallAfter: 3_000_000 }],
  });
  for (const bytes of [1_500_000, 3_500_000]) {
    const killed = startFetcher(folder, server, "disk.qcow2");
    await has(killed, bytes);
    await killNow(killed);
  }
  const next = startFetcher(folder, server, "disk.qcow2");
  expect(await source(next)).toBe("download");
  expectWhole(folder, "disk.qcow2", server);
  expect(server.log).toEqual(["whole -> 200", AT_A_BYTE, AT_A_BYTE]);
  const starts = server.log.slice(1).map((line) => Number.parseInt(line.slice(6), 10));
  expect(starts[0]).toBeGreaterThan(1_500_000);
  expect(starts[1]).toBeGreaterThan(3_500_000);
}, 60_000);

test("of several processes one downloads; when it is killed another one goes on", async () => {
  const folder = temporaryFolder("kill");
  const faults = [{ stallAfter: 3_000_000 }];
  const server = await startImageServer({ content: testContent(SIZE), faults });
  const first = startFetcher(folder, server, "disk-0.qcow2");
  await has(first, 1_500_000);
  const others = [1, 2, 3].map((n) => startFetcher(folder, server, `disk-${n}.qcow2`));
  // They see how far the first one is, and wait.
  for (const other of others) await has(other, 1_500_000);
  expect(server.log).toHaveLength(1);
  await killNow(first);
  const sources = await Promise.all(others.map(source));
  expect(sources.sort()).toEqual(["cache", "cache", "download"]);
  const downloads = server.log.filter((line) => !line.endsWith("-> 304"));
  expect(downloads).toEqual(["whole -> 200", AT_A_BYTE]);
  for (const n of [1, 2, 3]) expectWhole(folder, `disk-${n}.qcow2`, server);
}, 60_000);
