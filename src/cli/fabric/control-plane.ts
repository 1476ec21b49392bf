/** The control plane: the managers that write goals. */
import type { Logger } from "pino";
import { ComputeManager, type ManagerClock } from "../../compute/index.ts";
import type { Ipv4Subnet } from "../../model/ipv4-address.ts";
import { EndpointManager, NetworkManager } from "../../nm/index.ts";
import type { FabricStore } from "../../store/index.ts";
import { type BootTrace, createBootTrace } from "../../trace/index.ts";

/** What {@link startManager} needs. */
export interface ControlPlaneOptions {
  readonly store: FabricStore;
  /** Part of every derived identifier and of the nodes' names. */
  readonly fabricId: string;
  readonly trace: BootTrace;
  readonly log: Logger;
  /** How long, after a start, nodes that are not there may take to come back. */
  readonly nodeGraceMs: number;
  /** What public addresses are taken from; absent: nothing is public. */
  readonly vips?: Ipv4Subnet;
}

/** Running managers. Disposing it ends them; goals stay as they are. */
export interface ControlPlane extends AsyncDisposable {
  readonly manager: ComputeManager;
  readonly network: NetworkManager;
  /** Resolves when the managers have ended; rejects when the store fails. */
  readonly ended: Promise<void>;
}

/** Starts the managers over a store. */
export function startManager(options: ControlPlaneOptions): ControlPlane {
  const { store, fabricId, trace, log, nodeGraceMs, vips } = options;
  const network = new NetworkManager({ store, ...(vips !== undefined && { vips }) });
  const manager = new ComputeManager({
    ...{ store, trace, fabricId, network },
    clock: CLOCK,
    nodeGraceMs,
    onError: (what, err) => log.error({ err, what }, "compute manager failed"),
  });
  const stop = new AbortController();
  const endpoints = new EndpointManager({
    store,
    onError: (what, err) => log.error({ err, what }, "network manager failed"),
  });
  const ended = Promise.all([manager.run(stop.signal), endpoints.run(stop.signal)]).then(() => {});
  ended.catch((err: unknown) => log.error({ err }, "managers ended"));
  return {
    manager,
    network,
    ended,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended.catch(() => undefined); // it was logged
    },
  };
}

const CLOCK: ManagerClock = {
  now: Date.now,
  startTimer: (milliseconds, callback) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
};

/** The boot trace of this process over the fabric's store. */
export function openTrace(store: FabricStore, log: Logger): BootTrace {
  return createBootTrace({
    store,
    now: Date.now,
    onError: (err, container) => log.error({ err, container }, "milestone not recorded"),
  });
}
