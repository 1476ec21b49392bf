/** The wire documents as plain data, made from a container. Which text they become is in `render-documents.ts`. */

import { formatIpv4 } from "../model/ipv4-address.ts";
import type { WireContainer, WireEndpoint } from "./wire-container.ts";
import {
  certificatesUrl,
  configName,
  configUrl,
  remoteAccessUrl,
  type WireAuthority,
} from "./wire-urls.ts";

/** The protocol version that the goal state is written in. */
export const GOAL_STATE_VERSION = "2012-11-30";

/** In order of preference. cloudbase-init needs two, afterburn looks for the older one, the real service prefers the newer. */
export const WIRE_VERSIONS = ["2015-04-05", "2012-11-30"] as const;

/** The answer to `comp=goalstate`. */
export interface GoalStateDocument {
  readonly incarnation: number;
  readonly expectedState: "Started" | "Stopped";
  readonly containerId: string;
  readonly instanceId: string;
  /** Absent: no accounts for a while; WALinuxAgent then removes those that it made. */
  readonly remoteAccessInfo?: string;
  readonly configuration: {
    readonly hostingEnvironmentConfig: string;
    readonly sharedConfig: string;
    /** Also without extensions: WALinuxAgent learns from it where its status goes. */
    readonly extensionsConfig: string;
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
  /** SHA-1 of the VM's certificates as hexadecimal digits. */
  readonly thumbprints: readonly string[];
}

/** The deployment as all its instances see it. */
export interface SharedConfigDocument extends RoleIdentity {
  readonly instances: readonly {
    readonly id: string;
    readonly address: string;
    readonly endpoints: readonly WireEndpoint[];
  }[];
}

/**
 * Makes the goal state; every URL in it names the container, the instance and the incarnation.
 *
 * @param hasCertificates - the host keeps certificates of VMs
 */
export function goalStateOf(
  container: WireContainer,
  authority: WireAuthority,
  hasCertificates: boolean,
): GoalStateDocument {
  const hasUsers = container.users !== undefined && container.users.length > 0;
  return {
    incarnation: container.incarnation,
    expectedState: container.expectedState,
    containerId: container.containerId,
    instanceId: container.instanceId,
    ...(hasUsers && { remoteAccessInfo: remoteAccessUrl(container, authority) }),
    configuration: {
      hostingEnvironmentConfig: configUrl(container, authority, "hostingEnvironmentConfig"),
      sharedConfig: configUrl(container, authority, "sharedConfig"),
      extensionsConfig: configUrl(container, authority, "extensionsConfig"),
      fullConfig: configUrl(container, authority, "fullConfig"),
      ...(hasCertificates && { certificates: certificatesUrl(container, authority) }),
      configName: configName(container),
    },
  };
}

/**
 * Makes the role's own configuration, settings in order of their names.
 *
 * @param thumbprints - of the certificates that the VM is to be told of
 */
export function hostingEnvironmentOf(
  container: WireContainer,
  thumbprints: readonly string[] = [],
): HostingEnvironmentDocument {
  const settings = Object.entries(container.settings)
    .map(([name, value]) => ({ name, value }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return { ...identityOf(container), settings, thumbprints };
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
