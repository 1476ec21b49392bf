/** What all containers of a node share, as the worker of one sees it. */
import type { FabricStore } from "../../store/index.ts";
import type { BootTrace } from "../../trace/index.ts";
import type { Hypervisor } from "../hypervisor.ts";
import type { AgentClock } from "./clock.ts";
import type { NetworkView } from "./decide.ts";
import type { ComputePolicy } from "./policy.ts";
import type { Slots } from "./slots.ts";
import type { PrepareBootSource } from "./start-vm.ts";

/** Somebody with a deadline. */
export interface Waiting {
  /** It has come. */
  due(): void;
}

/** Somebody with a NIC. */
export interface NetworkUser {
  /** Something became known of its network; undefined: it is gone. */
  setNetwork(network: NetworkView | undefined): void;
}

export interface WorkerEdge {
  readonly store: FabricStore;
  readonly node: string;
  readonly hypervisor: Hypervisor;
  readonly prepareSource: PrepareBootSource | undefined;
  readonly trace: Pick<BootTrace, "reach" | "joinBoot" | "furthest" | "leave">;
  readonly namePrefix: string;
  readonly runDirectory: string;
  readonly clock: AgentClock;
  readonly policy: ComputePolicy;
  readonly slots: Slots;
  readonly onError: (what: string, error: unknown) => void;
  /** Replaces its deadline. Infinity: it has none. */
  readonly schedule: (waiting: Waiting, atMs: number) => void;
  /** What is known of the network of a NIC; its user is told what becomes known later. */
  readonly networkOf: (mac: string, user: NetworkUser) => NetworkView | undefined;
  /** What its guest is to see may be another now. */
  readonly onChange?: ((container: string) => void) | undefined;
  /** Nothing of the container is left here. */
  readonly forgotten: (container: string, user: NetworkUser) => void;
}
