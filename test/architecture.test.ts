/** The rules of the tree that a reviewer would otherwise have to remember. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = dirname(import.meta.dirname);

/** A room may import rooms of a lower level, never one of its own level. */
const LEVELS = [
  ["model"],
  ["net", "store"],
  ["dhcp"],
  ["wds"],
  ["nm", "trace"],
  ["compute", "wireserver"],
  ["portal"],
  ["cli"],
];

/** Bundled into one file for the guest: it may import nothing but the nouns. Nobody imports it. */
const GUEST_AGENT = "guestagent";

const LINES_MAX = 400;

/**
 * Clocks, randomness, environment and terminal belong to the CLI; these files are the exceptions.
 */
const EDGES: Readonly<Record<string, string>> = {
  "src/guestagent/main.ts": "the guest agent's own entry point: it has no CLI above it",
};

const FORBIDDEN_BELOW_CLI = [
  { name: "Date.now", pattern: /\bDate\.now\b/ },
  { name: "Math.random", pattern: /\bMath\.random\b/ },
  { name: "process.env", pattern: /\bprocess\.env\b/ },
  { name: "console", pattern: /(?<![.\w#$"'`])console\.\w/ },
];

/** Path from the repository root, and text. */
interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** Blanks comments out; string literals are matched first so that "//" inside one is no comment. */
function withoutComments(text: string): string {
  const token =
    /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return text.replaceAll(token, (_all, literal: string | undefined) => literal ?? " ");
}

/** Specifiers of static, dynamic, side-effect and re-exporting imports, types included. */
function importsOf(file: SourceFile): string[] {
  const pattern = /(?:\bfrom|\bimport)\s*\(?\s*["']([^"'\n]+)["']/g;
  return [...withoutComments(file.text).matchAll(pattern)].map((match) => match[1]!);
}

/** The imported file from the repository root, or undefined for packages and builtins. */
function resolveImport(file: SourceFile, specifier: string): string | undefined {
  return specifier.startsWith(".") ? normalize(join(dirname(file.path), specifier)) : undefined;
}

function roomOf(path: string): string {
  return path.split("/")[1] ?? "";
}

function levelOf(room: string): number {
  return LEVELS.findIndex((rooms) => rooms.includes(room));
}

/** Why `from` must not import `to`, or undefined if it may. */
function arrowFault(from: string, to: string): string | undefined {
  // The command line says its version.
  if (to === "package.json" && roomOf(from) === "cli") return undefined;
  if (!to.startsWith("src/")) return "source imports only source";
  const [importer, imported] = [roomOf(from), roomOf(to)];
  if (importer === imported) return undefined;
  if (importer === GUEST_AGENT) return imported === "model" ? undefined : "it is bundled alone";
  if (imported === GUEST_AGENT) return "the guest agent is a program, not a library";
  if (levelOf(importer) < 0) return `the room ${importer} is not in LEVELS of this test`;
  if (levelOf(imported) < 0) return `the room ${imported} is not in LEVELS of this test`;
  if (levelOf(imported) < levelOf(importer)) return undefined;
  return levelOf(imported) === levelOf(importer) ? "siblings do not meet" : "it points upwards";
}

function findBadArrows(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    importsOf(file).flatMap((specifier) => {
      const target = resolveImport(file, specifier);
      const fault = target === undefined ? undefined : arrowFault(file.path, target);
      if (target === undefined || fault === undefined) return [];
      const arrow = `${roomOf(file.path)} -> ${target.startsWith("src/") ? roomOf(target) : target}`;
      return [`${file.path}: new arrow ${arrow} ("${specifier}"): ${fault}`];
    }),
  );
}

/** Each cycle once, as the path of files that closes it. */
function findCycles(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
      return;
    }
    const file = byPath.get(path);
    if (file === undefined || done.has(path)) return;
    for (const specifier of importsOf(file)) {
      const target = resolveImport(file, specifier);
      if (target !== undefined) visit(target, [...trail, path]);
    }
    done.add(path);
  };
  for (const file of files) visit(file.path, []);
  return cycles;
}

function findForbiddenWords(files: readonly SourceFile[]): string[] {
  const strict = files.filter(
    ({ path }) =>
      roomOf(path) !== "cli" && !path.endsWith("-clock.ts") && !Object.hasOwn(EDGES, path),
  );
  return strict.flatMap((file) => {
    const code = withoutComments(file.text);
    return FORBIDDEN_BELOW_CLI.filter(({ pattern }) => pattern.test(code)).map(
      ({ name }) => `${file.path}: ${name} below src/cli; take it as an argument`,
    );
  });
}

function findDefaultExports(files: readonly SourceFile[]): string[] {
  const pattern = /\bexport\s+default\b|\bas\s+default\b(?=[^}]*\})/;
  const bad = files.filter((file) => pattern.test(withoutComments(file.text)));
  return bad.map((file) => `${file.path}: export default; use a named export`);
}

function findLongFiles(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) => {
    const lines = text.trimEnd().split("\n").length;
    return lines > LINES_MAX ? [`${path}: ${lines} lines; at most ${LINES_MAX}`] : [];
  });
}

function readSources(): SourceFile[] {
  return readdirSync(join(ROOT, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.[cm]?tsx?$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path: relative(ROOT, path), text: readFileSync(path, "utf8") }));
}

/** Tracked text files that mention a folder beside the repository, which only its authors have. */
function findOutsideMentions(): string[] {
  const outside = ["..", "shared"].join("/"); // not in one piece, or this file would be found
  try {
    const args = ["grep", "-nI", "--fixed-strings", outside];
    return execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
  } catch (error) {
    if (error instanceof Error && "status" in error && error.status === 1) return []; // no match
    throw error;
  }
}

describe("the tree", () => {
  const sources = readSources();

  test("has files to look at", () => expect(sources.length).toBeGreaterThan(5));
  test("imports downwards only", () => expect(findBadArrows(sources)).toEqual([]));
  test("has no import cycle", () => expect(findCycles(sources)).toEqual([]));
  test("takes clock, chance, environment and terminal as arguments", () =>
    expect(findForbiddenWords(sources)).toEqual([]));
  test("has named exports only", () => expect(findDefaultExports(sources)).toEqual([]));
  test("has no file that is too long to read", () => expect(findLongFiles(sources)).toEqual([]));
  test("mentions nothing outside the repository", () => expect(findOutsideMentions()).toEqual([]));
});

describe("the rules find", () => {
  const file = (path: string, text: string): SourceFile => ({ path, text });

  const bad = [
    { path: "src/model/a.ts", specifier: "../net/index.ts", says: "model -> net" },
    { path: "src/net/a.ts", specifier: "../store/index.ts", says: "siblings do not meet" },
    { path: "src/store/a.ts", specifier: "../dhcp/index.ts", says: "it points upwards" },
    { path: "src/trace/deep/a.ts", specifier: "../../nm/b.ts", says: "trace -> nm" },
    { path: "src/wireserver/a.ts", specifier: "../compute/b.ts", says: "siblings do not meet" },
    { path: "src/wds/plugins/x/plugin.ts", specifier: "../../../nm/b.ts", says: "wds -> nm" },
    { path: "src/guestagent/a.ts", specifier: "../net/b.ts", says: "it is bundled alone" },
    { path: "src/compute/a.ts", specifier: "../guestagent/b.ts", says: "not a library" },
    { path: "src/cli/a.ts", specifier: "../../test/b.ts", says: "cli -> test/b.ts" },
    { path: "src/cli/a.ts", specifier: "../../tools/b.ts", says: "source imports only source" },
    { path: "src/nm/a.ts", specifier: "../../package.json", says: "source imports only source" },
    { path: "src/cli/a.ts", specifier: "../attic/b.ts", says: "attic is not in LEVELS" },
  ];
  const forms = [
    (to: string) => `import { x } from "${to}";`,
    (to: string) => `import type {\n  X,\n} from '${to}';`,
    (to: string) => `export { x } from "${to}";`,
    (to: string) => `import "${to}";`,
    (to: string) => `const x = await import("${to}");`,
  ];
  for (const { path, specifier, says } of bad) {
    test(`the arrow from ${path} to ${specifier}, however it is written`, () => {
      for (const form of forms) {
        const faults = findBadArrows([file(path, form(specifier))]);
        expect(faults).toEqual([expect.stringContaining(says)]);
        expect(faults[0]).toContain(path);
        expect(faults[0]).toContain(specifier);
      }
    });
  }

  test("nothing wrong with arrows that are allowed", () => {
    const allowed = [
      file("src/dhcp/a.ts", 'import { x } from "../net/index.ts";\nimport "./b.ts";'),
      file("src/cli/a.ts", 'import "../model/a.ts"; import "node:fs"; import "zod";'),
      file("src/guestagent/a.ts", 'import "../model/a.ts"; import "node:http";'),
      file("src/wds/plugins/x/plugin.ts", 'import "../../contract.ts";'),
      file("src/model/a.ts", '// import "../cli/a.ts"\n/* from "../net/a.ts" */'),
    ];
    expect(findBadArrows(allowed)).toEqual([]);
  });

  test("a cycle, and names its files", () => {
    const cycle = [
      file("src/net/a.ts", 'import "./b.ts";'),
      file("src/net/b.ts", 'import "./c.ts";'),
      file("src/net/c.ts", 'import "./b.ts";'),
    ];
    expect(findCycles(cycle)).toEqual(["src/net/b.ts -> src/net/c.ts -> src/net/b.ts"]);
    expect(findCycles(cycle.slice(0, 2))).toEqual([]);
  });

  const words = ["Date.now()", "Math.random()", "process.env['X']", "console.log(1)"];
  for (const word of words) {
    test(`${word} in code, but not in comments, the CLI, clocks and edges`, () => {
      const text = `const x = ${word};`;
      expect(findForbiddenWords([file("src/net/a.ts", text)])).toHaveLength(1);
      const exempt = ["src/cli/a.ts", "src/net/wall-clock.ts", "src/guestagent/main.ts"];
      expect(findForbiddenWords(exempt.map((path) => file(path, text)))).toEqual([]);
      const comments = `/** ${word} */ const url = "http://x"; // ${word}`;
      expect(findForbiddenWords([file("src/net/a.ts", comments)])).toEqual([]);
    });
  }

  test("a default export in either spelling", () => {
    const texts = ["export default function f() {}", "const a = 1;\nexport { a as default };"];
    for (const text of texts)
      expect(findDefaultExports([file("src/net/a.ts", text)])).toHaveLength(1);
    expect(findDefaultExports([file("src/net/a.ts", "export const a = 1;")])).toEqual([]);
  });

  test("a file of 401 lines, not one of 400", () => {
    expect(findLongFiles([file("src/a.ts", "x\n".repeat(401))])).toHaveLength(1);
    expect(findLongFiles([file("src/a.ts", "x\n".repeat(400))])).toEqual([]);
  });
});
