/** What the wire server knows of the containers that it serves, and whom it tells what they said. */

import type { ContainerIdentity, ExtensionGoal, ExtensionStatus } from "../model/documents.ts";
import type { RemoteUserDescription } from "../model/guest-config.ts";
import type { Ipv4Address, Ipv4Subnet } from "../model/ipv4-address.ts";
import type { MacAddress } from "../model/mac-address.ts";

/** A port that a role instance offers. */
export interface WireEndpoint {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
}

/** One role instance of the deployment, as its neighbours see it in the shared configuration. */
export interface WireInstance {
  /** The role instance's name, `web_0`. */
  readonly id: string;
  readonly address: Ipv4Address;
  readonly endpoints: readonly WireEndpoint[];
}

/** One container and its goal: all that its documents are rendered from. */
export interface WireContainer {
  /** The fabric's name of the container, `hello.web_0`. Never sent to the guest. */
  readonly name: string;
  /** GUID; part of every configuration URL. */
  readonly containerId: string;
  readonly instanceId: string;
  readonly roleName: string;
  /** The role instance's name, `web_0`; one of {@link WireContainer.instances} has it as its id. */
  readonly roleInstance: string;
  readonly deployment: { readonly name: string; readonly guid: string };
  readonly roleGuid: string;
  /** Only grows; a different number makes the guest fetch everything again. */
  readonly incarnation: number;
  readonly expectedState: "Started" | "Stopped";
  readonly address: Ipv4Address;
  readonly mac: MacAddress;
  /** The VNET's subnet, for the metadata service; absent means the /24 around the address. */
  readonly subnet?: Ipv4Subnet;
  readonly instances: readonly WireInstance[];
  readonly settings: Readonly<Record<string, string>>;
  /** Absent: the guest was given no disc; metadata then names a user of the place. */
  readonly provisioning?: WireProvisioning;
  readonly extensions?: readonly WireExtension[];
  /** Epoch milliseconds of the last change of the extensions. */
  readonly extensionsChangedMs?: number;
  readonly users?: readonly WireUser[];
  /** The role's own, beside that of the VM. */
  readonly certificates?: readonly WireCertificate[];
  /** Extensions travel by the host plugin's `/vmSettings`. */
  readonly fastTrack?: boolean;
  /** Block blob if absent. */
  readonly statusBlobType?: "BlockBlob" | "PageBlob";
}

/** The guest's first user and its data. */
export interface WireProvisioning {
  readonly hostName: string;
  readonly adminUsername: string;
  readonly adminPassword?: string;
  /** In OpenSSH's form. */
  readonly sshKeys: readonly string[];
  /** Base64. */
  readonly customData?: string;
  /** Base64. */
  readonly userData?: string;
  readonly guestAgent: boolean;
}

/** An extension that the guest's agent is to have. What is protected is encrypted to the VM's certificate when it is rendered. */
export type WireExtension = ExtensionGoal;

/** An account that the guest's agent makes for a while. */
export type WireUser = RemoteUserDescription;

/** A certificate that guests of a role get. */
export type WireCertificate = ContainerIdentity;

/** Finds the container that has a source address. The port filter makes that address unforgeable. */
export interface WireDirectory {
  findByAddress(address: Ipv4Address): WireContainer | undefined;
}

/** What was asked for; each is evidence of how far a boot came. */
export type WireRequestKind =
  | "versions"
  | "goalstate"
  | "hostingEnvironmentConfig"
  | "sharedConfig"
  | "fullConfig"
  | "health"
  | "roleProperties"
  | "provisioningHealth"
  | "telemetrydata"
  | "healthService"
  | "hostPluginVersions"
  | "hostPluginHealth"
  | "hostPluginStatus"
  | "hostPluginLog"
  | "certificates"
  | "extensionsConfig"
  | "remoteAccessInfo"
  | "artifact"
  | "statusBlob"
  | "extensionArtifact"
  | "vmSettings"
  | "metadata";

/** What a guest says of itself. */
export interface HealthReport {
  readonly state: "Ready" | "NotReady";
  /** `Provisioning` or `ProvisioningFailed`, where the guest sends one. */
  readonly subStatus?: string;
  readonly description?: string;
  /** As the guest sent it: it may be stale, and some clients always send 1. */
  readonly incarnation: number;
}

/** What a guest's agent uploads each few seconds: how it is, and how its extensions are. */
export interface AgentStatus {
  readonly version: string;
  /** `Ready` or `NotReady`, as the agent says. */
  readonly status: string;
  readonly message?: string;
  readonly extensions: readonly ExtensionStatus[];
}

/** Why a caller got a 4xx. Plain 404s are not listed: guests probe for services that a host may lack. */
export type RefusalReason =
  | "unknown-caller"
  | "version-header-missing"
  | "stale-resource"
  | "malformed-request"
  | "body-too-large"
  | "rate-limit"
  | "too-many-connections"
  | "too-slow";

/** Who learns what the guests asked and said. */
export interface WireObserver {
  /** A request was served; `incarnation` is that of the document which was sent. */
  contact(
    container: WireContainer,
    request: { readonly kind: WireRequestKind; readonly incarnation?: number },
  ): void;
  /** The guest is answered 200 only after this resolved: persist before you promise. A rejection becomes a 503. */
  health(container: WireContainer, report: HealthReport): Promise<void>;
  /**
   * As {@link WireObserver.health}. Called for each upload, by the host plugin or to the blob itself; it is for the
   * observer to see that nothing changed.
   */
  agentStatus?(container: WireContainer, status: AgentStatus): Promise<void>;
  /** As {@link WireObserver.health}, answered with 202. */
  roleProperties(container: WireContainer, properties: ReadonlyMap<string, string>): Promise<void>;
  /** Somebody was refused; `address` is the source address as text. */
  refused(address: string, reason: RefusalReason): void;
}
