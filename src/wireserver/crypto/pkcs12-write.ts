/** PKCS#12 files (RFC 7292) under the empty password, as guests take them with `openssl pkcs12 -password pass:`. */

import {
  createCipheriv,
  createHmac,
  createPrivateKey,
  hash,
  pbkdf2,
  randomBytes,
  X509Certificate,
} from "node:crypto";
import { promisify } from "node:util";
import {
  ContentEncryptionAlgorithmIdentifier,
  ContentInfo,
  EncryptedContent,
  EncryptedContentInfo,
  id_data,
  id_encryptedData,
} from "@peculiar/asn1-cms";
import {
  AuthenticatedSafe,
  CertBag,
  id_certBag,
  id_pkcs8ShroudedKeyBag,
  id_x509Certificate,
  MacData,
  PFX,
  PKCS8ShroudedKeyBag,
  PKCS12Attribute,
  SafeBag,
  SafeContents,
} from "@peculiar/asn1-pfx";
import { DigestInfo, sha256 } from "@peculiar/asn1-rsa";
import { AsnConvert, AsnSerializer, OctetString } from "@peculiar/asn1-schema";
import { AlgorithmIdentifier } from "@peculiar/asn1-x509";
import { Integer, Null, ObjectIdentifier, OctetString as RawOctets, Sequence } from "asn1js";
import { AES_256_CBC, HMAC_SHA256, LOCAL_KEY_ID, PBES2, PBKDF2 } from "./object-identifiers.ts";
import { derivePkcs12Key } from "./pkcs12-key.ts";

const PFX_VERSION = 3;
/** The password protects nothing, since it is empty; as many as OpenSSL takes, because some clients refuse fewer. */
const ITERATIONS = 2_048;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
const IV_BYTES = 16;
/** As PBKDF2 has it. {@link derivePkcs12Key} adds the two octets that end it where PKCS#12's own derivation is used. */
const PASSWORD = "";

const deriveKey = promisify(pbkdf2);
const { serialize } = AsnConvert;

/** A certificate, with its key or without. */
export interface PfxEntry {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS#8. Never a key without its certificate: clients look each key's certificate up. */
  readonly privateKey?: string;
}

/**
 * Makes a file of certificates and keys: PBES2 with PBKDF2, HMAC-SHA-256 and AES-256-CBC, and a MAC with SHA-256.
 * RC2-40, which many tools still take for certificates, cannot be read since OpenSSL 3.
 *
 * @throws if an entry is no certificate or no key
 */
export async function writePfx(entries: readonly PfxEntry[]): Promise<Buffer> {
  const keys = entries.filter(({ privateKey }) => privateKey !== undefined);
  const keyBags = await Promise.all(keys.map(keyBagOf));
  const safe = new AuthenticatedSafe([
    await encryptBags(entries.map(certificateBagOf)),
    dataOf(octetsOf(new SafeContents(keyBags))),
  ]);
  const content = octetsOf(safe);
  const pfx = new PFX({ version: PFX_VERSION, authSafe: dataOf(content), macData: macOf(content) });
  return octetsOf(pfx);
}

function certificateBagOf({ certificate, privateKey }: PfxEntry): SafeBag {
  const { raw } = new X509Certificate(certificate);
  const bag = new CertBag({
    certId: id_x509Certificate,
    certValue: serialize(new OctetString(raw)),
  });
  return new SafeBag({
    bagId: id_certBag,
    bagValue: serialize(bag),
    ...(privateKey !== undefined && { bagAttributes: [localKeyId(raw)] }),
  });
}

async function keyBagOf({ certificate, privateKey }: PfxEntry): Promise<SafeBag> {
  const key = createPrivateKey(privateKey ?? "").export({ type: "pkcs8", format: "der" });
  const { algorithm, encrypted } = await encrypt(key);
  const bag = new PKCS8ShroudedKeyBag({
    encryptionAlgorithm: algorithm,
    encryptedData: new OctetString(encrypted),
  });
  return new SafeBag({
    bagId: id_pkcs8ShroudedKeyBag,
    bagValue: serialize(bag),
    bagAttributes: [localKeyId(new X509Certificate(certificate).raw)],
  });
}

/** What ties a key to its certificate. */
function localKeyId(certificate: Uint8Array): PKCS12Attribute {
  const id = hash("sha1", certificate, "buffer");
  const attribute = new PKCS12Attribute();
  attribute.attrId = LOCAL_KEY_ID; // its constructor drops what it is given (2.11.1)
  attribute.attrValues = [serialize(new OctetString(id))];
  return attribute;
}

async function encryptBags(bags: readonly SafeBag[]): Promise<ContentInfo> {
  const { algorithm, encrypted } = await encrypt(octetsOf(new SafeContents([...bags])));
  const info = new EncryptedContentInfo({
    contentType: id_data,
    contentEncryptionAlgorithm: new ContentEncryptionAlgorithmIdentifier(algorithm),
    encryptedContent: new EncryptedContent({ value: new OctetString(encrypted) }),
  });
  const data = new Sequence({ value: [new Integer({ value: 0 }), AsnSerializer.toASN(info)] });
  return new ContentInfo({ contentType: id_encryptedData, content: data.toBER() });
}

async function encrypt(
  octets: Uint8Array,
): Promise<{ readonly algorithm: AlgorithmIdentifier; readonly encrypted: Buffer }> {
  const [salt, iv] = [randomBytes(SALT_BYTES), randomBytes(IV_BYTES)];
  const key = await deriveKey(PASSWORD, salt, ITERATIONS, KEY_BYTES, "sha256");
  const cipher = createCipheriv("aes-256-cbc", key, iv);
  const encrypted = Buffer.concat([cipher.update(octets), cipher.final()]);
  const algorithm = new AlgorithmIdentifier({ algorithm: PBES2, parameters: pbes2(salt, iv) });
  return { algorithm, encrypted };
}

/** PBES2-params of RFC 8018, which no schema of the library has. */
function pbes2(salt: Uint8Array, iv: Uint8Array): ArrayBuffer {
  const algorithm = (oid: string, parameters: Sequence | RawOctets | Null) =>
    new Sequence({ value: [new ObjectIdentifier({ value: oid }), parameters] });
  const derivation = new Sequence({
    value: [
      new RawOctets({ valueHex: salt }),
      new Integer({ value: ITERATIONS }),
      algorithm(HMAC_SHA256, new Null()),
    ],
  });
  const cipher = algorithm(AES_256_CBC, new RawOctets({ valueHex: iv }));
  return new Sequence({ value: [algorithm(PBKDF2, derivation), cipher] }).toBER();
}

function macOf(content: Uint8Array): MacData {
  const salt = randomBytes(SALT_BYTES);
  const key = derivePkcs12Key({
    ...{ digest: "sha256", password: PASSWORD, salt, iterations: ITERATIONS },
    ...{ purpose: "mac", bytes: KEY_BYTES },
  });
  const digest = createHmac("sha256", key).update(content).digest();
  return new MacData({
    mac: new DigestInfo({ digestAlgorithm: sha256, digest: new OctetString(digest) }),
    macSalt: new OctetString(salt),
    iterations: ITERATIONS,
  });
}

function dataOf(content: Uint8Array): ContentInfo {
  return new ContentInfo({ contentType: id_data, content: serialize(new OctetString(content)) });
}

function octetsOf(value: unknown): Buffer {
  return Buffer.from(serialize(value));
}
