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
import {
  areExtensionsAsWanted,
  type DescribedGuest,
  describedGuest,
  nextExtensions,
} from "./guest-goals.ts";
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
  "kind" | "cpus" | "memoryMib" | "image" | "app" | "endpoints" | "settings" | "deadlines"
> &
  DescribedGuest;

/** True if a submission asks for nothing that is not so already. An update under way, or stopped, is not. */
export function isAsDescribed(record: TenantRecord, submission: TenantSubmission): boolean {
  const { description, folder, material, rollout } = record;
  if (rollout !== undefined) return false;
  const before = { description, folder, ...(material !== undefined && { material }) };
  return isDeepStrictEqual(before, submission);
}

/**
 * What must be done to a container so that it is as described. `quiet`: its guest does not notice, or is not told by an
 * incarnation; `settings`: its guest fetches them; `restart`: a new VM.
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
  nowMs: number,
): ContainerGoal {
  const { container, role, instance } = wanted;
  const { tenant } = submission.description;
  const { extensions, ...wantedGoal } = described(submission, role);
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
    ...wantedGoal,
    ...(extensions && { extensions: nextExtensions([], extensions), extensionsChangedMs: nowMs }),
    recovery: UNTROUBLED,
  };
}

function described(
  { folder, description, material }: TenantSubmission,
  role: RoleDescription,
): Described {
  const { image, app, recovery } = role;
  return {
    kind: role.kind,
    cpus: role.size.cpus,
    memoryMib: role.size.memoryMib,
    ...(image !== undefined && { image: resolveImagePaths(image, folder) }),
    ...(app !== undefined && { app: resolve(folder, app) }),
    endpoints: role.endpoints,
    settings: role.settings,
    ...describedGuest(role, material?.[role.name] ?? {}),
    deadlines: {
      readySeconds: recovery.readySeconds,
      silenceSeconds: recovery.silenceSeconds,
      agentStopSeconds: description.stop.agentSeconds,
      acpiStopSeconds: description.stop.acpiSeconds,
    },
  };
}

/** A document as it will be read from the store, so that the two compare equal. */
export function asStored<T>(document: T): T {
  return JSON.parse(JSON.stringify(document)) as T;
}

/** @throws Error if a submission lacks what its description names; better now than with each goal */
export function checkMaterial(submission: TenantSubmission): void {
  for (const role of submission.description.roles) described(submission, role);
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

function compare(is: ContainerGoal, wanted: Described): Change {
  if (!isDeepStrictEqual(machineOf(is), machineOf(wanted))) return "restart";
  if (!isDeepStrictEqual(configurationOf(is), configurationOf(wanted))) return "settings";
  const hasExtensions = areExtensionsAsWanted(is.extensions, wanted.extensions);
  // By the fast track the agent asks for them, and compares neither incarnation nor goal state.
  if (!hasExtensions && wanted.agent?.fastTrack !== true) return "settings";
  const same =
    hasExtensions &&
    isDeepStrictEqual(is.endpoints, wanted.endpoints) &&
    isDeepStrictEqual(is.deadlines, wanted.deadlines);
  return same ? "none" : "quiet";
}

type Machine = Omit<Described, "extensions">;

/** What a VM is made from. */
function machineOf({ kind, cpus, memoryMib, image, app, endpoints }: Machine) {
  const ports = endpoints.map(({ name, protocol, port }) => ({ name, protocol, port }));
  return { kind, cpus, memoryMib, image, app, ports };
}

/** What a guest is told of. Its provisioning too, although it is provisioned once: metadata shows it at any time. */
function configurationOf({ settings, certificates, provisioning, users, agent }: Machine) {
  return { settings, certificates, provisioning, users, agent };
}

/**
 * The goal with its described part anew.
 *
 * @param nowMs - epoch milliseconds
 */
export function asDescribed(
  goal: ContainerGoal,
  submission: TenantSubmission,
  role: RoleDescription,
  nowMs: number,
): ContainerGoal {
  const { image: _, app: __, certificates: ___, provisioning: ____, ...kept } = goal;
  const { users: _____, usersCheckedMs: ______, agent: _______, ...others } = kept;
  const { extensions: before, extensionsChangedMs, ...rest } = others;
  const { extensions: wanted, ...wantedGoal } = described(submission, role);
  const extensions = nextExtensions(before, wanted);
  // It only grows, also when the clock was set back.
  const changedMs = areExtensionsAsWanted(before, wanted)
    ? extensionsChangedMs
    : Math.max(nowMs, (extensionsChangedMs ?? 0) + 1);
  return {
    ...rest,
    ...wantedGoal,
    ...(extensions.length > 0 && { extensions }),
    ...(changedMs !== undefined && { extensionsChangedMs: changedMs }),
    ...(wantedGoal.users !== undefined && { usersCheckedMs: nowMs }),
  };
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
