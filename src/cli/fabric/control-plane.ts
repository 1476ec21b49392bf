/** The control plane: the managers that write goals. */
import type { Logger } from "pino";
import { ComputeManager, type ManagerClock } from "../../compute/index.ts";
import { NetworkManager } from "../../nm/index.ts";
import type { FabricStore } from "../../store/index.ts";
import { type BootTrace, createBootTrace } from "../../trace/index.ts";

/** How long a node that is silent, or was there before the control process, is waited for. */
export const NODE_LEASE_MS = 10_000;

/** What {@link startManager} needs. */
export interface ControlPlaneOptions {
  readonly store: FabricStore;
  /** Part of every derived identifier and of the nodes' names. */
  readonly fabricId: string;
  readonly trace: BootTrace;
  readonly log: Logger;
}

/** Running managers. Disposing it ends them; goals stay as they are. */
export interface ControlPlane extends AsyncDisposable {
  readonly manager: ComputeManager;
  /** Resolves when the managers have ended; rejects when the store fails. */
  readonly ended: Promise<void>;
}

/** Starts the managers over a store. */
export function startManager({ store, fabricId, trace, log }: ControlPlaneOptions): ControlPlane {
  const manager = new ComputeManager({
    ...{ store, trace, fabricId },
    network: new NetworkManager({ store }),
    clock: CLOCK,
    nodeGraceMs: NODE_LEASE_MS,
    onError: (what, err) => log.error({ err, what }, "compute manager failed"),
  });
  const stop = new AbortController();
  const ended = manager.run(stop.signal);
  ended.catch((err: unknown) => log.error({ err }, "compute manager ended"));
  return {
    manager,
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
