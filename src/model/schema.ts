/** Validation of what people write: values that only their parser can make, and errors that name the place. */
import { z } from "zod";
import { FabricError } from "./errors.ts";
import { type Ipv4Address, type Ipv4Subnet, parseIpv4, parseSubnet } from "./ipv4-address.ts";
import { issueText, knownKeys, unknownKeyText } from "./issue-text.ts";
import { type MacAddress, parseMac } from "./mac-address.ts";

/** A string that `parse` turns into a value; its SyntaxError becomes the issue's text. */
function parsedString<T>(parse: (text: string) => T) {
  return z.string().transform((text, context): T => {
    try {
      return parse(text);
    } catch (error) {
      context.issues.push({
        code: "custom",
        message: error instanceof Error ? error.message : String(error),
        input: text,
      });
      return z.NEVER;
    }
  });
}

export const MacSchema = parsedString<MacAddress>(parseMac);
export const Ipv4Schema = parsedString<Ipv4Address>(parseIpv4);
export const SubnetSchema = parsedString<Ipv4Subnet>(parseSubnet);
export const PortSchema = z.int().min(1).max(65_535);

/** A place in a text that people wrote; both count from 1. */
export interface Place {
  /** If it is another file than the source's own. */
  readonly file?: string;
  readonly line: number;
  readonly column: number;
}

/** A text that was read into plain values. */
export interface Source {
  /** The file's name as the user gave it. */
  readonly name: string;
  /**
   * Where the value at `path` stands, or the nearest part of the text that exists.
   *
   * @param part - `key`: where the name of the path's last part stands
   */
  locate(path: readonly PropertyKey[], part: "key" | "value"): Place | undefined;
  /** What the place of `path` is called in the text, if it is not called `roles[0].name` there. */
  describe?(path: readonly PropertyKey[]): string | undefined;
}

/** Something wrong in a text, and where. */
export interface Problem {
  readonly place?: Place | undefined;
  readonly text: string;
}

/**
 * Validates `data` once and returns it frozen at the top.
 *
 * @param source - the file or place, for the error's text; with a {@link Source} line and column are named
 * @throws FabricError with `code` and, one after another, `source:line:column: place: what is wrong; fix`
 */
export function validate<T>(
  schema: z.ZodType<T>,
  data: unknown,
  source: string | Source,
  code: `ERR_USAGE_${string}`,
): T {
  const checked = check(schema, data, source);
  if (checked.ok) return Object.freeze(checked.value);
  throw problemsError(checked.problems, source, code);
}

/** Like {@link validate}, for a caller that has problems of its own to add. */
export function check<T>(
  schema: z.ZodType<T>,
  data: unknown,
  source: string | Source,
): { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problems: Problem[] } {
  const known = new Map<string, readonly string[]>();
  const result = schema.safeParse(data, {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return issueText(issue);
      known.set(formatPath(issue.path ?? []), knownKeys(issue));
      return undefined;
    },
  });
  if (result.success) return { ok: true, value: result.data };
  const find = (path: readonly PropertyKey[], part: "key" | "value") =>
    typeof source === "string" ? undefined : source.locate(path, part);
  const describe = (path: readonly PropertyKey[]) =>
    (typeof source === "string" ? undefined : source.describe?.(path)) ?? formatPath(path);
  const problems = result.error.issues.flatMap((issue): Problem[] => {
    const { path } = issue;
    if (issue.code === "unrecognized_keys") {
      const keys = known.get(formatPath(path)) ?? [];
      return issue.keys.map((key) => ({
        place: find([...path, key], "key"),
        text: `${describe([...path, key])}: ${unknownKeyText(key, keys)}`,
      }));
    }
    const isKey = issue.code === "invalid_key";
    const message = isKey ? (issue.issues[0]?.message ?? issue.message) : issue.message;
    return [{ place: find(path, isKey ? "key" : "value"), text: `${describe(path)}: ${message}` }];
  });
  return { ok: false, problems };
}

/** One error of all `problems`: one a line in the order of the text, or behind one another where there is no text. */
export function problemsError(
  problems: readonly Problem[],
  source: string | Source,
  code: `ERR_USAGE_${string}`,
): FabricError {
  if (typeof source === "string") {
    return new FabricError(code, `${source}: ${problems.map(({ text }) => text).join("; ")}`);
  }
  const lines = problems
    .map((problem) => ({ problem, file: problem.place?.file ?? source.name }))
    .toSorted((a, b) => {
      if (a.file === b.file) return comparePlaces(a.problem.place, b.problem.place);
      if (a.file === source.name || b.file === source.name) return a.file === source.name ? -1 : 1;
      return a.file < b.file ? -1 : 1;
    })
    .map(({ problem }) => formatProblem(problem, source.name));
  return new FabricError(code, [...new Set(lines)].join("\n"));
}

/** `FILE:LINE:COLUMN: text` */
export function formatProblem({ place, text }: Problem, file: string): string {
  const at = place === undefined ? "" : `:${place.line}:${place.column}`;
  return `${place?.file ?? file}${at}: ${text}`;
}

function comparePlaces(a: Place | undefined, b: Place | undefined): number {
  if (a === undefined || b === undefined) return Number(a !== undefined) - Number(b !== undefined);
  return a.line - b.line || a.column - b.column;
}

/** `nics[3].mac` */
export function formatPath(path: readonly PropertyKey[]): string {
  const text = path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("");
  return text.replace(/^\./, "") || "(top)";
}
