/** What `up` keeps and removes when it ends, and what the next one does with it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { listProcesses } from "../../../src/compute/processes.ts";
import { processesOf } from "../../compute/adoption.ts";
import { canMakeNamespaces, ip } from "../../net/namespaces.ts";
import { GOALSTATE, type Running, run } from "../processes.ts";
import { openScene, prefixOf, type Row, type Scene, tenantFile } from "./fabric.ts";

const TEST_TIMEOUT_MS = 180_000;
const SECONDS = 60;
const NODES = ["--nodes", "2", "--hypervisor", "netns"];

async function startUp(scene: Scene, ...more: string[]): Promise<Running> {
  const up = scene.start("up", ...NODES, ...more);
  await up.says("\nready\n");
  return up;
}

async function stopUp(up: Running): Promise<void> {
  up.kill("SIGTERM");
  expect([await up.ended, up.stderr()]).toEqual([0, ""]);
}

async function deployPair(scene: Scene): Promise<readonly Row[]> {
  const file = scene.write("a.yaml", tenantFile({ tenant: "a", roles: { web: 2 } }));
  await scene.tell("deploy", file, "--wait", "--timeout", "45");
  return scene.ps();
}

function identities(rows: readonly Row[]): string[] {
  return rows.map(({ container, mac, address }) => `${container} ${mac} ${address}`);
}

async function allReady(scene: Scene): Promise<void> {
  await scene.until("both are Ready", SECONDS, (rows) => {
    return rows.length === 2 && rows.every(({ state }) => state === "Ready");
  });
}

function leftovers({ data }: Scene): string[] {
  const prefix = prefixOf(data);
  return ip("netns", "list")
    .split("\n")
    .filter((line) => line.startsWith(prefix));
}

function pidsOf({ data }: Scene, rows: readonly Row[]): string[] {
  const prefix = prefixOf(data);
  return rows.map(({ container, node }) => {
    const pids = processesOf({ name: `${prefix}${node}-${container}` }).map(({ pid }) => pid);
    return `${container} on ${node}: ${pids.join(" ")}`;
  });
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("up (needs root)", () => {
  test(
    "removes everything when it is stopped, and brings it up again with the same addresses",
    async () => {
      await using scene = openScene("up");
      const up = await startUp(scene);
      const before = await deployPair(scene);
      await using second = run([GOALSTATE, "up", ...NODES, "--data", scene.data]);
      expect(await second.ended).toBe(1);
      expect(second.stderr()).toContain("is in use by another goalstate");
      await stopUp(up);
      expect(leftovers(scene)).toEqual([]);
      expect(existsSync(join(scene.data, "control.sock"))).toBe(false);
      const again = await startUp(scene);
      await allReady(scene);
      expect(identities(await scene.ps())).toEqual(identities(before));
      await stopUp(again);
      expect(leftovers(scene)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "leaves the VMs with --keep-running, and adopts them; after kill -9, too",
    async () => {
      await using scene = openScene("keep");
      const up = await startUp(scene, "--keep-running");
      const rows = await deployPair(scene);
      const pids = pidsOf(scene, rows);
      await stopUp(up);
      expect(pidsOf(scene, rows)).toEqual(pids);
      const again = await startUp(scene);
      await allReady(scene);
      expect(pidsOf(scene, await scene.ps())).toEqual(pids);
      again.kill("SIGKILL");
      await again.ended;
      expect(pidsOf(scene, rows)).toEqual(pids);
      const third = await startUp(scene);
      await allReady(scene);
      expect(pidsOf(scene, await scene.ps())).toEqual(pids);
      await stopUp(third);
      expect(leftovers(scene)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "starts a node's process again that was killed; its VMs run on",
    async () => {
      await using scene = openScene("node");
      await startUp(scene);
      const rows = await deployPair(scene);
      const pids = pidsOf(scene, rows);
      const nodes = JSON.parse(await scene.tell("nodes", "--json"));
      expect(nodes).toHaveLength(2);
      const command = ["node", "node-1", "--data", scene.data];
      const [node] = processesLike(command);
      process.kill(node!, "SIGKILL");
      await scene.until("another process is the node", SECONDS, () => {
        const [pid] = processesLike(command);
        return pid !== undefined && pid !== node;
      });
      await allReady(scene);
      expect(pidsOf(scene, await scene.ps())).toEqual(pids);
    },
    TEST_TIMEOUT_MS,
  );
});

function processesLike(words: readonly string[]): number[] {
  return listProcesses()
    .filter(({ args }) => args.join(" ").includes(words.join(" ")))
    .map(({ pid }) => pid);
}
