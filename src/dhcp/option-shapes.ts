/** Whether the data of an option has the form that its RFC gives it. Works in place and allocates nothing. */

import { HLEN_ETHERNET, HTYPE_ETHERNET } from "./header.ts";

/** Octets of option 81 before the name: flags and two result codes. */
export const FQDN_HEAD_BYTES = 3;
/** The client wants the server to update DNS (S). */
export const FQDN_SERVER_UPDATES = 0x01;
/** The server overrode the client's wish (O). */
export const FQDN_OVERRIDDEN = 0x02;
/** The name is in DNS wire format, not ASCII (E). */
export const FQDN_ENCODED = 0x04;
/** Nobody shall update DNS (N). */
export const FQDN_NO_UPDATES = 0x08;

/** Longest label of a domain name (RFC 1035 section 2.3.4). */
export const LABEL_MAX = 63;
/** Type 0, then a GUID (RFC 4578 section 2.3). */
const MACHINE_IDENTIFIER_BYTES = 17;
/** Enterprise number and length (RFC 3925 section 3). */
const ENTERPRISE_HEAD_BYTES = 5;

/** True if there is nothing but NULs, or nothing at all. */
export function isBlank(bytes: Uint8Array, offset: number, length: number): boolean {
  for (let octet = 0; octet < length; octet++) {
    if (bytes[offset + octet] !== 0) return false;
  }
  return true;
}

/** Option 81: flags that do not contradict each other, and a name. RFC 4702 section 2.1 forbids N with S. */
export function isClientFqdn(bytes: Uint8Array, offset: number, length: number): boolean {
  if (length < FQDN_HEAD_BYTES) return false;
  const flags = bytes[offset]!;
  const both = FQDN_NO_UPDATES | FQDN_SERVER_UPDATES;
  if ((flags & both) === both) return false;
  if ((flags & FQDN_ENCODED) === 0) return true;
  return isWireName(bytes, offset + FQDN_HEAD_BYTES, offset + length);
}

/** Labels that end with the root, or at the end of the data, which makes a partial name; no compression. */
function isWireName(bytes: Uint8Array, start: number, end: number): boolean {
  let cursor = start;
  while (cursor < end) {
    const length = bytes[cursor]!;
    if (length === 0) return true;
    if (length > LABEL_MAX || cursor + 1 + length > end) return false;
    cursor += 1 + length;
  }
  return true;
}

/** Options 124 and 125: blocks of enterprise number, length and data that fill the option. */
export function areEnterpriseBlocks(bytes: Uint8Array, offset: number, length: number): boolean {
  const end = offset + length;
  let cursor = offset;
  while (cursor + ENTERPRISE_HEAD_BYTES <= end) {
    cursor += ENTERPRISE_HEAD_BYTES + bytes[cursor + ENTERPRISE_HEAD_BYTES - 1]!;
  }
  return cursor === end && length > 0;
}

/** Option 97: the one form there is. */
export function isMachineIdentifier(bytes: Uint8Array, offset: number, length: number): boolean {
  return length === MACHINE_IDENTIFIER_BYTES && bytes[offset] === 0;
}

/** Option 61 that is a hardware address of Ethernet (RFC 2132 section 9.14). */
export function isHardwareIdentifier(bytes: Uint8Array, offset: number, length: number): boolean {
  return length === 1 + HLEN_ETHERNET && bytes[offset] === HTYPE_ETHERNET;
}
