/** Reads from a request what a boot ROM says about itself; nothing is read unless there is something to boot. */

import { type BootImage, selectBootImage } from "./boot.ts";
import type { Assignment } from "./decision.ts";
import { HEADER } from "./header.ts";
import { OPTION, walkOptions } from "./options.ts";
import type { DhcpRequest, OptionSpan } from "./request.ts";

/** iPXE's own options (https://ipxe.org/howto/dhcpd); only iPXE sends it. */
const IPXE_ENCAPSULATED = 175;
const IPXE_CLASS = "iPXE";
/** Type 0, then a GUID (RFC 4578 section 2.3). */
const MACHINE_IDENTIFIER_BYTES = 17;

/** What this client boots, or undefined. */
export function findBootImage(request: DhcpRequest, { boot }: Assignment): BootImage | undefined {
  if (boot === undefined) return undefined;
  const architecture = findOption(request, OPTION.clientArchitecture);
  const isPair = architecture !== undefined && architecture.length >= 2;
  return selectBootImage(boot, {
    vendorClass: readText(request, request.vendorClass),
    isIpxe: isIpxe(request),
    architecture: isPair ? (architecture[0]! << 8) | architecture[1]! : undefined,
  });
}

/** Option 97 as the client sent it, to be echoed; undefined if it is absent or not of the one known form. */
export function readMachineIdentifier(request: DhcpRequest): Uint8Array | undefined {
  const data = findOption(request, OPTION.machineIdentifier);
  return data?.length === MACHINE_IDENTIFIER_BYTES && data[0] === 0 ? data : undefined;
}

/** iPXE sends its class bare; RFC 3004 would have a length octet before it. */
function isIpxe(request: DhcpRequest): boolean {
  const userClass = readText(request, request.userClass);
  if (userClass === IPXE_CLASS || userClass === `\u0004${IPXE_CLASS}`) return true;
  return findOption(request, IPXE_ENCAPSULATED) !== undefined;
}

function readText(request: DhcpRequest, { offset, length }: OptionSpan): string {
  const text = String.fromCharCode(...request.optionBytes.subarray(offset, offset + length));
  return text.replace(/\0+$/, "");
}

/** The first instance of an option in the options field, as it is in the message; undefined if it is absent. */
export function findOption(request: DhcpRequest, code: number): Uint8Array | undefined {
  const { bytes, offset, end } = request;
  let found: Uint8Array | undefined;
  walkOptions(bytes, offset + HEADER.options, end, (seen, start, length) => {
    if (seen !== code) return true;
    found = bytes.subarray(start, start + length);
    return false;
  });
  return found;
}
