/** `/metadata/attested/document`: what the fabric vouches for, signed, so that others than the guest can believe it. */

import type { CertifiedKey } from "../crypto/certificate.ts";
import { signContent } from "../crypto/signed-data.ts";
import { refuse } from "../refusal.ts";
import type { AttestationQuestion } from "../wire-host.ts";
import type { ApiVersion } from "./api-versions.ts";
import { SUBSCRIPTION_ID } from "./instance-metadata.ts";
import { fieldsOf } from "./metadata-tree.ts";

/** Before it, there is no such document. */
const FIRST_VERSION = "2018-10-01";
const GOOD_FOR_MS = 6 * 3_600_000;
/** The real service documents ten digits; its own example has a date and a time. */
const NONCE = /^[0-9A-Za-z-]{1,64}$/;

/** What is needed to sign, beside the question. */
export interface Attestation extends AttestationQuestion {
  readonly vmId: string;
  readonly signer: CertifiedKey;
  /** PEM, the certificates that lead from the signer's to one which readers trust. */
  readonly issuers: readonly string[];
  /** Epoch milliseconds. */
  readonly nowMs: number;
}

/**
 * Signs what the fabric knows of a VM, with RSA and SHA-256. Good for six hours.
 *
 * @returns DER of a CMS SignedData with the document and all certificates in it
 */
export function signAttestation(attestation: Attestation): Buffer {
  const { nonce, version, vmId, nowMs, signer, issuers } = attestation;
  const timeStamp = { createdOn: timeText(nowMs), expiresOn: timeText(nowMs + GOOD_FOR_MS) };
  const document = fieldsOf(version, [
    ["2020-09-01", "licenseType", ""],
    [FIRST_VERSION, "nonce", nonce ?? timeText(nowMs)],
    [FIRST_VERSION, "plan", { name: "", product: "", publisher: "" }],
    ["2019-11-01", "sku", ""],
    ["2019-04-30", "subscriptionId", SUBSCRIPTION_ID],
    [FIRST_VERSION, "timeStamp", timeStamp],
    [FIRST_VERSION, "vmId", vmId],
  ]);
  return signContent(signer, issuers, Buffer.from(JSON.stringify(document)), nowMs);
}

/**
 * Reads what a guest wants to have attested.
 *
 * @throws FabricError ERR_WIRE_API_VERSION, ERR_WIRE_REQUEST_MALFORMED
 */
export function parseAttestationQuestion(
  version: ApiVersion,
  nonce: string | null,
): AttestationQuestion {
  if (version < FIRST_VERSION) {
    throw refuse("ERR_WIRE_API_VERSION", "Bad request. api-version is invalid.");
  }
  if (nonce === null) return { version };
  if (NONCE.test(nonce)) return { version, nonce };
  throw refuse("ERR_WIRE_REQUEST_MALFORMED", "Bad request. nonce is at most 10 digits");
}

/** As the real service writes it, `11/28/18 00:16:17 -0000`. */
function timeText(epochMs: number): string {
  const [date = "", time = ""] = new Date(epochMs).toISOString().split("T");
  const [year = "", month = "", day = ""] = date.split("-");
  return `${month}/${day}/${year.slice(2)} ${time.slice(0, 8)} -0000`;
}
