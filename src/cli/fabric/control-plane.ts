/** The control plane: the managers that write goals. */
import type { Logger } from "pino";
import { ComputeManager } from "../../compute/index.ts";
import { NetworkManager } from "../../nm/index.ts";
import type { FabricStore } from "../../store/index.ts";
import { type BootTrace, createBootTrace } from "../../trace/index.ts";

/** Part of every derived identifier and of the nodes' names. */
export interface ControlPlaneOptions {
  readonly store: FabricStore;
  readonly fabricId: string;
  readonly trace: BootTrace;
  readonly nodes: readonly string[];
}

/** Makes the managers over a store. */
export function createManager({ store, fabricId, trace, nodes }: ControlPlaneOptions) {
  return new ComputeManager({
    ...{ store, trace, fabricId, nodes },
    network: new NetworkManager({ store }),
  });
}

/** The boot trace of this process over the fabric's store. */
export function openTrace(store: FabricStore, log: Logger): BootTrace {
  return createBootTrace({
    store,
    now: Date.now,
    onError: (err, container) => log.error({ err, container }, "milestone not recorded"),
  });
}
