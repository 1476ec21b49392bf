/** docs/errors.md lists every error code of the source, and no other. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

/** Codes in string literals; a prefix (ERR_USAGE_) is no code. */
function codesInSource(): Set<string> {
  const files = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" });
  const texts = files
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(join(ROOT, "src", name), "utf8"));
  const found = texts.flatMap((text) =>
    [...text.matchAll(/"(ERR_[A-Z_]*[A-Z])"/g)].map((match) => match[1]!),
  );
  return new Set(found);
}

/** Codes in the first column of a table. */
function codesOnPage(): string[] {
  const page = readFileSync(join(ROOT, "docs/errors.md"), "utf8");
  return [...page.matchAll(/^\| `(ERR_[A-Z_]+)`\s*\|/gm)].map((match) => match[1]!);
}

test("docs/errors.md has every code of the source", () => {
  const page = new Set(codesOnPage());
  expect([...codesInSource()].filter((code) => !page.has(code)).sort()).toEqual([]);
});

test("docs/errors.md has no code that the source does not have", () => {
  const source = codesInSource();
  expect(codesOnPage().filter((code) => !source.has(code))).toEqual([]);
});

test("docs/errors.md has each code once", () => {
  const page = codesOnPage();
  expect(page.filter((code, index) => page.indexOf(code) !== index)).toEqual([]);
});
