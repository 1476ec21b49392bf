/** What a user deploys: a tenant of roles, as written in a tenant file. */
import { z } from "zod";
import { NameSchema } from "./names.ts";
import { PortSchema, SubnetSchema, validate } from "./schema.ts";

const EndpointSchema = z.strictObject({
  name: NameSchema,
  protocol: z.enum(["http", "tcp", "udp"]).default("tcp"),
  port: PortSchema,
});

const SizeSchema = z.strictObject({
  cpus: z.int().min(1).max(64).default(1),
  memoryMib: z.int().min(128).max(262_144).default(768),
});

const RoleSchema = z.strictObject({
  name: NameSchema,
  /** `paas` expects a guest agent; `iaas` assumes nothing about the guest. */
  kind: z.enum(["paas", "iaas"]).default("paas"),
  instances: z.int().min(1).max(1000).default(1),
  image: z.string().optional(),
  /** A folder with `app.json`, relative to the tenant file. */
  app: z.string().optional(),
  size: SizeSchema.prefault({}),
  endpoints: z.array(EndpointSchema).default([]),
  settings: z.record(z.string(), z.string()).default({}),
});

const TenantSchema = z
  .strictObject({
    tenant: NameSchema,
    vnet: z.strictObject({ name: NameSchema, addressSpace: SubnetSchema }),
    roles: z.array(RoleSchema).min(1, "has no role"),
  })
  .superRefine((tenant, context) => {
    const names = tenant.roles.map(({ name }) => name.toLowerCase());
    names.forEach((name, index) => {
      const first = names.indexOf(name);
      if (first === index) return;
      const message = `is the name of roles[${first}] too; role names are unique in a tenant`;
      context.addIssue({ code: "custom", path: ["roles", index, "name"], message });
    });
  });

export type TenantDescription = z.infer<typeof TenantSchema>;
export type RoleDescription = TenantDescription["roles"][number];
export type EndpointDescription = RoleDescription["endpoints"][number];

/**
 * Validates a parsed tenant file.
 *
 * @throws FabricError ERR_USAGE_TENANT naming every wrong place
 */
export function parseTenant(data: unknown, source: string): TenantDescription {
  return validate(TenantSchema, data, source, "ERR_USAGE_TENANT");
}
