/**
 * What a fabric does when reality differs from its goals: retry, move, give up with the reason. Each node is a process that
 * nobody starts again, so that it can be kept down.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readRecord } from "../../../src/compute/vm-record.ts";
import { processesOf } from "../../compute/adoption.ts";
import { canMakeNamespaces } from "../../net/namespaces.ts";
import { finish, GOALSTATE, type Running } from "../processes.ts";
import { openScene, prefixOf, type Row, type Scene, tenantFile } from "./fabric.ts";

const NODES: readonly string[] = ["node-1", "node-2", "node-3"];
/** Short, so that the test is; not so short that a busy machine loses nodes that are there. */
const NODE_TTL_SECONDS = 10;

interface Plan {
  readonly hypervisor: "qemu" | "netns";
  readonly roles: Readonly<Record<string, number>>;
  readonly memoryMib: number;
  /** How many containers a node has room for. */
  readonly room: number;
  /** How long all of them may take until they are Ready, on a machine that is busy. */
  readonly seconds: number;
}

const VMS: Plan = {
  ...{ hypervisor: "qemu", roles: { web: 2, api: 1 } },
  ...{ memoryMib: 384, room: 2, seconds: 150 },
};
const NAMESPACES: Plan = {
  ...{ hypervisor: "netns", roles: { web: 30, api: 20 } },
  ...{ memoryMib: 128, room: 26, seconds: 150 },
};

async function startNode(scene: Scene, node: string, plan: Plan): Promise<Running> {
  const running = scene.start(
    ...["node", node, "--address", `100.127.0.${NODES.indexOf(node) + 1}`],
    ...["--cpus", String(plan.room), "--memory-mib", String(plan.room * plan.memoryMib)],
    ...["--ttl", String(NODE_TTL_SECONDS), "--hypervisor", plan.hypervisor],
  );
  await running.says(`node ${node} ready`);
  return running;
}

/** Kills its agent; its VMs run on, as those of a host that nobody can reach. */
async function killNode(nodes: Map<string, Running>, node: string): Promise<void> {
  const running = nodes.get(node)!;
  nodes.delete(node);
  running.kill("SIGKILL");
  await running.ended;
}

function isReady({ state }: Row): boolean {
  return state === "Ready";
}

/** MAC and address of each container. */
function identities(rows: readonly Row[]): string[] {
  return rows.map(({ container, mac, address }) => `${container} ${mac} ${address}`);
}

function attemptOf({ data }: Scene, { node, container }: Row): number {
  return readRecord(join(data, "nodes", node, "run", container))?.attempt ?? 0;
}

function pidOf({ data }: Scene, { node, container }: Row): number {
  const [process] = processesOf({ name: `${prefixOf(data)}${node}-${container}` });
  if (process === undefined) throw new Error(`${container} does not run on ${node}`);
  return process.pid;
}

async function deployAndLose(plan: Plan): Promise<void> {
  await using scene = openScene(plan.hypervisor);
  const { seconds } = plan;
  const config = scene.write("up.yaml", `nodeTtlSeconds: ${NODE_TTL_SECONDS}\n`);
  const control = scene.start("control", "--config", config);
  await control.says("ready");
  const started = NODES.map(async (node) => [node, await startNode(scene, node, plan)] as const);
  const nodes = new Map(await Promise.all(started));
  const count = Object.values(plan.roles).reduce((a, b) => a + b, 0);
  const file = scene.write(
    "tenant.yaml",
    tenantFile({ tenant: "lab", ...plan, more: "recovery: { backoffSeconds: 0.5 }" }),
  );
  await scene.tell("deploy", file);
  await scene.until("all are Ready", seconds, (rows) => {
    return rows.length === count && rows.every(isReady);
  });
  const first = await scene.ps();
  expect(new Set(first.map(({ address }) => address)).size).toBe(count);
  expect(new Set(first.map(({ mac }) => mac)).size).toBe(count);
  const share = NODES.map((node) => first.filter((row) => row.node === node).length);
  expect(Math.max(...share) - Math.min(...share)).toBeLessThan(3);

  const victim = first.find(({ container }) => container === "lab.web_0")!;
  const attempt = attemptOf(scene, victim);
  process.kill(pidOf(scene, victim), "SIGKILL");
  await scene.until("it is back by a retry", seconds, (rows) => {
    const row = rows.find(({ container }) => container === victim.container)!;
    return isReady(row) && attemptOf(scene, row) > attempt;
  });
  const retried = await scene.row(victim.container);
  expect(retried).toMatchObject({
    ...{ node: victim.node, mac: victim.mac, address: victim.address },
  });

  await killNode(nodes, victim.node);
  await scene.until("all of its node have moved", seconds, (rows) => {
    return rows.every((row) => isReady(row) && row.node !== victim.node);
  });
  const moved = await scene.ps();
  expect(identities(moved)).toEqual(identities(first));
  const { node, mac, address } = await scene.row(victim.container);
  const look = ["dhcp", "explain", mac, "--data", join(scene.data, "nodes", node)];
  const explained = await finish([GOALSTATE, ...look]);
  expect(explained.stdout).toContain(`-> DHCPACK ${address}`);

  await killNode(nodes, node);
  const left = NODES.find((name) => name !== victim.node && name !== node)!;
  await scene.until("one node is full, and the others are Failed", seconds, (rows) => {
    const onLeft = rows.filter((row) => row.node === left);
    const failed = rows.filter(({ state }) => state === "Failed");
    return (
      onLeft.every(isReady) && onLeft.length === plan.room && failed.length === count - plan.room
    );
  });
  const failed = (await scene.ps()).filter(({ state }) => state === "Failed");
  const text = `needs 1 CPU and ${plan.memoryMib} MiB; ${left} has 0 CPUs and 0 MiB free`;
  expect(failed.map(({ detail }) => detail)).toEqual(failed.map(() => text));
  expect(failed.map((row) => row.node)).toEqual(failed.map(() => ""));
  expect(identities(await scene.ps())).toEqual(identities(first));
  if (plan.hypervisor === "qemu") return;

  nodes.set(node, await startNode(scene, node, plan));
  await scene.until("a node that is back takes them", seconds, (rows) => rows.every(isReady));
  expect(identities(await scene.ps())).toEqual(identities(first));
  await scene.tell("delete", "lab", "--wait", "--timeout", "45");
  expect(await scene.ps()).toEqual([]);
  for (const name of [left, node]) {
    const guests = new RegExp(`^guest=${prefixOf(scene.data)}${name}-`);
    const { stdout } = await finish(["pgrep", "-af", guests.source]);
    expect(stdout).toBe("");
  }
}

const isAble = canMakeNamespaces && existsSync("/usr/bin/qemu-system-x86_64");

describe.skipIf(!isAble && !process.env["CI"])("a fabric on QEMU (needs root and QEMU)", () => {
  test("retries a VM that dies, moves those of a node that is gone, and says why none takes one", async () => {
    await deployAndLose(VMS);
  }, 600_000);
});

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("a fabric on netns (needs root)", () => {
  test("does the same with 50 instances, takes a node back, and leaves nothing of a tenant that is deleted", async () => {
    await deployAndLose(NAMESPACES);
  }, 900_000);
});
