/** `goalstate demo`: a fabric in its own namespaces, a tenant deployed on it, and its boot shown live. */
import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import packageJson from "../../package.json" with { type: "json" };
import { removeLeftovers } from "../compute/index.ts";
import { asDocument, type ContainerGoal, type ContainerStatus, keys } from "../model/documents.ts";
import { FabricError } from "../model/errors.ts";
import type { Milestone } from "../model/milestone.ts";
import { findProgram } from "../net/find-program.ts";
import { namespacePath } from "../net/namespace.ts";
import { deleteKeys, type FabricStore } from "../store/index.ts";
import { why } from "../trace/index.ts";
import { aborted } from "./aborted.ts";
import { openControlServer } from "./control/control-server.ts";
import { type FabricInfo, fabricRoutes } from "./control/running-fabrics.ts";
import { type DataFolder, openDataFolder } from "./data-folder.ts";
import { dhcpRoutes } from "./dhcp/routes.ts";
import { openImages } from "./fabric/images.ts";
import { type Fabric, startFabric } from "./fabric.ts";
import { createFaultControl } from "./faults/fault-control.ts";
import { faultRoutes } from "./faults/routes.ts";
import { ArtifactFolder } from "./guest-material/artifact-folder.ts";
import { GuestMaterials } from "./guest-material/guest-materials.ts";
import { chooseHypervisor, type HypervisorChoice } from "./hypervisor-choice.ts";
import { createMetrics, metricsRoutes } from "./metrics/metrics.ts";
import { requireRoot } from "./require-root.ts";
import { readTenantFile, type TenantFile } from "./tenant-files/read-tenant-file.ts";

const STATUS_POLL_MS = 100;

export interface DemoOptions {
  readonly files: readonly string[];
  readonly data: string;
  readonly hypervisor: HypervisorChoice;
  readonly exitWhenReady: boolean;
  /** How long all containers may take. */
  readonly timeoutSeconds: number;
  readonly searchPath: string;
  readonly cacheFolder: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly print: (line: string) => void;
  readonly log: Logger;
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

interface Deployment extends TenantFile {
  /** As the user named it. */
  readonly file: string;
}

/**
 * Runs the demo.
 *
 * @throws FabricError ERR_DEMO_NOT_READY with the reason if a container does not come up in time
 */
export async function runDemo(options: DemoOptions): Promise<void> {
  const deployments = options.files.map((file) => ({ file, ...readTenantFile(file) }));
  refuseSameTenant(deployments);
  requireRoot("ERR_DEMO_PRIVILEGE", "Network namespaces and taps");
  await using data = await openDataFolder(options.data);
  const prefix = `gs-${data.fabricId}-`;
  const { print } = options;
  for (const line of deployments.flatMap(({ warnings }) => warnings)) print(line);
  for (const item of await removeLeftovers(prefix))
    print(`removed what an earlier run left: ${item}`);
  await resetStore(data);
  try {
    await bringUp(options, data, prefix, deployments);
  } finally {
    await removeLeftovers(prefix);
  }
}

/** Before anything is started, so that the line names the files. */
function refuseSameTenant(deployments: readonly Deployment[]): void {
  const files = new Map<string, string>();
  for (const { file, tenant } of deployments) {
    const first = files.get(tenant.tenant);
    if (first !== undefined) {
      const message = `${file}: tenant ${tenant.tenant} is in ${first} already; give each tenant a name of its own`;
      throw new FabricError("ERR_USAGE_TENANT_EXISTS", message);
    }
    files.set(tenant.tenant, file);
  }
}

function describeFabric(fabric: Fabric): FabricInfo {
  const networks = fabric.listNetworks().map(({ name }) => name);
  return { command: "demo", networks, pid: process.pid, version: packageJson.version };
}

async function bringUp(
  options: DemoOptions,
  data: DataFolder,
  prefix: string,
  deployments: readonly Deployment[],
): Promise<void> {
  const { print, log, signal } = options;
  const hypervisor = await chooseHypervisor({ ...options, dataFolder: data.path });
  print(`hypervisor: ${hypervisor.description}`);
  const canFilter = findProgram("nft", options.searchPath) !== undefined;
  if (!canFilter) {
    print(
      "nftables is not installed: ports open without anti-spoofing; tools/host-setup installs it",
    );
  }
  await using fabric = await startFabric({
    ...{ prefix, hypervisor, canFilter, log },
    images: await openImages(options.cacheFolder),
    store: data.store,
    fabricId: data.fabricId,
    folder: data.path,
  });
  await using _control = await openControlServer({
    folder: data.path,
    routes: [
      fabricRoutes(() => describeFabric(fabric)),
      dhcpRoutes(fabric.listNetworks),
      faultRoutes(createFaultControl(data.store, Date.now)),
      metricsRoutes(createMetrics(packageJson.version, fabric.listNetworks, fabric.wireProcess)),
    ],
    log,
  });
  const materials = new GuestMaterials(new ArtifactFolder(data.path), data.store, (err) =>
    log.warn({ err }, "old packages of extensions could not be removed"),
  );
  await materials.sweep();
  const containers: string[] = [];
  const stopPrinting = new AbortController();
  const printing = printMilestones(fabric, print, stopPrinting.signal);
  try {
    for (const { tenant, folder } of deployments) {
      const submission = { tenant, folder: resolve(folder) };
      const submitted = await materials.submit(submission, (material) =>
        fabric.manager.submit(tenant, submission.folder, material),
      );
      containers.push(...submitted.containers);
    }
    await awaitContainers(fabric, data.store, containers, options);
    if (signal.aborted) return print("stopping");
    await fabric.trace.settled();
    await showSummary(data.store, containers, prefix, print);
    if (options.exitWhenReady) return;
    print("up; Ctrl-C stops and removes everything");
    await aborted(signal);
    print("stopping");
  } finally {
    stopPrinting.abort();
    await printing;
  }
}

/** Each demo starts afresh; only the milestones of earlier boots stay. */
async function resetStore({ store, path }: DataFolder): Promise<void> {
  for (const prefix of [
    "/containers/",
    "/on/",
    "/vnets/",
    "/macs/",
    "/tenants/",
    "/nodes/",
    keys.faults,
  ]) {
    const { kvs } = await store.list(prefix);
    await deleteKeys(
      store,
      kvs.map(({ key }) => key),
    );
  }
  rmSync(join(path, "run"), { recursive: true, force: true });
}

async function printMilestones(
  { trace }: Fabric,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  for await (const { container, milestone, sinceStartMs, evidence } of trace.follow(
    undefined,
    signal,
  )) {
    const facts = Object.entries(evidence).map(([name, value]) => `${name} ${value}`);
    const seconds = (sinceStartMs / 1000).toFixed(3).padStart(8);
    print(`${seconds}s  ${container}  ${milestone.padEnd(17)}  ${facts.join(", ")}`);
  }
}

/** Returns when every container has all that its role can reach, or when `signal` aborts. */
async function awaitContainers(
  fabric: Fabric,
  store: FabricStore,
  containers: readonly string[],
  { timeoutSeconds, signal }: DemoOptions,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutSeconds * 1000;
  const waiting = new Set(containers);
  while (waiting.size > 0 && !signal.aborted) {
    for (const container of waiting) {
      await refuseFailed(store, container);
      const goal = fabric.agent.findGoal(container);
      if (goal !== undefined && fabric.trace.hasReached(container, lastMilestone(goal))) {
        waiting.delete(container);
      }
    }
    if (waiting.size === 0) return;
    if (performance.now() > deadlineMs) throw await notReady(fabric, [...waiting], timeoutSeconds);
    await delay(STATUS_POLL_MS);
  }
}

/** An `iaas` guest may have no agent: its address is all that can be expected of it. */
function lastMilestone({ kind, endpoints, app }: ContainerGoal): Milestone {
  if (kind === "iaas") return "dhcp-ack";
  if (app === undefined) return "ready";
  return endpoints.length > 0 ? "endpoint-open" : "role-started";
}

async function refuseFailed(store: FabricStore, container: string): Promise<void> {
  const { kv } = await store.get(keys.containerStatus(container));
  if (kv === undefined) return;
  const { state, detail } = asDocument<ContainerStatus>(kv.value);
  if (state === "Failed" || state === "Stopped") {
    throw new FabricError("ERR_DEMO_NOT_READY", `${container} is ${state}: ${detail}`);
  }
}

async function notReady(
  { trace, agent }: Fabric,
  containers: readonly string[],
  timeoutSeconds: number,
): Promise<FabricError> {
  const reasons = await Promise.all(
    containers.map(async (container) => {
      const reason = why(await trace.timeline(container), Date.now());
      const console = agent.findVm(container)?.consolePath;
      return `${container}: ${reason}${console === undefined ? "" : ` Its console: ${console}`}`;
    }),
  );
  const message = `Not ready within ${timeoutSeconds} s. ${reasons.join(" ")}`;
  return new FabricError("ERR_DEMO_NOT_READY", message);
}

async function showSummary(
  store: FabricStore,
  containers: readonly string[],
  prefix: string,
  print: (line: string) => void,
): Promise<void> {
  for (const container of containers) {
    const status = (await store.get(keys.containerStatus(container))).kv;
    const goal = (await store.get(keys.containerGoal(container))).kv;
    if (status === undefined || goal === undefined) continue;
    const { state } = asDocument<ContainerStatus>(status.value);
    const { vnet, address, endpoints } = asDocument<ContainerGoal>(goal.value);
    print(`${container} is ${state} at ${address} in VNET ${vnet}`);
    for (const { port } of endpoints.filter(({ protocol }) => protocol === "http")) {
      const enter = `nsenter --net=${namespacePath(prefix + vnet)}`;
      print(`  try: ${enter} curl http://${address}:${port}/`);
    }
  }
}
