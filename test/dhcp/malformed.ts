/**
 * Rows of malformed and odd input: one frame each, through a whole server, with everything that it must count. The id in
 * front of a name is that of the project's list of malformed inputs.
 */

import { expect, test } from "vitest";
import {
  BOOTREPLY,
  type DhcpRequest,
  type DhcpServerOptions,
  encodeMessage,
  HEADER,
  type IgnoredOptionReason,
  type MessageTypeName,
  messageTypeName,
  type OptionProfile,
  type RequestNote,
  type ServerDropReason,
} from "../../src/dhcp/index.ts";
import { checksumOf, sumWords } from "../../src/net/checksum.ts";
import type { InjectOptions } from "../../src/net/memory-frame-socket.ts";
import { type EnvelopeSpec, frameOf, type ReadReply, requestMessage } from "./packets.ts";
import { startServer } from "./test-server.ts";

export interface MalformedRow {
  /** Starts with the id. */
  readonly name: string;
  readonly frame: Uint8Array;
  readonly inject?: InjectOptions;
  readonly server?: Partial<DhcpServerOptions> & { profile?: OptionProfile };
  /** Why it is dropped; absent: it is answered. `port.mismatch` is the chain's. */
  readonly drop?: ServerDropReason | "port.mismatch";
  /** Type of the answer, default DHCPOFFER. */
  readonly reply?: MessageTypeName | "BOOTREPLY";
  /** All that is counted as ignored, in any order. */
  readonly ignored?: readonly IgnoredOptionReason[];
  /** All that is noted, in any order. */
  readonly notes?: readonly RequestNote[];
  /** Looks at the request as the chain sees it. */
  readonly look?: (request: DhcpRequest) => void;
  /** Looks at the answer. */
  readonly check?: (reply: ReadReply) => void;
}

/** Makes one test of each row. */
export function testRows(rows: readonly MalformedRow[]): void {
  test.each(rows.map((row): [string, MalformedRow] => [nameOf(row), row]))("%s", (_name, row) => {
    const look = row.look === undefined ? {} : { look: row.look };
    const { sendFrame, counters } = startServer({ ...row.server, ...look });
    const replies = sendFrame(row.frame, row.inject);
    expect(Object.fromEntries(counters.drops)).toEqual(
      row.drop === undefined ? {} : { [row.drop]: 1 },
    );
    const want = row.drop === undefined ? [row.reply ?? "DHCPOFFER"] : [];
    expect(replies.map(({ message }) => messageTypeName(message) ?? "BOOTREPLY")).toEqual(want);
    const ignored = Object.entries(counters.ignoredOptions).filter(([, count]) => count > 0);
    expect(ignored.sort()).toEqual((row.ignored ?? []).map((reason) => [reason, 1]).sort());
    expect(Object.fromEntries(counters.notes)).toEqual(
      Object.fromEntries((row.notes ?? []).map((note) => [note, 1])),
    );
    for (const reply of replies) {
      expect(reply.message.op).toBe(BOOTREPLY);
      row.check?.(reply);
    }
  });
}

function nameOf({ name, drop, reply, ignored }: MalformedRow): string {
  const result =
    drop === undefined ? `is answered, ${reply ?? "DHCPOFFER"}` : `is dropped, ${drop}`;
  return ignored === undefined
    ? `${name}: ${result}`
    : `${name}: ${result}, ignoring ${ignored.join()}`;
}

/** Octets of a frame: of the Ethernet, IPv4 and UDP header, and of the message. */
export const AT = { ethernet: 0, ip: 14, udp: 34, message: 42 } as const;

/** A header with these octets as options, nothing added; the type is in the options. */
export function payload(options: readonly number[], ...changes: Change[]): Uint8Array {
  const message = encodeMessage(requestMessage({ type: "DHCPDISCOVER" }));
  const bytes = Uint8Array.of(...message.slice(0, HEADER.options), ...options);
  for (const change of changes) change(bytes);
  return bytes;
}

/** The same in a frame. */
export function frame(
  options: readonly number[],
  envelope: EnvelopeSpec = {},
  ...changes: Change[]
): Uint8Array {
  return frameOf(payload(options, ...changes), envelope);
}

export type Change = (bytes: Uint8Array) => void;

/** Writes octets at an offset. */
export const put =
  (offset: number, ...values: readonly number[]): Change =>
  (bytes) =>
    bytes.set(values, offset);

/** A frame with octets of its headers changed, and the checksum of the IP header right again. */
export function withHeader(good: Uint8Array, offset: number, ...values: number[]): Uint8Array {
  const bytes = good.slice();
  bytes.set(values, offset);
  if (offset < AT.ip || offset >= AT.udp) return bytes;
  const view = new DataView(bytes.buffer);
  view.setUint16(AT.ip + 10, 0);
  view.setUint16(AT.ip + 10, checksumOf(sumWords(view, AT.ip, AT.udp, 0)));
  return bytes;
}

export const times = (count: number, octet: number): number[] =>
  Array.from({ length: count }, () => octet);

export const DISCOVER = [53, 1, 1];
export const REQUEST = [53, 1, 3];
export const END = 255;
