/**
 * What a container's agent is told of extensions, as plain data. There are two ways to tell it, `extensionsConfig` and
 * `/vmSettings`, and WALinuxAgent 2.7 compares them field by field: so both are written from this.
 */

import { deriveGuid } from "../../model/names.ts";
import type { WireContainer, WireExtension } from "../wire-container.ts";
import { storeUrl, type WireAuthority } from "../wire-urls.ts";

/** Settings that only the VM can read. */
export interface SealedSettings {
  /** Base64 of a CMS EnvelopedData. */
  readonly value: string;
  /** Of the certificate that it is encrypted to. */
  readonly thumbprint: string;
}

/** One extension. */
export interface ExtensionDocument {
  readonly name: string;
  readonly version: string;
  readonly state: WireExtension["state"];
  readonly manifestUrl: string;
  readonly seqNo: number;
  /** Handled after all of lower levels; 0 depends on nothing. */
  readonly dependencyLevel: number;
  readonly dependsOn: readonly string[];
  readonly publicSettings: Readonly<Record<string, unknown>>;
  readonly protectedSettings?: SealedSettings;
}

/** All that an agent is told of extensions. */
export interface ExtensionsDocument {
  readonly incarnation: number;
  /** When the extensions changed last: 100 ns since the year 1, beyond what a number holds. */
  readonly ticks: bigint;
  readonly activityId: string;
  readonly correlationId: string;
  readonly statusBlob: { readonly url: string; readonly type: "BlockBlob" | "PageBlob" };
  readonly profileUrl: string;
  readonly location: string;
  readonly extensions: readonly ExtensionDocument[];
}

const TICKS_PER_MS = 10_000n;
/** 1970-01-01 in ticks. */
const EPOCH_TICKS = 621_355_968_000_000_000n;
const LOCATION = "goalstate";

/** @param epochMs - whole milliseconds since 1970 */
export function ticksOf(epochMs: number): bigint {
  return EPOCH_TICKS + BigInt(Math.trunc(epochMs)) * TICKS_PER_MS;
}

/** The container's status blob is of this type; a request for another gets a 409. */
export function statusBlobTypeOf(container: WireContainer): "BlockBlob" | "PageBlob" {
  return container.statusBlobType ?? "BlockBlob";
}

/**
 * Makes the document.
 *
 * @param sealed - protected settings by the extension's name, of all that have some
 */
export function extensionsOf(
  container: WireContainer,
  authority: WireAuthority,
  sealed: ReadonlyMap<string, SealedSettings>,
): ExtensionsDocument {
  const { containerId, incarnation, extensions = [] } = container;
  const ticks = ticksOf(container.extensionsChangedMs ?? 0);
  const levels = dependencyLevels(extensions);
  return {
    incarnation,
    ticks,
    activityId: deriveGuid(containerId, "activity", String(ticks)),
    correlationId: deriveGuid(containerId, "correlation", String(ticks)),
    statusBlob: {
      url: storeUrl(container, authority, { kind: "status" }),
      type: statusBlobTypeOf(container),
    },
    profileUrl: storeUrl(container, authority, { kind: "profile" }),
    location: LOCATION,
    extensions: extensions.map((extension) => {
      const protectedSettings = sealed.get(extension.name);
      return {
        name: extension.name,
        version: extension.version,
        state: extension.state,
        manifestUrl: storeUrl(container, authority, { kind: "manifest", extension }),
        seqNo: extension.seqNo,
        dependencyLevel: levels.get(extension.name.toLowerCase()) ?? 0,
        dependsOn: extension.dependsOn,
        publicSettings: extension.settings,
        ...(protectedSettings !== undefined && { protectedSettings }),
      };
    }),
  };
}

/**
 * One more than the highest level of what an extension depends on; names have no case. A circle ends where it is
 * entered again: who describes a tenant is told of it long before.
 */
function dependencyLevels(extensions: readonly WireExtension[]): ReadonlyMap<string, number> {
  const byName = new Map(extensions.map((each) => [each.name.toLowerCase(), each]));
  const levels = new Map<string, number>();
  const levelOf = (name: string, path: ReadonlySet<string>): number => {
    const known = levels.get(name);
    if (known !== undefined) return known;
    const extension = byName.get(name);
    if (extension === undefined || path.has(name)) return 0;
    const below = extension.dependsOn.map((each) =>
      levelOf(each.toLowerCase(), new Set(path).add(name)),
    );
    const level = below.length === 0 ? 0 : 1 + Math.max(...below);
    levels.set(name, level);
    return level;
  };
  for (const name of byName.keys()) levelOf(name, new Set());
  return levels;
}
