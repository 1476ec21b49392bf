/** A tree of metadata: values that appear with a version, and how a path finds one. */

import type { ApiVersion } from "./api-versions.ts";

/** A JSON value of the tree. */
export type MetadataValue = string | boolean | readonly MetadataValue[] | MetadataObject;

/** A part of the tree that has parts itself. */
export type MetadataObject = { readonly [name: string]: MetadataValue };

/** A value under its name, with the version that it appears in. */
export type MetadataField = readonly [since: ApiVersion, name: string, value: MetadataValue];

/** The fields that a version has. */
export function fieldsOf(version: ApiVersion, fields: readonly MetadataField[]): MetadataObject {
  return Object.fromEntries(
    fields.filter(([since]) => since <= version).map(([, name, value]) => [name, value]),
  );
}

/**
 * Walks down the tree; names have no case, and a number picks from a list.
 *
 * @param names - in lower case
 */
export function findValue(
  root: MetadataValue,
  names: readonly string[],
): MetadataValue | undefined {
  let value: MetadataValue | undefined = root;
  for (const name of names) {
    if (typeof value !== "object") return undefined;
    value = Object.entries(value).find(([key]) => key.toLowerCase() === name)?.[1];
  }
  return value;
}
