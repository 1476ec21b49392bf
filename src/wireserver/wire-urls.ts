/** The URLs that documents carry. Clients request them as they stand, so their form is ours to choose. */

import { formatIpv4, type Ipv4Address } from "../model/ipv4-address.ts";
import type { WireContainer, WireExtension } from "./wire-container.ts";

/** Where guests reach this wire server. */
export interface WireAuthority {
  readonly address: Ipv4Address;
  readonly port: number;
}

/** The `type` values of `comp=config` that are served, exactly as in the goal state's URLs. */
export const CONFIG_TYPES = [
  "hostingEnvironmentConfig",
  "sharedConfig",
  "extensionsConfig",
  "fullConfig",
] as const;

/** One of {@link CONFIG_TYPES}. */
export type ConfigType = (typeof CONFIG_TYPES)[number];

/** `/machine/CONTAINER/INSTANCE`. */
const MACHINE_PATH = /^\/machine\/([^/]+)\/([^/]+)$/;
const STORE_PATH = /^\/store\/([^/]+)\/(.+)$/;

/**
 * Of every URL of the store. WALinuxAgent keeps its documents with the query strings blanked out; of a URL without
 * one it blanks out the empty text, and a document of 1 kB becomes one of 300 kB.
 */
const STORE_QUERY = "sv=2014-02-14&sig=goalstate";

/** The URL of a configuration document in the container's present incarnation. */
export function configUrl(
  container: WireContainer,
  authority: WireAuthority,
  type: ConfigType,
): string {
  return machineUrl(container, authority, `comp=config&type=${type}`);
}

/** The URL of the certificates in the container's present incarnation. */
export function certificatesUrl(container: WireContainer, authority: WireAuthority): string {
  return machineUrl(container, authority, "comp=certificates");
}

/** The URL of the accounts for a while in the container's present incarnation. */
export function remoteAccessUrl(container: WireContainer, authority: WireAuthority): string {
  return machineUrl(container, authority, "comp=remoteAccessInfo");
}

function machineUrl(container: WireContainer, authority: WireAuthority, query: string): string {
  const path = [container.containerId, container.instanceId].map(encodeURIComponent).join("/");
  return `${originOf(authority)}/machine/${path}?${query}&incarnation=${container.incarnation}`;
}

/** True if a request's path has the form of {@link configUrl}. */
export function isMachinePath(path: string): boolean {
  return MACHINE_PATH.test(path);
}

/** True if a request for a document below `/machine` is from the container's present goal state. */
export function isCurrent(
  { containerId, instanceId, incarnation }: WireContainer,
  asked: { readonly path: string; readonly incarnation: string | undefined },
): boolean {
  const [, container = "", instance = ""] = MACHINE_PATH.exec(asked.path) ?? [];
  return (
    decodesTo(container, containerId) &&
    decodesTo(instance, instanceId) &&
    asked.incarnation === String(incarnation)
  );
}

/** What a URL of the store stands for. */
export type StoreItem =
  | { readonly kind: "status" }
  | { readonly kind: "profile" }
  | { readonly kind: "manifest"; readonly extension: WireExtension }
  | { readonly kind: "package"; readonly extension: WireExtension };

/**
 * The URL of something that the container may read or, with `status`, write. It names the instance: a guest keeps its
 * documents as long as the incarnation is the same, also when the container's id is a new one.
 */
export function storeUrl(
  container: WireContainer,
  authority: WireAuthority,
  item: StoreItem,
): string {
  const id = encodeURIComponent(container.instanceId);
  return `${originOf(authority)}/store/${id}/${storeName(item).map(encodeURIComponent).join("/")}?${STORE_QUERY}`;
}

/** Which instance's store a path is in, and what of it, both as sent; undefined if it is no path of the store. */
export function parseStorePath(
  path: string,
): { readonly instanceId: string; readonly name: string } | undefined {
  const [, instanceId, name] = STORE_PATH.exec(path) ?? [];
  return instanceId === undefined || name === undefined
    ? undefined
    : { instanceId: decode(instanceId) ?? "", name };
}

/**
 * Finds what a name in the container's own store stands for. It is compared with the names of what the container has,
 * and nothing is put together from it: whatever it holds, it leads nowhere else.
 */
export function findStoreItem(container: WireContainer, name: string): StoreItem | undefined {
  const wanted = name.split("/").map(decode);
  const isWanted = (item: StoreItem) => {
    const names = storeName(item);
    return names.length === wanted.length && names.every((each, index) => each === wanted[index]);
  };
  for (const item of [{ kind: "status" }, { kind: "profile" }] as const) {
    if (isWanted(item)) return item;
  }
  for (const extension of container.extensions ?? []) {
    for (const kind of ["manifest", "package"] as const) {
      if (isWanted({ kind, extension })) return { kind, extension };
    }
  }
  return undefined;
}

function storeName(item: StoreItem): readonly string[] {
  switch (item.kind) {
    case "status":
    case "profile":
      return [item.kind];
    case "manifest":
      return [item.extension.name, "manifest.xml"];
    case "package":
      return [`${item.extension.name}-${item.extension.version}.zip`];
    default:
      throw item satisfies never;
  }
}

/**
 * The path and query of a URL if it is of this wire server, else undefined. A guest may name any URL to the host
 * plugin, and the host must not ask elsewhere for it.
 */
export function ownRequestOf(url: string, authority: WireAuthority): string | undefined {
  const parsed = URL.parse(url);
  if (parsed === null || parsed.protocol !== "http:") return undefined;
  if (parsed.username !== "" || parsed.password !== "") return undefined;
  const port = parsed.port === "" ? 80 : Number(parsed.port);
  if (parsed.hostname !== formatIpv4(authority.address) || port !== authority.port)
    return undefined;
  return parsed.pathname + parsed.search;
}

/** The name of the container's configuration. WALinuxAgent takes what is before the first point for the deployment's id. */
export function configName(container: WireContainer): string {
  const { deployment, roleInstance, incarnation } = container;
  return `${deployment.guid}.${incarnation}.${deployment.guid}.${incarnation}.${roleInstance}.1.xml`;
}

/** True for {@link configName} in any incarnation: an agent learns of the next one only when it polls. */
export function isConfigNameOf(container: WireContainer, name: string): boolean {
  const incarnation = /\.(\d{1,15})\./.exec(name)?.[1];
  if (incarnation === undefined) return false;
  const expected = configName({ ...container, incarnation: Number(incarnation) });
  return name.toLowerCase() === expected.toLowerCase();
}

function originOf({ address, port }: WireAuthority): string {
  return `http://${formatIpv4(address)}:${port}`;
}

/** Clients may write fewer or more percent escapes than we do; a broken escape is just not the same. */
function decodesTo(encoded: string, value: string): boolean {
  return decode(encoded)?.toLowerCase() === value.toLowerCase();
}

function decode(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}
