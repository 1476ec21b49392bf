import { describe, expect, test } from "vitest";
import { dependencyProblems } from "../../src/model/extension-rules.ts";
import { parseTenant } from "../../src/model/tenant.ts";

const extension = (name: string, ...dependsOn: string[]) => ({ name, dependsOn });

describe("dependencyProblems()", () => {
  test("takes what has an order, also without regard to case, and what meets again", () => {
    const diamond = [
      extension("A.Top", "a.left", "A.Right"),
      extension("A.Left", "A.End"),
      extension("A.Right", "A.End"),
      extension("A.End"),
    ];
    expect(dependencyProblems(diamond)).toEqual([]);
  });

  test("names one that the role does not have, and those that it has", () => {
    expect(dependencyProblems([extension("A.One", "A.Two"), extension("A.Three")])).toEqual([
      {
        path: [0, "dependsOn", 0],
        message: "names no extension of this role; it has A.Three",
      },
    ]);
  });

  test("names each step of a circle, and one that depends on itself", () => {
    const circle = [extension("A.One", "A.Two"), extension("A.Two", "A.Three")];
    const messages = dependencyProblems([...circle, extension("A.Three", "A.One")]).map(
      ({ message }) => message,
    );
    expect(messages[0]).toBe(
      "closes a circle: A.One -> A.Two -> A.Three -> A.One; leave one of these out",
    );
    expect(messages).toHaveLength(3);
    expect(dependencyProblems([extension("A.One", "a.one")])).toHaveLength(1);
  });

  test("goes round a circle that an extension only leads to", () => {
    const list = [extension("A.In", "A.One"), extension("A.One", "A.Two")];
    const problems = dependencyProblems([...list, extension("A.Two", "A.One")]);
    expect(problems.map(({ path }) => path[0])).toEqual([1, 2]);
  });
});

describe("a role of a tenant", () => {
  const parse = (role: object) =>
    parseTenant(
      { tenant: "t", vnet: { name: "n", addressSpace: "10.0.0.0/24" }, roles: [role] },
      "t.yaml",
    );
  const one = { name: "A.One", version: "1.0.0", source: "./one" };
  const user = { name: "jit", password: "p", expires: "2026-11-22T18:00:00Z" };

  test("names an extension and a user once", () => {
    expect(() => parse({ name: "vm", extensions: [one, { ...one, name: "a.one" }] })).toThrow(
      "roles[0].extensions[1].name: is the name of roles[0].extensions[0] too",
    );
    expect(() => parse({ name: "vm", users: [user, user] })).toThrow(
      "roles[0].users[1].name: is the name of roles[0].users[0] too",
    );
  });

  test("has no user for a while that is its administrator", () => {
    const provisioning = { adminUsername: "jit", adminPassword: "p" };
    expect(() => parse({ name: "vm", provisioning, users: [user] })).toThrow(
      "roles[0].users[0].name: is the adminUsername of this role",
    );
  });

  test("is told where a dependency is wrong", () => {
    const extensions = [{ ...one, dependsOn: ["A.Two"] }];
    expect(() => parse({ name: "vm", extensions })).toThrow(
      "roles[0].extensions[0].dependsOn[0]: names no extension of this role; it has no other",
    );
  });
});
