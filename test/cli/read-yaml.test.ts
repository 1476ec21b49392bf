import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseYaml } from "../../src/cli/read-yaml.ts";

const TEXT = `a: 1
list:
  - { name: x, port: 80 }
  - &base { name: y }
  - *base
empty:
`;

describe("parseYaml()", () => {
  test.each([
    ["a value", ["a"], "value", [1, 4]],
    ["a key", ["a"], "key", [1, 1]],
    ["a value in a list", ["list", 0, "port"], "value", [3, 22]],
    ["a key in a list", ["list", 0, "port"], "key", [3, 16]],
    ["an entry", ["list", 1], "value", [4, 11]],
    ["a value behind an alias", ["list", 2, "name"], "value", [4, 19]],
    ["what is missing, at its parent", ["list", 0, "none"], "value", [3, 5]],
    ["an entry past the end, at the list", ["list", 9, "name"], "value", [3, 3]],
    ["the top", [], "value", [1, 1]],
  ] as const)("locates %s", (_what, path, part, [line, column]) => {
    expect(parseYaml(TEXT, "a.yaml").source.locate(path, part)).toEqual({ line, column });
  });

  test("names every syntax error with line and column, one a line", () => {
    const attempt = () => parseYaml("a: 1\na: 2\nb: 1\nb: 2\n", "a.yaml");
    expect(attempt).toThrow(expect.objectContaining({ code: "ERR_USAGE_FILE" }));
    expect(attempt).toThrow("a.yaml:2:1: Map keys must be unique\na.yaml:4:1: Map keys");
  });

  test("refuses aliases that multiply", () => {
    const bomb = Array.from({ length: 12 }, (_, n) => {
      return `x${n}: &x${n} [${Array(9).fill(n === 0 ? "lol" : `*x${n - 1}`)}]`;
    }).join("\n");
    const attempt = () => parseYaml(bomb, "a.yaml");
    expect(attempt).toThrow(expect.objectContaining({ code: "ERR_USAGE_FILE" }));
    expect(attempt).toThrow("a.yaml:1:1: cannot be read as YAML: Excessive alias count");
  });

  test("refuses what is nested too deeply", () => {
    const attempt = () => parseYaml("[".repeat(100_000), "a.yaml");
    expect(attempt).toThrow(expect.objectContaining({ code: "ERR_USAGE_FILE" }));
  });

  test("locates every value of a document that it wrote, inside the text", () => {
    fc.assert(
      fc.property(
        fc.json({ maxDepth: 4 }),
        fc.array(fc.oneof(fc.string(), fc.nat(3))),
        (text, path) => {
          const { source } = parseYaml(text, "a.yaml");
          const place = source.locate(path, "value")!;
          const lines = text.split("\n");
          expect(place.line).toBeLessThanOrEqual(lines.length);
          expect(place.column).toBeLessThanOrEqual((lines[place.line - 1] ?? "").length + 1);
        },
      ),
    );
  });
});
