import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backoffMs } from "../../src/guestagent/edge.ts";
import { createLineSplitter, LINE_CHARACTERS_MAX } from "../../src/guestagent/line-splitter.ts";
import {
  isSameProgram,
  parseAppManifest,
  roleProgramOf,
} from "../../src/guestagent/role-program.ts";

const CONFIGURATION = {
  incarnation: "3",
  hostingEnvironment: {
    roleInstance: "web_0",
    roleName: "web",
    settings: new Map([
      ["GREETING", "hi"],
      ["db.url-1", "x"],
    ]),
  },
  endpoints: [{ name: "http-in", port: 8080 }],
};

describe("app.json", () => {
  for (const text of [
    "",
    "[]",
    "{}",
    '{"command":[]}',
    '{"command":"node"}',
    '{"command":[1]}',
    '{"command":["a"],"environment":{"A":1}}',
  ]) {
    test(`parseAppManifest() refuses ${text || "nothing"}, naming the file`, () => {
      expect(() => parseAppManifest(text, "/app/app.json")).toThrow(/^\/app\/app\.json /);
    });
  }

  test("roleProgramOf() gives the program settings, endpoints and its name", () => {
    const manifest = parseAppManifest(
      '{"command":["node","a.mjs"],"environment":{"A":"b","PATH":"/x"}}',
      "",
    );
    const program = roleProgramOf(manifest, "/app", CONFIGURATION, { PATH: "/bin", HOME: "/" });
    expect(program).toEqual({
      incarnation: "3",
      command: [process.execPath, "a.mjs"],
      folder: "/app",
      environment: {
        PATH: "/x",
        HOME: "/",
        A: "b",
        SETTING_GREETING: "hi",
        SETTING_DB_URL_1: "x",
        ENDPOINT_HTTP_IN_PORT: "8080",
        ROLE_INSTANCE: "web_0",
        ROLE_NAME: "web",
      },
    });
    expect(isSameProgram(program, { ...program, incarnation: "4" })).toBe(true);
    expect(isSameProgram(program, { ...program, environment: { A: "b" } })).toBe(false);
  });
});

describe("createLineSplitter()", () => {
  test("gives the same lines, however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 5 }), (text, size) => {
        const lines: string[] = [];
        const splitter = createLineSplitter((line) => lines.push(line));
        const bytes = Buffer.from(`${text.replaceAll(/[\r\n]/g, "\n")}\n`);
        for (let at = 0; at < bytes.length; at += size)
          splitter.write(bytes.subarray(at, at + size));
        splitter.end();
        expect(`${lines.join("\n")}\n`).toBe(bytes.toString());
      }),
    );
  });

  for (const [lengths, want] of [
    [[LINE_CHARACTERS_MAX], [LINE_CHARACTERS_MAX]],
    [[LINE_CHARACTERS_MAX + 1], [LINE_CHARACTERS_MAX, 1]],
    [[LINE_CHARACTERS_MAX, 3 * LINE_CHARACTERS_MAX], Array(4).fill(LINE_CHARACTERS_MAX)],
  ] as const) {
    test(`cuts pieces of ${lengths.join(" and ")} without a line end`, () => {
      const lines: string[] = [];
      const splitter = createLineSplitter((line) => lines.push(line));
      for (const length of lengths) splitter.write(Buffer.alloc(length, "x"));
      splitter.end();
      expect(lines.map((line) => line.length)).toEqual(want);
    });
  }
});

describe("backoffMs()", () => {
  const backoff = { baseMs: 1_000, maxMs: 13_000 };
  for (const [failures, low, high] of [
    [1, 500, 1_000],
    [2, 1_000, 2_000],
    [4, 4_000, 8_000],
    [5, 6_500, 13_000],
    [10_000, 6_500, 13_000],
  ] as const) {
    test(`waits ${low} to ${high} ms after ${failures} failures`, () => {
      expect(backoffMs(backoff, failures, 0)).toBe(low);
      expect(backoffMs(backoff, failures, 1)).toBe(high);
    });
  }
});
