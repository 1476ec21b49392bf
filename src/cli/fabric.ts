/** A whole fabric in one process, on one node: what the demo runs. */
import { join } from "node:path";
import type { Logger } from "pino";
import type { ComputeManager, Hypervisor } from "../compute/index.ts";
import type { FabricStore } from "../store/index.ts";
import type { BootTrace } from "../trace/index.ts";
import { createManager, openTrace } from "./fabric/control-plane.ts";
import { type FabricNode, startNode } from "./fabric/node.ts";

const NODE = "node-1";

export interface FabricOptions {
  readonly store: FabricStore;
  /** Starts the name of everything that the fabric makes on this machine. */
  readonly prefix: string;
  readonly fabricId: string;
  /** The data folder. */
  readonly folder: string;
  readonly hypervisor: Hypervisor;
  readonly canFilter: boolean;
  readonly log: Logger;
}

/** A running fabric. Disposing it stops its VMs and services; its namespaces are removed by `removeLeftovers`. */
export interface Fabric extends FabricNode {
  readonly manager: ComputeManager;
  readonly trace: BootTrace;
}

/** Starts managers and agents on one node, this machine. */
export function startFabric(options: FabricOptions): Fabric {
  const { store, fabricId, log } = options;
  const trace = openTrace(store, log);
  const runDirectory = join(options.folder, "run");
  const node = startNode({ ...options, trace, node: NODE, runDirectory });
  const manager = createManager({ store, fabricId, trace, nodes: [NODE] });
  return { ...node, manager, trace };
}
