/** Child process of `bench/fabric/run`: one fabric, one size, from the first tenant to the last; prints what it found as JSON. */
import { setTimeout as sleep } from "node:timers/promises";
import { SimulatedFabric, TENANT_CONTAINERS } from "./simulated-fabric.ts";

/** What is measured of one fabric. */
export interface SampleOptions {
  readonly nodes: number;
  readonly containers: number;
  readonly createMs: number;
  readonly guestMs: number;
  /** Containers that are deployed and deleted before, so that the code is compiled. */
  readonly warmUp: number;
  /** Also what happens to it afterwards: the end of a node, of the managers, of everything. */
  readonly isWhole: boolean;
}

/** Times in milliseconds, memory and files in octets. */
export interface Sample {
  readonly readyMs: number;
  /** CPU time of the process until nobody had work. */
  readonly cpuMs: number;
  readonly heapBytes: number;
  readonly rssBytes: number;
  readonly storeBytes: number;
  readonly revisions: number;
  readonly whole?: WholeSample;
}

/** What is measured at the full size. */
export interface WholeSample {
  /** CPU time of a second in which nothing happens. */
  readonly idleCpuMs: number;
  readonly psMs: number;
  /** From the end of a node's lease until all its containers are Ready elsewhere. */
  readonly moved: number;
  readonly movedMs: number;
  readonly movedCpuMs: number;
  /** From the start of new managers until they have read everything. */
  readonly restartMs: number;
  /** CPU time until they had no more work. */
  readonly restartCpuMs: number;
  readonly restartRevisions: number;
  readonly deleteMs: number;
  readonly deleteCpuMs: number;
}

const IDLE_MS = 5_000;

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function heap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

function tenantNames(prefix: string, containers: number): string[] {
  return Array.from({ length: containers / TENANT_CONTAINERS }, (_, index) => `${prefix}${index}`);
}

async function takeSample(options: SampleOptions): Promise<Sample> {
  const { containers, isWhole } = options;
  await using fabric = new SimulatedFabric();
  await fabric.startManagers();
  await fabric.startNodes(options);
  for (let done = 0; done < options.warmUp; done += 2 * TENANT_CONTAINERS) {
    const names = tenantNames(`warm-${done}-`, 2 * TENANT_CONTAINERS);
    const ready = fabric.whenReady(2 * TENANT_CONTAINERS);
    await fabric.deploy(names);
    await ready;
    await fabric.remove(names);
  }
  await fabric.whenQuiet();
  const before = {
    heap: heap(),
    rss: process.memoryUsage().rss,
    store: fabric.storeBytes,
    rev: fabric.store.rev,
  };
  const names = tenantNames("tenant-", containers);
  const beganAt = performance.now();
  const cpuBefore = cpuMs();
  const ready = fabric.whenReady(containers);
  await fabric.deploy(names);
  await ready;
  const readyMs = performance.now() - beganAt;
  await fabric.whenQuiet();
  const sample: Sample = {
    readyMs,
    cpuMs: cpuMs() - cpuBefore,
    heapBytes: heap() - before.heap,
    rssBytes: process.memoryUsage().rss - before.rss,
    storeBytes: fabric.storeBytes - before.store,
    revisions: fabric.store.rev - before.rev,
    ...(isWhole && { whole: await takeWhole(fabric, names) }),
  };
  if (fabric.errors.length > 0) {
    throw new Error(`${fabric.errors.length} errors, the first: ${fabric.errors[0]}`);
  }
  return sample;
}

async function takeWhole(fabric: SimulatedFabric, names: readonly string[]): Promise<WholeSample> {
  let cpuBefore = cpuMs();
  let beganAt = performance.now();
  const timed = () => ({ ms: performance.now() - beganAt, cpu: cpuMs() - cpuBefore });
  const begin = () => {
    beganAt = performance.now();
    cpuBefore = cpuMs();
  };

  begin();
  await sleep(IDLE_MS);
  const idle = timed();

  begin();
  const views = await fabric.manager.listContainers();
  const ps = timed();

  const moved = views.filter(({ node }) => node === "node-0").length;
  const ready = fabric.whenReady(moved);
  await fabric.nodes.shift()!.die(() => begin());
  await ready;
  const { ms: movedMs } = timed();
  await fabric.whenQuiet();
  const { cpu: movedCpuMs } = timed();

  await fabric.stopManagers();
  begin();
  const { rev } = fabric.store;
  await fabric.startManagers();
  const { ms: restartMs } = timed();
  await fabric.whenQuiet();
  const { cpu: restartCpuMs } = timed();
  const restartRevisions = fabric.store.rev - rev;

  begin();
  await fabric.remove(names);
  const { ms: deleteMs } = timed();
  await fabric.whenQuiet();
  return {
    idleCpuMs: (idle.cpu * 1000) / IDLE_MS,
    psMs: ps.ms,
    ...{ moved, movedMs, movedCpuMs, restartMs, restartCpuMs, restartRevisions },
    ...{ deleteMs, deleteCpuMs: timed().cpu },
  };
}

if (process.argv[1] === import.meta.filename) {
  const options = JSON.parse(process.argv[2] ?? "") as SampleOptions;
  process.stdout.write(`${JSON.stringify(await takeSample(options))}\n`);
}
