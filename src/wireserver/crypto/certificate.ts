/** X.509 certificates (RFC 5280) that the fabric makes itself: a VM's own, its authority's, and those which that issues. */

import {
  createPrivateKey,
  generateKeyPair,
  hash,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";
import { promisify } from "node:util";
import { id_sha256WithRSAEncryption } from "@peculiar/asn1-rsa";
import { AsnConvert, AsnParser, OctetString } from "@peculiar/asn1-schema";
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  Extension,
  Extensions,
  GeneralName,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  KeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from "@peculiar/asn1-x509";
import type { WireIdentity } from "../wire-host.ts";

const RSA_BITS = 2_048;
const COMMON_NAME = "2.5.4.3";
/** RFC 5280 allows 20 octets, the first of them below 128. */
const SERIAL_BYTES = 16;
const DAY_MS = 86_400_000;
/** A guest's clock may be behind at its first boot. */
const BEFORE_MS = 7 * DAY_MS;
const YEARS_10_MS = 3_653 * DAY_MS;

/** The library has a constant of this name too, with another identifier in it (2.11.1). */
const SHA256_WITH_RSA = new AlgorithmIdentifier({
  algorithm: id_sha256WithRSAEncryption,
  parameters: null,
});

const generate = promisify(generateKeyPair);

/** A certificate with its key: it can sign. */
export interface CertifiedKey {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS#8. */
  readonly privateKey: string;
}

/**
 * Makes a VM's certificate: RSA 2048, signed by itself, with a subject key identifier, so that what is encrypted to it
 * names it by that. The key is made off the event loop.
 *
 * @param nowMs - epoch milliseconds; it is good from a week before for ten years
 */
export async function makeIdentity(commonName: string, nowMs: number): Promise<WireIdentity> {
  const made = await makeCertificate({ commonName, nowMs, isAuthority: false });
  return { ...made, thumbprint: thumbprintOf(made.certificate) };
}

/** Makes an authority that signs itself, for {@link makeCertificate}. */
export async function makeAuthority(commonName: string, nowMs: number): Promise<CertifiedKey> {
  return await makeCertificate({ commonName, nowMs, isAuthority: true });
}

/** Makes a key and its certificate. */
export async function makeCertificate(options: {
  readonly commonName: string;
  /** Epoch milliseconds. */
  readonly nowMs: number;
  readonly isAuthority: boolean;
  /** Absent: it signs itself. */
  readonly issuer?: CertifiedKey;
}): Promise<CertifiedKey> {
  const { publicKey, privateKey } = await generate("rsa", { modulusLength: RSA_BITS });
  const pem = privateKey.export({ type: "pkcs8", format: "pem" });
  const subject = { ...options, publicKey };
  const certificate = certify(subject, options.issuer ?? privateKey);
  return { certificate, privateKey: String(pem) };
}

/** What {@link certify} says in a certificate. */
export interface Subject {
  readonly commonName: string;
  readonly publicKey: KeyObject;
  /** Epoch milliseconds. */
  readonly nowMs: number;
  readonly isAuthority: boolean;
}

/**
 * Makes a certificate for a public key.
 *
 * @param signer - the key itself, if the certificate names no other issuer, or who issues it
 * @returns PEM
 */
export function certify(subject: Subject, signer: KeyObject | CertifiedKey): string {
  const issuer = "certificate" in signer ? readIssuer(signer) : undefined;
  const spki = subject.publicKey.export({ type: "spki", format: "der" });
  const subjectPublicKeyInfo = AsnParser.parse(spki, SubjectPublicKeyInfo);
  const keyId = keyIdentifierOf(subjectPublicKeyInfo);
  const name = nameOf(subject.commonName);
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: serialNumber(),
    signature: SHA256_WITH_RSA,
    issuer: issuer?.name ?? name,
    validity: new Validity({
      notBefore: new Date(subject.nowMs - BEFORE_MS),
      notAfter: new Date(subject.nowMs + YEARS_10_MS),
    }),
    subject: name,
    subjectPublicKeyInfo,
    extensions: extensionsOf(subject, keyId, issuer?.keyId),
  });
  const key = "certificate" in signer ? createPrivateKey(signer.privateKey) : signer;
  const signature = sign("sha256", Buffer.from(AsnConvert.serialize(tbsCertificate)), key);
  const certificate = new Certificate({
    tbsCertificate,
    signatureAlgorithm: SHA256_WITH_RSA,
    signatureValue: new Uint8Array(signature).buffer,
  });
  return pemOf(AsnConvert.serialize(certificate));
}

/** SHA-1 of a PEM certificate, 40 upper-case hexadecimal digits. */
export function thumbprintOf(certificate: string): string {
  return new X509Certificate(certificate).fingerprint.replaceAll(":", "");
}

function readIssuer({ certificate }: CertifiedKey): {
  readonly name: Name;
  readonly keyId: ArrayBuffer;
} {
  const { tbsCertificate } = AsnParser.parse(new X509Certificate(certificate).raw, Certificate);
  const { subject: name, subjectPublicKeyInfo } = tbsCertificate;
  return { name, keyId: keyIdentifierOf(subjectPublicKeyInfo) };
}

function extensionsOf(
  { isAuthority, commonName }: Subject,
  subjectKey: ArrayBuffer,
  issuerKey: ArrayBuffer | undefined,
): Extensions {
  const { digitalSignature, keyEncipherment, dataEncipherment, keyCertSign, cRLSign } =
    KeyUsageFlags;
  const usage = isAuthority
    ? keyCertSign | cRLSign
    : digitalSignature | keyEncipherment | dataEncipherment;
  const named = new SubjectAlternativeName([new GeneralName({ dNSName: commonName })]);
  return new Extensions([
    extension(id_ce_basicConstraints, new BasicConstraints({ cA: isAuthority }), true),
    extension(id_ce_keyUsage, new KeyUsage(usage), true),
    extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(subjectKey)),
    extension(
      id_ce_authorityKeyIdentifier,
      new AuthorityKeyIdentifier({ keyIdentifier: new KeyIdentifier(issuerKey ?? subjectKey) }),
    ),
    ...(issuerKey === undefined ? [] : [extension(id_ce_subjectAltName, named)]),
  ]);
}

function extension(extnID: string, value: unknown, critical = false): Extension {
  const extnValue = new OctetString(AsnConvert.serialize(value));
  return new Extension({ extnID, critical, extnValue });
}

/** As RFC 5280 proposes: SHA-1 of the public key's bits. */
function keyIdentifierOf({ subjectPublicKey }: SubjectPublicKeyInfo): ArrayBuffer {
  return new Uint8Array(hash("sha1", new Uint8Array(subjectPublicKey), "buffer")).buffer;
}

function nameOf(commonName: string): Name {
  const value = new AttributeValue({ utf8String: commonName });
  const attribute = new AttributeTypeAndValue({ type: COMMON_NAME, value });
  return new Name([new RelativeDistinguishedName([attribute])]);
}

/** Random, positive, and without a leading zero. */
function serialNumber(): ArrayBuffer {
  const octets = new Uint8Array(randomBytes(SERIAL_BYTES));
  octets[0] = 0x40 | (octets[0]! & 0x3f);
  return octets.buffer;
}

function pemOf(der: ArrayBuffer): string {
  return new X509Certificate(Buffer.from(der)).toString();
}
