/**
 * A bounded table of MAC addresses: each has a slot, a small integer under which its owner keeps what it knows of it in
 * arrays. When the table is full, the address that was touched longest ago loses its slot. All costs are constant, and
 * nothing is allocated after the constructor.
 */

import type { MacAddress } from "../model/mac-address.ts";

const NONE = -1;

/** Addresses, least recently touched first to go. Other numbers below 2^48 do as well, for instance interfaces. */
export class MacTable<Key extends number = MacAddress> {
  readonly capacity: number;
  /** True if the last {@link touch} gave out a slot anew: what its owner kept under it is another address's. */
  wasAdded = false;
  #size = 0;
  readonly #seed: number;
  readonly #bucketMask: number;
  readonly #keys: Float64Array;
  /** First slot of each bucket, and the next one of the same bucket. */
  readonly #heads: Int32Array;
  readonly #nexts: Int32Array;
  /** The order of touching. */
  readonly #newer: Int32Array;
  readonly #older: Int32Array;
  #newest = NONE;
  #oldest = NONE;

  /**
   * @param capacity - most addresses, at least 1
   * @param seed - any integer that senders do not know: they could choose addresses of one bucket otherwise
   */
  constructor(capacity: number, seed: number) {
    this.capacity = capacity;
    this.#seed = seed | 0;
    const buckets = 2 ** Math.ceil(Math.log2(capacity * 2));
    this.#bucketMask = buckets - 1;
    this.#keys = new Float64Array(capacity);
    this.#heads = new Int32Array(buckets).fill(NONE);
    this.#nexts = new Int32Array(capacity).fill(NONE);
    this.#newer = new Int32Array(capacity).fill(NONE);
    this.#older = new Int32Array(capacity).fill(NONE);
  }

  get size(): number {
    return this.#size;
  }

  /** The slot of an address, or -1. Does not count as touching it. */
  find(mac: Key): number {
    return this.#findIn(this.#bucketOf(mac), mac);
  }

  /** The slot of an address, which is the newest from now on; see {@link wasAdded}. */
  touch(mac: Key): number {
    const bucket = this.#bucketOf(mac);
    const found = this.#findIn(bucket, mac);
    this.wasAdded = found === NONE;
    if (found === NONE) return this.#add(mac, bucket);
    if (found !== this.#newest) {
      this.#unlink(found);
      this.#linkNewest(found);
    }
    return found;
  }

  /** The address of a slot that was given out. */
  keyOf(slot: number): Key {
    return this.#keys[slot] as Key;
  }

  /** The slots in use, newest first. */
  *newestFirst(): Generator<number> {
    for (let slot = this.#newest; slot !== NONE; slot = this.#older[slot]!) yield slot;
  }

  /** Two rounds of multiplication with the seed inside, so that no two addresses meet for every seed. */
  #bucketOf(mac: Key): number {
    let hash = Math.imul((mac >>> 0) ^ this.#seed, 0x85eb_ca6b);
    hash ^= hash >>> 15;
    hash = Math.imul(hash + Math.floor(mac / 2 ** 32), 0xc2b2_ae35);
    hash ^= hash >>> 13;
    return (Math.imul(hash, 0x9e37_79b1) >>> 8) & this.#bucketMask;
  }

  #findIn(bucket: number, mac: Key): number {
    let slot = this.#heads[bucket]!;
    while (slot !== NONE && this.#keys[slot] !== mac) slot = this.#nexts[slot]!;
    return slot;
  }

  #add(mac: Key, bucket: number): number {
    const slot = this.#size < this.capacity ? this.#size++ : this.#evictOldest();
    this.#keys[slot] = mac;
    this.#nexts[slot] = this.#heads[bucket]!;
    this.#heads[bucket] = slot;
    this.#linkNewest(slot);
    return slot;
  }

  #evictOldest(): number {
    const slot = this.#oldest;
    const bucket = this.#bucketOf(this.keyOf(slot));
    const next = this.#nexts[slot]!;
    let before = this.#heads[bucket]!;
    if (before === slot) this.#heads[bucket] = next;
    else {
      while (this.#nexts[before] !== slot) before = this.#nexts[before]!;
      this.#nexts[before] = next;
    }
    this.#unlink(slot);
    return slot;
  }

  #unlink(slot: number): void {
    const newer = this.#newer[slot]!;
    const older = this.#older[slot]!;
    if (newer === NONE) this.#newest = older;
    else this.#older[newer] = older;
    if (older === NONE) this.#oldest = newer;
    else this.#newer[older] = newer;
  }

  #linkNewest(slot: number): void {
    this.#newer[slot] = NONE;
    this.#older[slot] = this.#newest;
    if (this.#newest === NONE) this.#oldest = slot;
    else this.#newer[this.#newest] = slot;
    this.#newest = slot;
  }
}
