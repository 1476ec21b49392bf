/** Reads PKCS#12 files that users made. */

import {
  createHmac,
  createPrivateKey,
  type KeyObject,
  timingSafeEqual,
  X509Certificate,
} from "node:crypto";
import {
  type ContentInfo,
  EncryptedContentInfo,
  id_data,
  id_encryptedData,
} from "@peculiar/asn1-cms";
import {
  AuthenticatedSafe,
  CertBag,
  id_certBag,
  id_keyBag,
  id_pkcs8ShroudedKeyBag,
  id_x509Certificate,
  type MacData,
  PFX,
  PKCS8ShroudedKeyBag,
  type SafeBag,
  SafeContents,
} from "@peculiar/asn1-pfx";
import { AsnConvert, AsnParser, OctetString } from "@peculiar/asn1-schema";
import { fromBER, Sequence } from "asn1js";
import { DIGESTS } from "./object-identifiers.ts";
import { countOf, decryptWithPassword } from "./password-cipher.ts";
import { derivePkcs12Key } from "./pkcs12-key.ts";

/** What a file holds; which key belongs to which certificate is for the reader to see. */
export interface CertificateFile {
  readonly certificates: readonly X509Certificate[];
  readonly keys: readonly KeyObject[];
}

/**
 * Reads a file: PBES2 or triple DES, with or without a MAC. The time depends on what the file says of its password, on
 * the caller's thread.
 *
 * @throws Error in words for who made the file
 */
export function readPfx(file: Uint8Array, password: string): CertificateFile {
  const pfx = AsnParser.parse(file, PFX);
  const content = dataOf(pfx.authSafe);
  const hasMac = pfx.macData.mac.digestAlgorithm.algorithm !== "";
  if (hasMac && !isUnderMac(pfx.macData, password, content)) {
    throw new Error("its password is another one, or it was changed");
  }
  const bags = AsnParser.parse(content, AuthenticatedSafe).flatMap((safe) => [
    ...AsnParser.parse(contentsOf(safe, password), SafeContents),
  ]);
  return {
    certificates: bags.flatMap(certificatesIn),
    keys: bags.flatMap((bag) => keysIn(bag, password)),
  };
}

function dataOf({ contentType, content }: ContentInfo): Buffer {
  if (contentType !== id_data) throw new Error("it is not protected by a password");
  return Buffer.from(AsnParser.parse(content, OctetString).buffer);
}

function isUnderMac({ mac, macSalt, iterations }: MacData, password: string, content: Uint8Array) {
  const digest = DIGESTS[mac.digestAlgorithm.algorithm];
  if (digest === undefined) throw new Error("its MAC is not known");
  const expected = Buffer.from(mac.digest.buffer);
  const key = derivePkcs12Key({
    ...{ digest, password, salt: Buffer.from(macSalt.buffer) },
    ...{ iterations: countOf(iterations), purpose: "mac", bytes: expected.length },
  });
  const made = createHmac(digest, key).update(content).digest();
  return made.length === expected.length && timingSafeEqual(made, expected);
}

function contentsOf(safe: ContentInfo, password: string): Buffer {
  if (safe.contentType === id_data) return dataOf(safe);
  if (safe.contentType !== id_encryptedData) throw new Error("a part of it is of unknown kind");
  // EncryptedData, for which the library has no schema: a version, and what is encrypted.
  const { result } = fromBER(safe.content);
  const [, info] = result instanceof Sequence ? result.valueBlock.value : [];
  if (info === undefined) throw new Error("a part of it is broken");
  const { contentEncryptionAlgorithm, encryptedContent } = AsnParser.parse(
    info.toBER(),
    EncryptedContentInfo,
  );
  const pieces = encryptedContent?.constructedValue ?? [encryptedContent?.value];
  const octets = Buffer.concat(
    pieces.map((piece) => Buffer.from(piece?.buffer ?? new ArrayBuffer(0))),
  );
  return decryptWithPassword(contentEncryptionAlgorithm, password, octets);
}

function certificatesIn({ bagId, bagValue }: SafeBag): X509Certificate[] {
  if (bagId !== id_certBag) return [];
  const { certId, certValue } = AsnParser.parse(bagValue, CertBag);
  if (certId !== id_x509Certificate) return [];
  return [new X509Certificate(Buffer.from(AsnParser.parse(certValue, OctetString).buffer))];
}

function keysIn({ bagId, bagValue }: SafeBag, password: string): KeyObject[] {
  const read = (der: Uint8Array) =>
    createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" });
  if (bagId === id_keyBag) return [read(Buffer.from(bagValue))];
  if (bagId !== id_pkcs8ShroudedKeyBag) return [];
  const { encryptionAlgorithm, encryptedData } = AsnConvert.parse(bagValue, PKCS8ShroudedKeyBag);
  const encrypted = Buffer.from(encryptedData.buffer);
  return [read(decryptWithPassword(encryptionAlgorithm, password, encrypted))];
}
