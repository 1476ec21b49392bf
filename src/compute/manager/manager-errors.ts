/** What a user can ask for wrongly, or too late, and what to do instead. */
import { FabricError } from "../../model/errors.ts";
import { formatSubnet } from "../../model/ipv4-address.ts";
import type { TenantDescription } from "../../model/tenant.ts";

/** ERR_USAGE_TENANT_UNKNOWN */
export function unknownTenant(tenant: string): FabricError {
  const message = `There is no tenant ${tenant}; goalstate tenants lists what is deployed`;
  return new FabricError("ERR_USAGE_TENANT_UNKNOWN", message);
}

/** ERR_USAGE_TENANT_DELETING */
export function tenantIsGoing(tenant: string): FabricError {
  const message = `Tenant ${tenant} is being deleted; try again when it is gone, or use another name`;
  return new FabricError("ERR_USAGE_TENANT_DELETING", message);
}

/** ERR_USAGE_CONTAINER_UNKNOWN */
export function unknownContainer(container: string): FabricError {
  const message = `There is no container ${container}; goalstate ps lists them`;
  return new FabricError("ERR_USAGE_CONTAINER_UNKNOWN", message);
}

/** ERR_USAGE_CONTAINER_STOPPED */
export function stoppedContainer(container: string): FabricError {
  const message = `${container} is stopped; goalstate start ${container} starts it`;
  return new FabricError("ERR_USAGE_CONTAINER_STOPPED", message);
}

/** ERR_COMPUTE_MANAGER_ENDED */
export function managerEnded(): FabricError {
  const message = "The fabric is stopping; what was accepted goes on when it starts again";
  return new FabricError("ERR_COMPUTE_MANAGER_ENDED", message);
}

/** @throws FabricError ERR_USAGE_TENANT_VNET if the update would renumber the tenant */
export function checkUpdate(before: TenantDescription, after: TenantDescription): void {
  const [old, wanted] = [before, after].map(
    ({ vnet }) => `${vnet.name} ${formatSubnet(vnet.addressSpace)}`,
  );
  if (old === wanted) return;
  const message = `Tenant ${before.tenant} has the VNET ${old}, which an update cannot change to ${wanted}; delete the tenant first`;
  throw new FabricError("ERR_USAGE_TENANT_VNET", message);
}
