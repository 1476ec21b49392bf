/** What commands may ask of a fabric's managers, and the documents that they get. */
import { z } from "zod";
import type { MacAddress } from "../../model/mac-address.ts";
import type { TenantDescription } from "../../model/tenant.ts";

const ExtensionViewSchema = z.object({
  name: z.string(),
  version: z.string(),
  /** What is wanted: `enabled`, `disabled` or `uninstall`. */
  state: z.string(),
  /** What the agent says of its program; empty while it said nothing. */
  handler: z.string(),
  /** What the extension said; empty while it said nothing. */
  status: z.string(),
  code: z.number().nullable(),
  message: z.string(),
  /** What it says is not of the settings that are wanted. */
  pending: z.boolean(),
});

/** An extension of a container. */
export type ExtensionView = z.infer<typeof ExtensionViewSchema>;

const ContainerViewSchema = z.object({
  container: z.string(),
  tenant: z.string(),
  role: z.string(),
  /** Empty while no node takes it. */
  node: z.string(),
  state: z.string(),
  /** The furthest milestone of the present boot; empty before the first. */
  milestone: z.string(),
  mac: z.string(),
  address: z.string(),
  vnet: z.string(),
  /** What the guest agent said last; empty if it said nothing. */
  health: z.string(),
  /** Since when it is in this state, ISO 8601. */
  since: z.string(),
  /** Why it is in this state, for people. */
  detail: z.string(),
  extensions: z.array(ExtensionViewSchema).readonly(),
});

/** A container, as `ps` shows it. */
export type ContainerView = z.infer<typeof ContainerViewSchema>;
export const ContainerViewsSchema = z.array(ContainerViewSchema);

const NodeViewSchema = z.object({
  node: z.string(),
  /** True while its agent holds its lease. */
  isLive: z.boolean(),
  address: z.string(),
  faultDomain: z.string(),
  cpus: z.object({ used: z.number(), total: z.number() }),
  memoryMib: z.object({ used: z.number(), total: z.number() }),
  containers: z.int(),
  hypervisor: z.string(),
  /** Ports that stay blocked, with the reason. */
  blockedPorts: z.array(z.string()),
  /** Firewalls of others, and what they do to our traffic. */
  foreignFirewalls: z.array(z.string()),
});

/** A node, as `nodes` shows it. */
export type NodeView = z.infer<typeof NodeViewSchema>;
export const NodeViewsSchema = z.array(NodeViewSchema);

const TenantViewSchema = z.object({
  tenant: z.string(),
  /** `accepted`: it is as described; `allocating`, `deleting`; or how far an update has come, for people. */
  phase: z.string(),
  instances: z.int(),
  ready: z.int(),
  /** Public endpoints: `web_http tcp 198.18.0.1:80`. */
  endpoints: z.array(z.string()),
});

/** A tenant, as `tenants` shows it. */
export type TenantView = z.infer<typeof TenantViewSchema>;
export const TenantViewsSchema = z.array(TenantViewSchema);

const unknownOwner = z.object({ owner: z.literal("nobody") });
const hostOwner = z.object({ owner: z.literal("host") });
const tenantOwner = z.object({
  owner: z.literal("tenant"),
  container: z.string(),
  vnet: z.string(),
  address: z.string(),
  /** Empty while its container is nowhere. */
  node: z.string(),
});

export const OwnerSchema = z.discriminatedUnion("owner", [unknownOwner, hostOwner, tenantOwner]);

/** Whose a MAC is. */
export type OwnerView = z.infer<typeof OwnerSchema>;

/** What is sent to deploy a tenant. */
export interface Submission {
  readonly tenant: TenantDescription;
  /** What relative paths in it are relative to. */
  readonly folder: string;
}

export const AcceptedSchema = z.object({
  tenant: z.string(),
  /** Created, or an update of one that was there. */
  kind: z.enum(["created", "updated", "unchanged"]),
  containers: z.array(z.string()),
});

/** Answer to a {@link Submission}: from now on the fabric keeps it, whatever is killed. */
export type Accepted = z.infer<typeof AcceptedSchema>;

/** What the routes need of the managers. Promises resolve when what was asked for is durable, not when it is done. */
export interface FabricControl {
  submit(submission: Submission): Promise<Accepted>;
  deleteTenant(tenant: string): Promise<void>;
  change(container: string, action: ContainerAction): Promise<void>;
  listContainers(): Promise<readonly ContainerView[]>;
  listNodes(): Promise<readonly NodeView[]>;
  listTenants(): Promise<readonly TenantView[]>;
  findOwner(mac: MacAddress): Promise<OwnerView>;
  /** One sentence: what the container waits for. */
  why(container: string): Promise<string>;
}

export const CONTAINER_ACTIONS = ["stop", "start", "restart"] as const;
export type ContainerAction = (typeof CONTAINER_ACTIONS)[number];
