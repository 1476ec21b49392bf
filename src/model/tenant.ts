/**
 * What a user deploys: a tenant of roles, as written in a tenant file. What the schema returns has every default in
 * it, and is valid input of the schema again.
 */
import { z } from "zod";
import { PATH_CHARACTERS_MAX } from "./bounds.ts";
import {
  AgentChannelSchema,
  EXTENSIONS_MAX,
  ExtensionSchema,
  ProvisioningSchema,
  REMOTE_USERS_MAX,
  RemoteUserSchema,
} from "./guest-config.ts";
import { ImageSchema } from "./image.ts";
import { formatSubnet, type Ipv4Subnet } from "./ipv4-address.ts";
import { NameSchema } from "./names.ts";
import { check, PortSchema, type Source, SubnetSchema, validate } from "./schema.ts";
import { findTenantProblems } from "./tenant-rules.ts";

const ROLES_MAX = 100;
/** Of a role. */
const INSTANCES_MAX = 1000;
const ENDPOINTS_MAX = 25;
const CERTIFICATES_MAX = 32;
const PASSWORD_CHARACTERS_MAX = 256;
const SETTINGS_MAX = 256;
const SETTING_NAME_CHARACTERS_MAX = 256;
const SETTING_VALUE_CHARACTERS_MAX = 16_384;
const HOUR_SECONDS = 3600;
const DAY_SECONDS = 86_400;

const HealthSchema = z.strictObject({
  /** What a GET asks for; `http` only. */
  path: z
    .string()
    .max(PATH_CHARACTERS_MAX)
    .regex(/^\/[\x21-\x7e]*$/, "is not the path of a URL; begin it with /, without spaces")
    .optional(),
  intervalSeconds: z.int().min(1).max(HOUR_SECONDS).default(5),
  /** So many failed probes in a row take an instance out. */
  unhealthyAfter: z.int().min(1).max(100).default(2),
});

const EndpointSchema = z
  .strictObject({
    name: NameSchema,
    protocol: z.enum(["http", "tcp", "udp"]).default("tcp"),
    /** Where an instance listens. */
    port: PortSchema,
    /** The port on the tenant's VIP; absent for an internal endpoint. */
    public: PortSchema.optional(),
    /** How an instance is probed. Absent for `udp`, which cannot be. */
    health: HealthSchema.optional(),
  })
  .superRefine(({ protocol, health }, context) => {
    const issue = (path: string[], message: string): void =>
      context.addIssue({ code: "custom", path, message });
    if (health === undefined) return;
    if (protocol === "udp")
      return issue(["health"], "is of a udp endpoint; only http and tcp can be probed");
    if (protocol === "tcp" && health.path !== undefined) {
      issue(["health", "path"], "is of a tcp endpoint; only http is asked for a path");
    }
  })
  .transform((endpoint): typeof endpoint => {
    if (endpoint.protocol === "udp") return endpoint;
    const health = endpoint.health ?? HealthSchema.parse({});
    const { path = "/", ...probe } = health;
    return { ...endpoint, health: endpoint.protocol === "http" ? { path, ...probe } : probe };
  });

const SizeSchema = z.strictObject({
  cpus: z.int().min(1).max(64).default(1),
  memoryMib: z.int().min(128).max(262_144).default(768),
});

/** Bounds of each part; the defaults are the tenant's, so that a role's own may name some parts only. */
const RecoveryPartsSchema = z.strictObject({
  /** Starts again on the same node, before it is moved. */
  retries: z.int().min(0).max(100),
  /** Moves to another node, before it is given up. */
  moves: z.int().min(0).max(100),
  /** Wait before the first start again; it doubles with each further one. */
  backoffSeconds: z.number().min(0).max(HOUR_SECONDS),
  backoffMaxSeconds: z.number().min(0).max(DAY_SECONDS),
  /** Ready for so long, its failures are forgotten. */
  stableSeconds: z.number().min(1).max(DAY_SECONDS),
  /** `paas`: how long its agent may take to report Ready after a start. */
  readySeconds: z.number().min(5).max(DAY_SECONDS),
  /** `paas`: how long its agent may be silent after it was Ready. */
  silenceSeconds: z.number().min(5).max(DAY_SECONDS),
});

/** How the fabric treats a container that fails. */
export type RecoveryPolicy = z.output<typeof RecoveryPartsSchema>;

const RECOVERY_DEFAULT: RecoveryPolicy = {
  retries: 3,
  moves: 2,
  backoffSeconds: 1,
  backoffMaxSeconds: 60,
  stableSeconds: 60,
  readySeconds: 300,
  silenceSeconds: 60,
};

const StopSchema = z.strictObject({
  /** How long the guest's agent may take to power off after its goal state says Stopped. */
  agentSeconds: z.number().min(0).max(HOUR_SECONDS).default(30),
  /** How long the guest may take after the power button, before it is powered off. */
  acpiSeconds: z.number().min(0).max(HOUR_SECONDS).default(20),
});

const UpdateSchema = z.strictObject({
  /** Instance i of a role is in update domain i modulo this. */
  domains: z.int().min(1).max(20).default(5),
  /** How long the containers of a domain may take until they are Ready. */
  readySeconds: z.number().min(5).max(DAY_SECONDS).default(600),
});

const CertificateSchema = z
  .strictObject({
    name: z
      .string()
      .min(1, "is empty")
      .max(128)
      .regex(/^[\w.-]+$/, "may hold letters, digits, '.', '_' and '-' only"),
    /** SHA-1 of the certificate, as 40 upper-case hexadecimal digits. */
    thumbprint: z
      .string()
      .max(200)
      .transform((text, context): string => {
        const digits = text.replaceAll(THUMBPRINT_NOISE, "").toUpperCase();
        if (/^[\dA-F]{40}$/.test(digits)) return digits;
        const message =
          "is no thumbprint; write the 40 hexadecimal digits of the certificate's SHA-1 sum";
        context.issues.push({ code: "custom", message, input: text });
        return z.NEVER;
      }),
    /** The certificate store that the guest puts it into. */
    store: z.string().min(1, "is empty").max(64).default("My"),
    /** Where it is with its key, PEM or PKCS#12, relative to the tenant file. Absent: guests learn its thumbprint only. */
    file: z.string().min(1, "is empty; name a file").max(PATH_CHARACTERS_MAX).optional(),
    /** Of the file. */
    password: z.string().min(1, "is empty; leave it out").max(PASSWORD_CHARACTERS_MAX).optional(),
  })
  .refine(({ file, password }) => password === undefined || file !== undefined, {
    path: ["password"],
    error: "is for a file, and there is none",
  });

/** Between digits; the Windows certificate dialog adds an invisible mark in front. */
const THUMBPRINT_NOISE = /[\s:\u200e\u200f]/g;

const SettingNameSchema = z
  .string()
  .min(1, "is empty; give the setting a name")
  .max(SETTING_NAME_CHARACTERS_MAX)
  .regex(/^[^\p{Cc}=]+$/u, "may hold no control character and no '='");

const SettingValueSchema = z
  .string()
  .max(SETTING_VALUE_CHARACTERS_MAX)
  .refine((value) => !/\p{Cc}/u.test(value.replaceAll(/[\t\n\r]/g, "")), {
    error: "has a control character that no XML document can carry",
  });

const RoleSchema = z.strictObject({
  name: NameSchema,
  /** `paas` expects a guest agent; `iaas` assumes nothing about the guest. */
  kind: z.enum(["paas", "iaas"]).default("paas"),
  instances: z.int().min(1).max(INSTANCES_MAX).default(1),
  /** What it boots from; goalstate's own guest if absent. */
  image: ImageSchema.optional(),
  /** A folder with `app.json`, relative to the tenant file. */
  app: z.string().min(1, "is empty; name a folder").max(PATH_CHARACTERS_MAX).optional(),
  size: SizeSchema.prefault({}),
  endpoints: z.array(EndpointSchema).max(ENDPOINTS_MAX).default([]),
  settings: z
    .record(SettingNameSchema, SettingValueSchema)
    .default({})
    .refine(
      (settings) => Object.keys(settings).length <= SETTINGS_MAX,
      `has more than ${SETTINGS_MAX} settings`,
    ),
  certificates: z.array(CertificateSchema).max(CERTIFICATES_MAX).default([]),
  /** Its first user, keys and data, by a disc and by metadata. Absent: no disc. */
  provisioning: ProvisioningSchema.optional(),
  extensions: z.array(ExtensionSchema).max(EXTENSIONS_MAX).default([]),
  /** Accounts for a while, just in time. */
  users: z.array(RemoteUserSchema).max(REMOTE_USERS_MAX).default([]),
  agent: AgentChannelSchema.prefault({}),
  /** What differs from the tenant's. */
  recovery: RecoveryPartsSchema.partial().default({}),
});

/** Text, or what this schema made of it. */
const AddressSpaceSchema = z.preprocess((value) => {
  const isRead = typeof value === "object" && value !== null;
  if (!isRead || !("network" in value) || !("prefixLength" in value)) return value;
  const { network, prefixLength } = value;
  if (typeof network !== "number" || typeof prefixLength !== "number") return value;
  return formatSubnet(value as Ipv4Subnet);
}, SubnetSchema);

const TenantSchema = z
  .strictObject({
    tenant: NameSchema,
    vnet: z.strictObject({ name: NameSchema, addressSpace: AddressSpaceSchema }),
    /** How many fault domains a role is spread over at most; all that there are if absent. */
    faultDomains: z.int().min(1).max(100).optional(),
    recovery: RecoveryPartsSchema.partial().default({}),
    stop: StopSchema.prefault({}),
    update: UpdateSchema.prefault({}),
    roles: z
      .array(RoleSchema)
      .min(1, "has no role; add one, for example { name: web }")
      .max(ROLES_MAX),
  })
  .transform((tenant) => {
    const recovery = withDefaults(RECOVERY_DEFAULT, tenant.recovery);
    const roles = tenant.roles.map((role) => {
      return { ...role, recovery: withDefaults(recovery, role.recovery) };
    });
    return { ...tenant, recovery, roles };
  })
  .superRefine((tenant, context) => {
    for (const { path, message } of findTenantProblems(tenant)) {
      context.addIssue({ code: "custom", path: [...path], message });
    }
  });

type Parts<T> = { readonly [K in keyof T]?: T[K] | undefined };

function withDefaults(defaults: RecoveryPolicy, parts: Parts<RecoveryPolicy>): RecoveryPolicy {
  const given = Object.entries(parts).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) };
}

/** A tenant as the schema returns it: every default is in it, and each role has its own recovery policy. */
export type TenantDescription = z.output<typeof TenantSchema>;
export type RoleDescription = TenantDescription["roles"][number];
/** `health` is there for `http` (with a path) and `tcp`. */
export type EndpointDescription = RoleDescription["endpoints"][number];
export type EndpointHealth = z.output<typeof HealthSchema>;
export type CertificateDescription = RoleDescription["certificates"][number];
/** Deadlines of a graceful stop, in seconds. */
export type StopPolicy = TenantDescription["stop"];
export type UpdatePolicy = TenantDescription["update"];

/**
 * Validates a parsed tenant file, or a tenant that this function returned before.
 *
 * @param source - the file or place; with a {@link SourceText} the error names line and column
 * @throws FabricError ERR_USAGE_TENANT naming every wrong place
 */
export function parseTenant(data: unknown, source: string | Source): TenantDescription {
  return validate(TenantSchema, data, source, "ERR_USAGE_TENANT");
}

/** Like {@link parseTenant}, for a reader that has problems of its own to add. */
export function checkTenant(
  data: unknown,
  source: string | Source,
): ReturnType<typeof check<TenantDescription>> {
  return check(TenantSchema, data, source);
}

/** The transport that an endpoint's port belongs to. */
export function transportOf({ protocol }: Pick<EndpointDescription, "protocol">): "tcp" | "udp" {
  return protocol === "udp" ? "udp" : "tcp";
}
