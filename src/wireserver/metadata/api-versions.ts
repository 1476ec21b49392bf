/** Versions of the metadata service: which there are, and which one a request gets. */

import { refuse } from "../refusal.ts";

/** As the real service lists them, oldest first. */
export const API_VERSIONS = [
  "2017-03-01",
  "2017-04-02",
  "2017-08-01",
  "2017-10-01",
  "2017-12-01",
  "2018-02-01",
  "2018-04-02",
  "2018-10-01",
  "2019-02-01",
  "2019-03-11",
  "2019-04-30",
  "2019-06-01",
  "2019-06-04",
  "2019-08-01",
  "2019-08-15",
  "2019-11-01",
  "2020-06-01",
  "2020-07-15",
  "2020-09-01",
  "2020-10-01",
  "2020-12-01",
  "2021-01-01",
  "2021-02-01",
  "2021-03-01",
  "2021-05-01",
  "2021-10-01",
  "2021-11-01",
  "2021-11-15",
  "2021-12-13",
  "2023-07-01",
  "2023-11-15",
  "2024-03-15",
  "2024-07-17",
  "2025-04-07",
] as const;

/** One of {@link API_VERSIONS}. */
export type ApiVersion = (typeof API_VERSIONS)[number];

/** What a refusal lists: the real service names the last three. */
export const NEWEST_VERSIONS: readonly string[] = API_VERSIONS.slice(-3).reverse();

const WELL_FORMED = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$/;
const OLDEST = API_VERSIONS[0];
const NEWEST = API_VERSIONS[API_VERSIONS.length - 1] ?? OLDEST;

/**
 * The version that a request is answered in: the newest that is not newer than what it asks for. So a version that is
 * unknown works if it is older than the newest one, as cloud-init's 2021-08-01.
 *
 * @param asked - the value of `api-version`; null if there is none
 * @throws FabricError ERR_WIRE_API_VERSION if it is absent, malformed or newer than the newest
 */
export function requireApiVersion(asked: string | null): ApiVersion {
  if (asked === null || asked === "") {
    throw refuse(
      "ERR_WIRE_API_VERSION",
      "Bad request. api-version was not specified in the request.",
    );
  }
  // Dates of this form are in the order of their texts.
  if (!WELL_FORMED.test(asked) || asked > NEWEST) {
    throw refuse("ERR_WIRE_API_VERSION", "Bad request. api-version is invalid.");
  }
  return API_VERSIONS.findLast((known) => known <= asked) ?? OLDEST;
}
