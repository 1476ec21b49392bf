/** Counts what is odd about a request and changes nothing about its answer. */

import { countDrop, type RequestNote } from "./counters.ts";
import type { Assignment } from "./decision.ts";
import type { DhcpRequest } from "./request.ts";
import type { RequestClass } from "./rules.ts";

/** Counts the oddities of one classified request. */
export function countRequestNotes(
  notes: Map<string, number>,
  { kind }: RequestClass,
  request: DhcpRequest,
  assignment: Assignment | undefined,
): void {
  if (kind === "INIT") return;
  const { ciaddr, hasRequestedAddress, requestedAddress } = request;
  if (ciaddr !== 0 && hasRequestedAddress && requestedAddress !== ciaddr) note(notes, "req.50ne");
  if (request.hasServerIdentifier && request.serverIdentifier === 0) note(notes, "req.54zero");
  if (kind !== "INFORM" || assignment === undefined) return;
  if (ciaddr !== 0 && ciaddr !== assignment.address) note(notes, "inform.foreign");
}

function note(notes: Map<string, number>, name: RequestNote): void {
  countDrop(notes, name);
}
