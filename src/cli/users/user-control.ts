/** Accounts for a while in the guests of a role: as if the tenant file named them. */
import { z } from "zod";
import type { ComputeManager } from "../../compute/index.ts";
import { FabricError } from "../../model/errors.ts";
import { type RemoteUserDescription, RemoteUserSchema } from "../../model/guest-config.ts";
import { parseTenant, type TenantDescription } from "../../model/tenant.ts";

/** Whose guests are meant. */
export interface RoleName {
  readonly tenant: string;
  readonly role: string;
}

export const UserViewSchema = z.object({ name: z.string(), expires: z.string() });
export const UserViewsSchema = z.array(UserViewSchema);
export const UserChangeSchema = z.object({ kind: z.enum(["created", "updated", "unchanged"]) });
export const NewUserSchema = RemoteUserSchema;

/** An account, without its password. */
export type UserView = z.infer<typeof UserViewSchema>;
/** True if anything changes. */
export type UserChange = z.infer<typeof UserChangeSchema>;

/** What commands ask about accounts. Promises resolve when what was asked for is durable. */
export interface UserControl {
  list(role: RoleName): readonly UserView[];
  /** Replaces one of the same name; those that have expired go. */
  add(role: RoleName, user: RemoteUserDescription): Promise<UserChange>;
  remove(role: RoleName, name: string): Promise<UserChange>;
}

/** @param now - epoch milliseconds */
export function createUserControl(manager: ComputeManager, now: () => number): UserControl {
  const change = async (
    { tenant, role }: RoleName,
    change: (users: readonly RemoteUserDescription[]) => RemoteUserDescription[],
  ): Promise<UserChange> => {
    const kind = await manager.amend(tenant, (description) => {
      const index = findRole(description, role);
      const roles = description.roles.map((one, at) =>
        at === index ? { ...one, users: change(one.users) } : one,
      );
      return parseTenant({ ...description, roles }, `tenant ${tenant}`);
    });
    return { kind };
  };
  return {
    list: ({ tenant, role }) => {
      const record = manager.listTenants().find((one) => one.tenant === tenant);
      if (record === undefined) {
        const message = `There is no tenant ${tenant}; goalstate tenants lists what is deployed`;
        throw new FabricError("ERR_USAGE_TENANT_UNKNOWN", message);
      }
      const { users } = record.description.roles[findRole(record.description, role)]!;
      return users.map(({ name, expires }) => ({ name, expires }));
    },
    add: (role, user) =>
      change(role, (users) => {
        const left = users.filter(
          ({ name, expires }) => name !== user.name && Date.parse(expires) > now(),
        );
        return [...left, user];
      }),
    remove: (role, name) => change(role, (users) => users.filter((user) => user.name !== name)),
  };
}

function findRole({ tenant, roles }: TenantDescription, wanted: string): number {
  const index = roles.findIndex(({ name }) => name === wanted);
  if (index >= 0) return index;
  const names = roles.map(({ name }) => name).join(", ");
  const message = `Tenant ${tenant} has no role ${wanted}; it has ${names}`;
  throw new FabricError("ERR_USAGE_USER", message);
}
