import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { escapeTenantText, scrubHostname, TENANT_TEXT_OCTETS_MAX } from "../../src/dhcp/index.ts";

const encode = (text: string) => new TextEncoder().encode(text);

describe("escapeTenantText()", () => {
  test.each([
    ["plain text", "web-0.tenant internal", "web-0.tenant internal"],
    ["letters of other scripts", "Zürich 東京", "Zürich 東京"],
    ["a line end", "web\nINFO all is well", "web\\u000aINFO all is well"],
    ["an escape sequence", "\u001b[2J", "\\u001b[2J"],
    ["DEL and C1", "\u007f\u0085\u009b", "\\u007f\\u0085\\u009b"],
    ["a quote and a backslash", 'a"b\\c', "a\\u0022b\\u005cc"],
    ["controls of direction", "\u202egpj.exe\u2066\u200f", "\\u202egpj.exe\\u2066\\u200f"],
    ["line separators", "a\u2028b\u2029c", "a\\u2028b\\u2029c"],
    ["a NUL inside", "a\u0000b", "a\\u0000b"],
    ["NULs at the end", "MSFT 5.0\u0000\u0000", "MSFT 5.0"],
    ["nothing", "", ""],
  ])("shows %s", (_name, text, want) => {
    expect(escapeTenantText(encode(text))).toBe(want);
  });

  test("shows what is no text as digits", () => {
    expect(escapeTenantText(Uint8Array.of(1, 0, 0x0d, 0x3a, 0xff))).toBe("hex:01000d3aff");
  });

  test("cuts after 64 octets, never inside a character", () => {
    expect(escapeTenantText(encode("a".repeat(TENANT_TEXT_OCTETS_MAX)))).toBe("a".repeat(64));
    expect(escapeTenantText(encode("a".repeat(65)))).toBe(`${"a".repeat(64)}...`);
    expect(escapeTenantText(encode(`${"a".repeat(63)}東京`))).toBe(`${"a".repeat(63)}...`);
    expect(escapeTenantText(encode("abc"), 2)).toBe("ab...");
  });

  test("a text that is cut for being broken is shown as digits", () => {
    expect(escapeTenantText(Uint8Array.of(65, 0xe6))).toBe("hex:41e6");
  });

  test("is one line inside a JSON string, whatever the octets", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const shown = escapeTenantText(bytes);
      expect(() => JSON.parse(`"${shown}"`)).not.toThrow();
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      expect(shown).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"]/);
      expect(shown.length).toBeLessThanOrEqual(6 * TENANT_TEXT_OCTETS_MAX + 3);
    });
    fc.assert(property, { numRuns: 2000 });
  });
});

describe("scrubHostname()", () => {
  test.each([
    ["WEB-0", "web-0"],
    ["web.tenant.internal.", "web.tenant.internal"],
    ["web\u0000db", "web"],
    ["web_0", "web0"],
    ["-web-", "web"],
    ["$(touch x); `id`", "touchxid"],
    [`${"a".repeat(70)}.b`, `${"a".repeat(63)}.b`],
    ["..web..", "web"],
    ["web-0\u0000\u0000", "web-0"],
    ["wpadded", "wpadded"],
  ])("makes of %j the name %j", (text, want) => {
    expect(scrubHostname(encode(text))).toBe(want);
  });

  // An empty name after scrubbing ended Kea 3.0 (CVE-2025-11232).
  test.each(["", "___", "\u0000", "---", "...", "\u001b\u0007", "10.0.0.5", "42"])(
    "makes nothing of %j",
    (text) => {
      expect(scrubHostname(encode(text))).toBeUndefined();
    },
  );

  test.each(["localhost", "WPAD", "isatap", "gateway", "metadata", "wpad.tenant.internal"])(
    "does not take the name %s",
    (text) => {
      expect(scrubHostname(encode(text))).toBeUndefined();
    },
  );

  test("gives a name that DNS takes, and scrubbing it again changes nothing", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      const name = scrubHostname(bytes);
      if (name === undefined) return;
      expect(name).toMatch(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/);
      expect(name.length).toBeLessThanOrEqual(253);
      expect(scrubHostname(encode(name))).toBe(name);
    });
    fc.assert(property, { numRuns: 2000 });
  });
});
