/** How a tenant's failures and updates are treated, in milliseconds. The one place that knows where a policy is written. */
import type { RoleDescription, TenantDescription } from "../../model/tenant.ts";

/** What is done when a container fails. */
export interface RecoveryLimits {
  /** Starts again on the same node, before it is moved. */
  readonly retries: number;
  /** Moves to another node, before it is given up. */
  readonly moves: number;
  /** Wait before the first start again; it doubles with each further one. */
  readonly backOffMs: number;
  readonly backOffMaxMs: number;
  /** Ready for so long, a container's failures are forgotten. */
  readonly stableMs: number;
}

/** How an update goes through a tenant. */
export interface UpdateLimits {
  /** Update domains: instance n of a role is in domain n modulo this. */
  readonly domains: number;
  /** How long the containers of a domain may take until they are Ready. */
  readonly readyMs: number;
}

const SECOND_MS = 1000;

export function recoveryOf({ recovery }: RoleDescription): RecoveryLimits {
  return {
    retries: recovery.retries,
    moves: recovery.moves,
    backOffMs: recovery.backoffSeconds * SECOND_MS,
    backOffMaxMs: recovery.backoffMaxSeconds * SECOND_MS,
    stableMs: recovery.stableSeconds * SECOND_MS,
  };
}

export function updateOf({ update }: TenantDescription): UpdateLimits {
  return { domains: update.domains, readyMs: update.readySeconds * SECOND_MS };
}

/** How many fault domains a role is spread over, if there are so many. */
export function faultDomainsOf({ faultDomains }: TenantDescription): number {
  return faultDomains ?? Number.POSITIVE_INFINITY;
}
