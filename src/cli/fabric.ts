/** A whole fabric in one process, on one node: what the demo runs. */
import { join } from "node:path";
import type { Logger } from "pino";
import packageJson from "../../package.json" with { type: "json" };
import type { ComputeManager, Hypervisor, ImageStore } from "../compute/index.ts";
import { keys, type NodeStatus } from "../model/documents.ts";
import type { FabricStore } from "../store/index.ts";
import type { BootTrace } from "../trace/index.ts";
import { openTrace, startManager } from "./fabric/control-plane.ts";
import { type FabricNode, startNode } from "./fabric/node.ts";
import { ArtifactFolder } from "./guest-material/artifact-folder.ts";

const NODE = "node-1";
/** It lives and dies with the managers, so nobody ever waits so long. */
const NODE_LEASE_MS = 10_000;

export interface FabricOptions {
  readonly store: FabricStore;
  /** Starts the name of everything that the fabric makes on this machine. */
  readonly prefix: string;
  readonly fabricId: string;
  /** The data folder. */
  readonly folder: string;
  readonly hypervisor: Hypervisor;
  readonly images: ImageStore;
  readonly canFilter: boolean;
  readonly log: Logger;
}

/** A running fabric. Disposing it stops its VMs and services; its namespaces are removed by `removeLeftovers`. */
export interface Fabric extends FabricNode {
  readonly manager: ComputeManager;
  readonly trace: BootTrace;
}

/** Starts managers and agents on one node, this machine. */
export async function startFabric(options: FabricOptions): Promise<Fabric> {
  const { store, fabricId, log } = options;
  const trace = openTrace(store, log);
  await joinNode(store);
  const control = startManager({ store, fabricId, trace, log, nodeGraceMs: NODE_LEASE_MS });
  const runDirectory = join(options.folder, "run");
  const node = await startNode({
    ...{ ...options, trace, node: NODE, runDirectory, vmsAtEnd: "stop" },
    artifacts: new ArtifactFolder(options.folder),
  });
  return {
    ...node,
    manager: control.manager,
    trace,
    [Symbol.asyncDispose]: async () => {
      await control[Symbol.asyncDispose]();
      await node[Symbol.asyncDispose]();
    },
  };
}

/** This machine as the fabric's one node, which takes whatever the demo is given. */
async function joinNode(store: FabricStore): Promise<void> {
  const lease = await store.lease(NODE_LEASE_MS);
  const value: NodeStatus = {
    node: NODE,
    faultDomain: NODE,
    cpus: 1024,
    memoryMib: 1024 * 1024,
    hypervisor: "of the demo",
    version: packageJson.version,
    pid: process.pid,
    sinceMs: Date.now(),
  };
  await store.txn({ success: [{ kind: "put", key: keys.node(NODE), value, lease: lease.id }] });
}
