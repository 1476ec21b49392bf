/** What the wire server shows of a container: its goal, in wire words. */
import type { ContainerGoal } from "../model/documents.ts";
import { type Ipv4Subnet, parseIpv4 } from "../model/ipv4-address.ts";
import { parseMac } from "../model/mac-address.ts";
import { deriveGuid } from "../model/names.ts";
import type { WireContainer } from "../wireserver/index.ts";

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
    instances: siblings.map(({ instance, address, endpoints }) => ({
      id: instance,
      address: parseIpv4(address),
      endpoints,
    })),
    settings: goal.settings,
    ...configurationOf(goal),
  };
}

/** What the tenant wants in the guest, beside the role's settings. */
function configurationOf(goal: ContainerGoal): Partial<WireContainer> {
  const { provisioning, extensions, extensionsChangedMs, users, agent } = goal;
  return {
    ...(provisioning !== undefined && {
      provisioning: { ...provisioning, hostName: goal.hostname },
    }),
    ...(extensions !== undefined && { extensions }),
    ...(extensionsChangedMs !== undefined && { extensionsChangedMs }),
    ...(users !== undefined && { users }),
    ...(agent !== undefined && {
      fastTrack: agent.fastTrack,
      statusBlobType: agent.statusBlob === "page" ? "PageBlob" : "BlockBlob",
    }),
  };
}
