/** Changes to a frame: some blind, some that know where options are. Works in the input's own memory. */

import { checksumOf, sumWords } from "../../src/net/checksum.ts";
import { INPUT_BYTES_MAX, type Input } from "./input.ts";
import type { Random } from "./random.ts";
import { CLIENTS, SERVERS } from "./target.ts";

const MESSAGE = 42;
const OPTIONS = MESSAGE + 240;
const CHADDR = MESSAGE + 28;
const GIADDR = MESSAGE + 24;
/** Codes that something reads, more often than the rest. */
const CODES = [
  0, 12, 43, 50, 51, 52, 52, 53, 53, 54, 55, 57, 60, 61, 77, 80, 81, 82, 82, 90, 93, 94, 97, 108,
  116, 118, 121, 124, 125, 175, 255,
] as const;
const INTERESTING = [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 63, 64, 127, 128, 192, 254, 255] as const;

type Mutation = (input: Input, random: Random, other: Input) => void;

/** A place in the frame; mostly in the options. */
function anyOffset({ length }: Input, random: Random): number {
  if (length === 0) return 0;
  const isOption = length > OPTIONS && !random.once(3);
  return isOption ? OPTIONS + random.below(length - OPTIONS) : random.below(length);
}

/** Makes room for octets at an offset, or closes it; what no longer fits falls off the end. */
function resize(input: Input, at: number, removed: number, added: number): void {
  const { bytes } = input;
  const tail = Math.min(at + removed, input.length);
  const length = Math.min(input.length - (tail - at) + added, INPUT_BYTES_MAX);
  bytes.copyWithin(at + added, tail, Math.max(tail, length - added + (tail - at)));
  input.length = Math.max(length, Math.min(at, INPUT_BYTES_MAX));
}

/** The start of some option, by walking from the first one. */
function optionAt(input: Input, random: Random): number {
  let cursor = OPTIONS;
  for (let steps = random.below(16); steps > 0 && cursor + 1 < input.length; steps--) {
    const code = input.bytes[cursor]!;
    if (code === 255) break;
    const next = code === 0 ? cursor + 1 : cursor + 2 + input.bytes[cursor + 1]!;
    if (next >= input.length) break;
    cursor = next;
  }
  return Math.min(cursor, input.length);
}

const MUTATIONS: readonly Mutation[] = [
  function flipBit(input, random) {
    const at = anyOffset(input, random);
    input.bytes[at] = input.bytes[at]! ^ (1 << random.below(8));
  },
  function setOctet(input, random) {
    input.bytes[anyOffset(input, random)] = random.below(256);
  },
  function setInteresting(input, random) {
    input.bytes[anyOffset(input, random)] = random.pick(INTERESTING);
  },
  function addToOctet(input, random) {
    const at = anyOffset(input, random);
    input.bytes[at] = input.bytes[at]! + random.below(9) - 4;
  },
  function cutEnd(input, random) {
    const least = random.once(4) ? 0 : Math.min(OPTIONS, input.length);
    input.length = least + random.below(input.length - least + 1);
  },
  function extend(input, random) {
    const added = Math.min(random.below(64), INPUT_BYTES_MAX - input.length);
    const filler = random.pick(INTERESTING);
    input.bytes.fill(filler, input.length, input.length + added);
    input.length += added;
  },
  function insertOption(input, random) {
    const at = optionAt(input, random);
    const length = random.once(12) ? 255 : random.below(20);
    resize(input, at, 0, 2 + length);
    input.bytes[at] = random.pick(CODES);
    input.bytes[at + 1] = random.once(10) ? random.below(256) : length;
    for (let octet = 0; octet < length && at + 2 + octet < INPUT_BYTES_MAX; octet++) {
      input.bytes[at + 2 + octet] = random.once(2) ? random.pick(INTERESTING) : random.below(256);
    }
  },
  function repeatOption(input, random) {
    const from = optionAt(input, random);
    const length = Math.min(2 + (input.bytes[from + 1] ?? 0), INPUT_BYTES_MAX - from);
    const at = optionAt(input, random);
    const source = input.bytes.slice(from, from + length);
    resize(input, at, 0, length);
    input.bytes.set(source.subarray(0, INPUT_BYTES_MAX - at), at);
  },
  function removeOption(input, random) {
    const at = optionAt(input, random);
    if (at < input.length) resize(input, at, 2 + (input.bytes[at + 1] ?? 0), 0);
  },
  function changeCode(input, random) {
    input.bytes[Math.min(optionAt(input, random), INPUT_BYTES_MAX - 1)] = random.pick(CODES);
  },
  function changeLength(input, random) {
    const at = Math.min(optionAt(input, random) + 1, INPUT_BYTES_MAX - 1);
    const isNear = random.once(2);
    input.bytes[at] = isNear ? input.bytes[at]! + random.below(5) - 2 : random.pick(INTERESTING);
  },
  function overload(input, random) {
    if (input.length < OPTIONS) return;
    const at = optionAt(input, random);
    resize(input, at, 0, 3);
    input.bytes.set([52, 1, random.below(5)].slice(0, INPUT_BYTES_MAX - at), at);
    const field = MESSAGE + (random.once(2) ? 44 : 108);
    for (let octet = 0; octet < 24; octet++) {
      input.bytes[field + octet] = random.once(2) ? random.pick(CODES) : random.below(12);
    }
  },
  function splice(input, random, other) {
    const at = Math.min(optionAt(input, random), other.length);
    const from = Math.min(OPTIONS + random.below(60), other.length);
    const length = Math.min(other.length - from, INPUT_BYTES_MAX - at);
    input.bytes.set(other.bytes.subarray(from, from + length), at);
    input.length = at + length;
  },
  function flood(input, random) {
    const count = 100 + random.below(60);
    const at = optionAt(input, random);
    resize(input, at, 0, 2 * count);
    const code = random.once(2) ? random.pick(CODES) : 200;
    for (let index = 0; index < count && at + 2 * index + 1 < INPUT_BYTES_MAX; index++) {
      input.bytes[at + 2 * index] = code;
      input.bytes[at + 2 * index + 1] = 0;
    }
  },
];

/** Changes an input in one to eight ways, and mostly mends its envelope so that the change is looked at. */
export function mutate(input: Input, random: Random, other: Input): void {
  for (let count = 1 + random.below(random.once(4) ? 8 : 3); count > 0; count--) {
    random.pick(MUTATIONS)(input, random, other);
  }
  input.length = Math.min(input.length, INPUT_BYTES_MAX);
  // The last one answers later, and is slow.
  input.server = random.once(10) ? SERVERS.length - 1 : random.below(SERVERS.length - 1);
  input.vlanId = random.once(50) ? random.below(4096) : 0;
  input.checksumNotReady = !random.once(20);
  if (!random.once(10)) mendMessage(input, random);
  if (!random.once(10)) mendEnvelope(input, random);
}

/** Makes the sender somebody that the server knows, and the message a request. */
function mendMessage(input: Input, random: Random): void {
  const { bytes } = input;
  bytes[MESSAGE] = 1;
  bytes[MESSAGE + 1] = 1;
  bytes[MESSAGE + 2] = 6;
  bytes[MESSAGE + 3] = bytes[MESSAGE + 3]! & 15;
  bytes.set([0x63, 0x82, 0x53, 0x63], MESSAGE + 236);
  bytes.set(random.pick(CLIENTS).octets, CHADDR);
  const isRelayed = bytes[GIADDR] !== 0;
  if (isRelayed) bytes.set([10, 77, 0, 2], GIADDR);
  else bytes.copyWithin(6, CHADDR, CHADDR + 6);
}

/** Addresses it to us, and makes lengths and checksum of the IP and UDP headers right. */
function mendEnvelope(input: Input, random: Random): void {
  const { bytes, length } = input;
  if (length < MESSAGE) return;
  if (random.once(2)) bytes.fill(255, 0, 6);
  else bytes.set([0x02, 0x67, 0x73, 0, 0, 1], 0);
  bytes.set([8, 0, 0x45], 12);
  const ip = length - 14;
  const udp = length - 34;
  bytes.set([ip >> 8, ip & 255], 16);
  bytes.set([0, 0, 64, 17, 0, 0], 20);
  bytes.set([0, 68, 0, 67, udp >> 8, udp & 255, 0, 0], 34);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const checksum = checksumOf(sumWords(view, 14, 34, 0));
  bytes.set([checksum >> 8, checksum & 255], 24);
}
