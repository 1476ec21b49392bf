/**
 * Many bindings in little memory: one record of 16 octets each, the names in one array of octets, and open addressing
 * over MACs and addresses. A million of them take some 60 MB, and nothing for the garbage collector to look at.
 */
import type { Ipv4Address } from "../model/ipv4-address.ts";
import type { MacAddress } from "../model/mac-address.ts";

/** Most bindings of one table. */
export const BINDINGS_MAX = 4_194_304;
/** Longest names in octets; their lengths share a word of the record with the upper part of the MAC. */
export const CONTAINER_OCTETS_MAX = 127;
export const HOSTNAME_OCTETS_MAX = 63;

/** Words of a record. */
const WORDS = 4;
const MAC_LOW = 0;
/** Upper 16 bits of the MAC, length of the container's name << 16, of the host name << 24. */
const MAC_HIGH_AND_LENGTHS = 1;
const ADDRESS = 2;
/** Where the container's name starts; the host name follows it. */
const NAMES = 3;

/** Two bindings that want the same thing, by index. */
export interface BindingConflict {
  readonly field: "mac" | "address" | "container";
  readonly first: number;
  readonly second: number;
}

/**
 * Bindings by MAC and by address; read only. Made by a {@link BindingTableBuilder}. A binding is known by its place,
 * which is where its record stands: a look-up touches one line of the processor's cache.
 */
export class BindingTable {
  readonly size: number;
  readonly #records: Uint32Array;
  readonly #names: Buffer;
  readonly #byAddress: Uint32Array;
  readonly #mask: number;

  constructor(parts: {
    size: number;
    /** {@link placesFor} of them; a record whose address is 0 is free. */
    records: Uint32Array;
    names: Buffer;
    /** Places plus one, 0 where there is none; as many as there are records. */
    byAddress: Uint32Array;
  }) {
    this.size = parts.size;
    this.#records = parts.records;
    this.#names = parts.names;
    this.#byAddress = parts.byAddress;
    this.#mask = parts.byAddress.length - 1;
  }

  /** The place of the binding with this MAC, or -1. */
  find(mac: MacAddress): number {
    return findRecord(this.#records, this.#mask, mac >>> 0, Math.floor(mac / 2 ** 32));
  }

  /** The place of the binding with this address, or -1. */
  findByAddress(address: Ipv4Address): number {
    for (let slot = hashWord(address) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const place = this.#byAddress[slot]! - 1;
      if (place < 0 || this.addressOf(place) === address) return place;
    }
  }

  macOf(place: number): MacAddress {
    const record = place * WORDS;
    const high = this.#records[record + MAC_HIGH_AND_LENGTHS]! & 0xffff;
    return (high * 2 ** 32 + this.#records[record + MAC_LOW]!) as MacAddress;
  }

  addressOf(place: number): Ipv4Address {
    return this.#records[place * WORDS + ADDRESS] as Ipv4Address;
  }

  /** Undefined if it was not named. */
  containerOf(place: number): string | undefined {
    const start = this.#records[place * WORDS + NAMES]!;
    return this.#text(start, containerLength(this.#records, place));
  }

  hostnameOf(place: number): string | undefined {
    const start = this.#records[place * WORDS + NAMES]! + containerLength(this.#records, place);
    return this.#text(start, this.#records[place * WORDS + MAC_HIGH_AND_LENGTHS]! >>> 24);
  }

  #text(start: number, length: number): string | undefined {
    return length === 0 ? undefined : this.#names.toString("latin1", start, start + length);
  }
}

/** The place of a MAC, or -1 less the free place where its search ended. */
function findRecord(records: Uint32Array, mask: number, low: number, high: number): number {
  for (let place = hashMac(low, high) & mask; ; place = (place + 1) & mask) {
    const record = place * WORDS;
    if (records[record + ADDRESS] === 0) return -1 - place;
    const isFound =
      records[record + MAC_LOW] === low &&
      (records[record + MAC_HIGH_AND_LENGTHS]! & 0xffff) === high;
    if (isFound) return place;
  }
}

/** At most half of the places are used, so that a search is short. */
function placesFor(size: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(size, 1) * 2));
}

/** Takes bindings one by one, none with address 0; {@link BindingTableBuilder.build} makes the table. */
export class BindingTableBuilder {
  size = 0;
  readonly #records: Uint32Array;
  readonly #names: Buffer;
  #namesUsed = 0;

  /**
   * Memory that is not used is never touched, so both bounds may be generous.
   *
   * @param capacity - most bindings
   * @param namesBytes - most octets of all names together
   */
  constructor(capacity: number, namesBytes: number) {
    this.#records = new Uint32Array(capacity * WORDS);
    this.#names = Buffer.from(new ArrayBuffer(namesBytes));
  }

  /** Adds a binding whose names are octets of `bytes`, checked by the caller, as is that there is room. */
  add(
    mac: MacAddress,
    address: Ipv4Address,
    bytes: Uint8Array,
    container: { readonly start: number; readonly end: number },
    hostname: { readonly start: number; readonly end: number },
  ): void {
    const record = this.size * WORDS;
    const containerLength = container.end - container.start;
    const hostnameLength = hostname.end - hostname.start;
    this.#records[record + MAC_LOW] = mac >>> 0;
    this.#records[record + MAC_HIGH_AND_LENGTHS] =
      Math.floor(mac / 2 ** 32) | (containerLength << 16) | (hostnameLength << 24);
    this.#records[record + ADDRESS] = address;
    this.#records[record + NAMES] = this.#namesUsed;
    this.#keepName(bytes, container.start, container.end);
    this.#keepName(bytes, hostname.start, hostname.end);
    this.size += 1;
  }

  /** Octet by octet: names are short. */
  #keepName(bytes: Uint8Array, start: number, end: number): void {
    for (let from = start; from < end; from++) this.#names[this.#namesUsed++] = bytes[from]!;
  }

  /** The container of binding `index`, in the order of adding; undefined if it was not named. */
  containerOf(index: number): string | undefined {
    const start = this.#records[index * WORDS + NAMES]!;
    const length = containerLength(this.#records, index);
    return length === 0 ? undefined : this.#names.toString("latin1", start, start + length);
  }

  /** The table, or the first two bindings that share a MAC, an address or a container. */
  build(): BindingTable | BindingConflict {
    const { size } = this;
    const places = placesFor(size);
    const mask = places - 1;
    const records = new Uint32Array(places * WORDS);
    /** By place: the order of adding. */
    const indexes = new Uint32Array(places);
    const byAddress = new Uint32Array(places);
    const byContainer = new Uint32Array(places);
    for (let index = 0; index < size; index++) {
      const source = index * WORDS;
      const low = this.#records[source + MAC_LOW]!;
      const high = this.#records[source + MAC_HIGH_AND_LENGTHS]! & 0xffff;
      const found = findRecord(records, mask, low, high);
      if (found >= 0) return { field: "mac", first: indexes[found]!, second: index };
      const place = -1 - found;
      for (let word = 0; word < WORDS; word++) {
        records[place * WORDS + word] = this.#records[source + word]!;
      }
      indexes[place] = index;
      const sameAddress = insertAddress(byAddress, records, place);
      if (sameAddress >= 0)
        return { field: "address", first: indexes[sameAddress]!, second: index };
      const sameContainer = this.#insertContainer(byContainer, index);
      if (sameContainer >= 0) return { field: "container", first: sameContainer, second: index };
    }
    return new BindingTable({ size, records, names: this.#names, byAddress });
  }

  /** @returns -1, or the binding of that name, by the order of adding */
  #insertContainer(slots: Uint32Array, index: number): number {
    const names = this.#names;
    const length = containerLength(this.#records, index);
    if (length === 0) return -1;
    const start = this.#records[index * WORDS + NAMES]!;
    let hash = 0x811c_9dc5; // FNV-1a
    for (let at = start; at < start + length; at++) {
      hash = Math.imul(hash ^ names[at]!, 0x0100_0193);
    }
    const mask = slots.length - 1;
    let slot = hashWord(hash) & mask;
    for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
      if (this.#isSameContainer(slots[slot]! - 1, start, length)) return slots[slot]! - 1;
    }
    slots[slot] = index + 1;
    return -1;
  }

  #isSameContainer(other: number, start: number, length: number): boolean {
    if (containerLength(this.#records, other) !== length) return false;
    const otherStart = this.#records[other * WORDS + NAMES]!;
    for (let at = 0; at < length; at++) {
      if (this.#names[start + at] !== this.#names[otherStart + at]) return false;
    }
    return true;
  }
}

/** @returns -1, or the place of the binding that has this address */
function insertAddress(slots: Uint32Array, records: Uint32Array, place: number): number {
  const mask = slots.length - 1;
  const address = records[place * WORDS + ADDRESS]!;
  let slot = hashWord(address) & mask;
  for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
    const other = slots[slot]! - 1;
    if (records[other * WORDS + ADDRESS] === address) return other;
  }
  slots[slot] = place + 1;
  return -1;
}

function containerLength(records: Uint32Array, index: number): number {
  return (records[index * WORDS + MAC_HIGH_AND_LENGTHS]! >>> 16) & 0xff;
}

function hashMac(low: number, high: number): number {
  return hashWord(low ^ Math.imul(high, 0x9e37_79b1));
}

/** The finaliser of MurmurHash3: every bit of the word reaches the low bits. */
function hashWord(word: number): number {
  let hash = word ^ (word >>> 16);
  hash = Math.imul(hash, 0x85eb_ca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
