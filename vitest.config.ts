import { defineConfig } from "vitest/config";

/** Set by `.ci/run`, which counts tests from the report. */
const report = process.env["GOALSTATE_TEST_REPORT"];

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 20_000,
    ...(report !== undefined && { reporters: ["default", "json"], outputFile: { json: report } }),
  },
});
