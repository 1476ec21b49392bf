/** What the wire server knows of the containers that it serves, and whom it tells what they said. */

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
}

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

/** Why a caller got a 4xx. Plain 404s are not listed: guests probe for services that a host may lack. */
export type RefusalReason =
  | "unknown-caller"
  | "version-header-missing"
  | "stale-resource"
  | "malformed-request"
  | "body-too-large";

/** Who learns what the guests asked and said. */
export interface WireObserver {
  /** A request was served; `incarnation` is that of the document which was sent. */
  contact(
    container: WireContainer,
    request: { readonly kind: WireRequestKind; readonly incarnation?: number },
  ): void;
  /** The guest is answered 200 only after this resolved: persist before you promise. A rejection becomes a 503. */
  health(container: WireContainer, report: HealthReport): Promise<void>;
  /** As {@link WireObserver.health}, answered with 202. */
  roleProperties(container: WireContainer, properties: ReadonlyMap<string, string>): Promise<void>;
  /** Somebody was refused; `address` is the source address as text. */
  refused(address: string, reason: RefusalReason): void;
}
