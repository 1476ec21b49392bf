/** Object identifiers that no package of the library names. */

export const PBES2 = "1.2.840.113549.1.5.13";
export const PBKDF2 = "1.2.840.113549.1.5.12";
export const HMAC_SHA256 = "1.2.840.113549.2.9";
export const AES_256_CBC = "2.16.840.1.101.3.4.1.42";
/** Of PKCS#9: ties a key to its certificate. */
export const LOCAL_KEY_ID = "1.2.840.113549.1.9.21";
/** pbeWithSHAAnd3-KeyTripleDES-CBC: what tools took for keys before PBES2. */
export const PBE_SHA1_3DES = "1.2.840.113549.1.12.1.3";
/** pbeWithSHAAnd40BitRC2-CBC: what they took for certificates. */
export const PBE_SHA1_RC2_40 = "1.2.840.113549.1.12.1.6";

/** Of PBKDF2; without one it is SHA-1. */
export const PSEUDO_RANDOM_FUNCTIONS: Readonly<Record<string, string>> = {
  "1.2.840.113549.2.7": "sha1",
  "1.2.840.113549.2.9": "sha256",
  "1.2.840.113549.2.10": "sha384",
  "1.2.840.113549.2.11": "sha512",
};

/** Of PBES2, as Node names them. */
export const BLOCK_CIPHERS: Readonly<Record<string, { name: string; keyBytes: number }>> = {
  "1.2.840.113549.3.7": { name: "des-ede3-cbc", keyBytes: 24 },
  "2.16.840.1.101.3.4.1.2": { name: "aes-128-cbc", keyBytes: 16 },
  "2.16.840.1.101.3.4.1.22": { name: "aes-192-cbc", keyBytes: 24 },
  "2.16.840.1.101.3.4.1.42": { name: "aes-256-cbc", keyBytes: 32 },
};

/** Of the MAC of a PKCS#12 file. */
export const DIGESTS: Readonly<Record<string, "sha1" | "sha256" | "sha384" | "sha512">> = {
  "1.3.14.3.2.26": "sha1",
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
};
