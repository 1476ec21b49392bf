/** What the parts of the compute manager share. */
import type { NetworkManager } from "../../nm/index.ts";
import type { FabricStore } from "../../store/index.ts";
import type { BootTrace } from "../../trace/index.ts";

/** Time, as the compute manager needs it. */
export interface ManagerClock {
  /** Epoch milliseconds. */
  now(): number;
  /** Calls back once after some milliseconds; the returned function takes that back. */
  startTimer(milliseconds: number, callback: () => void): () => void;
}

export interface ComputeManagerOptions {
  readonly store: FabricStore;
  readonly network: NetworkManager;
  readonly trace: Pick<BootTrace, "startBoot" | "reach" | "forget">;
  /** Part of every derived identifier, so that two fabrics do not share any. */
  readonly fabricId: string;
  readonly clock: ManagerClock;
  /** How long, after a start, nodes that are not there may take to come back: not less than the TTL of their leases. */
  readonly nodeGraceMs: number;
  /** Called with what failed; it is tried again. */
  readonly onError: (what: string, error: unknown) => void;
}

/** After an error, work is tried again so much later. */
export const RETRY_MS = 2_000;
