/** Replies that are wrong on purpose: what a container's playbook does to them. */
import type { DhcpFault } from "../model/playbook.ts";
import { UDP_PAYLOAD_OFFSET } from "../net/frame.ts";
import { FRAME_BYTES_MAX, type TransmitBuffer } from "../net/frame-socket.ts";
import type { Assignment } from "./decision.ts";
import { CLIENT_PORT, HEADER, MESSAGE_BYTES_MIN } from "./header.ts";
import { OPTION } from "./options.ts";
import type { ReplyDestination } from "./reply-destination.ts";
import { type Reply, yiaddrOf } from "./reply-parts.ts";
import type { DhcpRequest } from "./request.ts";

/** What is wrong with the next reply of a kind to whom this was assigned. Asked for each reply; it counts. */
export type FindReplyFault = (
  assignment: Assignment,
  reply: "offer" | "ack",
) => DhcpFault | undefined;

/** Of option 245. */
const ADDRESS_BYTES = 4;
const SHORT_BYTES = 3;
const LONG_BYTES = 8;
/** Of the UDP header. */
const CHECKSUM_OFFSET = UDP_PAYLOAD_OFFSET - 2;
const NOT_THE_SUM = 0x5555;

/** The fault of a reply, if it has one. A refusal and a BOOTP reply are never made wrong. */
export function findFault(find: FindReplyFault | undefined, reply: Reply): DhcpFault | undefined {
  if (find === undefined) return undefined;
  if (reply.type === "DHCPNAK" || reply.type === "BOOTREPLY") return undefined;
  return find(reply.assignment, reply.type === "DHCPOFFER" ? "offer" : "ack");
}

/** Where a reply with this fault goes. */
export function faultyDestination(
  fault: DhcpFault,
  request: DhcpRequest,
  reply: Reply,
  destination: ReplyDestination,
): ReplyDestination {
  const isMoved = fault.unicast === true && reply.type === "DHCPOFFER" && request.giaddr === 0;
  if (!isMoved) return destination;
  return { mac: request.chaddr, address: yiaddrOf(reply), port: CLIENT_PORT };
}

/**
 * Changes the options of an encoded reply in place.
 *
 * @param length - of the message, which begins at `UDP_PAYLOAD_OFFSET`
 * @returns its length now
 */
export function spoilOptions({ bytes }: TransmitBuffer, length: number, fault: DhcpFault): number {
  if (fault.option245 === undefined && fault.padBefore245 === undefined) return length;
  const start = UDP_PAYLOAD_OFFSET + HEADER.options;
  const options = bytes.slice(start, UDP_PAYLOAD_OFFSET + length);
  bytes.fill(0, start, UDP_PAYLOAD_OFFSET + length);
  let cursor = start;
  for (let at = 0; options[at] !== OPTION.end; ) {
    const size = 2 + options[at + 1]!;
    const option = options.subarray(at, at + size);
    const written = option[0] === OPTION.wireServer ? spoil245(option, fault) : option;
    // An option that would not fit is kept as it was, and there is room for that.
    const fits = cursor + written.length + options.length - at < FRAME_BYTES_MAX;
    bytes.set(fits ? written : option, cursor);
    cursor += (fits ? written : option).length;
    at += size;
  }
  bytes[cursor++] = OPTION.end;
  return Math.max(cursor - UDP_PAYLOAD_OFFSET, MESSAGE_BYTES_MIN);
}

function spoil245(option: Uint8Array, { option245, padBefore245 = 0 }: DhcpFault): Uint8Array {
  if (option245 === "absent") return new Uint8Array();
  const lengths = { short: SHORT_BYTES, long: LONG_BYTES };
  const length = option245 === undefined ? ADDRESS_BYTES : lengths[option245];
  const written = new Uint8Array(padBefore245 + 2 + length);
  written.set([option[0]!, length], padBefore245);
  written.set(option.subarray(2, 2 + length), padBefore245 + 2);
  return written;
}

/** After the headers were written. 0 would say that there is no checksum. */
export function spoilChecksum({ view }: TransmitBuffer): void {
  const right = view.getUint16(CHECKSUM_OFFSET);
  view.setUint16(CHECKSUM_OFFSET, right === NOT_THE_SUM ? 1 : right ^ NOT_THE_SUM);
}
