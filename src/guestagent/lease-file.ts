/**
 * Finds the wire server's address, DHCP option 245, in what a DHCP client wrote down. Clients write it in many
 * ways; none of them knows the option, so each shows four bytes as it shows unknown options.
 */

import { type Ipv4Address, parseIpv4, readIpv4 } from "../model/ipv4-address.ts";

/** `opt245` is udhcpc's, `OPTION_245` systemd-networkd's, `private_245` NetworkManager's. */
const KEY_VALUE = /^\s*(?:export\s+)?(?:opt|option_|private_|unknown_)245\s*=\s*(.*?)\s*$/im;

/** `unknown-245` is ISC dhclient's, `option-245` OpenBSD's. */
const ISC_OPTION = /\boption\s+(?:unknown|option)-245\s+("(?:[^"\\]|\\.)*"|[^;\s]+)\s*;/;
const ISC_LEASE = /\blease\s*\{((?:"(?:[^"\\]|\\.)*"|[^"}])*)\}/g;
const ISC_EXPIRE =
  /\bexpire\s+(?:(never)|epoch\s+(\d+)|\d\s+(\d+)\/(\d+)\/(\d+)\s+(\d+):(\d+):(\d+))/;

/**
 * Reads option 245 from a lease file, in any of the forms above.
 *
 * @param nowMs - since 1970; ISC leases that expired before are passed over, of the others the last counts
 * @returns undefined if no usable lease carries the option
 */
export function findEndpointInLease(text: string, nowMs: number): Ipv4Address | undefined {
  const pair = KEY_VALUE.exec(text);
  if (pair !== null) return parseOptionText(pair[1]!);
  let found: Ipv4Address | undefined;
  for (const [, lease = ""] of text.matchAll(ISC_LEASE)) {
    const option = ISC_OPTION.exec(lease);
    if (option !== null && !isExpired(lease, nowMs)) found = parseOptionText(option[1]!) ?? found;
  }
  return found;
}

function isExpired(lease: string, nowMs: number): boolean {
  const [, never, epoch, ...date] = ISC_EXPIRE.exec(lease) ?? [];
  if (never !== undefined) return false;
  if (epoch !== undefined) return Number(epoch) * 1000 <= nowMs;
  const [year, month, day, hour, minute, second] = date.map(Number);
  if (year === undefined) return false; // No date at all: a BOOTP lease, which does not expire.
  return Date.UTC(year, month! - 1, day, hour, minute, second) <= nowMs;
}

/** The four bytes as hexadecimal with or without colons, as a quoted string, or as an address. */
function parseOptionText(text: string): Ipv4Address | undefined {
  if (/^".*"$/s.test(text)) {
    const inner = text.slice(1, -1);
    return parseBare(inner) ?? fromBytes(unescapeBytes(inner));
  }
  return parseBare(text.replace(/^'(.*)'$/, "$1"));
}

function parseBare(text: string): Ipv4Address | undefined {
  if (/^(?:0x)?[0-9a-f]{8}$/i.test(text)) {
    return fromBytes(text.slice(-8).match(/../g)!.map(fromHex));
  }
  if (/^[0-9a-f]{1,2}(?::[0-9a-f]{1,2}){3}$/i.test(text)) {
    return fromBytes(text.split(":").map(fromHex));
  }
  try {
    return parseIpv4(text);
  } catch {
    return undefined;
  }
}

/** dhclient writes printable bytes as they are and others as `\ooo`. */
function unescapeBytes(text: string): number[] {
  return [...text.matchAll(/\\([0-7]{3})|\\?(.)/gs)].map(([, octal, character]) =>
    octal === undefined ? character!.charCodeAt(0) : Number.parseInt(octal, 8),
  );
}

function fromHex(text: string): number {
  return Number.parseInt(text, 16);
}

function fromBytes(bytes: readonly number[]): Ipv4Address | undefined {
  const valid = bytes.length === 4 && bytes.every((byte) => byte < 256);
  return valid ? readIpv4(Uint8Array.from(bytes), 0) : undefined;
}
