import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { FaultStep } from "../../../src/model/playbook.ts";
import { changeBody } from "../../../src/wireserver/faults/change-body.ts";

const FILE = `<?xml version="1.0"?>
<CertificateFile>
  <Incarnation>3</Incarnation>
  <Data kind="a">
${"A".repeat(64)}
${"B".repeat(40)}==
</Data>
  <Empty/>
</CertificateFile>`;

describe("an XML document", () => {
  test("lacks the elements that are named, also empty ones, and nothing else", () => {
    const text = changeBody(FILE, { without: ["Data", "Empty"] });
    expect(text).not.toMatch(/Data|Empty|AAAA/);
    expect(text).toContain("<Incarnation>3</Incarnation>");
    expect(changeBody(FILE, { without: ["Dat"] })).toBe(FILE);
  });

  test("has its base64 in one line, and its other lines as they were", () => {
    const text = changeBody(FILE, { oneLine: true });
    expect(text).toContain(`>${"A".repeat(64)}${"B".repeat(40)}==<`);
    expect(text.split("\n")[0]).toBe('<?xml version="1.0"?>');
  });

  test("has an older incarnation everywhere", () => {
    const text =
      '<a goalStateIncarnation="3"><Incarnation>3</Incarnation><u>http://h/m?comp=c&amp;incarnation=3</u></a>';
    expect(changeBody(text, { staleBy: 1 })).toBe(text.replaceAll("3", "2"));
    expect(changeBody(text, { staleBy: 9 })).toBe(text.replaceAll("3", "0"));
  });
});

describe("a JSON document", () => {
  const text = JSON.stringify({ compute: { name: "a", vmId: "b" }, network: { interface: [{}] } });

  test("lacks the paths that are named", () => {
    expect(JSON.parse(changeBody(text, { without: ["compute.name", "network"] }))).toEqual({
      compute: { vmId: "b" },
    });
  });

  test("is the same without paths that it does not have", () => {
    const without = ["compute.nothing", "nothing.name", "compute.name.length", "__proto__.x"];
    expect(changeBody(text, { without })).toBe(text);
  });
});

test("any text is survived", () => {
  const step: FaultStep = { without: ["Data", "a.b"], staleBy: 1, oneLine: true };
  fc.assert(fc.property(fc.string(), (text) => typeof changeBody(text, step) === "string"));
});
