/** `goalstate node`: one node in a process of its own. Killed at any moment, its VMs run on and the next one adopts them. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import packageJson from "../../../package.json" with { type: "json" };
import { keys, type NodeStatus } from "../../model/documents.ts";
import { FabricError } from "../../model/errors.ts";
import {
  type Ipv4Address,
  type Ipv4Subnet,
  networkOf,
  parseIpv4,
} from "../../model/ipv4-address.ts";
import { findProgram } from "../../net/find-program.ts";
import { createNodeNamespace, createUnderlay, type NodeNamespace } from "../../net/node-network.ts";
import { openSocketPath } from "../../net/socket-path.ts";
import { type FabricStore, type Lease, openRemoteStore } from "../../store/index.ts";
import { aborted } from "../aborted.ts";
import { type ControlRoutes, openControlServer } from "../control/control-server.ts";
import { type FabricInfo, fabricRoutes } from "../control/running-fabrics.ts";
import { findFabricId } from "../data-folder.ts";
import { dhcpRoutes } from "../dhcp/routes.ts";
import { ArtifactFolder } from "../guest-material/artifact-folder.ts";
import { chooseHypervisor, type HypervisorChoice } from "../hypervisor-choice.ts";
import { createMetrics, metricsRoutes } from "../metrics/metrics.ts";
import { requireRoot } from "../require-root.ts";
import { openTrace } from "./control-plane.ts";
import { openImages } from "./images.ts";
import { type FabricNode, startNode } from "./node.ts";

/** File in the data folder at which node processes reach the store of the control process. */
export const STORE_SOCKET = "store.sock";

const NOT_ANSWERED: ReadonlySet<string> = new Set(["ERR_STORE_UNAVAILABLE", "ERR_STORE_UNCERTAIN"]);
const STORE_RETRY_MS = 200;
const UNDERLAY_TRIES_MAX = 10;
const UNDERLAY_RETRY_MS = 200;

/** What {@link runNode} needs. */
export interface NodeProcessOptions {
  readonly node: string;
  /** The data folder of the fabric. */
  readonly data: string;
  /** On the network between the nodes, as ADDRESS/PREFIX. */
  readonly address: string;
  readonly faultDomain: string;
  readonly cpus: number;
  readonly memoryMib: number;
  readonly ttlSeconds: number;
  readonly hypervisor: HypervisorChoice;
  readonly searchPath: string;
  readonly cacheFolder: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly print: (line: string) => void;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Runs a node until `signal` aborts. Its VMs stay.
 *
 * @throws FabricError ERR_NODE_LEASE if another process is this node, or the fabric has given it up
 */
export async function runNode(options: NodeProcessOptions): Promise<void> {
  requireRoot("ERR_NODE_PRIVILEGE", "Network namespaces and taps");
  const { node, log, signal, print } = options;
  const data = resolve(options.data);
  const fabricId = findFabricId(data);
  if (fabricId === undefined) {
    const message = `${data} is no data folder of a fabric; start 'goalstate up' or 'goalstate control' on it first`;
    throw new FabricError("ERR_USAGE_DATA_FOLDER", message);
  }
  const folder = join(data, "nodes", node);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  await using store = openRemoteStore({
    openPath: () => openSocketPath(data, STORE_SOCKET),
  });
  const namespace = await enterUnderlay(`gs-${fabricId}-`, node, options.address);
  const hypervisor = await chooseHypervisor({ ...options, dataFolder: folder, lifetime: "own" });
  const trace = openTrace(store, log);
  await using started = await startNode({
    ...{ store, trace, node, hypervisor, log, namespace, folder },
    vmsAtEnd: "leave",
    artifacts: new ArtifactFolder(data),
    images: await openImages(options.cacheFolder),
    prefix: `gs-${fabricId}-${node}-`,
    runDirectory: join(folder, "run"),
    canFilter: findProgram("nft", options.searchPath) !== undefined,
  });
  await started.agent.ready;
  const lease = await untilKnown(signal, () => takeLease(store, join(folder, "lease"), options));
  // With the lease nobody else is this node: a socket that is there was left by a process that is gone.
  const routes = nodeRoutes(node, started);
  await using _control = await openControlServer({ folder, routes, log });
  await untilKnown(signal, () => register(store, lease, options, hypervisor.description));
  print(`node ${node} ready`);
  const lost = lease.lost.then(() => {
    const message = `Node ${node} was given up by the fabric: it was not heard of for ${options.ttlSeconds} s`;
    throw new FabricError("ERR_NODE_LEASE", message);
  });
  await Promise.race([aborted(signal), lost]);
}

/** What commands ask of a node itself: the networks that it answers are its own. */
function nodeRoutes(node: string, { listNetworks, wireProcess }: FabricNode): ControlRoutes[] {
  const info = (): FabricInfo => {
    const networks = listNetworks().map(({ name }) => name);
    return { command: `node ${node}`, networks, pid: process.pid, version: packageJson.version };
  };
  const metrics = createMetrics(packageJson.version, listNetworks, wireProcess);
  return [fabricRoutes(info), dhcpRoutes(listNetworks), metricsRoutes(metrics)];
}

/** Makes the node's own namespace, and the switch between all nodes; both may be there, or be made by another right now. */
async function enterUnderlay(prefix: string, node: string, text: string): Promise<NodeNamespace> {
  const { address, subnet } = readAddress(text);
  for (let tries = 1; ; tries += 1) {
    try {
      const underlay = await createUnderlay({ prefix, subnet });
      return await createNodeNamespace({ underlay, node, address });
    } catch (error) {
      if (tries === UNDERLAY_TRIES_MAX) throw error;
      await delay(UNDERLAY_RETRY_MS);
    }
  }
}

function readAddress(text: string): { address: Ipv4Address; subnet: Ipv4Subnet } {
  const [host = "", prefix = "24"] = text.split("/");
  try {
    const address = parseIpv4(host);
    const prefixLength = Number(prefix);
    if (!(prefixLength >= 8 && prefixLength <= 30))
      throw new SyntaxError("has no prefix from /8 to /30");
    const network = networkOf(address, prefixLength);
    return { address, subnet: { network, prefixLength } };
  } catch (cause) {
    const message = `--address ${text} is no address, as in 100.127.0.1 or 100.127.0.1/16`;
    throw new FabricError("ERR_USAGE_NODE_ADDRESS", message, { cause });
  }
}

/** Tries again what the control process did not answer, because it was killed just then; both steps may be repeated. */
async function untilKnown<T>(signal: AbortSignal, step: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await step();
    } catch (error) {
      const isKnown = !(error instanceof FabricError) || !NOT_ANSWERED.has(error.code);
      if (isKnown || signal.aborted) throw error;
      await delay(STORE_RETRY_MS, undefined, { signal });
    }
  }
}

/** That of this node's earlier process, if the fabric still keeps it: then nobody notices that there was a gap. */
async function takeLease(
  store: FabricStore,
  file: string,
  { node, ttlSeconds }: NodeProcessOptions,
): Promise<Lease> {
  const ttlMs = ttlSeconds * 1000;
  const id = readText(file);
  if (id !== undefined) {
    try {
      return await store.lease(ttlMs, { id });
    } catch (error) {
      if (!(error instanceof FabricError) || error.code !== "ERR_STORE_LEASE_LOST") throw error;
    }
  }
  const { kv } = await store.get(keys.node(node));
  if (kv !== undefined) {
    const message = `Another process is node ${node} already, or was until now; end it first, or wait ${ttlSeconds} s`;
    throw new FabricError("ERR_NODE_LEASE", message);
  }
  const lease = await store.lease(ttlMs);
  writeFileSync(`${file}.new`, `${lease.id}\n`, { flush: true, mode: 0o600 });
  renameSync(`${file}.new`, file);
  return lease;
}

async function register(
  store: FabricStore,
  lease: Lease,
  options: NodeProcessOptions,
  hypervisor: string,
): Promise<void> {
  const { node, faultDomain, cpus, memoryMib } = options;
  const status: NodeStatus = {
    ...{
      node,
      address: options.address.replace(/\/.*/, ""),
      faultDomain,
      cpus,
      memoryMib,
      hypervisor,
    },
    version: packageJson.version,
    pid: process.pid,
    sinceMs: Date.now(),
  };
  const key = keys.node(node);
  await store.txn({ success: [{ kind: "put", key, value: status, lease: lease.id }] });
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined; // it is the first time
  }
}
