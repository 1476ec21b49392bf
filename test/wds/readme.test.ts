/** Every chain in the plugins' READMEs and in docs/plugins.md is one that loads, and each README has its parts in order. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseDocument } from "yaml";
import { BUILTIN_PLUGINS, loadChain } from "../../src/wds/index.ts";

const ROOT = join(import.meta.dirname, "../..");
const PLUGINS = join(ROOT, "src/wds/plugins");
const PARTS = [
  "Name",
  "Synopsis",
  "Description",
  "Options",
  "Fields",
  "Metrics",
  "Examples",
  "Bugs",
];
const ALL_PARTS = [...PARTS, "See also"];

const names = readdirSync(PLUGINS);
const pages = [
  ...names.map((name) => join("src/wds/plugins", name, "README.md")),
  "docs/plugins.md",
  "examples/wds-plugin/README.md",
];

/** The chains of a page: documents with a key `chain`. A page may show a part of a chain that resolves nobody. */
function chainsOf(page: string): unknown[][] {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/```yaml\n(.*?)```/gs)]
    .map(([, yaml]) => parseDocument(yaml!).toJS() as { chain?: unknown[] } | null)
    .flatMap((document) => (document?.chain === undefined ? [] : [document.chain]));
}

describe("the plugins' pages", () => {
  test("are there for each plugin", () => {
    expect(names.toSorted()).toEqual([...BUILTIN_PLUGINS.keys()].toSorted());
  });

  test.each(pages)("%s shows chains that load", async (page) => {
    for (const chain of chainsOf(page)) {
      const resolving = chain.includes("nm") ? chain : [...chain, "nm"];
      const { plugins } = await loadChain(
        { file: page, folder: join(ROOT, "examples/wds-plugin"), chain: resolving },
        {
          hosts: { findHost: () => undefined },
          nics: { findByMac: () => undefined },
          ...{ now: () => 0, log: () => undefined, seed: 1 },
        },
      );
      expect(plugins).toHaveLength(resolving.length);
    }
  });

  test.each(names)("%s has the parts of a manual page, in order", (name) => {
    const text = readFileSync(join(PLUGINS, name, "README.md"), "utf8");
    const parts = [...text.matchAll(/^## (.*)$/gm)].map(([, part]) => part!);
    expect(parts).toEqual(ALL_PARTS.filter((part) => parts.includes(part)));
    for (const part of ["Name", "Synopsis", "Description", "Options", "Metrics"]) {
      expect(parts).toContain(part);
    }
    expect(text.startsWith(`# ${name}\n`)).toBe(true);
  });
});
