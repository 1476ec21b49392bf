import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { decodeInput, encodeInput, type Input } from "../../tools/fuzz.d/input.ts";
import { runFuzz, type Target } from "../../tools/fuzz.d/run.ts";
import { readSeeds } from "../../tools/fuzz.d/seeds.ts";
import { FuzzTarget } from "../../tools/fuzz.d/target.ts";

const FUZZ = join(import.meta.dirname, "../../tools/fuzz");
const INPUTS = 200_000;

function fuzz(target: Target, seeds: readonly Uint8Array[], inputs: number, seed = 1) {
  const plain = {
    guided: 0,
    secondsMax: Number.POSITIVE_INFINITY,
    now: () => 0,
    collect: () => {},
  };
  return runFuzz({ target, seeds, seed, inputs, ...plain });
}

/** A target with a planted mistake: an input with this octet at the end is wrong. */
function createBroken(): Target {
  return {
    run: ({ bytes, length }) => {
      if (length > 300 && bytes[length - 1] === 0xbd) throw new Error("planted");
      return undefined;
    },
  };
}

describe("tools/fuzz", () => {
  test(`${INPUTS} inputs end in a right answer or in a counted drop`, {
    timeout: 400_000,
  }, async () => {
    const args = ["--seed", "7", "--inputs", `${INPUTS}`, "--guided", "5000"];
    const { stdout } = await promisify(execFile)(FUZZ, args);
    const result = JSON.parse(stdout);
    expect(result.wrong).toBeUndefined();
    expect(result.inputs).toBeGreaterThanOrEqual(INPUTS);
    // The fuzzer reaches what it is for: answers of every type, and most of the reasons for silence.
    for (const type of ["DHCPOFFER", "DHCPACK", "DHCPNAK", "BOOTREPLY"]) {
      expect(result.replies[type]).toBeGreaterThan(100);
    }
    expect(Object.keys(result.drops).length).toBeGreaterThan(35);
    expect(result.blocks).toBeGreaterThan(100);
  });

  test("a seed gives the same inputs and the same answers each time", async () => {
    const seeds = await readSeeds();
    const results = [];
    for (const seed of [5, 5, 6]) {
      await using target = new FuzzTarget();
      const { failure } = await fuzz(target, seeds, 5000, seed);
      expect(failure).toBeUndefined();
      results.push(target.results);
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).not.toEqual(results[0]);
  });

  test("finds a mistake, and the input it keeps shows the mistake alone", async () => {
    const seeds = await readSeeds();
    const first = await fuzz(createBroken(), seeds, 1_000_000);
    const second = await fuzz(createBroken(), seeds, 1_000_000);
    expect(first.failure?.error.message).toBe("planted");
    expect(second.failure?.number).toBe(first.failure?.number);
    const kept: Input = decodeInput(encodeInput(first.failure!.input));
    expect(kept).toEqual({ ...first.failure!.input, bytes: kept.bytes });
    expect(() => createBroken().run(kept)).toThrow("planted");
  });
});
