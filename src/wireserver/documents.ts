/** The wire documents as plain data, made from a container. Which text they become is in `render-documents.ts`. */

import type { Ipv4Address } from "../model/ipv4-address.ts";
import { formatIpv4 } from "../model/ipv4-address.ts";
import type { WireContainer, WireEndpoint } from "./wire-container.ts";

/** The protocol version that the goal state is written in. */
export const GOAL_STATE_VERSION = "2012-11-30";

/** In order of preference. cloudbase-init needs two, afterburn looks for the older one, the real service prefers the newer. */
export const WIRE_VERSIONS = ["2015-04-05", "2012-11-30"] as const;

/** Where guests reach this wire server. */
export interface WireAuthority {
  readonly address: Ipv4Address;
  readonly port: number;
}

/** The `type` values of `comp=config` that are served, exactly as in the goal state's URLs. */
export const CONFIG_TYPES = ["hostingEnvironmentConfig", "sharedConfig", "fullConfig"] as const;

/** One of {@link CONFIG_TYPES}. */
export type ConfigType = (typeof CONFIG_TYPES)[number];

/** The answer to `comp=goalstate`. */
export interface GoalStateDocument {
  readonly incarnation: number;
  readonly expectedState: "Started" | "Stopped";
  readonly containerId: string;
  readonly instanceId: string;
  readonly configuration: {
    readonly hostingEnvironmentConfig: string;
    readonly sharedConfig: string;
    /** Absent: the fabric serves no extensions, and WALinuxAgent then has nowhere to upload a status blob to. */
    readonly extensionsConfig?: string;
    readonly fullConfig: string;
    /** Absent: no certificates for this role; cloud-init and WALinuxAgent then ask for none. */
    readonly certificates?: string;
    readonly configName: string;
  };
}

/** What every configuration document says of whom it is for. */
export interface RoleIdentity {
  readonly deployment: { readonly name: string; readonly guid: string };
  readonly incarnation: number;
  readonly roleInstance: string;
  readonly roleName: string;
  readonly roleGuid: string;
}

/** The role's own configuration. */
export interface HostingEnvironmentDocument extends RoleIdentity {
  readonly settings: readonly { readonly name: string; readonly value: string }[];
}

/** The deployment as all its instances see it. */
export interface SharedConfigDocument extends RoleIdentity {
  readonly instances: readonly {
    readonly id: string;
    readonly address: string;
    readonly endpoints: readonly WireEndpoint[];
  }[];
}

/** Makes the goal state; every URL in it names the container, the instance and the incarnation. */
export function goalStateOf(container: WireContainer, authority: WireAuthority): GoalStateDocument {
  return {
    incarnation: container.incarnation,
    expectedState: container.expectedState,
    containerId: container.containerId,
    instanceId: container.instanceId,
    configuration: {
      hostingEnvironmentConfig: configUrl(container, authority, "hostingEnvironmentConfig"),
      sharedConfig: configUrl(container, authority, "sharedConfig"),
      fullConfig: configUrl(container, authority, "fullConfig"),
      configName: configName(container),
    },
  };
}

/** Makes the role's own configuration, settings in order of their names. */
export function hostingEnvironmentOf(container: WireContainer): HostingEnvironmentDocument {
  const settings = Object.entries(container.settings)
    .map(([name, value]) => ({ name, value }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return { ...identityOf(container), settings };
}

/** Makes the document that tells an instance of its neighbours. */
export function sharedConfigOf(container: WireContainer): SharedConfigDocument {
  const instances = container.instances.map((instance) => ({
    id: instance.id,
    address: formatIpv4(instance.address),
    endpoints: instance.endpoints,
  }));
  return { ...identityOf(container), instances };
}

function identityOf(container: WireContainer): RoleIdentity {
  const { deployment, incarnation, roleInstance, roleName, roleGuid } = container;
  return { deployment, incarnation, roleInstance, roleName, roleGuid };
}

function configUrl(container: WireContainer, authority: WireAuthority, type: ConfigType): string {
  const path = [container.containerId, container.instanceId].map(encodeURIComponent).join("/");
  return (
    `http://${formatIpv4(authority.address)}:${authority.port}/machine/${path}` +
    `?comp=config&type=${type}&incarnation=${container.incarnation}`
  );
}

/** WALinuxAgent takes what is before the first point for the deployment's id. */
function configName(container: WireContainer): string {
  const { deployment, roleInstance, incarnation } = container;
  return `${deployment.guid}.${incarnation}.${deployment.guid}.${incarnation}.${roleInstance}.1.xml`;
}
