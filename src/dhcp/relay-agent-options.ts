/** Option 82 as a relay agent writes it into requests and takes it out of replies (RFC 3046). */

import { type Ipv4Address, writeIpv4 } from "../model/ipv4-address.ts";
import { HEADER, MESSAGE_BYTES_MIN } from "./header.ts";
import { indexOptions, joinOption, type OptionIndex } from "./option-index.ts";
import { OPTION } from "./options.ts";
import { RELAY_FLAG_UNICAST, RELAY_OPTION } from "./relay-information.ts";

/** Longest circuit-id or remote-id in octets: with both, everything fits into one instance of option 82. */
export const RELAY_ID_BYTES_MAX = 64;

/** What a relay agent says about a client. */
export interface RelayInformation {
  readonly circuitId: Uint8Array;
  readonly remoteId: Uint8Array;
  /** An address of the client's network, if giaddr is of another one. */
  readonly linkSelection: Ipv4Address | undefined;
  readonly isUnicast: boolean;
  /** The address that the client is to renew with. */
  readonly serverIdentifier: Ipv4Address | undefined;
}

/**
 * Encodes the data of option 82: its sub-options in ascending order.
 *
 * @param information - ids of at most {@link RELAY_ID_BYTES_MAX} octets
 */
export function encodeRelayInformation(information: RelayInformation): Uint8Array {
  const { circuitId, remoteId, linkSelection, isUnicast, serverIdentifier } = information;
  const flags = Uint8Array.of(isUnicast ? RELAY_FLAG_UNICAST : 0);
  return concatenate([
    subOption(RELAY_OPTION.circuitId, circuitId),
    subOption(RELAY_OPTION.remoteId, remoteId),
    addressSubOption(RELAY_OPTION.linkSelection, linkSelection),
    subOption(RELAY_OPTION.flags, flags),
    addressSubOption(RELAY_OPTION.serverIdentifierOverride, serverIdentifier),
  ]);
}

function subOption(code: number, data: Uint8Array): Uint8Array {
  return Uint8Array.of(code, data.length, ...data);
}

function addressSubOption(code: number, address: Ipv4Address | undefined): Uint8Array {
  if (address === undefined) return new Uint8Array();
  const data = new Uint8Array(4);
  writeIpv4(data, 0, address);
  return subOption(code, data);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/**
 * True if a server's echo is what was sent. The flags may differ: a client that asked twice, once by unicast, is
 * answered twice.
 */
export function isEchoOf(sent: Uint8Array, echo: Uint8Array): boolean {
  if (sent.length !== echo.length) return false;
  let cursor = 0;
  while (cursor + 1 < sent.length) {
    const isFlags = sent[cursor] === RELAY_OPTION.flags;
    const end = cursor + 2 + sent[cursor + 1]!;
    for (let octet = cursor; octet < end; octet++) {
      const mayDiffer = isFlags && octet >= cursor + 2;
      if (sent[octet] !== echo[octet] && !mayDiffer) return false;
    }
    cursor = end;
  }
  return true;
}

/** Why the options of a message cannot be changed. */
export type OptionsFault = "opt.flood" | "opt.trunc";

/**
 * Finds the options of a message with a magic cookie. Unlike a server, which uses what it could read, a relay agent
 * changes nothing that it did not read to the end: what it adds after a broken option would be part of that option.
 */
export function readMessageOptions(
  message: Uint8Array,
  index: OptionIndex,
): OptionsFault | undefined {
  if (!indexOptions(message, 0, message.length, index)) return "opt.flood";
  return index.truncatedCodes.some((code) => code >= 0) ? "opt.trunc" : undefined;
}

/** The data of an option, its instances joined wherever they are; undefined if it is absent. */
export function readMessageOption(
  message: Uint8Array,
  index: OptionIndex,
  code: number,
): Uint8Array | undefined {
  const data = new Uint8Array(message.length);
  const length = joinOption(message, index, code, data, 0);
  return length < 0 ? undefined : data.slice(0, length);
}

/**
 * Takes every instance of option 82 out of a message, in place, and what follows the last option as well. Options that
 * stay keep their order; in `file` and `sname`, Pads take the place of what goes.
 *
 * @param index - the options of this very message, read without fault
 * @returns the index after the last option, where End belongs
 */
export function removeRelayInformation(message: Uint8Array, index: OptionIndex): number {
  let end: number = HEADER.options;
  for (let entry = 0; entry < index.count; entry++) {
    const start = index.offsets[entry]! - 2;
    const next = index.offsets[entry]! + index.lengths[entry]!;
    const isRelays = index.codes[entry] === OPTION.relayInformation;
    if (start < HEADER.options) {
      if (isRelays) message.fill(OPTION.pad, start, next);
    } else if (!isRelays) {
      message.copyWithin(end, start, next);
      end += next - start;
    }
  }
  message.fill(OPTION.pad, end);
  return end;
}

/**
 * Ends a message in `buffer` whose last option ends at `end`: option 82 if there is one to add, End, and zeros up to
 * the least length of a message.
 *
 * @param buffer - zero from `end` on, and with room for it all
 * @returns the length of the message in octets
 */
export function endMessage(buffer: Uint8Array, end: number, information?: Uint8Array): number {
  let cursor = end;
  if (information !== undefined) {
    buffer[cursor++] = OPTION.relayInformation;
    buffer[cursor++] = information.length;
    buffer.set(information, cursor);
    cursor += information.length;
  }
  buffer[cursor++] = OPTION.end;
  return Math.max(cursor, MESSAGE_BYTES_MIN);
}
