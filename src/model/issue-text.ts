/** What zod found, in the words of who wrote the file: what is there, and what to write instead. */
import { z } from "zod";
import { nearestName } from "./nearest-name.ts";

type RawIssue = z.core.$ZodRawIssue;

/** Longest text of a user's that is repeated in a message. */
const QUOTE_CHARACTERS_MAX = 60;

/** An error map for zod: undefined where zod's own words will do. */
export function issueText(issue: RawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return typeText(issue.expected, issue.input);
    case "invalid_value":
      return valueText(issue.input, issue.values);
    case "too_small":
      return boundText(issue, `at least ${issue.minimum}`);
    case "too_big":
      return boundText(issue, `at most ${issue.maximum}`);
    default:
      return undefined;
  }
}

/** What to write instead of a key that is not known. */
export function unknownKeyText(key: string, known: readonly string[]): string {
  const nearest = nearestName(key, known);
  if (nearest !== undefined) return `is unknown; did you mean ${nearest}?`;
  if (known.length === 0) return "is unknown; remove it";
  return `is unknown; known here: ${known.join(", ")}`;
}

/** The keys of the strict object that raised an issue. */
export function knownKeys(issue: RawIssue): readonly string[] {
  return issue.inst instanceof z.ZodObject ? Object.keys(issue.inst.shape) : [];
}

function typeText(expected: string, input: unknown): string {
  if (input === undefined) return `is missing; write ${article(expected)}`;
  if (expected === "int") return `is ${quote(input)}; write a whole number`;
  const isScalar = typeof input === "number" || typeof input === "boolean";
  if (expected === "string" && isScalar)
    return `is the ${typeof input} ${input}; write it in quotes`;
  return `is ${quote(input)}; write ${article(expected)}`;
}

function valueText(input: unknown, values: readonly z.core.util.Primitive[]): string {
  const names = values.map(String);
  if (input === undefined) return `is missing; write one of ${names.join(", ")}`;
  const nearest = typeof input === "string" ? nearestName(input, names) : undefined;
  const hint =
    nearest === undefined ? `write one of ${names.join(", ")}` : `did you mean ${nearest}?`;
  return `is ${quote(input)}; ${hint}`;
}

function boundText({ origin, input }: RawIssue & { origin: string }, bound: string): string {
  if (origin === "string") {
    const length = typeof input === "string" ? input.length : 0;
    return `has ${length} characters; it may have ${bound}`;
  }
  if (origin === "array") {
    const count = Array.isArray(input) ? input.length : 0;
    return `has ${count} entries; it may have ${bound}`;
  }
  return `is ${quote(input)}; write ${bound}`;
}

const NOUNS: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "an object, { name: value }",
  record: "an object, { name: value }",
  array: "a list, [ ... ]",
};

function article(expected: string): string {
  return NOUNS[expected] ?? `a value of the kind ${expected}`;
}

/** A short form of what is there; never a whole document. */
function quote(input: unknown): string {
  if (input === null || input === undefined) return "empty";
  if (Array.isArray(input)) return "a list";
  if (typeof input === "object") return "an object";
  if (typeof input !== "string") return String(input);
  const isLong = input.length > QUOTE_CHARACTERS_MAX;
  return JSON.stringify(isLong ? `${input.slice(0, QUOTE_CHARACTERS_MAX)}...` : input);
}
