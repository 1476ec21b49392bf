/** What a playbook changes in an answer that was right. */
import type { FaultStep } from "../../model/playbook.ts";

/** True if the step changes the answer's body. */
export function changesBody({ without, staleBy, oneLine }: FaultStep): boolean {
  return without !== undefined || staleBy !== undefined || oneLine === true;
}

/** The body as the step wants it. Text that is neither XML nor JSON stays as it is, but for `oneLine`. */
export function changeBody(body: string, step: FaultStep): string {
  let text = body;
  for (const part of step.without ?? []) text = leaveOut(text, part);
  if (step.staleBy !== undefined) text = makeStale(text, step.staleBy);
  if (step.oneLine === true) text = joinLines(text);
  return text;
}

function leaveOut(text: string, part: string): string {
  return /^\s*[[{]/.test(text) ? leaveOutOfJson(text, part) : leaveOutOfXml(text, part);
}

/** Our own documents: no element holds one of its own name but lists of equals, of which each goes alone. */
function leaveOutOfXml(text: string, name: string): string {
  const last = name.split(".").at(-1) ?? name;
  const attributes = "(?:\\s[^<>]*)?";
  const prefix = "(?:\\w+:)?";
  const empty = new RegExp(`<${prefix}${last}${attributes}/>`, "g");
  const whole = new RegExp(`<${prefix}${last}${attributes}>[^]*?</${prefix}${last}>`, "g");
  return text.replaceAll(empty, "").replaceAll(whole, "");
}

function leaveOutOfJson(text: string, path: string): string {
  try {
    const document: unknown = JSON.parse(text);
    const names = path.split(".");
    const last = names.pop() ?? "";
    const place = names.reduce<unknown>(memberOf, document);
    if (typeof place === "object" && place !== null) Reflect.deleteProperty(place, last);
    return JSON.stringify(document);
  } catch {
    return text;
  }
}

function memberOf(place: unknown, name: string): unknown {
  const isThere = typeof place === "object" && place !== null && Object.hasOwn(place, name);
  return isThere ? Reflect.get(place, name) : undefined;
}

/** In elements, attributes and URLs; never below 0. */
function makeStale(text: string, by: number): string {
  const older = (_all: string, before: string, digits: string) => {
    const value = BigInt(digits) - BigInt(by);
    return `${before}${value < 0n ? 0n : value}`;
  };
  return text
    .replaceAll(/(<Incarnation>)(\d+)/g, older)
    .replaceAll(/(goalStateIncarnation=")(\d+)/g, older)
    .replaceAll(/([?&;]incarnation=)(\d+)/gi, older);
}

/** Base64 between tags: its line breaks go, those between elements stay. */
function joinLines(text: string): string {
  return text.replaceAll(/>\s*([A-Za-z0-9+/=\s]{64,}?)\s*</g, (_all, inner: string) => {
    return `>${inner.replaceAll(/\s+/g, "")}<`;
  });
}
