/** Decrypts what a password protects: PBES2 (RFC 8018), and what PKCS#12 files had before it. */

import { createDecipheriv, pbkdf2Sync } from "node:crypto";
import type { AlgorithmIdentifier } from "@peculiar/asn1-x509";
import { fromBER, Integer, ObjectIdentifier, OctetString, Sequence } from "asn1js";
import {
  BLOCK_CIPHERS,
  PBE_SHA1_3DES,
  PBE_SHA1_RC2_40,
  PBES2,
  PBKDF2,
  PSEUDO_RANDOM_FUNCTIONS,
} from "./object-identifiers.ts";
import { derivePkcs12Key } from "./pkcs12-key.ts";

/** More than any tool takes; a file cannot keep the reader busy for minutes. */
export const ITERATIONS_MAX = 1_000_000;

/** @throws Error in words for who made the file */
export function decryptWithPassword(
  { algorithm, parameters }: AlgorithmIdentifier,
  password: string,
  encrypted: Uint8Array,
): Buffer {
  const values = sequence(parse(parameters ?? new ArrayBuffer(0)));
  if (algorithm === PBES2) return decryptPbes2(values, password, encrypted);
  if (algorithm === PBE_SHA1_3DES) return decryptTripleDes(values, password, encrypted);
  const name = algorithm === PBE_SHA1_RC2_40 ? "RC2 with 40 bits" : `cipher ${algorithm}`;
  throw new Error(`it is encrypted with ${name}, which is not read; make it anew with AES`);
}

function decryptPbes2(values: readonly unknown[], password: string, encrypted: Uint8Array): Buffer {
  const [derivation, scheme] = values.map(sequence);
  const [kind, options] = derivation ?? [];
  if (identifier(kind) !== PBKDF2) throw new Error("its key is not derived with PBKDF2");
  const [salt, iterations, ...rest] = sequence(options);
  const [prf] = rest.filter((each) => each instanceof Sequence);
  const digest =
    PSEUDO_RANDOM_FUNCTIONS[prf === undefined ? SHA1_PRF : identifier(sequence(prf)[0])];
  const cipher = BLOCK_CIPHERS[identifier(scheme?.[0])];
  if (digest === undefined || cipher === undefined) throw new Error("its cipher is not known");
  const key = pbkdf2Sync(password, octets(salt), count(iterations), cipher.keyBytes, digest);
  return decrypt(cipher.name, key, octets(scheme?.[1]), encrypted);
}

const SHA1_PRF = "1.2.840.113549.2.7";

function decryptTripleDes(
  [salt, iterations]: readonly unknown[],
  password: string,
  encrypted: Uint8Array,
): Buffer {
  const options = { digest: "sha1", password, salt: octets(salt), iterations: count(iterations) };
  const derive = (purpose: "encryption" | "iv", bytes: number) =>
    derivePkcs12Key({ ...options, digest: "sha1", purpose, bytes });
  return decrypt("des-ede3-cbc", derive("encryption", 24), derive("iv", 8), encrypted);
}

function decrypt(name: string, key: Uint8Array, iv: Uint8Array, encrypted: Uint8Array): Buffer {
  const decipher = createDecipheriv(name, key, iv);
  return Buffer.concat([decipher.update(encrypted), decipher.final()]);
}

/** @throws Error if it is no positive number, or too large a one */
export function countOf(value: number): number {
  if (Number.isSafeInteger(value) && value >= 1 && value <= ITERATIONS_MAX) return value;
  throw new Error(`its password is hashed ${value} times; at most ${ITERATIONS_MAX} are`);
}

function parse(der: ArrayBuffer): unknown {
  const { offset, result } = fromBER(der);
  if (offset === -1) throw new Error("the parameters of its cipher are broken");
  return result;
}

function sequence(value: unknown): readonly unknown[] {
  if (value instanceof Sequence) return value.valueBlock.value;
  throw new Error("the parameters of its cipher are broken");
}

function identifier(value: unknown): string {
  return value instanceof ObjectIdentifier ? value.valueBlock.toString() : "";
}

function octets(value: unknown): Buffer {
  if (value instanceof OctetString) return Buffer.from(value.valueBlock.valueHexView);
  throw new Error("the parameters of its cipher are broken");
}

function count(value: unknown): number {
  return countOf(value instanceof Integer ? value.valueBlock.valueDec : Number.NaN);
}
