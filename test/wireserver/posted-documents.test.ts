import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { renderHealth, renderRoleProperty } from "../../src/guestagent/documents.ts";
import {
  parseHealth,
  parseProvisioningHealth,
  parseRoleProperties,
} from "../../src/wireserver/posted-documents.ts";

const GOAL_STATE = {
  incarnation: "3",
  expectedState: "Started",
  containerId: "c",
  instanceId: "i",
  hostingEnvironmentUrl: "",
  sharedConfigUrl: "",
};

/** Bodies that are nearly right reach further into the readers than noise does. */
const pieces = fc.constantFrom(
  "<Health>",
  "</Health>",
  "<Container>",
  "</Container>",
  "<RoleInstanceList>",
  "<Role/>",
  "<__proto__>",
  "</__proto__>",
  "<constructor a='1'/>",
  "<State>Ready</State>",
  "&amp;",
  "&x;",
  "<![CDATA[",
  "]]>",
  "<!--",
  "<?xml version='1.0'?>",
  "{",
  "}",
);
const bodies = fc
  .array(fc.oneof(pieces, fc.string({ unit: "binary" })), { maxLength: 20 })
  .map((parts) => parts.join(""));

describe("posted documents", () => {
  test("whatever is posted, a reader gives a value or refuses it as malformed", async () => {
    const refused = { code: "ERR_WIRE_REQUEST_MALFORMED" };
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        await parseHealth(body).catch((error) => expect(error).toMatchObject(refused));
        await parseRoleProperties(body).catch((error) => expect(error).toMatchObject(refused));
        try {
          parseProvisioningHealth(body, 1);
        } catch (error) {
          expect(error).toMatchObject(refused);
        }
        expect(Object.keys(Object.prototype)).toEqual([]);
      }),
    );
  });

  test("the server reads what the agent writes, whatever the text is", async () => {
    const words = fc.string({ unit: "binary", minLength: 1, maxLength: 80 });
    await fc.assert(
      fc.asyncProperty(words, async (text) => {
        const want = text
          .toWellFormed()
          .replaceAll(/[\p{Cc}\ufffe\uffff]/gu, (control) =>
            /[\t\n\r\u007f-\u009f]/.test(control) ? control : "?",
          );
        const { report } = await parseHealth(
          renderHealth(GOAL_STATE, { state: "NotReady", description: text }),
        );
        expect(report.description).toBe(want.trim());
        const { properties } = await parseRoleProperties(
          renderRoleProperty(GOAL_STATE, "RoleState", text),
        );
        expect(properties.get("RoleState")).toBe(want);
      }),
    );
  });
});
