import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type MacAddress, macPlus, parseMac } from "../../src/model/mac-address.ts";
import { MacTable } from "../../src/wds/mac-table.ts";

/** The same by the book: a ring of places, a mark on each, a hand. */
class PlainClock {
  readonly places: { mac: number; isTouched: boolean }[] = [];
  readonly #capacity: number;
  #hand = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  touch(mac: number): number {
    const found = this.places.findIndex((place) => place.mac === mac);
    if (found >= 0) {
      this.places[found]!.isTouched = true;
      return found;
    }
    const place = { mac, isTouched: false };
    if (this.places.length < this.#capacity) return this.places.push(place) - 1;
    while (this.places[this.#hand]!.isTouched) {
      this.places[this.#hand]!.isTouched = false;
      this.#hand = (this.#hand + 1) % this.#capacity;
    }
    const slot = this.#hand;
    this.#hand = (this.#hand + 1) % this.#capacity;
    this.places[slot] = place;
    return slot;
  }
}

describe("MacTable", () => {
  test("gives and takes the slots that a plain clock would", () => {
    const mac = fc.bigInt({ min: 1n, max: 2n ** 48n - 1n }).map((value) => Number(value));
    const macs = fc.array(fc.oneof(fc.integer({ min: 1, max: 12 }), mac), { maxLength: 300 });
    fc.assert(
      fc.property(macs, fc.integer({ min: 1, max: 8 }), fc.integer(), (touched, capacity, seed) => {
        const table = new MacTable(capacity, seed);
        const plain = new PlainClock(capacity);
        for (const address of touched) {
          const isThere = plain.places.some((place) => place.mac === address);
          expect(table.touch(address as MacAddress)).toBe(plain.touch(address));
          expect(table.wasAdded).toBe(!isThere);
        }
        expect(table.size).toBe(plain.places.length);
        for (const address of touched) {
          const slot = plain.places.findIndex((place) => place.mac === address);
          expect(table.find(address as MacAddress)).toBe(slot);
          if (slot >= 0) expect(table.keyOf(slot)).toBe(address);
        }
      }),
    );
  });

  test("who is heard again and again stays, however many come by once", () => {
    const table = new MacTable(8, 1);
    const base = parseMac("00:0c:01:00:00:00");
    const slot = table.touch(base);
    for (let index = 1; index < 10_000; index++) {
      table.touch(macPlus(base, index));
      expect(table.touch(base)).toBe(slot);
    }
  });
});
