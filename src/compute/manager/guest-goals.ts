/** What a guest is to be given beyond its image: pure functions over a role and what was read for it. */
import { isDeepStrictEqual } from "node:util";
import type {
  CertificateGoal,
  ContainerGoal,
  ContainerStatus,
  ExtensionGoal,
  GuestMaterial,
  ProvisioningGoal,
} from "../../model/documents.ts";
import { isSameHandler } from "../../model/extension-rules.ts";
import { AgentChannelSchema } from "../../model/guest-config.ts";
import type { RoleDescription } from "../../model/tenant.ts";

const DEFAULT_CHANNEL = AgentChannelSchema.parse({});

/** An extension as described; its number comes from the goal that it becomes part of. */
export type WantedExtension = Omit<ExtensionGoal, "seqNo">;

/** The part of a goal that its guest's agent acts on. What a role does not ask for is absent. */
export type DescribedGuest = Pick<
  ContainerGoal,
  "certificates" | "provisioning" | "users" | "agent"
> & {
  readonly extensions?: readonly WantedExtension[];
};

/**
 * The defaults are for descriptions that an earlier version stored.
 *
 * @throws Error if `material` lacks what the role names: whoever submits has read it
 */
export function describedGuest(role: RoleDescription, material: GuestMaterial): DescribedGuest {
  const { certificates, provisioning, extensions = [], users = [] } = role;
  const { agent = DEFAULT_CHANNEL } = role;
  return {
    ...(certificates.length > 0 && {
      certificates: certificates.map((certificate) => certificateOf(certificate, material)),
    }),
    ...(provisioning !== undefined && { provisioning: provisioningOf(provisioning, material) }),
    ...(extensions.length > 0 && {
      extensions: extensions.map((extension) => wantedExtension(extension, material)),
    }),
    ...(users.length > 0 && { users }),
    ...(!isDeepStrictEqual(agent, DEFAULT_CHANNEL) && { agent }),
  };
}

/** Where it was read from, and with what password, is of no use to anybody any more. */
function certificateOf(
  { name, thumbprint, store, file }: RoleDescription["certificates"][number],
  material: GuestMaterial,
): CertificateGoal {
  const read = material.certificates?.[name];
  if ((file === undefined) !== (read === undefined)) {
    throw new Error(`the certificate ${name} was not read`);
  }
  return { name, thumbprint, store, ...read };
}

function wantedExtension(
  { source: _, protectedSettings, ...extension }: RoleDescription["extensions"][number],
  material: GuestMaterial,
): WantedExtension {
  const found = material.packages?.[extension.name.toLowerCase()];
  if (found === undefined) throw new Error(`no package of ${extension.name} was read`);
  return {
    ...extension,
    ...(protectedSettings !== undefined && { protectedSettings }),
    package: found,
  };
}

function provisioningOf(
  { customData, userData, adminPassword, ...rest }: NonNullable<RoleDescription["provisioning"]>,
  material: GuestMaterial,
): ProvisioningGoal {
  const isRead = (data: unknown, read: string | undefined) =>
    (data === undefined) === (read === undefined);
  if (!isRead(customData, material.customData) || !isRead(userData, material.userData)) {
    throw new Error("its data was not read");
  }
  return {
    ...rest,
    ...(adminPassword !== undefined && { adminPassword }),
    ...(material.customData !== undefined && { customData: material.customData }),
    ...(material.userData !== undefined && { userData: material.userData }),
  };
}

/** True if a goal's extensions are those that are wanted; those on their way out do not count. */
export function areExtensionsAsWanted(
  goal: readonly ExtensionGoal[] | undefined,
  wanted: readonly WantedExtension[] | undefined,
): boolean {
  return isDeepStrictEqual(goal ?? [], nextExtensions(goal, wanted));
}

/**
 * The extensions of the next goal. One that is not wanted any more stays, to be uninstalled, until the agent has said
 * that it is gone: an agent leaves alone what its goal state does not name.
 */
export function nextExtensions(
  before: readonly ExtensionGoal[] = [],
  wanted: readonly WantedExtension[] = [],
): ExtensionGoal[] {
  const kept = wanted.map((extension): ExtensionGoal => {
    const old = before.find(({ name }) => isSameHandler(name, extension.name));
    if (old === undefined) return { ...extension, seqNo: 0 };
    const { seqNo, ...same } = old;
    return { ...extension, seqNo: isDeepStrictEqual(same, extension) ? seqNo : seqNo + 1 };
  });
  const leaving = before
    .filter((old) => !isWanted(old, wanted))
    .map((old): ExtensionGoal => {
      if (old.state === "uninstall") return old;
      const { protectedSettings: _, ...rest } = old;
      const seqNo = old.seqNo + 1;
      return { ...rest, seqNo, state: "uninstall", settings: {}, dependsOn: [] };
    });
  return [...kept, ...leaving];
}

/**
 * The goal without the extensions that are gone from its guest; undefined if nothing changes. The agent must have seen
 * the goal, and said how its extensions are.
 */
export function withoutGoneExtensions(
  goal: ContainerGoal,
  { extensions: wanted }: RoleDescription,
  status: ContainerStatus | undefined,
): ContainerGoal | undefined {
  const { extensions, ...rest } = goal;
  if (extensions === undefined || status?.agent === undefined) return undefined;
  if (status.attempt !== goal.attempt || (status.fetchedIncarnation ?? 0) < goal.incarnation) {
    return undefined;
  }
  const reported = status.extensions ?? [];
  const left = extensions.filter(
    (one) =>
      one.state !== "uninstall" ||
      isWanted(one, wanted) ||
      reported.some(({ name }) => isSameHandler(name, one.name)),
  );
  if (left.length === extensions.length) return undefined;
  return left.length === 0 ? rest : { ...rest, extensions: left };
}

/** The guest's clock, and the wire's seconds: an account is over for the agent a little later than for us. */
const EXPIRY_MARGIN_MS = 2_000;

/**
 * When the next account is over, in epoch milliseconds. Agents look at accounts only when the incarnation has changed, so
 * it must change then.
 */
export function nextExpiryMs({
  users = [],
  usersCheckedMs = 0,
}: Pick<ContainerGoal, "users" | "usersCheckedMs">): number | undefined {
  const times = users
    .map(({ expires }) => Date.parse(expires) + EXPIRY_MARGIN_MS)
    .filter((ms) => ms > usersCheckedMs);
  return times.length === 0 ? undefined : Math.min(...times);
}

function isWanted(
  { name }: { readonly name: string },
  wanted: readonly { readonly name: string }[],
): boolean {
  return wanted.some((one) => isSameHandler(one.name, name));
}
