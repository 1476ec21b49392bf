/** Which elements and attributes of the classic schemas are read, ignored with a warning, or refused. */
import { unknownKeyText } from "../../../model/issue-text.ts";
import { formatProblem, type Problem } from "../../../model/schema.ts";
import type { XmlElement } from "./xml-document.ts";

/** What may stand in an element. */
export interface ElementRule {
  /** Attributes that are read. */
  readonly attributes: readonly string[];
  /** Attributes without effect, and why; an empty reason is not told. */
  readonly ignoredAttributes?: Readonly<Record<string, string>>;
  /** Elements that are read. */
  readonly children?: readonly string[];
  /** Elements without effect, and why. */
  readonly ignored?: Readonly<Record<string, string>>;
  /** Elements that would change what the service is if they had no effect, and what to do. */
  readonly refused?: Readonly<Record<string, string>>;
}

/** What was found on the way through a file. */
export class Findings {
  readonly problems: Problem[] = [];
  readonly warnings: string[] = [];

  /** @param attribute - the attribute that is wrong, if it is one */
  refuse(element: XmlElement, text: string, attribute?: string): void {
    this.problems.push({
      place: placeIn(element, attribute),
      text: describe(element, text, attribute),
    });
  }

  warn(element: XmlElement, text: string, attribute?: string): void {
    const place = placeIn(element, attribute);
    const problem = { place, text: describe(element, text, attribute) };
    this.warnings.push(formatProblem(problem, place.file ?? ""));
  }

  /** The attribute, or undefined and a problem if it is not there. */
  need(element: XmlElement, attribute: string): string | undefined {
    const value = element.attributes.get(attribute);
    if (value === undefined) this.refuse(element, `has no ${attribute}; add ${attribute}="..."`);
    return value;
  }
}

/** `<InputEndpoint> port: what is wrong` */
function describe({ name }: XmlElement, text: string, attribute: string | undefined): string {
  return attribute === undefined ? `<${name}> ${text}` : `<${name}> ${attribute}: ${text}`;
}

function placeIn(element: XmlElement, attribute: string | undefined): XmlElement["place"] {
  return attribute === undefined ? element.place : element.placeOf(attribute);
}

/** Looks at a tree by the rules of its elements' names. What is ignored or refused is not looked into. */
export function checkElements(
  element: XmlElement,
  rules: Readonly<Record<string, ElementRule>>,
  findings: Findings,
): void {
  const rule = rules[element.name] ?? { attributes: [] };
  checkAttributes(element, rule, findings);
  const { children = [], ignored = {}, refused = {} } = rule;
  for (const child of element.children) {
    if (children.includes(child.name)) checkElements(child, rules, findings);
    else if (Object.hasOwn(ignored, child.name)) {
      findings.warn(child, `has no effect; ${ignored[child.name]}`);
    } else if (Object.hasOwn(refused, child.name)) {
      findings.refuse(child, `is not supported; ${refused[child.name]}`);
    } else {
      const known = [...children, ...Object.keys(ignored), ...Object.keys(refused)];
      findings.refuse(child, unknownKeyText(child.name, known));
    }
  }
}

function checkAttributes(element: XmlElement, rule: ElementRule, findings: Findings): void {
  const { attributes, ignoredAttributes = {} } = rule;
  for (const name of element.attributes.keys()) {
    if (/^(?:xmlns(?::|$)|xsi:|xml:)/.test(name) || attributes.includes(name)) continue;
    const reason = Object.hasOwn(ignoredAttributes, name) ? ignoredAttributes[name] : undefined;
    if (reason === undefined) {
      const known = [...attributes, ...Object.keys(ignoredAttributes)];
      findings.refuse(element, unknownKeyText(name, known), name);
    } else if (reason !== "") findings.warn(element, `has no effect; ${reason}`, name);
  }
}

/** The grandchildren `<child>` under `<parent>`, of which there may be several. */
export function listIn(element: XmlElement, parent: string, child: string): XmlElement[] {
  return element.children
    .filter(({ name }) => name === parent)
    .flatMap(({ children }) => children.filter(({ name }) => name === child));
}

/** Elements by their `name`; what has none or one that was there before is a problem. */
export function byName(
  elements: readonly XmlElement[],
  findings: Findings,
): Map<string, XmlElement> {
  const found = new Map<string, XmlElement>();
  for (const element of elements) {
    const name = findings.need(element, "name");
    if (name === undefined) continue;
    const first = found.get(name);
    if (first === undefined) found.set(name, element);
    else {
      const { line } = first.place;
      findings.refuse(element, `is "${name}", which line ${line} has already; remove one`, "name");
    }
  }
  return found;
}
