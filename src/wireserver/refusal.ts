/** The ways in which a caller is refused: each code is one status, one name on the wire and one reason. */

import { FabricError } from "../model/errors.ts";
import type { RefusalReason } from "./wire-container.ts";

/** How a coded error looks to the caller. */
export interface Refusal {
  readonly status: number;
  /** `Error/Code` of the XML body, as the real service spells it. */
  readonly wireCode: string;
  /** Absent for what is not the caller's fault, or too usual to tell. */
  readonly reason?: RefusalReason;
}

/** How a service writes its errors: XML on the wire server, JSON elsewhere. */
export interface ErrorBody {
  readonly type: string;
  render(refusal: Refusal & { readonly message: string }): string;
}

const REFUSALS = {
  ERR_WIRE_UNKNOWN_CALLER: {
    status: 403,
    wireCode: "AuthenticationFailed",
    reason: "unknown-caller",
  },
  ERR_WIRE_VERSION_MISSING: {
    status: 400,
    wireCode: "MissingRequiredHeader",
    reason: "version-header-missing",
  },
  ERR_WIRE_RESOURCE_STALE: {
    status: 410,
    wireCode: "ResourceNotAvailable",
    reason: "stale-resource",
  },
  ERR_WIRE_REQUEST_MALFORMED: {
    status: 400,
    wireCode: "InvalidInput",
    reason: "malformed-request",
  },
  ERR_WIRE_BODY_TOO_LARGE: {
    status: 413,
    wireCode: "RequestBodyTooLarge",
    reason: "body-too-large",
  },
  ERR_WIRE_API_VERSION: {
    status: 400,
    wireCode: "InvalidApiVersion",
    reason: "malformed-request",
  },
  ERR_WIRE_METHOD: { status: 405, wireCode: "MethodNotAllowed", reason: "malformed-request" },
  ERR_WIRE_TOO_MANY_REQUESTS: { status: 429, wireCode: "RequestRateLimitExceeded" },
  ERR_WIRE_NO_IDENTITY: { status: 400, wireCode: "IdentityNotFound" },
  ERR_WIRE_CERTIFICATE_REFUSED: {
    status: 400,
    wireCode: "InvalidInput",
    reason: "malformed-request",
  },
  ERR_WIRE_CONFIGURATION_FOREIGN: {
    status: 400,
    wireCode: "InvalidContainerConfiguration",
    reason: "stale-resource",
  },
  ERR_WIRE_BLOB_TYPE: { status: 409, wireCode: "InvalidBlobType", reason: "malformed-request" },
  ERR_WIRE_BLOB_RANGE: { status: 416, wireCode: "InvalidPageRange", reason: "malformed-request" },
  ERR_WIRE_BLOB_NOT_FOUND: { status: 404, wireCode: "BlobNotFound" },
  ERR_WIRE_ARTIFACT_UNREADABLE: { status: 503, wireCode: "ServerBusy" },
  ERR_WIRE_VAULT_UNREADABLE: { status: 503, wireCode: "ServerBusy" },
  ERR_WIRE_RATE_LIMIT: {
    status: 429,
    wireCode: "RequestRateLimitExceeded",
    reason: "rate-limit",
  },
  ERR_WIRE_NOT_FOUND: { status: 404, wireCode: "ResourceNotFound" },
  ERR_WIRE_REPORT_NOT_STORED: { status: 503, wireCode: "ServerBusy" },
} as const satisfies Record<string, Refusal>;

/** A code that this room throws; docs/errors.md explains each. */
export type RefusalCode = keyof typeof REFUSALS;

const UNEXPECTED: Refusal = { status: 500, wireCode: "InternalError" };

/** Makes the error that a route throws. */
export function refuse(code: RefusalCode, message: string, cause?: unknown): FabricError {
  return new FabricError(code, message, cause === undefined ? {} : { cause });
}

/** How anything that a route threw is shown to the caller. What nobody expected is a 500 without its text. */
export function refusalOf(thrown: unknown): Refusal & { readonly message: string } {
  if (thrown instanceof FabricError && isRefusalCode(thrown.code)) {
    return { ...REFUSALS[thrown.code], message: thrown.message };
  }
  if (!hasStatus(thrown)) return { ...UNEXPECTED, message: "the wire server failed; see its log" };
  const code = thrown.statusCode === 413 ? "ERR_WIRE_BODY_TOO_LARGE" : "ERR_WIRE_REQUEST_MALFORMED";
  return { ...REFUSALS[code], message: thrown.message };
}

/** What the real service calls an error of this status, where it is known. */
const WIRE_CODES: Readonly<Record<number, string>> = {
  403: "RequestRateLimitExceeded",
  404: "ResourceNotFound",
  409: "InvalidBlobType",
  410: "ResourceNotAvailable",
  429: "RequestRateLimitExceeded",
  503: "ServerBusy",
};

/** The `Error/Code` for a status that is not a refusal of ours. */
export function wireCodeOf(status: number): string {
  return WIRE_CODES[status] ?? (status < 500 ? "InvalidInput" : UNEXPECTED.wireCode);
}

function isRefusalCode(code: string): code is RefusalCode {
  return Object.hasOwn(REFUSALS, code);
}

/** The HTTP framework's own refusals (bad media type, body too large) carry a 4xx status. */
function hasStatus(thrown: unknown): thrown is Error & { readonly statusCode: number } {
  if (!(thrown instanceof Error) || !("statusCode" in thrown)) return false;
  return (
    typeof thrown.statusCode === "number" && thrown.statusCode >= 400 && thrown.statusCode < 500
  );
}

/**
 * Awaits an observer that stores something.
 *
 * @throws FabricError ERR_WIRE_REPORT_NOT_STORED
 */
export async function stored(promise: Promise<void>): Promise<void> {
  try {
    await promise;
  } catch (cause) {
    throw refuse("ERR_WIRE_REPORT_NOT_STORED", "the report was not stored, send it again", cause);
  }
}
