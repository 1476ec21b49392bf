/**
 * The options of a request beyond what every answer needs, for plugins, boot and tools. Each reader looks only when it is
 * called, checks the form, and returns a copy or a value of its own, so that it may be kept.
 *
 * An option that is absent and one that is malformed are the same here: undefined. The server counts the latter
 * (ignored-options.ts).
 */

import { type Ipv4Address, readIpv4 } from "../model/ipv4-address.ts";
import { KEPT_BITS } from "./kept-options.ts";
import { indexOptions, joinedLengthMax, joinOption } from "./option-index.ts";
import {
  FQDN_ENCODED,
  FQDN_HEAD_BYTES,
  FQDN_NO_UPDATES,
  FQDN_SERVER_UPDATES,
  isClientFqdn,
  isMachineIdentifier,
} from "./option-shapes.ts";
import { OPTION, walkOptions } from "./options.ts";
import type { DhcpRequest, OptionSpan } from "./request.ts";
import { scrubHostname } from "./tenant-text.ts";

/** iPXE's user class, which it sends bare; RFC 3004 would have a length octet before it. */
const IPXE_CLASS = "iPXE";

/**
 * The data of an option, its instances joined (RFC 3396); of option 82 only if a relay sent the message.
 *
 * @param code - 1 to 254
 * @returns a copy, empty if the option has no data; undefined if it is absent
 */
export function readOption(request: DhcpRequest, code: number): Uint8Array | undefined {
  if (!mayHaveOption(request, code)) return undefined;
  const { bytes, index } = request;
  if (!request.isIndexed) {
    indexOptions(bytes, request.offset, request.end, index);
    request.isIndexed = true;
  }
  const lengthMax = joinedLengthMax(index, code);
  if (lengthMax < 0) return undefined;
  const data = new Uint8Array(lengthMax);
  const length = joinOption(bytes, index, code, data, 0);
  return length === lengthMax ? data : data.slice(0, length);
}

/** False if readRequest() did not come across the option, or nobody may believe it. */
function mayHaveOption(request: DhcpRequest, code: number): boolean {
  if (!request.hasCookie || (code === OPTION.relayInformation && request.giaddr === 0))
    return false;
  const bit = KEPT_BITS[code]!;
  return bit === 0 || (request.seen & bit) !== 0;
}

/** Option 93: what the machine can run, in order of preference (RFC 4578 section 2.1, IANA's processor types). */
export function readClientArchitectures(request: DhcpRequest): number[] | undefined {
  const data = readOption(request, OPTION.clientArchitecture);
  if (data === undefined || data.length === 0 || data.length % 2 !== 0) return undefined;
  return Array.from({ length: data.length / 2 }, (_, index) => readPair(data, 2 * index));
}

function readPair(data: Uint8Array, offset: number): number {
  return (data[offset]! << 8) | data[offset + 1]!;
}

/** Option 94: the boot ROM's network interface. Type 1 is UNDI (RFC 4578 section 2.2). */
export interface ClientInterface {
  readonly type: number;
  readonly major: number;
  readonly minor: number;
}

export function readClientInterface(request: DhcpRequest): ClientInterface | undefined {
  const data = readOption(request, OPTION.clientInterface);
  if (data?.length !== 3) return undefined;
  return { type: data[0]!, major: data[1]!, minor: data[2]! };
}

/** Option 97 as the client sent it, to be echoed: type 0 and a GUID (RFC 4578 section 2.3). */
export function readMachineIdentifier(request: DhcpRequest): Uint8Array | undefined {
  const data = readOption(request, OPTION.machineIdentifier);
  return data !== undefined && isMachineIdentifier(data, 0, data.length) ? data : undefined;
}

/** Option 60, one character an octet, without trailing NULs. */
export function readVendorClass(request: DhcpRequest): string | undefined {
  return request.vendorClass.length === 0 ? undefined : readText(request, request.vendorClass);
}

/**
 * Option 77, one character an octet: the list of RFC 3004, or the whole value as one class if its inner lengths do not fill
 * it, as iPXE and others send it.
 */
export function readUserClasses(request: DhcpRequest): string[] | undefined {
  const { offset, length } = request.userClass;
  if (length === 0) return undefined;
  return (
    readCountedTexts(request.optionBytes, offset, offset + length) ?? [
      readText(request, request.userClass),
    ]
  );
}

function readCountedTexts(bytes: Uint8Array, start: number, end: number): string[] | undefined {
  const texts: string[] = [];
  let cursor = start;
  while (cursor < end) {
    const length = bytes[cursor++]!;
    if (length === 0 || cursor + length > end) return undefined;
    texts.push(String.fromCharCode(...bytes.subarray(cursor, cursor + length)));
    cursor += length;
  }
  return texts;
}

function readText(request: DhcpRequest, { offset, length }: OptionSpan): string {
  return textOf(request.optionBytes.subarray(offset, offset + length));
}

/** One character an octet, without trailing NULs. */
function textOf(octets: Uint8Array): string {
  let end = octets.length;
  while (end > 0 && octets[end - 1] === 0) end--;
  return String.fromCharCode(...octets.subarray(0, end));
}

/** True for iPXE: it says so in option 77, or sends its own option 175. */
export function isIpxe(request: DhcpRequest): boolean {
  if (readUserClasses(request)?.includes(IPXE_CLASS) === true) return true;
  return (request.seen & KEPT_BITS[OPTION.ipxeEncapsulated]!) !== 0;
}

/** Option 81: the client's name, and who shall update DNS (RFC 4702 section 2). */
export interface ClientFqdn {
  /** The client wants the server to update DNS (S). */
  readonly serverUpdates: boolean;
  /** Nobody shall (N). Never with `serverUpdates`. */
  readonly noUpdates: boolean;
  /** The name came in DNS wire format, and wants to be answered so (E). */
  readonly isEncoded: boolean;
  /** One character an octet; empty if the client leaves the name to the server. */
  readonly name: string;
  /** False if the name lacks its domain. */
  readonly isComplete: boolean;
}

export function readClientFqdn(request: DhcpRequest): ClientFqdn | undefined {
  const data = readOption(request, OPTION.clientFqdn);
  if (data === undefined || !isClientFqdn(data, 0, data.length)) return undefined;
  const flags = data[0]!;
  const isEncoded = (flags & FQDN_ENCODED) !== 0;
  const octets = data.subarray(FQDN_HEAD_BYTES);
  return {
    serverUpdates: (flags & FQDN_SERVER_UPDATES) !== 0,
    noUpdates: (flags & FQDN_NO_UPDATES) !== 0,
    isEncoded,
    ...(isEncoded ? decodeName(octets) : asciiName(octets)),
  };
}

/** Of a name that isClientFqdn() took. */
function decodeName(octets: Uint8Array): { name: string; isComplete: boolean } {
  const labels: string[] = [];
  let cursor = 0;
  while (cursor < octets.length && octets[cursor] !== 0) {
    const length = octets[cursor++]!;
    labels.push(String.fromCharCode(...octets.subarray(cursor, cursor + length)));
    cursor += length;
  }
  return { name: labels.join("."), isComplete: cursor < octets.length };
}

/** RFC 4702 section 2.3.1: an ASCII name is complete if it ends with a dot, or at least has one. */
function asciiName(octets: Uint8Array): { name: string; isComplete: boolean } {
  const text = textOf(octets);
  return { name: text.endsWith(".") ? text.slice(0, -1) : text, isComplete: text.includes(".") };
}

/** Option 118: the network that the client wants an address of (RFC 3011). */
export function readSubnetSelection(request: DhcpRequest): Ipv4Address | undefined {
  const data = readOption(request, OPTION.subnetSelection);
  return data?.length === 4 ? readIpv4(data, 0) : undefined;
}

/** Option 12 as a name for DNS; undefined if it is absent, or nothing of it can be one. Never taken for an identity. */
export function readHostname(request: DhcpRequest): string | undefined {
  const { offset, length } = request.hostname;
  return scrubHostname(request.optionBytes.subarray(offset, offset + length));
}

/**
 * The options encapsulated in an option such as 43 or 175, by code; the first of a code counts. Whole ones up to the first
 * that runs past the data, or to code 255 (RFC 2132 section 8.4).
 */
export function readSuboptions(data: Uint8Array): Map<number, Uint8Array> {
  const suboptions = new Map<number, Uint8Array>();
  walkOptions(data, 0, data.length, (code, offset, length) => {
    if (!suboptions.has(code)) suboptions.set(code, data.slice(offset, offset + length));
    return true;
  });
  return suboptions;
}
