/**
 * The documents of the fabric store. A goal says what should be and is written by a manager; a status says what is
 * and is written by an agent; every key has one writer. Addresses and MACs are text here, as people read documents.
 */
import type { AgentChannelDescription, RemoteUserDescription } from "./guest-config.ts";
import type { ImageDescription } from "./image.ts";
import type { Playbook } from "./playbook.ts";
import type { CertificateDescription, EndpointDescription, TenantDescription } from "./tenant.ts";

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

/** What a user submitted. */
export interface TenantSubmission {
  readonly description: TenantDescription;
  /** Absolute path of the folder that relative paths in the description are relative to. */
  readonly folder: string;
  /** What was read from files that the description names, by role; absent if it names none. */
  readonly material?: Readonly<Record<string, GuestMaterial>>;
}

/** What the files hold that a role's description names: nobody reads them again. */
export interface GuestMaterial {
  /** Base64. */
  readonly customData?: string;
  /** Base64. */
  readonly userData?: string;
  /** Packages of the role's extensions, by the extension's name in lower case. */
  readonly packages?: Readonly<Record<string, ArtifactReference>>;
  /** The role's certificates that have a file, by name. */
  readonly certificates?: Readonly<Record<string, CertificateMaterial>>;
}

/** A certificate with its key. */
export interface CertificateMaterial {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS#8. */
  readonly privateKey: string;
}

/** A certificate that guests of a role are told of; with its key, they get it too. */
export type CertificateGoal = Pick<CertificateDescription, "name" | "thumbprint" | "store"> &
  Partial<CertificateMaterial>;

/** `/tenants/T`, written by the compute manager. */
export interface TenantRecord extends TenantSubmission {
  readonly tenant: string;
  /**
   * `allocating`: its network is not confirmed, and nobody was told that it is accepted: after a crash it is rolled back.
   * `deleting`: its goals go, then its network, then this document.
   */
  readonly phase: "allocating" | "accepted" | "deleting";
  /** Grows with each submission that is accepted. */
  readonly revision: number;
  /** An update whose network is not confirmed: after a crash it is rolled back. */
  readonly pending?: TenantSubmission;
  /** An update that is under way, or was stopped; absent when all containers are as described. */
  readonly rollout?: Rollout;
}

/** How far an update has come through a tenant's update domains. */
export interface Rollout {
  /** Names of the roles that it changes. */
  readonly roles: readonly string[];
  /** The domain that is updated now; those before it are done. */
  readonly domain: number;
  /** Epoch milliseconds by when this domain's containers must be Ready. */
  readonly readyByMs: number;
  /** Why it goes no further; a new submission does. */
  readonly stopped?: string;
}

/** `/nodes/N`, written by the node's agent and gone when the node is: it is put with the node's lease. */
export interface NodeStatus {
  readonly node: string;
  /** On the network between the nodes; absent where there is one node only. */
  readonly address?: string;
  readonly faultDomain: string;
  /** What containers may take of it. */
  readonly cpus: number;
  readonly memoryMib: number;
  /** Which hypervisor runs its guests, for people. */
  readonly hypervisor: string;
  readonly version: string;
  readonly pid: number;
  /** Epoch milliseconds since when this agent runs. */
  readonly sinceMs: number;
}

/**
 * `/on/N/containers/C`, written by the compute manager in the transaction that changes the container's goal: an agent
 * follows these of its own node and then reads the goal, so that its cost does not grow with the fabric.
 */
export interface Placement {
  /** The goal's {@link ContainerGoal.revision}. */
  readonly revision: number;
}

/** `/on/N/network`, written by the network agent of node N: what people must know of its ports. */
export interface NodeNetworkStatus {
  /** Ports that exist and stay blocked. */
  readonly blockedPorts: readonly {
    readonly namespace: string;
    readonly port: string;
    readonly reason: string;
  }[];
  /** Firewalls of others whose rules may hold up our traffic. */
  readonly foreignFirewalls: readonly {
    /** `ufw`, `firewalld`, `Docker`, or the table's name. */
    readonly name: string;
    readonly evidence: string;
    readonly effect: string;
  }[];
}

/** `/vnets/V/goal`, written by the network manager. */
export interface VnetGoal {
  readonly vnet: string;
  readonly tenant: string;
  readonly addressSpace: string;
  readonly gateway: string;
  /** VXLAN network identifier, 24 bits, unique in the fabric. */
  readonly vni: number;
}

/** `/vnets/V/nics/M`, written by the network manager. */
export interface NicGoal {
  readonly mac: string;
  readonly vnet: string;
  readonly container: string;
  readonly role: string;
  readonly address: string;
  readonly hostname: string;
  /** Where its container is placed; empty while it is nowhere. */
  readonly node: string;
  /** Its container is Ready: names and public endpoints lead to it. */
  readonly inService: boolean;
}

/** `/macs/M`, written by the network manager: no MAC is given twice, and a MAC that is here is a tenant's. */
export interface MacClaim {
  readonly vnet: string;
  readonly container: string;
}

/** `/vips/A`, written by the network manager. */
export interface VipGoal {
  readonly vip: string;
  readonly tenant: string;
  readonly vnet: string;
  /** The node that answers for it; empty while none can. `/on/N/vips/A` tells that node. */
  readonly node: string;
  readonly endpoints: readonly {
    readonly name: string;
    readonly role: string;
    readonly protocol: "tcp" | "udp";
    readonly publicPort: number;
    readonly port: number;
    /** How its targets are probed; with a path, by HTTP. Absent: they are not. */
    readonly health?: {
      readonly path?: string | undefined;
      readonly intervalSeconds: number;
      readonly unhealthyAfter: number;
    };
  }[];
}

/** `/on/N/nics/M`, written by the network agent of node N. */
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
  /** Where it is placed; empty while it is nowhere. */
  readonly node: string;
  /** Grows with each write of this goal. */
  readonly revision: number;
  /** Grows with each start that is wanted: the first, a retry, a move, a restart. A VM belongs to one attempt. */
  readonly attempt: number;
  /** Number of the boot in the trace that this attempt's milestones belong to. */
  readonly boot: number;
  readonly deploymentId: string;
  readonly incarnation: number;
  readonly expectedState: "Started" | "Stopped";
  readonly cpus: number;
  readonly memoryMib: number;
  /** What it boots from, with absolute paths; goalstate's own guest if absent. */
  readonly image?: ImageDescription;
  /** Absolute path of the app folder. */
  readonly app?: string;
  readonly vnet: string;
  readonly mac: string;
  readonly address: string;
  readonly hostname: string;
  readonly endpoints: readonly EndpointDescription[];
  readonly settings: Readonly<Record<string, string>>;
  readonly certificates?: readonly CertificateGoal[];
  /** What its guest is provisioned with; absent: no disc. */
  readonly provisioning?: ProvisioningGoal;
  readonly extensions?: readonly ExtensionGoal[];
  /** Epoch milliseconds of the last change of {@link ContainerGoal.extensions}: the later of two documents counts. */
  readonly extensionsChangedMs?: number;
  readonly users?: readonly RemoteUserDescription[];
  readonly usersCheckedMs?: number; // epoch milliseconds: users that had expired by then are known to have
  readonly agent?: AgentChannelDescription;
  /** What the tenant wants of its node's agent; absent: the agent's own. */
  readonly deadlines?: ContainerDeadlines;
  readonly recovery: Recovery;
}

/** The first user of a guest, its keys and data. All data is here: no file of the user's is read any more. */
export interface ProvisioningGoal {
  readonly adminUsername: string;
  readonly adminPassword?: string;
  readonly sshKeys: readonly string[];
  /** Base64. */
  readonly customData?: string;
  /** Base64. */
  readonly userData?: string;
  readonly guestAgent: boolean;
}

/** A VM extension that a container should have. */
export interface ExtensionGoal {
  readonly name: string;
  readonly version: string;
  readonly state: "enabled" | "disabled" | "uninstall";
  /** Grows with each change of settings, state, version or package. */
  readonly seqNo: number;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Not encrypted here: the wire server encrypts them to the VM's certificate. */
  readonly protectedSettings?: Readonly<Record<string, unknown>>;
  readonly dependsOn: readonly string[];
  /** Its zip in the fabric's artifacts, by content. */
  readonly package: ArtifactReference;
}

/** A file that the fabric keeps by its content. */
export interface ArtifactReference {
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly bytes: number;
}

/**
 * `/containers/C/identity`, written once by the compute agent of the node that first needs it, and deleted by the compute
 * manager with the container: the VM's certificate and its key, which stay the same over restarts and moves.
 */
export interface ContainerIdentity {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS#8. */
  readonly privateKey: string;
  /** SHA-1 of the certificate, 40 upper-case hexadecimal digits. */
  readonly thumbprint: string;
}

/** What an agent in a guest says of one extension. */
export interface ExtensionStatus {
  readonly name: string;
  readonly version: string;
  /** `Ready`, `NotReady`, `Installing`, `Unresponsive`, or what the agent says else. */
  readonly handler: string;
  /** `success`, `error`, `warning`, `transitioning`; absent until the extension wrote it. */
  readonly status?: string;
  readonly code?: number;
  readonly message?: string;
  /** Of the settings that it speaks of. */
  readonly seqNo?: number;
}

/** How long a node's agent waits for a container. */
export interface ContainerDeadlines {
  /** `paas`: from its start to its agent's report Ready. */
  readonly readySeconds: number;
  /** `paas`: for the next word of its agent, once it was Ready. */
  readonly silenceSeconds: number;
  /** For its agent to power off after its goal state says Stopped. */
  readonly agentStopSeconds: number;
  /** For the guest after the power button, before it is powered off. */
  readonly acpiStopSeconds: number;
}

/** What the compute manager did about failures of a container, and what it will do next. */
export interface Recovery {
  /** Starts again on this node since it was last stable. */
  readonly retries: number;
  /** Moves to another node since it was last stable. */
  readonly moves: number;
  /** Nodes where it failed since it was last stable. */
  readonly failedNodes: readonly string[];
  /** The last failure, for people. */
  readonly reason?: string;
  /** Epoch milliseconds: not started again before. */
  readonly retryAtMs?: number;
  /** Why it is not tried any more. */
  readonly gaveUp?: string;
  /** Why no node takes it now; it is placed when one does. */
  readonly unplaced?: string;
}

/** `/containers/C/status`, written by the compute agent of the node where the container is placed. */
export interface ContainerStatus {
  readonly state: ContainerState;
  /** Who says so, and of which {@link ContainerGoal.attempt}: a status of another node or attempt says nothing of the goal. */
  readonly node: string;
  readonly attempt: number;
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
  /** What the agent said of itself in its last status upload that differed from the one before. */
  readonly agent?: { readonly version: string; readonly status: string; readonly message?: string };
  readonly extensions?: readonly ExtensionStatus[];
  /** The newest incarnation that the guest fetched. */
  readonly fetchedIncarnation?: number;
}

/** `/faults/C`, written by the control process: a container whose answers are made wrong on purpose. */
export interface FaultRecord {
  readonly playbook: Playbook;
  /** Epoch milliseconds. The same playbook, set again, begins again. */
  readonly setMs: number;
}

/** Store keys, in one place. */
export const keys = {
  tenant: (tenant: string) => `/tenants/${tenant}`,
  node: (node: string) => `/nodes/${node}`,
  /** Everything that agents of a node follow. */
  onNode: (node: string) => `/on/${node}/`,
  placements: (node: string) => `/on/${node}/containers/`,
  placement: (node: string, container: string) => `/on/${node}/containers/${container}`,
  nicStatuses: (node: string) => `/on/${node}/nics/`,
  nicStatus: (node: string, mac: string) => `/on/${node}/nics/${mac}`,
  nodeNetwork: (node: string) => `/on/${node}/network`,
  vipsOnNode: (node: string) => `/on/${node}/vips/`,
  vipOnNode: (node: string, vip: string) => `/on/${node}/vips/${vip}`,
  vnet: (vnet: string) => `/vnets/${vnet}/goal`,
  nics: (vnet: string) => `/vnets/${vnet}/nics/`,
  nic: (vnet: string, mac: string) => `/vnets/${vnet}/nics/${mac}`,
  vipsOfVnet: (vnet: string) => `/vnets/${vnet}/vips/`,
  vipOfVnet: (vnet: string, vip: string) => `/vnets/${vnet}/vips/${vip}`,
  mac: (mac: string) => `/macs/${mac}`,
  vip: (vip: string) => `/vips/${vip}`,
  host: (mac: string) => `/hosts/${mac}`,
  containerGoal: (container: string) => `/containers/${container}/goal`,
  containerStatus: (container: string) => `/containers/${container}/status`,
  containerIdentity: (container: string) => `/containers/${container}/identity`,
  /** Followed by every node: faults on demand are few. */
  faults: "/faults/",
  fault: (container: string) => `/faults/${container}`,
  /** Written once, by the process that is first to need it. */
  authority: "/authority",
  events: "/events/",
  eventsOf: (tenant: string) => `/events/${tenant}`,
  approvals: "/approvals/",
  approvalsOf: (tenant: string) => `/approvals/${tenant}/`,
  approval: (tenant: string, event: string) => `/approvals/${tenant}/${event}`,
} as const;

/** Reads a document back. Documents are written by this code alone, through the types above. */
export function asDocument<T>(value: unknown): T {
  return value as T;
}
