/** Which of a machine's interfaces are served: names and patterns against the links that there are. */
import { FabricError } from "../model/errors.ts";
import type { Link } from "./link-messages.ts";

/** Linux: IFNAMSIZ without the NUL. */
const NAME_CHARACTERS_MAX = 15;
const PATTERN_CHARACTERS_MAX = 64;
/** Interfaces that one process serves; each costs a descriptor and a ring. */
export const INTERFACES_MAX = 4096;

/** A name, or a pattern as in a shell: `*`, `?`, `[abc]`, `[!abc]`. */
export interface InterfaceSelector {
  readonly text: string;
  readonly isPattern: boolean;
  readonly matches: (name: string) => boolean;
}

/**
 * Parses what `--interface` was given.
 *
 * @throws FabricError ERR_USAGE_INTERFACE
 */
export function parseInterfaceSelector(text: string): InterfaceSelector {
  const isPattern = /[*?[]/.test(text);
  const longest = isPattern ? PATTERN_CHARACTERS_MAX : NAME_CHARACTERS_MAX;
  const pattern = /^[^\s/]+$/.test(text) && text.length <= longest && patternOf(text);
  if (!pattern) {
    const message = `--interface ${JSON.stringify(text)} is not the name of an interface, nor a pattern such as 'tap*'`;
    throw new FabricError("ERR_USAGE_INTERFACE", message);
  }
  return { text, isPattern, matches: isPattern ? (name) => pattern.test(name) : (n) => n === text };
}

/** A shell's pattern as a regular expression, or undefined if a bracket is not closed. */
function patternOf(text: string): RegExp | undefined {
  const parts: readonly string[] = text.match(/\[!?\]?[^\]]*\]|[\s\S]/g) ?? [];
  if (parts.includes("[")) return undefined;
  try {
    return new RegExp(`^${parts.map(partOf).join("")}$`);
  } catch {
    return undefined; // a range that runs backwards
  }
}

function partOf(part: string): string {
  if (part === "*") return ".*";
  if (part === "?") return ".";
  if (part.length === 1) return part.replace(/[\\^$.*+?()[\]{}|]/, "\\$&");
  const isNegated = part.startsWith("[!");
  const inner = part.slice(isNegated ? 2 : 1, -1).replaceAll(/[\\\]^[]/g, "\\$&");
  return `[${isNegated ? "^" : ""}${inner}]`;
}

/** What {@link chooseInterfaces} says. */
export interface InterfaceChoice {
  /** Indexes of what is chosen, to pass in the next time. */
  readonly chosen: ReadonlySet<number>;
  /** What is served: all that is chosen but ports of a bridge that is itself chosen. */
  readonly served: readonly Link[];
}

/**
 * Chooses the interfaces to serve. One that was chosen stays so until it is gone, whatever its name becomes. A pattern
 * chooses Ethernet interfaces only. A port of a chosen bridge is left to the bridge: served on both, its guest would be
 * answered twice.
 */
export function chooseInterfaces(
  links: ReadonlyMap<number, Link>,
  before: ReadonlySet<number>,
  selectors: readonly InterfaceSelector[],
): InterfaceChoice {
  const chosen = new Set<number>();
  for (const link of links.values()) {
    if (chosen.size === INTERFACES_MAX) break;
    if (before.has(link.ifindex) || isSelected(link, selectors)) chosen.add(link.ifindex);
  }
  const served = [...chosen].flatMap((ifindex) => {
    const link = links.get(ifindex);
    return link === undefined || (link.master !== undefined && chosen.has(link.master))
      ? []
      : [link];
  });
  return { chosen, served };
}

function isSelected(link: Link, selectors: readonly InterfaceSelector[]): boolean {
  return selectors.some(
    ({ isPattern, matches }) => matches(link.name) && (link.isEthernet || !isPattern),
  );
}

/** The interface whose addresses answer for a served one: its bridge, if it is a port of one. */
export function addressHolderOf(links: ReadonlyMap<number, Link>, link: Link): Link {
  const master = link.master === undefined ? undefined : links.get(link.master);
  return master?.kind === "bridge" ? master : link;
}
