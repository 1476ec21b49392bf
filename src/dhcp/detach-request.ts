/** Copies of requests that outlive the frame they came in. */

import { readRequest } from "./read-request.ts";
import { createDhcpRequest, type DhcpRequest } from "./request.ts";

/** Copies a request that was read into memory of its own. Allocates. */
export function detachRequest(request: DhcpRequest): DhcpRequest {
  const bytes = request.bytes.slice(request.offset, request.end);
  const copy = createDhcpRequest();
  readRequest(bytes, new DataView(bytes.buffer), 0, bytes.length, copy);
  return copy;
}
