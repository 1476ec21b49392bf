import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseStringPromise } from "xml2js";
import { escapeXml, xmlElement, xmlText } from "../../src/wireserver/xml.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: XML 1.0 section 2.2, production 2
const XML_CHARACTERS = /^[\u0009\u000a\u000d\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]*$/u;
const anyText = fc.string({ unit: "binary", maxLength: 60 });

describe("XML writing", () => {
  for (const [text, want] of [
    ["a&b", "a&amp;b"],
    ["<]]>", "&lt;]]&gt;"],
    [`"'`, "&quot;&apos;"],
    ["a\tb\r\n", "a&#9;b&#13;&#10;"],
    ["\u0000\u000b\ufffe", "\ufffd\ufffd\ufffd"],
    ["\ud800x", "\ufffdx"],
    ["&amp;", "&amp;amp;"],
    ["snow \u2603 \u{1f600}", "snow \u2603 \u{1f600}"],
  ] as const) {
    test(`escapeXml() writes ${JSON.stringify(text)}`, () => expect(escapeXml(text)).toBe(want));
  }

  test("an independent reader gets any allowed text back, from attributes and from content", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyText.filter((text) => XML_CHARACTERS.test(text)),
        async (text) => {
          const document = xmlElement("a", { b: text }, xmlText("c", text));
          const parsed = await parseStringPromise(document);
          expect(parsed.a.$.b).toBe(text);
          expect(parsed.a.c[0]).toBe(text);
        },
      ),
    );
  });

  test("any text at all gives a document that parses", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: fc.nat(0xffff).map((n) => String.fromCharCode(n)) }),
        async (text) => {
          const parsed = await parseStringPromise(xmlElement("a", { b: text }, xmlText("c", text)));
          expect(Object.keys(parsed)).toEqual(["a"]);
        },
      ),
    );
  });

  test("xmlElement() leaves undefined attributes out", () => {
    expect(xmlElement("a", { b: undefined, c: 1, d: false })).toBe('<a c="1" d="false"/>');
  });
});
