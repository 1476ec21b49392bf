/** What a tenant's parts must be to each other: names that are used once, ports, and room in the VNET. */
import { dependencyProblems } from "./extension-rules.ts";
import { formatSubnet, type Ipv4Subnet } from "./ipv4-address.ts";
import { hostName, instanceName, NAME_LENGTH_MAX } from "./names.ts";
import { addressSpaceFault, nicCapacity, prefixLengthFor } from "./vnet-addresses.ts";

/** What is wrong, and where in the tenant. */
export interface TenantProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** The parts of a tenant that the rules look at. */
export interface RuledTenant {
  readonly vnet: { readonly addressSpace: Ipv4Subnet };
  readonly recovery: RuledRecovery;
  readonly roles: readonly {
    readonly name: string;
    readonly instances: number;
    readonly recovery: RuledRecovery;
    readonly endpoints: readonly {
      readonly name: string;
      readonly protocol: string;
      readonly public?: number | undefined;
    }[];
    readonly certificates: readonly { readonly name: string }[];
    readonly extensions: readonly {
      readonly name: string;
      readonly dependsOn: readonly string[];
    }[];
    readonly users: readonly { readonly name: string }[];
    readonly provisioning?: { readonly adminUsername: string } | undefined;
  }[];
}

interface RuledRecovery {
  readonly backoffSeconds: number;
  readonly backoffMaxSeconds: number;
}

/** Every place where a tenant breaks a rule, in the order of the rules. */
export function findTenantProblems(tenant: RuledTenant): TenantProblem[] {
  return [
    ...nameProblems(tenant),
    ...publicPortProblems(tenant),
    ...dependencyProblemsOf(tenant),
    ...addressSpaceProblems(tenant),
    ...recoveryProblems(tenant),
  ];
}

function nameProblems({ roles }: RuledTenant): TenantProblem[] {
  const inRoles = roles.flatMap((role, index) => [
    ...repeated(
      role.endpoints,
      ["roles", index, "endpoints"],
      "an endpoint's name is used once in a role",
    ),
    ...repeated(
      role.certificates,
      ["roles", index, "certificates"],
      "a certificate is named once in a role",
    ),
    ...repeated(
      role.extensions,
      ["roles", index, "extensions"],
      "an extension is named once in a role",
    ),
    ...repeated(role.users, ["roles", index, "users"], "a user is named once in a role"),
    ...adminProblems(role, index),
    ...hostNameProblems(role, index),
  ]);
  return [...repeated(roles, ["roles"], "a role's name is used once in a tenant"), ...inRoles];
}

/** Names differ in more than case: they become host names. */
function repeated(
  items: readonly { readonly name: string }[],
  path: readonly (string | number)[],
  rule: string,
): TenantProblem[] {
  const names = items.map(({ name }) => name.toLowerCase());
  return names.flatMap((name, index) => {
    const first = names.indexOf(name);
    if (first === index) return [];
    const place = `${formatPlace(path)}[${first}]`;
    return [{ path: [...path, index, "name"], message: `is the name of ${place} too; ${rule}` }];
  });
}

function hostNameProblems(
  { name, instances }: RuledTenant["roles"][number],
  index: number,
): TenantProblem[] {
  const longest = hostName(instanceName(name, instances - 1));
  const excess = longest.length - NAME_LENGTH_MAX;
  if (excess <= 0) return [];
  const message = `makes host names such as ${longest}, longer than ${NAME_LENGTH_MAX} characters; shorten it by ${excess}`;
  return [{ path: ["roles", index, "name"], message }];
}

/** The agent would remove the account when it expires. */
function adminProblems(
  { users, provisioning }: RuledTenant["roles"][number],
  role: number,
): TenantProblem[] {
  const index = users.findIndex(({ name }) => name === provisioning?.adminUsername);
  if (index < 0) return [];
  const message = "is the adminUsername of this role; a user for a while needs a name of its own";
  return [{ path: ["roles", role, "users", index, "name"], message }];
}

function dependencyProblemsOf({ roles }: RuledTenant): TenantProblem[] {
  return roles.flatMap(({ extensions }, index) =>
    dependencyProblems(extensions).map(({ path, message }) => {
      return { path: ["roles", index, "extensions", ...path], message };
    }),
  );
}

/** `http` and `tcp` share their ports. */
function publicPortProblems({ roles }: RuledTenant): TenantProblem[] {
  const owners = new Map<string, string>();
  const problems: TenantProblem[] = [];
  roles.forEach((role, roleIndex) => {
    role.endpoints.forEach((endpoint, index) => {
      if (endpoint.public === undefined) return;
      const port = `${endpoint.protocol === "udp" ? "udp" : "tcp"} ${endpoint.public}`;
      const owner = owners.get(port);
      if (owner === undefined) {
        owners.set(port, `endpoint ${endpoint.name} of role ${role.name}`);
        return;
      }
      problems.push({
        path: ["roles", roleIndex, "endpoints", index, "public"],
        message: `is the public port of ${owner} too (${port}); a tenant has one public address, so give it another`,
      });
    });
  });
  return problems;
}

function addressSpaceProblems({ vnet, roles }: RuledTenant): TenantProblem[] {
  const { addressSpace } = vnet;
  const path = ["vnet", "addressSpace"];
  const fault = addressSpaceFault(addressSpace);
  if (fault !== undefined) return [{ path, message: `${formatSubnet(addressSpace)} ${fault}` }];
  const wanted = roles.reduce((sum, { instances }) => sum + instances, 0);
  const room = nicCapacity(addressSpace.prefixLength);
  if (wanted <= room) return [];
  const message = `${formatSubnet(addressSpace)} has ${room} addresses for NICs, and the roles have ${wanted} instances; use /${prefixLengthFor(wanted)} or larger`;
  return [{ path, message }];
}

function recoveryProblems({ recovery, roles }: RuledTenant): TenantProblem[] {
  const policies = [
    { recovery, path: ["recovery"] },
    ...roles.map((role, index) => ({
      recovery: role.recovery,
      path: ["roles", index, "recovery"],
    })),
  ];
  const isWrong = (policy: RuledRecovery) => policy.backoffSeconds > policy.backoffMaxSeconds;
  const wrong = policies.filter((policy) => isWrong(policy.recovery));
  // A role that only has the tenant's is named once, with it.
  const own = isWrong(recovery) ? wrong.slice(0, 1) : wrong;
  return own.map(({ recovery: { backoffSeconds, backoffMaxSeconds }, path }) => ({
    path: [...path, "backoffMaxSeconds"],
    message: `is ${backoffMaxSeconds}, less than backoffSeconds, which is ${backoffSeconds}; raise it`,
  }));
}

function formatPlace(path: readonly (string | number)[]): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`))
    .join("")
    .replace(/^\./, "");
}
