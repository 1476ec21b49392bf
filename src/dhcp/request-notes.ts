/** Counts what is odd about a request and changes nothing about its answer. */

import { readMac } from "../model/mac-address.ts";
import type { UdpFrame } from "../net/frame.ts";
import { countDrop, type RequestNote } from "./counters.ts";
import type { Assignment } from "./decision.ts";
import { CLIENT_PORT } from "./header.ts";
import { isHardwareIdentifier } from "./option-shapes.ts";
import type { DhcpRequest } from "./request.ts";
import type { RequestClass } from "./rules.ts";

/** Counts the oddities of the datagram, and of who it says that it is from. */
export function countFrameNotes(
  notes: Map<string, number>,
  udp: UdpFrame,
  request: DhcpRequest,
): void {
  if (udp.sourcePort !== CLIENT_PORT && request.giaddr === 0) note(notes, "udp.srcport");
  if (udp.hasPartialChecksum) note(notes, "udp.csum.partial");
  const { offset, length } = request.clientIdentifier;
  if (!isHardwareIdentifier(request.optionBytes, offset, length)) return;
  if (readMac(request.optionBytes, offset + 1) !== request.chaddr) note(notes, "clientid.mismatch");
}

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
