/** Extensions and accounts, from a tenant file and from commands, as their user sees them. */
import { cpSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { canMakeNamespaces } from "../../net/namespaces.ts";
import { EXAMPLES, openScene } from "./fabric.ts";

const TEST_TIMEOUT_MS = 90_000;

const tenantText = (extension: string, text: string) => `
tenant: lab
vnet: { name: net, addressSpace: 10.20.0.0/24 }
roles:
  - name: web
    size: { memoryMib: 128 }
    app: ${join(EXAMPLES, "hello/app")}
    provisioning: { adminUsername: lab, adminPassword: p, customData: { file: ./data } }
    extensions:
      - name: Goalstate.Echo
        version: 1.0.0
        source: ${extension}
        settings: { text: ${text} }
`;

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("guests' extras (need root)", () => {
  test(
    "a deploy keeps them, says what is wrong with them, and lists what became of them",
    async () => {
      await using scene = openScene("extras");
      const up = scene.start("up", "--nodes", "1", "--hypervisor", "netns");
      await up.says("\nready\n");
      const artifacts = () => {
        const folder = join(scene.data, "artifacts");
        return existsSync(folder) ? readdirSync(folder) : [];
      };
      scene.write("data", "custom");
      const bad = scene.write("bad.yaml", tenantText("./none", "a"));
      expect(await scene.ask("deploy", bad)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(
          /^goalstate: roles\[0\] \(web\), extension Goalstate\.Echo: Cannot read .*\/none: ENOENT/,
        ),
      });
      cpSync(join(EXAMPLES, "azure-guest/Goalstate.Echo"), join(scene.data, "echo"), {
        recursive: true,
      });
      const file = scene.write("lab.yaml", tenantText("./echo", "a"));
      expect(await scene.tell("deploy", file, "--wait")).toContain("lab: all Ready");
      expect(artifacts()).toEqual([expect.stringMatching(/^[0-9a-f]{64}\.zip$/)]);
      const [rows, ps, why, json, table, unknown] = await Promise.all([
        scene.ps(),
        scene.tell("ps"),
        scene.tell("why", "lab.web_0"),
        scene.tell("extensions", "lab.web_0", "--json"),
        scene.tell("extensions", "lab.web_0"),
        scene.ask("extensions", "lab.none_0"),
      ]);
      const extension = {
        ...{ name: "Goalstate.Echo", version: "1.0.0", state: "enabled", handler: "" },
        ...{ status: "", code: null, message: "", pending: true },
      };
      expect(rows).toMatchObject([{ state: "Ready", extensions: [extension] }]);
      expect(ps).toContain("; extension Goalstate.Echo pending");
      expect(why).toContain("Besides, its agent has still to report on Goalstate.Echo.");
      expect(JSON.parse(json)).toEqual([extension]);
      expect(table).toMatch(/^NAME .*\nGoalstate\.Echo +1\.0\.0 +enabled +- +- +- +yes\n$/);
      expect(unknown.code).toBe(2);
      const added = await scene.tell("user", "add", "lab/web", "jit", "--expires", "1h");
      expect(added).toMatch(/^jit: until \d{4}-.*Z, password [\w-]{20}\n$/);
      const listed = JSON.parse(await scene.tell("user", "list", "lab/web", "--json"));
      expect(listed).toEqual([{ name: "jit", expires: expect.any(String) }]);
      expect(await scene.tell("user", "remove", "lab/web", "jit")).toBe("jit: is being removed\n");
      const wrong = [
        ["add", "lab/web", "Jit", "--expires", "1h"],
        ["add", "lab", "jit", "--expires", "1h"],
        ["list", "lab/db"],
      ];
      const refused = await Promise.all(wrong.map((args) => scene.ask("user", ...args)));
      expect(refused.map(({ code }) => code)).toEqual([2, 2, 2]);
      await scene.tell("delete", "lab", "--wait");
      await scene.until("its package is gone", 10, () => artifacts().length === 0);
    },
    TEST_TIMEOUT_MS,
  );
});
