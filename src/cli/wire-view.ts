/** What the wire server shows of a container: its goal, in wire words. */
import type { ContainerGoal } from "../model/documents.ts";
import { type Ipv4Subnet, parseIpv4 } from "../model/ipv4-address.ts";
import { parseMac } from "../model/mac-address.ts";
import { deriveGuid } from "../model/names.ts";
import type {
  WireCertificate,
  WireContainer,
  WireInstance,
  WireProvisioning,
} from "../wireserver/index.ts";

/**
 * Renders a goal.
 *
 * @param siblings - all instances of the tenant, this one among them
 */
export function wireContainerOf(
  goal: ContainerGoal,
  siblings: readonly Pick<ContainerGoal, "instance" | "address" | "endpoints">[],
  subnet?: Ipv4Subnet,
): WireContainer {
  return {
    name: goal.container,
    containerId: goal.containerId,
    instanceId: `${goal.deploymentId}.${goal.instance}`,
    roleName: goal.role,
    roleInstance: goal.instance,
    deployment: { name: goal.tenant, guid: goal.deploymentId },
    roleGuid: deriveGuid(goal.deploymentId, "role", goal.role),
    incarnation: goal.incarnation,
    expectedState: goal.expectedState,
    address: parseIpv4(goal.address),
    mac: parseMac(goal.mac),
    ...(subnet !== undefined && { subnet }),
    instances: siblings.map(wireInstanceOf),
    settings: goal.settings,
    ...guestOf(goal),
  };
}

/** An instance as its neighbours see it. */
export function wireInstanceOf({
  instance,
  address,
  endpoints,
}: Pick<ContainerGoal, "instance" | "address" | "endpoints">): WireInstance {
  return { id: instance, address: parseIpv4(address), endpoints };
}

/** What a guest is provisioned with; undefined if it is given nothing. */
export function wireProvisioningOf({
  hostname,
  provisioning,
}: Pick<ContainerGoal, "hostname" | "provisioning">): WireProvisioning | undefined {
  return provisioning && { hostName: hostname, ...provisioning };
}

/** Those that were given with their keys. */
function wireCertificatesOf({ certificates = [] }: ContainerGoal): WireCertificate[] {
  return certificates.flatMap(({ certificate, privateKey, thumbprint }) =>
    certificate === undefined || privateKey === undefined
      ? []
      : [{ certificate, privateKey, thumbprint }],
  );
}

function guestOf(goal: ContainerGoal) {
  const { extensions, extensionsChangedMs, users, agent } = goal;
  const provisioning = wireProvisioningOf(goal);
  const certificates = wireCertificatesOf(goal);
  return {
    ...(provisioning !== undefined && { provisioning }),
    ...(extensions !== undefined && { extensions }),
    ...(extensionsChangedMs !== undefined && { extensionsChangedMs }),
    ...(users !== undefined && { users }),
    ...(certificates.length > 0 && { certificates }),
    ...(agent?.fastTrack === true && { fastTrack: true }),
    ...(agent?.statusBlob === "page" && { statusBlobType: "PageBlob" as const }),
  };
}
