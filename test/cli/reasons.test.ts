/** Every reason that the source can give has words, and there are no words for a reason that it cannot give. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { IGNORED_OPTIONS } from "../../src/cli/dhcp/ignored-options.ts";
import {
  DROP_REASONS,
  explainReason,
  NAK_REASONS,
  PLUGIN_REASONS,
  REQUEST_NOTES,
  type ReasonText,
} from "../../src/cli/dhcp/reasons.ts";

import { IGNORED_OPTION_REASONS } from "../../src/dhcp/index.ts";

const ROOT = join(import.meta.dirname, "../..");

/** Source text of a room, without comments. */
function sourceOf(...rooms: readonly string[]): string {
  const files = rooms.flatMap((room) =>
    readdirSync(join(ROOT, "src", room), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => readFileSync(join(ROOT, "src", room, name), "utf8")),
  );
  return files.join("\n").replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
}

/** The string literals of a union type. */
function membersOf(source: string, type: string): string[] {
  const [, members = ""] = source.match(new RegExp(`export type ${type} =([^;]*);`)) ?? [];
  return [...members.matchAll(/"([^"]+)"/g)].map((match) => match[1]!);
}

const source = sourceOf("net", "dhcp");
const DROP_TYPES = ["FrameDropReason", "RequestDropReason", "SilenceReason", "ServerDropReason"];

/** Reasons that plugins answer with, the server's left out. `plugin.NAME` is the chain's. */
function pluginReasons(): string[] {
  const found = sourceOf("wds/plugins").matchAll(
    /(?:return|reason:|\?)\s+"([a-z]+(?:\.[a-z]+)+)"/g,
  );
  const reasons = new Set([...found].map((match) => match[1]!));
  return [...reasons].filter((reason) => !Object.hasOwn(DROP_REASONS, reason));
}

describe("the words for reasons", () => {
  test("are there for each reason of the server, and for no other", () => {
    const reasons = new Set(DROP_TYPES.flatMap((type) => membersOf(source, type)));
    expect(Object.keys(DROP_REASONS).sort()).toEqual([...reasons].sort());
    expect(reasons.size).toBeGreaterThan(50);
  });

  test("are there for each refusal, and for no other", () => {
    expect(Object.keys(NAK_REASONS).sort()).toEqual(membersOf(source, "NakReason").sort());
  });

  test("are there for each note, and for no other", () => {
    expect(Object.keys(REQUEST_NOTES).sort()).toEqual(membersOf(source, "RequestNote").sort());
  });

  test("are there for each reason to ignore an option, and for no other", () => {
    expect(Object.keys(IGNORED_OPTIONS)).toEqual([...IGNORED_OPTION_REASONS]);
  });

  test("are there for each reason of a plugin, and for no other", () => {
    expect(Object.keys(PLUGIN_REASONS).sort()).toEqual(pluginReasons().sort());
  });

  const all: readonly (readonly [string, ReasonText])[] = [
    ...Object.entries(DROP_REASONS),
    ...Object.entries(NAK_REASONS),
    ...Object.entries(PLUGIN_REASONS),
    ["plugin.x", explainReason("plugin.x")],
    ["third.party", explainReason("third.party")],
  ];

  test("are whole sentences that end", () => {
    const texts = all.flatMap(([, { meaning, advice }]) => [meaning, advice]);
    const shorter = [...Object.values(REQUEST_NOTES), ...Object.values(IGNORED_OPTIONS)];
    const bad = [...texts, ...shorter].filter((text) => !/^[A-Z0-9].*[.]$/.test(text));
    expect(bad).toEqual([]);
  });

  test("name the plugin that failed, and the reason that nobody knows", () => {
    expect(explainReason("plugin.nm").meaning).toContain("The plugin nm failed");
    expect(explainReason("third.party").meaning).toContain("third.party");
  });
});
