/**
 * The answer to a client's fully qualified domain name (option 81). No server here updates DNS, and the answer says so:
 * the client's wish for an update is overridden, its encoding and its name are echoed unless the inventory knows better.
 *
 * @see RFC 4702 sections 2 and 4
 */

import type { Assignment } from "./decision.ts";
import {
  FQDN_ENCODED,
  FQDN_HEAD_BYTES,
  FQDN_NO_UPDATES,
  FQDN_OVERRIDDEN,
  LABEL_MAX,
} from "./option-shapes.ts";
import { type OptionWriter, writeData } from "./option-writer.ts";
import { OPTION, OPTION_DATA_MAX } from "./options.ts";
import { countOmitted, type EncodeCounters } from "./reply-parts.ts";
import type { DhcpRequest } from "./request.ts";
import { readClientFqdn } from "./request-options.ts";

/** The two deprecated result codes say nothing (section 2.2). */
const RCODE = 255;

/** Answers option 81 if the client sent it and we have a name for it. */
export function writeClientFqdn(
  writer: OptionWriter,
  request: DhcpRequest,
  { hostname, profile }: Assignment,
  counters: EncodeCounters,
): void {
  if (hostname === undefined) return;
  const sent = readClientFqdn(request);
  if (sent === undefined) return;
  const name = profile.domain === undefined ? hostname : `${hostname}.${profile.domain}`;
  const octets = sent.isEncoded ? encodeName(name) : new TextEncoder().encode(name);
  if (octets === undefined || octets.length > OPTION_DATA_MAX - FQDN_HEAD_BYTES) return;
  const encoded = sent.isEncoded ? FQDN_ENCODED : 0;
  const overridden = sent.serverUpdates ? FQDN_OVERRIDDEN : 0;
  const answer = FQDN_NO_UPDATES | encoded | overridden;
  const data = Uint8Array.of(answer, RCODE, RCODE, ...octets);
  if (!writeData(writer, OPTION.clientFqdn, data)) countOmitted(counters, OPTION.clientFqdn);
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
