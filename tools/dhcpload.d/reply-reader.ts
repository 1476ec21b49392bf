/** Reads from a reply what the generator needs, at fixed places and with one walk over the options. */
import type { Ipv4Address } from "../../src/model/ipv4-address.ts";
import { createUdpFrame, readUdpFrame, UDP_PAYLOAD_OFFSET } from "../../src/net/frame.ts";
import type { ReceivedFrame } from "../../src/net/frame-socket.ts";

/** A reply; the object is reused. */
export interface ReplyFields {
  xid: number;
  /** High 16 and low 32 bits of chaddr. */
  macHigh: number;
  macLow: number;
  yiaddr: Ipv4Address;
  /** Option 53, 0 if absent. */
  messageType: number;
  /** Option 54, 0 if absent. */
  serverIdentifier: Ipv4Address;
}

export function createReplyFields(): ReplyFields {
  const none = 0 as Ipv4Address;
  return {
    xid: 0,
    macHigh: 0,
    macLow: 0,
    yiaddr: none,
    messageType: 0,
    serverIdentifier: none,
  };
}

const OPTIONS = UDP_PAYLOAD_OFFSET + 240;

/** Fills `out`. @returns false if the frame is too short or its options run past its end */
export function readReply(
  { bytes, view, offset, length }: ReceivedFrame,
  out: ReplyFields,
): boolean {
  if (length < OPTIONS) return false;
  const message = offset + UDP_PAYLOAD_OFFSET;
  out.xid = view.getUint32(message + 4);
  out.yiaddr = view.getUint32(message + 16) as Ipv4Address;
  out.macHigh = view.getUint16(message + 28);
  out.macLow = view.getUint32(message + 30);
  out.messageType = 0;
  out.serverIdentifier = 0 as Ipv4Address;
  const end = offset + length;
  let cursor = offset + OPTIONS;
  while (cursor + 1 < end) {
    const code = bytes[cursor]!;
    if (code === 255) return true;
    if (code === 0) {
      cursor += 1;
      continue;
    }
    const next = cursor + 2 + bytes[cursor + 1]!;
    if (next > end) return false;
    if (code === 53) out.messageType = bytes[cursor + 2]!;
    if (code === 54) {
      out.serverIdentifier = view.getUint32(cursor + 2) as Ipv4Address;
      if (out.messageType !== 0) return true;
    }
    cursor = next;
  }
  return true;
}

const udp = createUdpFrame();

/** Checks headers and checksums as a client does. @returns the rule that is broken, or undefined */
export function findFault(frame: ReceivedFrame): string | undefined {
  return readUdpFrame(frame, udp);
}
