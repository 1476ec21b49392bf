/** Ethernet addresses: a 48-bit integer in a number, so that a Map key is read straight from a frame. */

/** A 48-bit EUI-48 address, first octet most significant. Only {@link parseMac} and the readers below make one. */
export type MacAddress = number & { readonly __brand: "MacAddress" };

/** ff:ff:ff:ff:ff:ff */
export const MAC_BROADCAST = 0xffff_ffff_ffff as MacAddress;

/** One more than the largest address. */
export const MAC_SPACE = 2 ** 48;

const MAC_TEXT = /^[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}$/i;

/**
 * Parses `00:0d:3a:01:02:03` or `00-0D-3A-01-02-03`.
 *
 * @throws SyntaxError if the text is not six two-digit hexadecimal octets with one kind of separator
 */
export function parseMac(text: string): MacAddress {
  if (!MAC_TEXT.test(text)) {
    throw new SyntaxError(`"${text}" is not a MAC address; write it as 00:0d:3a:01:02:03`);
  }
  return Number.parseInt(text.replaceAll(/[:-]/g, ""), 16) as MacAddress;
}

/** Lower-case, colon-separated. */
export function formatMac(mac: MacAddress): string {
  return mac
    .toString(16)
    .padStart(12, "0")
    .replaceAll(/(..)(?!$)/g, "$1:");
}

/** Reads six octets at `offset`, network byte order. The caller has checked the bounds. */
export function readMac(bytes: Uint8Array, offset: number): MacAddress {
  const high = (bytes[offset]! << 8) | bytes[offset + 1]!;
  const low =
    ((bytes[offset + 2]! << 24) |
      (bytes[offset + 3]! << 16) |
      (bytes[offset + 4]! << 8) |
      bytes[offset + 5]!) >>>
    0;
  return (high * 2 ** 32 + low) as MacAddress;
}

/** Writes six octets at `offset`, network byte order. The caller has checked the bounds. */
export function writeMac(bytes: Uint8Array, offset: number, mac: MacAddress): void {
  const high = Math.floor(mac / 2 ** 32);
  const low = mac >>> 0; // modulo 2^32, without the cost of a division
  bytes[offset] = high >>> 8;
  bytes[offset + 1] = high;
  bytes[offset + 2] = low >>> 24;
  bytes[offset + 3] = low >>> 16;
  bytes[offset + 4] = low >>> 8;
  bytes[offset + 5] = low;
}

/** True for group (multicast and broadcast) addresses: the low bit of the first octet is set. */
export function isGroupMac(mac: MacAddress): boolean {
  return ((mac / 2 ** 40) & 1) === 1;
}

/** The address `count` after `mac`. The caller stays inside the 48-bit space. */
export function macPlus(mac: MacAddress, count: number): MacAddress {
  return (mac + count) as MacAddress;
}
