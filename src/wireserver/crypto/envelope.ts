/** CMS EnvelopedData (RFC 5652): bytes that only the holder of one certificate's key can read. */

import { constants, createCipheriv, publicEncrypt, randomBytes } from "node:crypto";
import {
  CMSVersion,
  ContentEncryptionAlgorithmIdentifier,
  ContentInfo,
  EncryptedContent,
  EncryptedContentInfo,
  EnvelopedData,
  id_data,
  id_envelopedData,
  KeyEncryptionAlgorithmIdentifier,
  KeyTransRecipientInfo,
  RecipientInfo,
  RecipientInfos,
} from "@peculiar/asn1-cms";
import { id_rsaEncryption } from "@peculiar/asn1-rsa";
import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import { refuse } from "../refusal.ts";
import type { Recipient } from "./recipient.ts";

/** The ciphers, as guests name them in `x-ms-cipher-name`. */
const CIPHERS = {
  AES128_CBC: { name: "aes-128-cbc", oid: "2.16.840.1.101.3.4.1.2", keyBytes: 16, ivBytes: 16 },
  AES256_CBC: { name: "aes-256-cbc", oid: "2.16.840.1.101.3.4.1.42", keyBytes: 32, ivBytes: 16 },
  DES_EDE3_CBC: { name: "des-ede3-cbc", oid: "1.2.840.113549.3.7", keyBytes: 24, ivBytes: 8 },
} as const;

/** What the content is encrypted with. */
export type ContentCipher = keyof typeof CIPHERS;

/** What guests get that name none: those in FIPS mode refuse triple DES. */
export const DEFAULT_CIPHER: ContentCipher = "AES128_CBC";

/** Finds a cipher by its name in `x-ms-cipher-name`; undefined if there is none. */
export function findCipher(name: string): ContentCipher | undefined {
  return Object.hasOwn(CIPHERS, name) ? (name as ContentCipher) : undefined;
}

/**
 * Encrypts to one recipient, with a new key each time. Takes some 0.1 ms for RSA 2048 and the time of the cipher, on
 * the caller's thread.
 *
 * @returns DER of the ContentInfo
 * @throws FabricError ERR_WIRE_CERTIFICATE_REFUSED if the recipient's key is none
 */
export function encryptEnvelope(
  recipient: Recipient,
  content: Uint8Array,
  cipherName: ContentCipher,
): Buffer {
  const { name, oid, keyBytes, ivBytes } = CIPHERS[cipherName];
  const [key, iv] = [randomBytes(keyBytes), randomBytes(ivBytes)];
  const cipher = createCipheriv(name, key, iv);
  const encrypted = Buffer.concat([cipher.update(content), cipher.final()]);
  const encryptedKey = encryptKey(recipient, key);
  const isNamedByKey = recipient.identifier.subjectKeyIdentifier !== undefined;
  const version = isNamedByKey ? CMSVersion.v2 : CMSVersion.v0;
  const ktri = new KeyTransRecipientInfo({
    version,
    rid: recipient.identifier,
    keyEncryptionAlgorithm: new KeyEncryptionAlgorithmIdentifier({
      algorithm: id_rsaEncryption,
      parameters: null,
    }),
    encryptedKey: new OctetString(encryptedKey),
  });
  const enveloped = new EnvelopedData({
    version,
    recipientInfos: new RecipientInfos([new RecipientInfo({ ktri })]),
    encryptedContentInfo: new EncryptedContentInfo({
      contentType: id_data,
      contentEncryptionAlgorithm: new ContentEncryptionAlgorithmIdentifier({
        algorithm: oid,
        parameters: AsnConvert.serialize(new OctetString(iv)),
      }),
      encryptedContent: new EncryptedContent({ value: new OctetString(encrypted) }),
    }),
  });
  const inner = AsnConvert.serialize(enveloped);
  return Buffer.from(
    AsnConvert.serialize(new ContentInfo({ contentType: id_envelopedData, content: inner })),
  );
}

function encryptKey({ publicKey }: Recipient, key: Uint8Array): Buffer {
  try {
    return publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, key);
  } catch (cause) {
    // A modulus may be long enough and no modulus, for example an even number.
    throw refuse("ERR_WIRE_CERTIFICATE_REFUSED", "nothing can be encrypted to this RSA key", cause);
  }
}
