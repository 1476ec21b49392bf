/** What a tenant's description asks of each container: pure functions that make goals and compare them. */
import { resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type {
  ContainerGoal,
  NicGoal,
  TenantRecord,
  TenantSubmission,
} from "../../model/documents.ts";
import { resolveImagePaths } from "../../model/image.ts";
import { containerName, deriveGuid, hostName, instanceName } from "../../model/names.ts";
import type { RoleDescription, TenantDescription } from "../../model/tenant.ts";
import type { NicRequest, PublicEndpoint } from "../../nm/index.ts";
import { updateOf } from "./policies.ts";
import { UNTROUBLED } from "./recovery.ts";

/** Incarnation of a container's first goal state; it only grows. */
const FIRST_INCARNATION = 1;

/** A container that a description asks for. */
export interface WantedContainer {
  readonly container: string;
  readonly role: RoleDescription;
  readonly instance: string;
  readonly hostname: string;
}

/** The parts of a goal that come from the description. */
type Described = Pick<
  ContainerGoal,
  | "kind"
  | "cpus"
  | "memoryMib"
  | "image"
  | "app"
  | "endpoints"
  | "settings"
  | "certificates"
  | "deadlines"
>;

/** True if a submission asks for nothing that is not so already. An update under way, or stopped, is not. */
export function isAsDescribed(record: TenantRecord, submission: TenantSubmission): boolean {
  const { description, folder, rollout } = record;
  return rollout === undefined && isDeepStrictEqual({ description, folder }, submission);
}

/**
 * What must be done to a container so that it is as described. `quiet`: its guest does not notice; `settings`: its guest
 * fetches them; `restart`: a new VM.
 */
export type Change = "none" | "quiet" | "settings" | "restart";

/** The name of a tenant's VNET in the fabric. */
export function vnetName({ tenant, vnet }: TenantDescription): string {
  return `${tenant}.${vnet.name}`;
}

/** All containers that a description asks for, in its order. */
export function wantedContainers({ tenant, roles }: TenantDescription): WantedContainer[] {
  return roles.flatMap((role) =>
    Array.from({ length: role.instances }, (_, index) => {
      const instance = instanceName(role.name, index);
      const container = containerName(tenant, instance);
      return { container, role, instance, hostname: hostName(instance) };
    }),
  );
}

/** What the network manager is asked for. */
export function nicRequests(wanted: readonly WantedContainer[]): NicRequest[] {
  return wanted.map(({ container, role, hostname }) => ({ container, role: role.name, hostname }));
}

/** What is to be open at the tenant's public address. */
export function publicEndpoints({ roles }: TenantDescription): PublicEndpoint[] {
  return roles.flatMap((role) =>
    role.endpoints.flatMap(({ name, protocol, port, public: publicPort, health }) => {
      if (publicPort === undefined) return [];
      const transport = protocol === "udp" ? "udp" : "tcp";
      const goal = { name, role: role.name, protocol: transport, publicPort, port } as const;
      return [{ ...goal, ...(health !== undefined && { health }) }];
    }),
  );
}

/** The role that a container belongs to, if the tenant still wants this container. */
export function findRole(record: TenantRecord, instance: string): RoleDescription | undefined {
  if (record.phase === "deleting") return undefined;
  const role = roleOfInstance(record.description, instance);
  return role !== undefined && instanceIndex(instance) < role.instances ? role : undefined;
}

function roleOfInstance({ roles }: TenantDescription, instance: string) {
  const name = instance.slice(0, instance.lastIndexOf("_"));
  return roles.find((role) => role.name === name);
}

/** 0 for `web_0`. */
export function instanceIndex(instance: string): number {
  return Number(instance.slice(instance.lastIndexOf("_") + 1));
}

/** The update domain of an instance. */
export function domainOf(tenant: TenantDescription, instance: string): number {
  return instanceIndex(instance) % updateOf(tenant).domains;
}

/** The goal of a container that is not placed yet. */
export function firstGoal(
  fabricId: string,
  submission: TenantSubmission,
  wanted: WantedContainer,
  nic: NicGoal,
): ContainerGoal {
  const { container, role, instance } = wanted;
  const { tenant } = submission.description;
  return {
    container,
    containerId: deriveGuid(fabricId, "container", container),
    tenant,
    role: role.name,
    instance,
    node: "",
    revision: 0,
    attempt: 1,
    boot: 0,
    deploymentId: deriveGuid(fabricId, "deployment", tenant),
    incarnation: FIRST_INCARNATION,
    expectedState: "Started",
    vnet: nic.vnet,
    mac: nic.mac,
    address: nic.address,
    hostname: nic.hostname,
    ...described(submission, role),
    recovery: UNTROUBLED,
  };
}

function described({ folder, description }: TenantSubmission, role: RoleDescription): Described {
  const { image, app, recovery } = role;
  return {
    kind: role.kind,
    cpus: role.size.cpus,
    memoryMib: role.size.memoryMib,
    ...(image !== undefined && { image: resolveImagePaths(image, folder) }),
    ...(app !== undefined && { app: resolve(folder, app) }),
    endpoints: role.endpoints,
    settings: role.settings,
    ...(role.certificates.length > 0 && { certificates: role.certificates }),
    deadlines: {
      readySeconds: recovery.readySeconds,
      silenceSeconds: recovery.silenceSeconds,
      agentStopSeconds: description.stop.agentSeconds,
      acpiStopSeconds: description.stop.acpiSeconds,
    },
  };
}

/** Compares a goal with its description. */
export function changeOf(
  goal: ContainerGoal,
  submission: TenantSubmission,
  role: RoleDescription,
): Change {
  const wanted = described(submission, role);
  const change = compare(goal, wanted);
  // A container that was given up starts anew with what was changed.
  return change !== "none" && goal.recovery.gaveUp !== undefined ? "restart" : change;
}

function compare(is: Described, wanted: Described): Change {
  if (!isDeepStrictEqual(machineOf(is), machineOf(wanted))) return "restart";
  if (!isDeepStrictEqual(configurationOf(is), configurationOf(wanted))) return "settings";
  const same =
    isDeepStrictEqual(is.endpoints, wanted.endpoints) &&
    isDeepStrictEqual(is.deadlines, wanted.deadlines);
  return same ? "none" : "quiet";
}

/** What a VM is made from. */
function machineOf({ kind, cpus, memoryMib, image, app, endpoints }: Described) {
  const ports = endpoints.map(({ name, protocol, port }) => ({ name, protocol, port }));
  return { kind, cpus, memoryMib, image, app, ports };
}

function configurationOf({ settings, certificates }: Described) {
  return { settings, certificates };
}

/** The goal with its described part anew. */
export function asDescribed(
  goal: ContainerGoal,
  submission: TenantSubmission,
  role: RoleDescription,
): ContainerGoal {
  const { image: _, app: __, certificates: ___, ...rest } = goal;
  return { ...rest, ...described(submission, role) };
}

/**
 * The names of the roles that an update of `before` may have to change: those that are described differently, those of an
 * update that is under way, and those that have a container which is not as described.
 */
export function changedRoles(
  before: TenantRecord,
  after: TenantSubmission,
  goals: readonly ContainerGoal[],
): string[] {
  const unlike = new Set(before.rollout?.roles);
  for (const goal of goals) {
    const role = roleOfInstance(after.description, goal.instance);
    if (role !== undefined && changeOf(goal, after, role) !== "none") unlike.add(role.name);
  }
  const roles = after.description.roles.filter((role) => {
    const old = before.description.roles.find(({ name }) => name === role.name);
    if (old === undefined) return false;
    return (
      unlike.has(role.name) || !isDeepStrictEqual(described(before, old), described(after, role))
    );
  });
  return roles.map(({ name }) => name);
}
