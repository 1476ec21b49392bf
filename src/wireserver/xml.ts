/**
 * The one place that turns values into XML text. The dialect is the smallest that every guest client reads: no
 * namespace prefixes, no CDATA (WALinuxAgent does not see it), no white space around text.
 */

export const XML_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n';

/** Attributes in the order in which they are written; `undefined` leaves one out. */
export type XmlAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
  // Parsers turn bare white space in attributes into blanks and bare CR into LF (XML 1.0 sections 2.11 and 3.3.3).
  "\t": "&#9;",
  "\n": "&#10;",
  "\r": "&#13;",
};

/** What XML 1.0 section 2.2 does not allow in a document at all, not even as a character reference. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to be found
const NOT_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

/** Escapes text for element content and for attributes. What XML cannot carry becomes U+FFFD. */
export function escapeXml(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(NOT_XML, "\ufffd")
    .replaceAll(/[&<>"'\t\n\r]/g, (character) => ENTITIES[character]!);
}

/**
 * Renders one element.
 *
 * @param name - the element's name, exactly as on the wire; trusted
 * @param content - already rendered children, or text that went through {@link escapeXml}; empty gives `<name/>`
 */
export function xmlElement(name: string, attributes: XmlAttributes, content = ""): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${escapeXml(String(value))}"`)
    .join("");
  return content === "" ? `<${name}${written}/>` : `<${name}${written}>${content}</${name}>`;
}

/** Renders an element that holds nothing but text. */
export function xmlText(
  name: string,
  text: string | number,
  attributes: XmlAttributes = {},
): string {
  return xmlElement(name, attributes, escapeXml(String(text)));
}
