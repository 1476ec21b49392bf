/** What a relay agent tells the server in option 82 beside who the client is (RFC 3046). */

import { readIpv4 } from "../model/ipv4-address.ts";
import { IGNORED } from "./ignored-options.ts";
import { type DhcpRequest, NO_ADDRESS } from "./request.ts";

/** Sub-options of option 82 that are read or written here (RFC 3046, 3527, 5010, 5107, 8357). */
export const RELAY_OPTION = {
  circuitId: 1,
  remoteId: 2,
  linkSelection: 5,
  flags: 10,
  serverIdentifierOverride: 11,
  sourcePort: 19,
} as const;

/** The client sent its message to one address (RFC 5010 section 4). */
export const RELAY_FLAG_UNICAST = 0x80;

/** Forgets what an earlier message's relay said. */
export function clearRelayInformation(request: DhcpRequest): void {
  request.linkSelection = NO_ADDRESS;
  request.serverIdentifierOverride = NO_ADDRESS;
  request.relayedUnicast = false;
  request.relaySourcePort = false;
}

/** Reads the sub-options of option 82 that change how we reply. If one overruns, none counts; the echo stays whole. */
export function readRelayInformation(request: DhcpRequest): void {
  const { offset, length } = request.relayInformation;
  const bytes = request.optionBytes;
  const end = offset + length;
  let cursor = offset;
  while (cursor < end) {
    const code = bytes[cursor]!;
    const size = cursor + 1 < end ? bytes[cursor + 1]! : end;
    cursor += 2;
    if (cursor + size > end) {
      clearRelayInformation(request);
      request.ignored |= IGNORED["rai.malformed"];
      return;
    }
    if (code === RELAY_OPTION.linkSelection && size === 4) {
      request.linkSelection = readIpv4(bytes, cursor);
    } else if (code === RELAY_OPTION.flags && size === 1) {
      request.relayedUnicast = (bytes[cursor]! & RELAY_FLAG_UNICAST) !== 0;
    } else if (code === RELAY_OPTION.serverIdentifierOverride && size === 4) {
      request.serverIdentifierOverride = readIpv4(bytes, cursor);
    } else if (code === RELAY_OPTION.sourcePort) {
      request.relaySourcePort = true;
    }
    cursor += size;
  }
}
