/** Every relative link of the documentation leads somewhere: to a file that exists, and to a heading in it. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const FOLDERS_LEFT_OUT = ["node_modules", ".git"];

function listPages(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return FOLDERS_LEFT_OUT.includes(entry.name) ? [] : listPages(path);
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

/** Text outside of code blocks, where a bracket is no link and a # no heading. */
function proseOf(path: string): string {
  return readFileSync(path, "utf8").replaceAll(/^```[\s\S]*?^```/gm, "");
}

/** A heading's anchor as GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

function hasAnchor(path: string, anchor: string): boolean {
  const headings = [...proseOf(path).matchAll(/^#+ (.*)$/gm)].map((match) => anchorOf(match[1]!));
  return headings.includes(anchor);
}

function findBrokenLinks(page: string): string[] {
  const links = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!);
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [file = "", anchor] = link.split("#");
      const target = file === "" ? page : join(dirname(page), file);
      if (!existsSync(target)) return true;
      return anchor !== undefined && target.endsWith(".md") && !hasAnchor(target, anchor);
    });
}

describe("relative links", () => {
  const pages = listPages(ROOT).map((path) => relative(ROOT, path));
  test("there are pages", () => expect(pages).toContain("README.md"));
  test.each(pages)("%s", (page) => expect(findBrokenLinks(join(ROOT, page))).toEqual([]));
});
