import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { lockFile, tryLockPath } from "../../../src/compute/images/file-lock.ts";
import { temporaryFolder } from "../../temporary-folder.ts";

test("lockFile() lets one in at a time, and leaves no file", async () => {
  const path = join(temporaryFolder("lock"), "lock");
  let inside = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      await using _lock = await lockFile(path, AbortSignal.timeout(15_000));
      inside += 1;
      most = Math.max(most, inside);
      await turn();
      inside -= 1;
    }),
  );
  expect(most).toBe(1);
  expect(existsSync(path)).toBe(false);
});

test("a lock is refused while it is held, can be waited for, and disposed twice", async () => {
  const folder = temporaryFolder("lock");
  const path = join(folder, "lock");
  const held = await lockFile(path, AbortSignal.timeout(5000));
  expect(held.waited).toBe(false);
  expect(await tryLockPath(path)).toBeUndefined();
  await expect(lockFile(path, AbortSignal.timeout(120))).rejects.toThrow(/aborted|timeout/);
  const waiting = lockFile(path, AbortSignal.timeout(5000), () => held[Symbol.asyncDispose]());
  await using next = await waiting;
  expect(next.waited).toBe(true);
  await held[Symbol.asyncDispose]();
  expect(readdirSync(folder)).toEqual(["lock"]);
});
