/**
 * Finds all instances of all options of a message, over the option area and, if option 52 says so, the `file` and
 * `sname` fields, and joins the instances of one option. Works in memory that is made once.
 *
 * @see RFC 2131 section 4.1 (overload), RFC 3396 section 5 (order of joining)
 */

import { FILE_BYTES, HEADER, SNAME_BYTES } from "./header.ts";
import { joinsEqualCopies, OPTION, OPTION_INSTANCES_MAX } from "./options.ts";

/** Where the options of one message are, in the order in which RFC 3396 joins them. */
export interface OptionIndex {
  count: number;
  readonly codes: Uint8Array;
  /** From the start of the indexed memory. */
  readonly offsets: Uint32Array;
  readonly lengths: Uint8Array;
  /** By code, the first entry and the last one; first is {@link NONE} if there is none. */
  readonly firstOf: Int16Array;
  readonly lastOf: Int16Array;
  /** By entry, the next one of the same code, or {@link NONE}. */
  readonly next: Int16Array;
  /** Of the option area, `file` and `sname`: the code of an option that ran past it, or {@link NOT_TRUNCATED}. */
  readonly truncatedCodes: Int16Array;
  /** Bit 0: `file` holds options; bit 1: `sname` does. */
  overload: number;
  /** An option 52 is there that says nothing: malformed, repeated, or inside `file` or `sname`. */
  hasUselessOverload: boolean;
  /** An area ended without End, and without an option that ran past it. */
  lacksEnd: boolean;
  /** {@link joinOption} found equal copies since the index was filled. */
  hasCopies: boolean;
}

/** No option ran past the area. */
export const NOT_TRUNCATED = -1;

/** No entry. */
const NONE = -1;

const OVERLOAD_FILE = 1;
const OVERLOAD_SNAME = 2;

/** Makes the object that {@link indexOptions} fills; make one and reuse it. */
export function createOptionIndex(): OptionIndex {
  return {
    count: 0,
    codes: new Uint8Array(OPTION_INSTANCES_MAX),
    offsets: new Uint32Array(OPTION_INSTANCES_MAX),
    lengths: new Uint8Array(OPTION_INSTANCES_MAX),
    firstOf: new Int16Array(256).fill(NONE),
    lastOf: new Int16Array(256),
    next: new Int16Array(OPTION_INSTANCES_MAX),
    truncatedCodes: new Int16Array(3),
    overload: 0,
    hasUselessOverload: false,
    lacksEnd: false,
    hasCopies: false,
  };
}

/**
 * Fills `index` with the options of the message in `[start, end)`, which is at least a header and cookie long.
 *
 * @returns false if there are more than {@link OPTION_INSTANCES_MAX}
 */
export function indexOptions(
  bytes: Uint8Array,
  start: number,
  end: number,
  index: OptionIndex,
): boolean {
  index.count = 0;
  index.firstOf.fill(NONE);
  index.truncatedCodes.fill(NOT_TRUNCATED);
  index.lacksEnd = false;
  index.hasCopies = false;
  if (!indexArea(bytes, start + HEADER.options, end, index, 0)) return false;
  // Option 52 counts only here: one inside `file` or `sname` would make the areas depend on each other.
  index.overload = findOverload(bytes, index);
  const own = countOverloads(index);
  index.hasUselessOverload = own > 0 && index.overload === 0;
  const file = start + HEADER.file;
  const sname = start + HEADER.sname;
  if ((index.overload & OVERLOAD_FILE) !== 0) {
    if (!indexArea(bytes, file, file + FILE_BYTES, index, 1)) return false;
  }
  if ((index.overload & OVERLOAD_SNAME) !== 0) {
    if (!indexArea(bytes, sname, sname + SNAME_BYTES, index, 2)) return false;
  }
  if (index.overload !== 0 && countOverloads(index) > own) index.hasUselessOverload = true;
  return true;
}

function countOverloads(index: OptionIndex): number {
  let count = 0;
  for (let entry = index.firstOf[OPTION.overload]!; entry >= 0; entry = index.next[entry]!) count++;
  return count;
}

/** Option 52 if it is there once, of length 1 and between 1 and 3; else 0. */
function findOverload(bytes: Uint8Array, index: OptionIndex): number {
  let overload = 0;
  let instances = 0;
  for (let entry = index.firstOf[OPTION.overload]!; entry >= 0; entry = index.next[entry]!) {
    instances++;
    overload = index.lengths[entry] === 1 ? bytes[index.offsets[entry]!]! : 0;
  }
  return instances === 1 && overload <= (OVERLOAD_FILE | OVERLOAD_SNAME) ? overload : 0;
}

function indexArea(
  bytes: Uint8Array,
  start: number,
  end: number,
  index: OptionIndex,
  area: number,
): boolean {
  let cursor = start;
  while (cursor < end) {
    const code = bytes[cursor++]!;
    if (code === OPTION.pad) continue;
    if (code === OPTION.end) return true;
    if (cursor === end || cursor + 1 + bytes[cursor]! > end) {
      index.truncatedCodes[area] = code;
      return true;
    }
    if (index.count === OPTION_INSTANCES_MAX) return false;
    const length = bytes[cursor++]!;
    addEntry(index, code, cursor, length);
    cursor += length;
  }
  index.lacksEnd = true;
  return true;
}

function addEntry(index: OptionIndex, code: number, offset: number, length: number): void {
  const entry = index.count++;
  index.codes[entry] = code;
  index.offsets[entry] = offset;
  index.lengths[entry] = length;
  index.next[entry] = NONE;
  if (index.firstOf[code] === NONE) index.firstOf[code] = entry;
  else index.next[index.lastOf[code]!] = entry;
  index.lastOf[code] = entry;
}

/**
 * Copies the joined instances of an option to `target` at `at`. Equal copies of an option that
 * {@link joinsEqualCopies} count once. `target` has room for as many octets as the indexed message.
 *
 * @returns the length in octets, or -1 if the option is absent
 */
export function joinOption(
  bytes: Uint8Array,
  index: OptionIndex,
  code: number,
  target: Uint8Array,
  at: number,
): number {
  const first = index.firstOf[code]!;
  let length = 0;
  let copiesOnly = true;
  for (let entry = first; entry >= 0; entry = index.next[entry]!) {
    copiesOnly &&= isCopy(bytes, index, first, entry);
    const offset = index.offsets[entry]!;
    const pieceLength = index.lengths[entry]!;
    // Octet by octet: subarray() would allocate, and pieces are short.
    for (let octet = 0; octet < pieceLength; octet++) {
      target[at + length + octet] = bytes[offset + octet]!;
    }
    length += pieceLength;
  }
  if (first < 0) return -1;
  const firstLength = index.lengths[first]!;
  if (!copiesOnly || length === firstLength || !joinsEqualCopies(code, firstLength)) return length;
  index.hasCopies = true;
  return firstLength;
}

/** Octets that {@link joinOption} writes at most; -1 if the option is absent. */
export function joinedLengthMax(index: OptionIndex, code: number): number {
  const first = index.firstOf[code]!;
  if (first < 0) return -1;
  let length = 0;
  for (let entry = first; entry >= 0; entry = index.next[entry]!) length += index.lengths[entry]!;
  return length;
}

function isCopy(bytes: Uint8Array, index: OptionIndex, one: number, other: number): boolean {
  const length = index.lengths[one]!;
  if (index.lengths[other] !== length) return false;
  const oneOffset = index.offsets[one]!;
  const otherOffset = index.offsets[other]!;
  for (let octet = 0; octet < length; octet++) {
    if (bytes[oneOffset + octet] !== bytes[otherOffset + octet]) return false;
  }
  return true;
}
