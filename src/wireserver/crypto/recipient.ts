/** The certificate that something is encrypted to: read strictly, because guests send it. */

import { type KeyObject, X509Certificate } from "node:crypto";
import { IssuerAndSerialNumber, RecipientIdentifier } from "@peculiar/asn1-cms";
import { AsnConvert } from "@peculiar/asn1-schema";
import { Certificate, id_ce_subjectKeyIdentifier, SubjectKeyIdentifier } from "@peculiar/asn1-x509";
import { refuse } from "../refusal.ts";

/** RSA 2048 is what guests send today; cloud-init's next takes 3072. */
export const RSA_BITS_MIN = 2_048;
/** A longer key costs the host more than the guest gains. */
export const RSA_BITS_MAX = 4_096;
/** Of the header's text: an RSA 4096 certificate that signs itself has some 1,800. */
export const CERTIFICATE_CHARACTERS_MAX = 4_096;
/** Everybody uses 65537; a very long one makes each encryption as slow as a decryption. */
const RSA_EXPONENT_MAX = 2n ** 32n;

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** Who can read what is encrypted: the holder of a certificate's key. */
export interface Recipient {
  readonly publicKey: KeyObject;
  /** By subject key identifier where the certificate has one, else by issuer and serial number. */
  readonly identifier: RecipientIdentifier;
}

/**
 * Reads the transport certificate that a guest sends in `x-ms-guest-agent-public-x509-cert`: PEM without its first and
 * last line and without line breaks.
 *
 * @throws FabricError ERR_WIRE_CERTIFICATE_REFUSED
 */
export function parseTransportCertificate(
  header: string | readonly string[] | undefined,
): Recipient {
  if (typeof header !== "string" || header === "") {
    throw refuseCertificate("is missing, send it once");
  }
  if (header.length > CERTIFICATE_CHARACTERS_MAX) {
    throw refuseCertificate(`is longer than ${CERTIFICATE_CHARACTERS_MAX} characters`);
  }
  if (!BASE64.test(header) || header.length % 4 !== 0) throw refuseCertificate("is no base64");
  return recipientOf(Buffer.from(header, "base64"));
}

/**
 * @param certificate - PEM or DER
 * @throws FabricError ERR_WIRE_CERTIFICATE_REFUSED
 */
export function recipientOf(certificate: string | Uint8Array): Recipient {
  const parsed = readCertificate(certificate);
  const { publicKey } = parsed;
  if (publicKey.asymmetricKeyType !== "rsa") {
    throw refuseCertificate("has no RSA key; the content key can be sent to RSA keys only");
  }
  const { modulusLength = 0, publicExponent = 0n } = publicKey.asymmetricKeyDetails ?? {};
  if (modulusLength < RSA_BITS_MIN || modulusLength > RSA_BITS_MAX) {
    throw refuseCertificate(
      `has an RSA key of ${modulusLength} bits; send one of ${RSA_BITS_MIN} to ${RSA_BITS_MAX}`,
    );
  }
  if (publicExponent > RSA_EXPONENT_MAX) throw refuseCertificate("has too large an RSA exponent");
  return { publicKey, identifier: identifierOf(parsed.raw) };
}

function readCertificate(certificate: string | Uint8Array): {
  readonly raw: Buffer;
  readonly publicKey: KeyObject;
} {
  try {
    const { raw, publicKey } = new X509Certificate(certificate);
    return { raw, publicKey };
  } catch (cause) {
    throw refuseCertificate("is no X.509 certificate", cause);
  }
}

function identifierOf(der: Uint8Array): RecipientIdentifier {
  try {
    const { issuer, serialNumber, extensions } = AsnConvert.parse(der, Certificate).tbsCertificate;
    const found = extensions?.find(({ extnID }) => extnID === id_ce_subjectKeyIdentifier);
    if (found === undefined) {
      const issuerAndSerialNumber = new IssuerAndSerialNumber({ issuer, serialNumber });
      return new RecipientIdentifier({ issuerAndSerialNumber });
    }
    const subjectKeyIdentifier = AsnConvert.parse(found.extnValue, SubjectKeyIdentifier);
    return new RecipientIdentifier({ subjectKeyIdentifier });
  } catch (cause) {
    throw refuseCertificate("is no X.509 certificate that can be named", cause);
  }
}

function refuseCertificate(what: string, cause?: unknown): Error {
  return refuse("ERR_WIRE_CERTIFICATE_REFUSED", `the transport certificate ${what}`, cause);
}
