/** Keys from passwords as PKCS#12 makes them (RFC 7292, appendix B). */

import { hash } from "node:crypto";

/** What a key is for. */
export const KEY_FOR = { encryption: 1, iv: 2, mac: 3 } as const;

const BLOCK_BYTES = 64; // of SHA-1 and SHA-256

/**
 * Derives a key. The password is taken as UTF-16, big endian, with two zero octets at its end: so the empty password is
 * those two octets, as OpenSSL has it for `pass:`.
 */
export function derivePkcs12Key(options: {
  readonly digest: "sha1" | "sha256";
  readonly password: string;
  readonly salt: Uint8Array;
  readonly iterations: number;
  readonly purpose: keyof typeof KEY_FOR;
  readonly bytes: number;
}): Buffer {
  const { digest, password, salt, iterations, purpose, bytes } = options;
  const characters = Buffer.from(`${password}\0`, "utf16le").swap16();
  const diversifier = Buffer.alloc(BLOCK_BYTES, KEY_FOR[purpose]);
  const input = Buffer.concat([fillBlocks(salt), fillBlocks(characters)]);
  const made: Buffer[] = [];
  for (let length = 0; length < bytes; ) {
    let key: Buffer = hash(digest, Buffer.concat([diversifier, input]), "buffer");
    for (let round = 1; round < iterations; round++) key = hash(digest, key, "buffer");
    made.push(key);
    length += key.length;
    addToBlocks(input, key);
  }
  return Buffer.concat(made).subarray(0, bytes);
}

/** Repeats octets until they fill whole blocks. */
function fillBlocks(octets: Uint8Array): Buffer {
  const length = Math.ceil(octets.length / BLOCK_BYTES) * BLOCK_BYTES;
  return octets.length === 0 ? Buffer.alloc(0) : Buffer.alloc(length, octets);
}

/** Adds the key, repeated to a block, and one to each block, without the last carry. */
function addToBlocks(blocks: Buffer, key: Uint8Array): void {
  for (let block = 0; block < blocks.length; block += BLOCK_BYTES) {
    let carry = 1;
    for (let at = BLOCK_BYTES - 1; at >= 0; at--) {
      carry += blocks[block + at]! + key[at % key.length]!;
      blocks[block + at] = carry & 0xff;
      carry >>= 8;
    }
  }
}
