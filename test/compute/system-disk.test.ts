import { expect, test } from "vitest";
import { parseLdd } from "../../src/compute/guest/system-disk.ts";

test("parseLdd() keeps the paths, the loader too, and drops the vDSO", () => {
  const text = `\tlinux-vdso.so.1 (0x00007fe0d17a9000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fe0d121e000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007fe0d17ab000)
`;
  expect(parseLdd(text)).toEqual([
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
  ]);
});
