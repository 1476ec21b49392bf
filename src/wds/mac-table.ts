/**
 * A bounded table of MAC addresses: each has a slot, a small integer under which its owner keeps what it knows of it in
 * arrays. When the table is full, a hand goes round over the slots and takes the first one that was not touched since it
 * came by last ("clock", second chance): nearly the one that was silent for longest, for one octet's write per touch.
 * Costs are constant on average, and nothing is allocated after the constructor.
 */

import type { MacAddress } from "../model/mac-address.ts";

const NONE = -1;

/** Addresses, who was silent for long first to go. Other numbers below 2^48 do as well, for instance interfaces. */
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
  /** 1 if the slot was touched since the hand came by. */
  readonly #touched: Uint8Array;
  #hand = 0;

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
    this.#touched = new Uint8Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  /** The slot of an address, or -1. Does not count as touching it. */
  find(mac: Key): number {
    return this.#findIn(this.#bucketOf(mac), mac);
  }

  /** The slot of an address, which gets one if it has none; see {@link wasAdded}. */
  touch(mac: Key): number {
    const bucket = this.#bucketOf(mac);
    const found = this.#findIn(bucket, mac);
    this.wasAdded = found === NONE;
    if (found === NONE) return this.#add(mac, bucket);
    this.#touched[found] = 1;
    return found;
  }

  /** The address of a slot that was given out. */
  keyOf(slot: number): Key {
    return this.#keys[slot] as Key;
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
    const slot = this.#size < this.capacity ? this.#size++ : this.#evict();
    this.#keys[slot] = mac;
    this.#nexts[slot] = this.#heads[bucket]!;
    this.#heads[bucket] = slot;
    return slot;
  }

  #evict(): number {
    const slot = this.#advanceHand();
    const bucket = this.#bucketOf(this.keyOf(slot));
    const next = this.#nexts[slot]!;
    let before = this.#heads[bucket]!;
    if (before === slot) this.#heads[bucket] = next;
    else {
      while (this.#nexts[before] !== slot) before = this.#nexts[before]!;
      this.#nexts[before] = next;
    }
    return slot;
  }

  /** The first slot from the hand on that was not touched; those before it lose their mark. */
  #advanceHand(): number {
    for (;;) {
      const slot = this.#hand;
      this.#hand = slot + 1 === this.capacity ? 0 : slot + 1;
      if (this.#touched[slot] === 0) return slot;
      this.#touched[slot] = 0;
    }
  }
}
