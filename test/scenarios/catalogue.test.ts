/** The catalogue is complete: each of its rows is a scenario here or a test elsewhere, which bears its number. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { SCENARIOS } from "./catalogue/index.ts";
import { GOLDENS } from "./run-scenario.ts";

const TESTS = join(import.meta.dirname, "..");
const ROWS = Array.from({ length: 110 }, (_, index) => `S${String(index + 1).padStart(2, "0")}`);

/** What cannot be told as frames in and frames out of one server, and the file that tests it. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  S41: "e2e/renewal.test.ts",
  S84: "dhcp/relay-agent-reply.test.ts",
  S85: "dhcp/relay-agent.test.ts",
  S86: "dhcp/relay-agent-reply.test.ts",
  S87: "dhcp/relay-agent.test.ts",
  S88: "dhcp/relay-agent-reply.test.ts",
  S89: "net/kernel-facts.test.ts",
  S95: "net/kernel-facts.test.ts",
  S96: "e2e/serve-interfaces.test.ts",
  S97: "net/kernel-facts.test.ts",
  S98: "net/kernel-facts.test.ts",
  S99: "net/kernel-facts.test.ts",
  S100: "e2e/serve.test.ts",
  S101: "net/kernel-facts.test.ts",
  S103: "wds/chain-robust.test.ts",
  S104: "wds/chain-robust.test.ts",
  S105: "cli/served-inventory.test.ts",
  S106: "e2e/serve.test.ts",
  S107: "e2e/clients/perfdhcp.test.ts",
  S108: "e2e/soak.test.ts",
  S109: "e2e/kea.test.ts",
  S110: "e2e/scenario-captures.test.ts",
};

describe("the scenario catalogue", () => {
  test("has each row once: here, maybe in several variants, or elsewhere", () => {
    const here = new Set(SCENARIOS.map(({ id }) => id));
    const elsewhere = Object.keys(ELSEWHERE);
    expect([...here, ...elsewhere].sort()).toEqual([...ROWS].sort());
    const names = SCENARIOS.map(({ id, name }) => `${id} ${name}`);
    expect(new Set(names).size).toBe(names.length);
  });

  test.each(Object.entries(ELSEWHERE))("%s is a test of %s", (id, file) => {
    const text = readFileSync(join(TESTS, file), "utf8");
    expect(text).toMatch(new RegExp(`\\b(?:test|describe)\\b[^;]*?["\`]${id}\\b`));
  });

  test("has the captures of its scenarios and no others", () => {
    const folders = readdirSync(GOLDENS, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => relative(GOLDENS, join(entry.parentPath, entry.name)));
    expect(folders.sort()).toEqual(SCENARIOS.map(({ id, name }) => `${id}-${name}`).sort());
  });
});
