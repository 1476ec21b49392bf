import { describe, expect, test } from "vitest";
import { parseXml } from "../../src/cli/tenant-files/classic/xml-document.ts";

describe("parseXml()", () => {
  test("gives elements in their order, with the places of tags and attributes", () => {
    const text = `<?xml version="1.0"?>
<!-- <a b="1"> -->
<a
   b="x &amp; > y"
   c='2'><d/><e f="3">text</e>
  <d b="4"></d></a>`;
    const root = parseXml(text, "a.xml");
    expect([...root.attributes]).toEqual([
      ["b", "x & > y"],
      ["c", "2"],
    ]);
    expect(root.place).toEqual({ file: "a.xml", line: 3, column: 1 });
    expect(root.placeOf("c")).toEqual({ file: "a.xml", line: 5, column: 4 });
    expect(root.placeOf("none")).toEqual(root.place);
    expect(root.children.map(({ name, place }) => [name, place.line, place.column])).toEqual([
      ["d", 5, 10],
      ["e", 5, 14],
      ["d", 6, 3],
    ]);
  });

  test.each([
    ["nothing", "", "a.xml:1:1: is empty"],
    ["text", "hello", "a.xml:1:1: is no well-formed XML: Non-whitespace before first tag."],
    ["a tag that is not closed", "<a>\n  <b>\n</a>", "a.xml:3:"],
    ["an attribute twice", '<a b="1" b="2"/>', "a.xml:1:10: is the attribute b again"],
    ["an entity of its own", '<!DOCTYPE a [<!ENTITY x "y">]>\n<a b="&x;"/>', "a.xml:2:"],
    ["a DOCTYPE", "\n<!DOCTYPE a>\n<a/>", "a.xml:2:1: has a DOCTYPE; remove it"],
    [
      "a billion laughs",
      `<!DOCTYPE a [<!ENTITY x0 "lol">${Array.from({ length: 9 }, (_, n) => `<!ENTITY x${n + 1} "${`&x${n};`.repeat(10)}">`).join("")}]><a>&x9;</a>`,
      "a.xml:1:",
    ],
    [
      "an entity from elsewhere",
      '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
      "a.xml:1:1: has a",
    ],
    ["an unknown entity", "<a>&nope;</a>", "a.xml:1:"],
    ["10,001 elements", `<a>${"<b/>".repeat(10_000)}</a>`, "has over 10000 elements"],
    ["33 levels below the root", "<a>".repeat(34) + "</a>".repeat(34), "is nested deeper than 32"],
    ["two roots", "<a/><b/>", "a.xml:1:5: is a second root"],
    ["text behind the root", "<a/>\nmore", "a.xml:2:"],
  ])("refuses %s, with its place", (_what, text, message) => {
    const attempt = () => parseXml(text, "a.xml");
    expect(attempt).toThrow(expect.objectContaining({ code: "ERR_USAGE_FILE" }));
    expect(attempt).toThrow(message);
  });

  test("takes 32 levels, 10,000 elements, and names that objects have already", () => {
    expect(parseXml("<a>".repeat(33) + "</a>".repeat(33), "a.xml").name).toBe("a");
    expect(parseXml(`<a>${"<b/>".repeat(9_999)}</a>`, "a.xml").children).toHaveLength(9_999);
    const odd = parseXml(
      '<a><__proto__ constructor="x"/><toString/><cdata>1</cdata><_/></a>',
      "a.xml",
    );
    expect(odd.children.map(({ name }) => name)).toEqual(["__proto__", "toString", "cdata", "_"]);
  });
});
