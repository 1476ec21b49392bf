/** Whom a rule of the `options` plugin is for. */
import { z } from "zod";
import type { Assignment, OptionSpan } from "../../../dhcp/index.ts";
import type { RequestView } from "../../plugin.ts";

const TEXT_MAX = 255;
const ClassSchema = z.string().min(1).max(TEXT_MAX);
const NameSchema = z.string().min(1).max(127);

/** All conditions that are given must hold; none: every client. */
export const MatchSchema = z.strictObject({
  /** `hello`, of a container that is named `hello.web_0`. */
  tenant: NameSchema.optional(),
  /** `web`, of a container that is named `hello.web_0`. */
  role: NameSchema.optional(),
  /** The whole name. */
  container: NameSchema.optional(),
  /** How option 60 begins. */
  vendorClass: ClassSchema.optional(),
  /** Option 77, or one of the classes in it (RFC 3004). */
  userClass: ClassSchema.optional(),
  /** How the client's address begins. */
  macPrefix: z
    .string()
    .regex(/^[0-9a-f]{2}(?:[:-][0-9a-f]{2}){0,5}$/i, "is not 1 to 6 octets such as 00:0c:01")
    .optional(),
});

export type MatchDescription = z.infer<typeof MatchSchema>;

/** True if a client is meant. */
export type Matcher = (request: RequestView, assignment: Assignment) => boolean;

/** Makes one test of all conditions; what is cheap to look at is looked at first. */
export function createMatcher(match: MatchDescription): Matcher {
  const { tenant, role, container, vendorClass, userClass, macPrefix } = match;
  const tests: Matcher[] = [];
  if (macPrefix !== undefined) tests.push(macTest(macPrefix));
  if (vendorClass !== undefined) tests.push(vendorClassTest(vendorClass));
  if (userClass !== undefined) tests.push(userClassTest(userClass));
  if (container !== undefined) tests.push((_request, { container: name }) => name === container);
  if (tenant !== undefined) {
    tests.push((_request, { container: name }) => name?.startsWith(`${tenant}.`) === true);
  }
  if (role !== undefined) tests.push((_request, { container: name }) => roleOf(name) === role);
  return (request, assignment) => {
    for (const test of tests) if (!test(request, assignment)) return false;
    return true;
  };
}

/** `web` of `hello.web_0`. */
function roleOf(container: string | undefined): string | undefined {
  return container === undefined ? undefined : /\.(.+)_\d+$/.exec(container)?.[1];
}

function macTest(prefix: string): Matcher {
  const digits = prefix.replaceAll(/[:-]/g, "");
  const divisor = 2 ** (48 - 4 * digits.length);
  const wanted = Number.parseInt(digits, 16);
  return ({ chaddr }) => Math.floor(chaddr / divisor) === wanted;
}

function vendorClassTest(text: string): Matcher {
  const wanted = new TextEncoder().encode(text);
  return ({ optionBytes, vendorClass: { offset, length } }) =>
    length >= wanted.length && isAt(optionBytes, offset, wanted);
}

/** Some clients send a bare text, others a list of lengths and texts. */
function userClassTest(text: string): Matcher {
  const wanted = new TextEncoder().encode(text);
  return ({ optionBytes, userClass }) =>
    (userClass.length === wanted.length && isAt(optionBytes, userClass.offset, wanted)) ||
    hasClass(optionBytes, userClass, wanted);
}

function hasClass(bytes: Uint8Array, { offset, length }: OptionSpan, wanted: Uint8Array): boolean {
  const end = offset + length;
  for (let cursor = offset; cursor < end; ) {
    const size = bytes[cursor]!;
    cursor += 1;
    if (cursor + size > end) return false;
    if (size === wanted.length && isAt(bytes, cursor, wanted)) return true;
    cursor += size;
  }
  return false;
}

function isAt(bytes: Uint8Array, offset: number, wanted: Uint8Array): boolean {
  for (let index = 0; index < wanted.length; index++) {
    if (bytes[offset + index] !== wanted[index]) return false;
  }
  return true;
}
