/**
 * The answer to a client's fully qualified domain name (option 81). No server here updates DNS, and the answer says so:
 * the client's wish for an update is overridden, its encoding and its name are echoed unless the inventory knows better.
 *
 * @see RFC 4702 sections 2 and 4
 */

import { findOption } from "./boot-client.ts";
import type { Assignment } from "./decision.ts";
import { type OptionWriter, writeData } from "./option-writer.ts";
import { OPTION, OPTION_DATA_MAX } from "./options.ts";
import type { EncodeCounters } from "./reply-parts.ts";
import type { DhcpRequest } from "./request.ts";

const FLAG_SERVER_UPDATES = 0x01;
const FLAG_OVERRIDDEN = 0x02;
/** The name is in DNS wire format, not ASCII. */
const FLAG_ENCODED = 0x04;
const FLAG_NO_UPDATES = 0x08;
/** The two deprecated result codes say nothing (section 2.2). */
const RCODE = 255;
const HEAD_BYTES = 3;
const LABEL_MAX = 63;

/** Answers option 81 if the client sent it and we have a name for it. */
export function writeClientFqdn(
  writer: OptionWriter,
  request: DhcpRequest,
  { hostname, profile }: Assignment,
  counters: EncodeCounters,
): void {
  const sent = hostname === undefined ? undefined : findOption(request, OPTION.clientFqdn);
  if (sent === undefined || hostname === undefined || sent.length < HEAD_BYTES) return;
  const flags = sent[0]!;
  const wantsServer = (flags & FLAG_SERVER_UPDATES) !== 0;
  const wantsNone = (flags & FLAG_NO_UPDATES) !== 0;
  if (wantsServer && wantsNone) return; // section 2.1 forbids both
  const isEncoded = (flags & FLAG_ENCODED) !== 0;
  const name = profile.domain === undefined ? hostname : `${hostname}.${profile.domain}`;
  const octets = isEncoded ? encodeName(name) : new TextEncoder().encode(name);
  if (octets === undefined || octets.length > OPTION_DATA_MAX - HEAD_BYTES) return;
  const answer =
    FLAG_NO_UPDATES | (isEncoded ? FLAG_ENCODED : 0) | (wantsServer ? FLAG_OVERRIDDEN : 0);
  const data = Uint8Array.of(answer, RCODE, RCODE, ...octets);
  if (!writeData(writer, OPTION.clientFqdn, data)) counters.optionsOmitted++;
}

/** Labels with their lengths, and the root (RFC 1035 section 3.1); undefined if a label is too long. */
function encodeName(name: string): Uint8Array | undefined {
  const octets: number[] = [];
  for (const label of name.split(".")) {
    if (label.length === 0 || label.length > LABEL_MAX) return undefined;
    octets.push(label.length, ...new TextEncoder().encode(label));
  }
  return Uint8Array.of(...octets, 0);
}
