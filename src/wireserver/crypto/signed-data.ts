/** CMS SignedData (RFC 5652): content that names who vouches for it, as in the metadata service's attested document. */

import { createPrivateKey, hash, type KeyObject, sign, X509Certificate } from "node:crypto";
import {
  Attribute,
  CertificateChoices,
  CertificateSet,
  CMSVersion,
  ContentInfo,
  DigestAlgorithmIdentifier,
  DigestAlgorithmIdentifiers,
  EncapsulatedContent,
  EncapsulatedContentInfo,
  IssuerAndSerialNumber,
  id_contentType,
  id_data,
  id_messageDigest,
  id_signedData,
  id_signingTime,
  SignatureAlgorithmIdentifier,
  SignedData,
  SignerIdentifier,
  SignerInfo,
  SignerInfos,
} from "@peculiar/asn1-cms";
import { id_sha256, rsaEncryption } from "@peculiar/asn1-rsa";
import { AsnConvert, AsnParser, AsnSerializer, OctetString } from "@peculiar/asn1-schema";
import { Certificate, Time } from "@peculiar/asn1-x509";
import { Set as AsnSet, ObjectIdentifier } from "asn1js";
import type { CertifiedKey } from "./certificate.ts";

/**
 * Signs content with RSA and SHA-256; content and certificates are in the result.
 *
 * @param signer - its certificate comes first in the result
 * @param issuers - PEM, the other certificates that lead to one which the reader trusts
 * @param nowMs - epoch milliseconds, the signing time that is stated
 * @returns DER of the ContentInfo
 */
export function signContent(
  signer: CertifiedKey,
  issuers: readonly string[],
  content: Uint8Array,
  nowMs: number,
): Buffer {
  const { key, certificate } = readSigner(signer);
  const { issuer, serialNumber } = certificate.tbsCertificate;
  const signedAttrs = attributesOf(content, nowMs);
  const signedOctets = new AsnSet({ value: signedAttrs.map((each) => AsnSerializer.toASN(each)) });
  const signature = sign("sha256", Buffer.from(signedOctets.toBER()), key);
  const digestAlgorithm = new DigestAlgorithmIdentifier({ algorithm: id_sha256, parameters: null });
  const info = new SignerInfo({
    version: CMSVersion.v1,
    sid: new SignerIdentifier({
      issuerAndSerialNumber: new IssuerAndSerialNumber({ issuer, serialNumber }),
    }),
    digestAlgorithm,
    signedAttrs,
    signatureAlgorithm: new SignatureAlgorithmIdentifier(rsaEncryption),
    signature: new OctetString(signature),
  });
  const signed = new SignedData({
    version: CMSVersion.v1,
    digestAlgorithms: new DigestAlgorithmIdentifiers([digestAlgorithm]),
    encapContentInfo: new EncapsulatedContentInfo({
      eContentType: id_data,
      eContent: new EncapsulatedContent({ single: new OctetString(content) }),
    }),
    certificates: new CertificateSet(
      [certificate, ...issuers.map(readCertificate)].map(
        (each) => new CertificateChoices({ certificate: each }),
      ),
    ),
    signerInfos: new SignerInfos([info]),
  });
  const inner = AsnConvert.serialize(signed);
  return Buffer.from(
    AsnConvert.serialize(new ContentInfo({ contentType: id_signedData, content: inner })),
  );
}

/** In the order that DER wants, which is that of their octets: what is signed is their encoding. */
function attributesOf(content: Uint8Array, nowMs: number): Attribute[] {
  const digest = hash("sha256", content, "buffer");
  const values: readonly (readonly [string, ArrayBuffer])[] = [
    [id_contentType, new ObjectIdentifier({ value: id_data }).toBER()],
    [id_signingTime, AsnConvert.serialize(new Time(new Date(nowMs)))],
    [id_messageDigest, AsnConvert.serialize(new OctetString(digest))],
  ];
  return values
    .map(([attrType, value]) => new Attribute({ attrType, attrValues: [value] }))
    .map((each) => ({ each, octets: Buffer.from(AsnConvert.serialize(each)) }))
    .sort((a, b) => Buffer.compare(a.octets, b.octets))
    .map(({ each }) => each);
}

interface ReadSigner {
  readonly key: KeyObject;
  readonly certificate: Certificate;
}

/** To read a key from PEM, with its checks, costs more than to sign with it. */
const readSigners = new WeakMap<CertifiedKey, ReadSigner>();

function readSigner(signer: CertifiedKey): ReadSigner {
  return readSigners.getOrInsertComputed(signer, ({ certificate, privateKey }) => ({
    key: createPrivateKey(privateKey),
    certificate: readCertificate(certificate),
  }));
}

function readCertificate(pem: string): Certificate {
  return AsnParser.parse(new X509Certificate(pem).raw, Certificate);
}
