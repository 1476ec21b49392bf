import { defineConfig } from "vitest/config";

/** Set by `.ci/run`, which counts tests from the report. */
const report = process.env["GOALSTATE_TEST_REPORT"];

/** Tests that boot machines or load the network: one file at a time, after all others, so that none starves another. */
const HEAVY = ["test/e2e/**/*.test.ts", "test/compute/qemu-boot.test.ts"];

export default defineConfig({
  test: {
    ...(report !== undefined && { reporters: ["default", "json"], outputFile: { json: report } }),
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: HEAVY,
          testTimeout: 20_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "e2e",
          include: HEAVY,
          testTimeout: 60_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
