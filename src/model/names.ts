/** Names and identifiers that people write and that appear in keys, file names and host names. */
import { createHash } from "node:crypto";
import { z } from "zod";

/** Longest name that is accepted: a DNS label. */
export const NAME_LENGTH_MAX = 63;

/** A name of a tenant, role, VNET or node: a DNS label, as it becomes part of host names and store keys. */
export const NameSchema = z
  .string()
  .max(NAME_LENGTH_MAX, `is longer than ${NAME_LENGTH_MAX} characters`)
  .regex(
    /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/i,
    "may hold letters, digits and inner hyphens only, for example web",
  );

/** The name of a role instance: `web_0`. */
export function instanceName(role: string, index: number): string {
  return `${role}_${index}`;
}

/** The name of the container that hosts a role instance: `hello.web_0`. */
export function containerName(tenant: string, instance: string): string {
  return `${tenant}.${instance}`;
}

/** A host name for a role instance: underscores are not allowed in host names. */
export function hostName(instance: string): string {
  return instance.replaceAll("_", "-");
}

/**
 * The name of a NIC's host end, a function of its MAC, so that compute and network agree on it without a word. Unique in
 * its VNET's namespace, at most 15 bytes.
 */
export function portName(mac: string): string {
  return `tap${mac.replaceAll(":", "").slice(4)}`;
}

/**
 * A GUID that is a function of `parts`: the same fabric gives the same container the same identifier after a restart.
 *
 * @see RFC 9562 section 5.8 (version 8: vendor-specific)
 */
export function deriveGuid(...parts: readonly string[]): string {
  const bytes = createHash("sha256").update(JSON.stringify(parts)).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}
