/**
 * The documents of the fabric store. A goal says what should be and is written by a manager; a status says what is
 * and is written by an agent; every key has one writer. Addresses and MACs are text here, as people read documents.
 */
import type { EndpointDescription } from "./tenant.ts";

/** What a container is doing, as `ps` shows it. */
export type ContainerState =
  | "Allocated"
  | "Creating"
  | "Booting"
  | "AwaitingAgent"
  | "Ready"
  | "Busy"
  | "Unresponsive"
  | "Stopping"
  | "Stopped"
  | "Failed";

/** `/vnets/V`, written by the network manager. */
export interface VnetGoal {
  readonly vnet: string;
  readonly tenant: string;
  readonly addressSpace: string;
  readonly gateway: string;
}

/** `/nics/M/goal`, written by the network manager. */
export interface NicGoal {
  readonly mac: string;
  readonly vnet: string;
  readonly container: string;
  readonly address: string;
  readonly hostname: string;
}

/** `/nics/M/status`, written by the network agent. */
export type NicStatus =
  /** The VNET is on this node; the port is still blocked. */
  | { readonly kind: "blocked"; readonly namespace: string; readonly bridge: string }
  | {
      readonly kind: "programmed";
      readonly namespace: string;
      readonly bridge: string;
      readonly port: string;
      readonly filter: "anti-spoofing" | "none";
    }
  | { readonly kind: "failed"; readonly reason: string };

/** `/containers/C/goal`, written by the compute manager. */
export interface ContainerGoal {
  readonly container: string;
  readonly containerId: string;
  readonly tenant: string;
  readonly role: string;
  readonly instance: string;
  readonly kind: "paas" | "iaas";
  readonly node: string;
  readonly deploymentId: string;
  readonly incarnation: number;
  readonly expectedState: "Started" | "Stopped";
  readonly cpus: number;
  readonly memoryMib: number;
  /** Absolute path of the app folder. */
  readonly app?: string;
  readonly vnet: string;
  readonly mac: string;
  readonly address: string;
  readonly hostname: string;
  readonly endpoints: readonly EndpointDescription[];
  readonly settings: Readonly<Record<string, string>>;
}

/** `/containers/C/status`, written by the compute agent. */
export interface ContainerStatus {
  readonly state: ContainerState;
  /** Why it is in this state, for people. */
  readonly detail: string;
  /** Epoch milliseconds of the last change of `state`. */
  readonly sinceMs: number;
  /** The host end of the NIC, once it exists. */
  readonly port?: string;
  readonly health?: {
    readonly state: "Ready" | "NotReady";
    readonly subStatus?: string;
    readonly description?: string;
  };
  /** What the guest agent says of the role's program. */
  readonly role?: string;
}

/** Store keys, in one place. */
export const keys = {
  tenant: (tenant: string) => `/tenants/${tenant}`,
  vnet: (vnet: string) => `/vnets/${vnet}`,
  nicGoal: (mac: string) => `/nics/${mac}/goal`,
  nicStatus: (mac: string) => `/nics/${mac}/status`,
  containerGoal: (container: string) => `/containers/${container}/goal`,
  containerStatus: (container: string) => `/containers/${container}/status`,
} as const;

/** Reads a document back. Documents are written by this code alone, through the types above. */
export function asDocument<T>(value: unknown): T {
  return value as T;
}
