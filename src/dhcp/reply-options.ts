/** What the chain changes in a reply: options that it adds, puts in place of the network's own, or takes out. */

import { OPTION, OPTION_DATA_MAX } from "./options.ts";

/** An option that a plugin puts into replies, encoded once. Make it with {@link createExtraOption}. */
export interface ExtraOption {
  readonly code: number;
  /** Whole instances: code, length, data; several of them if the data is longer than 255 octets (RFC 3396). */
  readonly octets: Uint8Array;
  /** False: only clients that name the code in option 55 get it. */
  readonly always: boolean;
}

/** What only the server itself decides: type, destination, lease, size and echoes. */
const RESERVED: ReadonlySet<number> = new Set<number>([
  OPTION.pad,
  OPTION.requestedAddress,
  OPTION.leaseTime,
  OPTION.overload,
  OPTION.messageType,
  OPTION.serverIdentifier,
  OPTION.parameterRequestList,
  OPTION.maxMessageSize,
  OPTION.clientIdentifier,
  OPTION.relayInformation,
  OPTION.end,
]);

/**
 * Sent only to who asks: a client that is told of an IPv6-only network (108) or of no auto-configuration (116) gives its
 * IPv4 address up, and a captive portal (114) opens a browser.
 */
const ASKED_ONLY: ReadonlySet<number> = new Set<number>([
  OPTION.ipv6OnlyPreferred,
  OPTION.captivePortal,
  OPTION.autoConfigure,
]);

/** What {@link createExtraOption} made: anything else might break the reply that it is put into. */
const MADE = new WeakSet<ExtraOption>();

/** Longest data of an extra option in octets: more than that leaves no room in any reply. */
export const EXTRA_OPTION_DATA_MAX = 1024;

/**
 * Encodes an option for {@link ReplyOptions.set}.
 *
 * @param always - false: only for clients that name the code in option 55; so are 108, 114 and 116 in any case
 * @throws RangeError if the code is one that only the server sets, or the data is empty or too long
 */
export function createExtraOption(code: number, data: Uint8Array, always = true): ExtraOption {
  assertSettable(code);
  if (data.length === 0 || data.length > EXTRA_OPTION_DATA_MAX) {
    const bounds = `1 to ${EXTRA_OPTION_DATA_MAX}`;
    throw new RangeError(`option ${code} has ${data.length} octets; it must have ${bounds}`);
  }
  const octets: number[] = [];
  for (let offset = 0; offset < data.length; offset += OPTION_DATA_MAX) {
    const piece = data.subarray(offset, offset + OPTION_DATA_MAX);
    octets.push(code, piece.length, ...piece);
  }
  const isAlways = always && !ASKED_ONLY.has(code);
  const option = Object.freeze({ code, octets: Uint8Array.from(octets), always: isAlways });
  MADE.add(option);
  return option;
}

function assertSettable(code: number): void {
  if (!Number.isInteger(code) || code < 0 || code > 255 || RESERVED.has(code)) {
    throw new RangeError(`option ${code} cannot be set by a plugin: the server decides it`);
  }
}

/** The changes to one reply. Reused from request to request; the usual request has none. */
export class ReplyOptions {
  readonly #set = new Map<number, ExtraOption>();
  readonly #removed = new Set<number>();

  get isEmpty(): boolean {
    return this.#set.size === 0 && this.#removed.size === 0;
  }

  /**
   * Sends this option, in place of the network's own and of an earlier plugin's of the same code.
   *
   * @throws TypeError if it was not made with {@link createExtraOption}
   */
  set(option: ExtraOption): void {
    if (!MADE.has(option)) throw new TypeError("make the option with createExtraOption()");
    this.#removed.delete(option.code);
    this.#set.set(option.code, option);
  }

  /**
   * Sends no option of this code.
   *
   * @throws RangeError if the code is one that only the server sets
   */
  remove(code: number): void {
    assertSettable(code);
    this.#set.delete(code);
    this.#removed.add(code);
  }

  find(code: number): ExtraOption | undefined {
    return this.#set.get(code);
  }

  isRemoved(code: number): boolean {
    return this.#removed.has(code);
  }

  /** The options to send, in the order in which they were set. */
  values(): IterableIterator<ExtraOption> {
    return this.#set.values();
  }

  clear(): void {
    if (this.isEmpty) return;
    this.#set.clear();
    this.#removed.clear();
  }

  copyFrom(other: ReplyOptions): void {
    this.clear();
    for (const option of other.values()) this.#set.set(option.code, option);
    for (const code of other.#removed) this.#removed.add(code);
  }
}
