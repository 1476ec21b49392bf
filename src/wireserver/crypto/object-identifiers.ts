/** Object identifiers that no package of the library names. */

export const PBES2 = "1.2.840.113549.1.5.13";
export const PBKDF2 = "1.2.840.113549.1.5.12";
export const HMAC_SHA256 = "1.2.840.113549.2.9";
export const AES_256_CBC = "2.16.840.1.101.3.4.1.42";
/** Of PKCS#9: ties a key to its certificate. */
export const LOCAL_KEY_ID = "1.2.840.113549.1.9.21";
