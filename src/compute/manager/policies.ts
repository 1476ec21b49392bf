/** How a tenant's failures and updates are treated. The one place that knows where a policy is written. */
import type { TenantDescription } from "../../model/tenant.ts";

/** What is done when a container fails. */
export interface RecoveryPolicy {
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
export interface UpdatePolicy {
  /** Update domains: instance n of a role is in domain n modulo this. */
  readonly domains: number;
  /** How long the containers of a domain may take until they are Ready. */
  readonly readyMs: number;
}

/** The recovery policy of a role. */
export function recoveryOf(_tenant: TenantDescription, _role: string): RecoveryPolicy {
  return { retries: 3, moves: 2, backOffMs: 1_000, backOffMaxMs: 60_000, stableMs: 300_000 };
}

/** The update policy of a tenant. */
export function updateOf(_tenant: TenantDescription): UpdatePolicy {
  return { domains: 5, readyMs: 600_000 };
}
