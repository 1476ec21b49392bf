/**
 * XML files that people write, with the place of every element and attribute. xml2js keeps no places; but the SAX parser
 * inside it knows where the tag began when it asks for the tag's name, and the tree's order is that of the tags.
 */
import { Parser } from "xml2js";
import { errorText, FabricError } from "../../../model/errors.ts";
import { formatProblem, type Place } from "../../../model/schema.ts";
import { placesIn } from "../../text-places.ts";

const ELEMENTS_MAX = 10_000;
const DEPTH_MAX = 32;

const ATTRIBUTES = "$";
const CHILDREN = "$$";
/** Begins with a character that no element's name begins with. */
const TEXT = "$_";

/** An element, and where it stands. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  readonly place: Place;
  /** Where an attribute stands, or the element if it has none of this name. */
  placeOf(attribute: string): Place;
}

/** The part of xml2js's tree that is read. */
interface Raw {
  readonly "#name": string;
  readonly [ATTRIBUTES]?: Readonly<Record<string, string>>;
  readonly [CHILDREN]?: readonly Raw[];
}

/** The part of the SAX parser's state that is read. */
interface SaxState {
  /** One past the offset of the tag's `<`. */
  readonly startTagPosition: number;
  /** True once a DOCTYPE was there. */
  readonly doctype: unknown;
  /** What it stopped at. */
  readonly error: unknown;
}

/**
 * Parses a document.
 *
 * @param file - its name, for messages and places
 * @throws FabricError ERR_USAGE_FILE with the place: it is not well-formed, has a DOCTYPE (so no entities of its own), or
 * is too large for a file that people write
 */
export function parseXml(text: string, file: string): XmlElement {
  const placeAt = placesIn(text);
  const refuse = (offset: number, what: string): FabricError => {
    const place = placeAt(offset);
    return new FabricError("ERR_USAGE_FILE", formatProblem({ place, text: what }, file));
  };
  const starts: number[] = [];
  const parser = new Parser({
    ...{ explicitRoot: false, explicitChildren: true, preserveChildrenOrder: true },
    ...{ attrkey: ATTRIBUTES, childkey: CHILDREN, charkey: TEXT },
    tagNameProcessors: [
      (name) => {
        const offset = sax.startTagPosition - 1;
        if (sax.doctype === true) {
          throw refuse(Math.max(0, text.indexOf("<!DOCTYPE")), "has a DOCTYPE; remove it");
        }
        starts.push(offset);
        if (starts.length > ELEMENTS_MAX) throw refuse(offset, `has over ${ELEMENTS_MAX} elements`);
        return name;
      },
    ],
  });
  const sax = saxStateOf(parser);
  const toError = (error: unknown): FabricError => {
    if (error instanceof FabricError) return error;
    const { line, column, what } = readSaxError(error);
    return refuse(offsetOf(text, line, column), `is no well-formed XML: ${what}`);
  };
  const root = runParser(parser, text, toError);
  // Behind the root's end, xml2js has given its result and swallows what is wrong.
  if (sax.error instanceof Error) throw toError(sax.error);
  if (root === undefined) throw refuse(0, "is empty");
  const rest = starts.values();
  const element = toElement(root, { text, file, placeAt, starts: rest, refuse }, 0);
  const second = rest.next();
  if (second.done !== true) throw refuse(second.value, "is a second root; a document has one");
  return element;
}

/** The first thing that the parser says: after an error it may go on, and fail again. */
function runParser(
  parser: Parser,
  text: string,
  toError: (error: unknown) => FabricError,
): Raw | undefined {
  let outcome: { readonly error?: FabricError; readonly root?: Raw } | undefined;
  try {
    parser.parseString(text, (error: unknown, root: Raw | null) => {
      outcome ??= error === null ? { ...(root !== null && { root }) } : { error: toError(error) };
    });
  } catch (error) {
    outcome = { error: outcome?.error ?? toError(error) };
  }
  if (outcome?.error !== undefined) throw outcome.error;
  return outcome?.root;
}

interface Surroundings {
  readonly text: string;
  readonly file: string;
  readonly placeAt: ReturnType<typeof placesIn>;
  /** Offsets of the tags, in their order. */
  readonly starts: Iterator<number, unknown>;
  readonly refuse: (offset: number, what: string) => FabricError;
}

function toElement(raw: Raw, surroundings: Surroundings, depth: number): XmlElement {
  const { text, file, placeAt, starts, refuse } = surroundings;
  const next = starts.next();
  const offset = next.done === true ? 0 : next.value;
  if (depth > DEPTH_MAX) throw refuse(offset, `is nested deeper than ${DEPTH_MAX} elements`);
  const place = { file, ...placeAt(offset) };
  const offsets = new Map<string, number>();
  for (const [name, at] of attributesAt(text, offset)) {
    if (offsets.has(name)) throw refuse(at, `is the attribute ${name} again; remove one`);
    offsets.set(name, at);
  }
  return {
    name: raw["#name"],
    attributes: new Map(Object.entries(raw[ATTRIBUTES] ?? {})),
    children: (raw[CHILDREN] ?? []).map((child) => toElement(child, surroundings, depth + 1)),
    place,
    placeOf: (attribute) => {
      const found = offsets.get(attribute);
      return found === undefined ? place : { file, ...placeAt(found) };
    },
  };
}

/** Names and offsets of the attributes of the tag at `start`. The text was parsed: the tag is well-formed. */
function* attributesAt(text: string, start: number): Generator<readonly [string, number]> {
  const token = /([^\s=<>/"']+)\s*=\s*(?:"[^"]*"|'[^']*')|>/g;
  token.lastIndex = start + 1;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    if (match[1] === undefined) return;
    yield [match[1], match.index];
  }
}

function saxStateOf(parser: Parser): SaxState {
  return (parser as Parser & { readonly saxParser: SaxState }).saxParser;
}

/** sax puts line and column, both from 0, on lines of their own below what is wrong. */
function readSaxError(error: unknown): { line: number; column: number; what: string } {
  const text = error instanceof Error ? error.message : errorText(error);
  const numberAfter = (word: string): number =>
    Number(new RegExp(`^${word}: (\\d+)$`, "m").exec(text)?.[1] ?? 0);
  const [what = ""] = text.split("\n");
  return { line: numberAfter("Line"), column: Math.max(0, numberAfter("Column") - 1), what };
}

function offsetOf(text: string, line: number, column: number): number {
  let start = 0;
  for (let passed = 0; passed < line; passed += 1) start = text.indexOf("\n", start) + 1;
  return start + column;
}
