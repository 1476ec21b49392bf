/** The commands of a fabric: what they print, and with what code they end. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canMakeNamespaces } from "../../net/namespaces.ts";
import { temporaryFolder } from "../../temporary-folder.ts";
import { finish, GOALSTATE, type Running } from "../processes.ts";
import { EXAMPLES, openScene, prefixOf, type Scene, tenantFile } from "./fabric.ts";

const TEST_TIMEOUT_MS = 90_000;
const TWO_NODES = ["--nodes", "2", "--hypervisor", "netns"];

describe("commands without a fabric", () => {
  const COMMANDS = [
    ["ps"],
    ["nodes"],
    ["tenants"],
    ["why", "a.web_0"],
    ["deploy", join(EXAMPLES, "hello/tenant.yaml")],
    ["delete", "a"],
    ["stop", "a.web_0"],
    ["start", "a.web_0"],
    ["restart", "a.web_0"],
  ];
  test("each says in one line that none runs, and ends with 1", async () => {
    const folder = temporaryFolder("none");
    const outcomes = COMMANDS.map((command) => finish([GOALSTATE, ...command, "--data", folder]));
    for (const { code, stdout, stderr } of await Promise.all(outcomes)) {
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(/^goalstate: No fabric runs on .*goalstate up.*--data\n$/);
    }
  });

  test("a node without a fabric, and a wrong option, end with 2", async () => {
    const folder = temporaryFolder("none");
    const node = ["node", "node-1", "--address", "100.127.0.1", "--data", folder];
    const { code, stderr } = await finish([GOALSTATE, ...node]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^goalstate: .* is no data folder of a fabric; start 'goalstate up'/);
    for (const wrong of [["up", "--nodes", "0"], ["ps", "--jsn"], ["deploy"], ["nonsense"]]) {
      expect((await finish([GOALSTATE, ...wrong])).code).toBe(2);
    }
  });
});

describe.skipIf(!canMakeNamespaces && !process.env["CI"])(
  "commands of a fabric (need root)",
  () => {
    let scene: Scene;
    let up: Running;

    beforeAll(async () => {
      scene = openScene("cmd");
      up = scene.start("up", ...TWO_NODES);
      await up.says("\nready\n");
    }, TEST_TIMEOUT_MS);
    afterAll(async () => scene[Symbol.asyncDispose](), TEST_TIMEOUT_MS);

    test("every listing of an empty fabric is a table or one JSON document", async () => {
      expect(JSON.parse(await scene.tell("ps", "--json"))).toEqual([]);
      expect(JSON.parse(await scene.tell("tenants", "--json"))).toEqual([]);
      expect(JSON.parse(await scene.tell("nodes", "--json"))).toMatchObject([
        { node: "node-1", isLive: true, containers: 0 },
        { node: "node-2", isLive: true, containers: 0 },
      ]);
      expect(await scene.tell("ps")).toMatch(/^CONTAINER +STATE +MILESTONE +NODE/);
      expect(await scene.tell("nodes")).toMatch(/^NODE +STATE +FAULT DOMAIN[^\n]*\nnode-1 +live /);
    });

    test("what is not there, or wrong, ends with 2 and says what to do", async () => {
      for (const action of ["stop", "start", "restart", "why"]) {
        const { code, stdout, stderr } = await scene.ask(action, "a.web_0");
        expect([action, code, stdout]).toEqual([action, 2, ""]);
        expect(stderr).toContain("There is no container a.web_0; goalstate ps lists them");
      }
      const unknown = await scene.ask("delete", "a");
      expect(unknown.code).toBe(2);
      expect(unknown.stderr).toContain(
        "There is no tenant a; goalstate tenants lists what is deployed",
      );
      const missing = await scene.ask("deploy", "/nowhere/tenant.yaml");
      expect(missing.code).toBe(2);
      expect(missing.stderr).toContain("/nowhere/tenant.yaml");
      const path = scene.write("bad.yaml", "tenant: a\nroles: []\n");
      const bad = await scene.ask("deploy", path);
      expect(bad.code).toBe(2);
      expect(bad.stderr).toContain(`${path}:`);
      expect(await scene.ps()).toEqual([]);
    });

    test(
      "a tenant is deployed, looked at, updated, stopped, started, restarted and deleted",
      async () => {
        const file = scene.write("a.yaml", tenantFile({ tenant: "a", roles: { web: 1, api: 1 } }));
        expect(await scene.tell("deploy", file, "--wait", "--timeout", "40")).toBe(
          "a: created, 2 containers\na: all Ready\n",
        );
        const [api, web] = await scene.ps();
        expect(Object.keys(web!)).toEqual(expect.arrayContaining(CONTRACT));
        expect(web).toMatchObject({
          container: "a.web_0",
          tenant: "a",
          role: "web",
          vnet: "a.net",
        });
        expect(web).toMatchObject({ state: "Ready", health: expect.stringContaining("Ready") });
        expect(new Date(web!.since).getTime()).toBeGreaterThan(0);
        expect([web!.node, api!.node].toSorted()).toEqual(["node-1", "node-2"]);
        expect(await scene.tell("why", "a.web_0")).toMatch(/^a\.web_0 is Ready: /);
        const nodeFolder = join(scene.data, "nodes", web!.node);
        const look = ["dhcp", "explain", web!.mac, "--data", nodeFolder];
        const explained = await finish([GOALSTATE, ...look]);
        expect(explained.stdout).toContain(`-> DHCPACK ${web!.address}`);

        expect(await scene.tell("deploy", file)).toBe("a: unchanged, 2 containers\n");
        scene.write("a.yaml", tenantFile({ tenant: "a", roles: { web: 2, api: 1 } }));
        const updated = await scene.tell("deploy", file, "--wait", "--json", "--timeout", "40");
        expect(JSON.parse(updated)).toEqual({
          tenant: "a",
          kind: "updated",
          containers: ["a.web_0", "a.web_1", "a.api_0"],
        });
        expect(await scene.row("a.web_0")).toMatchObject({ since: web!.since, mac: web!.mac });

        await scene.tell("stop", "a.web_0", "--wait", "--timeout", "40");
        expect(await scene.row("a.web_0")).toMatchObject({ state: "Stopped" });
        const refused = await scene.ask("restart", "a.web_0");
        expect([refused.code, refused.stderr]).toEqual([
          2,
          "goalstate: a.web_0 is stopped; goalstate start a.web_0 starts it\n",
        ]);
        await scene.tell("start", "a.web_0", "--wait", "--timeout", "40");
        const started = await scene.row("a.web_0");
        expect(started).toMatchObject({ state: "Ready", mac: web!.mac, address: web!.address });
        await scene.tell("restart", "a.web_0", "--wait", "--timeout", "40");
        const restarted = await scene.row("a.web_0");
        expect(restarted).toMatchObject({ state: "Ready", mac: web!.mac, address: web!.address });
        expect(restarted.since > started.since).toBe(true);

        await scene.tell("delete", "a", "--wait", "--timeout", "40");
        expect(await scene.ps()).toEqual([]);
        expect(JSON.parse(await scene.tell("tenants", "--json"))).toEqual([]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "a tenant is deleted while it is being deployed",
      async () => {
        const file = scene.write("b.yaml", tenantFile({ tenant: "b", roles: { web: 6 } }));
        await scene.tell("deploy", file);
        await scene.tell("delete", "b", "--wait", "--timeout", "40");
        expect(await scene.ps()).toEqual([]);
        const guests = (await finish(["ip", "netns", "list"])).stdout;
        const prefix = prefixOf(scene.data);
        expect(guests).not.toMatch(new RegExp(`^${prefix}node-\\d-b\\.web_`, "m"));
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "a deployment that cannot become Ready in time says what it waits for",
      async () => {
        const roles = { web: 1 };
        const text = tenantFile({ tenant: "big", roles, memoryMib: 100_000 });
        const file = scene.write("big.yaml", text);
        const { code, stderr } = await scene.ask("deploy", file, "--wait", "--timeout", "2");
        expect(code).toBe(1);
        expect(stderr).toMatch(
          /^goalstate: Not within 2 s: big\.web_0 is Failed: needs 1 CPU and 100000 MiB; node-/,
        );
        await scene.tell("delete", "big", "--wait", "--timeout", "20");
      },
      TEST_TIMEOUT_MS,
    );
  },
);

/** design: `ps --json`. */
const CONTRACT = [
  ...["container", "tenant", "role", "node", "state", "milestone"],
  ...["mac", "address", "vnet", "health", "since"],
];
