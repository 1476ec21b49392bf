/** Reads from a request what a boot ROM says about itself; nothing is read unless there is something to boot. */

import { type BootImage, selectBootImage } from "./boot.ts";
import type { Assignment } from "./decision.ts";
import type { DhcpRequest } from "./request.ts";
import { isIpxe, readClientArchitectures, readVendorClass } from "./request-options.ts";

/** What this client boots, or undefined. */
export function findBootImage(request: DhcpRequest, { boot }: Assignment): BootImage | undefined {
  if (boot === undefined) return undefined;
  return selectBootImage(boot, {
    vendorClass: readVendorClass(request) ?? "",
    isIpxe: isIpxe(request),
    architecture: readClientArchitectures(request)?.[0],
  });
}
