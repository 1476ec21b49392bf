import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MacAddress } from "../../src/model/mac-address.ts";
import { MacTable } from "../../src/wds/mac-table.ts";

describe("MacTable", () => {
  test("behaves as a map that forgets who was touched longest ago", () => {
    const mac = fc.bigInt({ min: 1n, max: 2n ** 48n - 1n }).map((value) => Number(value));
    const macs = fc.array(fc.oneof(fc.integer({ min: 1, max: 12 }), mac), { maxLength: 300 });
    fc.assert(
      fc.property(macs, fc.integer({ min: 1, max: 8 }), fc.integer(), (touched, capacity, seed) => {
        const table = new MacTable(capacity, seed);
        const model = new Map<number, number>();
        for (const address of touched) {
          const was = model.get(address);
          const slot = table.touch(address as MacAddress);
          expect(table.wasAdded).toBe(was === undefined);
          if (was !== undefined) expect(slot).toBe(was);
          model.delete(address);
          if (model.size >= capacity) model.delete(model.keys().next().value!);
          expect([...model.values()]).not.toContain(slot);
          model.set(address, slot);
          expect(table.keyOf(slot)).toBe(address);
        }
        expect(table.size).toBe(model.size);
        expect([...table.newestFirst()]).toEqual([...model.values()].reverse());
        for (const address of touched) {
          expect(table.find(address as MacAddress)).toBe(model.get(address) ?? -1);
        }
      }),
    );
  });
});
