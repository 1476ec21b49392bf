/**
 * Text that a guest sent: host names, classes, identifiers. It may hold anything, so it is escaped before anybody reads it
 * and scrubbed before anything is named after it. It never becomes a metric's label, a file name or a shell's argument.
 */

/** Octets of a tenant's text that are shown; more is cut. */
export const TENANT_TEXT_OCTETS_MAX = 64;

/** Longest name and label (RFC 1035 section 2.3.4). */
const NAME_MAX = 253;
const LABEL_MAX = 63;
/** Names that mean something else to whoever resolves them. */
const RESERVED_NAMES: ReadonlySet<string> = new Set([
  "localhost",
  "wpad",
  "isatap",
  "gateway",
  "metadata",
]);

/**
 * What must not reach a terminal or a log as it is: C0, DEL, C1, quote, backslash, the line separators, and the controls
 * that turn the direction of what follows.
 */
const ESCAPED =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\u0000-\u001f"\\\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Shows octets from a guest on one line, as the inside of a JSON string. Text in UTF-8 is shown as text, with `\u` escapes
 * for control characters, the controls of text direction, quotes and backslashes; anything else as `hex:` and digits.
 * Trailing NULs are left out.
 *
 * @param octetsMax - more than that are cut, and `...` says so
 */
export function escapeTenantText(bytes: Uint8Array, octetsMax = TENANT_TEXT_OCTETS_MAX): string {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  const shown = bytes.subarray(0, Math.min(end, octetsMax));
  const rest = end > octetsMax ? "..." : "";
  const text = decodeText(shown, rest !== "");
  if (text === undefined) return `hex:${Buffer.from(shown).toString("hex")}${rest}`;
  return text.replace(ESCAPED, escapeCharacter) + rest;
}

/** Undefined if it is no UTF-8; a character that the cut split does not make it so. */
function decodeText(bytes: Uint8Array, isCut: boolean): string | undefined {
  const splitMax = isCut ? 3 : 0;
  for (let split = 0; split <= Math.min(splitMax, bytes.length); split++) {
    try {
      return DECODER.decode(bytes.subarray(0, bytes.length - split));
    } catch {
      // Not at this length.
    }
  }
  return undefined;
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/**
 * Makes a name for DNS of what a guest calls itself: cut at the first NUL, letters, digits and hyphens only (RFC 1123
 * section 2.1), labels of at most 63 characters.
 *
 * @returns undefined if nothing is left, or the name would be a number or a name with a meaning of its own
 */
export function scrubHostname(bytes: Uint8Array): string | undefined {
  const nul = bytes.indexOf(0);
  const text = String.fromCharCode(...(nul < 0 ? bytes : bytes.subarray(0, nul)));
  const labels = text.toLowerCase().split(".").map(scrubLabel);
  const name = labels.filter((label) => label !== "").join(".");
  if (name === "" || name.length > NAME_MAX || /^[\d.]+$/.test(name)) return undefined;
  return RESERVED_NAMES.has(name.split(".")[0]!) ? undefined : name;
}

function scrubLabel(label: string): string {
  const kept = label.replaceAll(/[^a-z0-9-]/g, "").replace(/^-+/, "");
  return kept.slice(0, LABEL_MAX).replace(/-+$/, "");
}
