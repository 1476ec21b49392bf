/** What a relay agent tells the server in option 82 beside who the client is (RFC 3046). */

import { readIpv4 } from "../model/ipv4-address.ts";
import type { DhcpRequest } from "./request.ts";

const RELAY_FLAG_UNICAST = 0x80;
const RELAY_FLAGS = 10;
const RELAY_SERVER_IDENTIFIER_OVERRIDE = 11;
const RELAY_SOURCE_PORT = 19;

/** Reads the sub-options of option 82 that change how we reply. An overrun ends the walk; the echo stays whole. */
export function readRelayInformation(request: DhcpRequest): void {
  const { offset, length } = request.relayInformation;
  const bytes = request.optionBytes;
  const end = offset + length;
  let cursor = offset;
  while (cursor + 2 <= end) {
    const code = bytes[cursor]!;
    const size = bytes[cursor + 1]!;
    cursor += 2;
    if (cursor + size > end) return;
    if (code === RELAY_FLAGS && size === 1) {
      request.relayedUnicast = (bytes[cursor]! & RELAY_FLAG_UNICAST) !== 0;
    } else if (code === RELAY_SERVER_IDENTIFIER_OVERRIDE && size === 4) {
      request.serverIdentifierOverride = readIpv4(bytes, cursor);
    } else if (code === RELAY_SOURCE_PORT) {
      request.relaySourcePort = true;
    }
    cursor += size;
  }
}
