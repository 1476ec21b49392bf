/** Keys from passwords as PKCS#12 makes them (RFC 7292, appendix B). */

import { hash } from "node:crypto";

/** What a key is for. */
export const KEY_FOR = { encryption: 1, iv: 2, mac: 3 } as const;

const BLOCK_BYTES = { sha1: 64, sha256: 64, sha384: 128, sha512: 128 };

/** A digest that PKCS#12 files use. */
export type Pkcs12Digest = keyof typeof BLOCK_BYTES;

/**
 * Derives a key. The password is taken as UTF-16, big endian, with two zero octets at its end: so the empty password is
 * those two octets, as OpenSSL has it for `pass:`.
 */
export function derivePkcs12Key(options: {
  readonly digest: Pkcs12Digest;
  readonly password: string;
  readonly salt: Uint8Array;
  readonly iterations: number;
  readonly purpose: keyof typeof KEY_FOR;
  readonly bytes: number;
}): Buffer {
  const { digest, password, salt, iterations, purpose, bytes } = options;
  const characters = Buffer.from(`${password}\0`, "utf16le").swap16();
  const block = BLOCK_BYTES[digest];
  const diversifier = Buffer.alloc(block, KEY_FOR[purpose]);
  const input = Buffer.concat([fillBlocks(salt, block), fillBlocks(characters, block)]);
  const made: Buffer[] = [];
  for (let length = 0; length < bytes; ) {
    let key: Buffer = hash(digest, Buffer.concat([diversifier, input]), "buffer");
    for (let round = 1; round < iterations; round++) key = hash(digest, key, "buffer");
    made.push(key);
    length += key.length;
    addToBlocks(input, key, block);
  }
  return Buffer.concat(made).subarray(0, bytes);
}

/** Repeats octets until they fill whole blocks. */
function fillBlocks(octets: Uint8Array, block: number): Buffer {
  const length = Math.ceil(octets.length / block) * block;
  return octets.length === 0 ? Buffer.alloc(0) : Buffer.alloc(length, octets);
}

/** Adds the key, repeated to a block, and one to each block, without the last carry. */
function addToBlocks(blocks: Buffer, key: Uint8Array, block: number): void {
  for (let start = 0; start < blocks.length; start += block) {
    let carry = 1;
    for (let at = block - 1; at >= 0; at--) {
      carry += blocks[start + at]! + key[at % key.length]!;
      blocks[start + at] = carry & 0xff;
      carry >>= 8;
    }
  }
}
