/** A fault from the command to the guest, and back in the trace of its requests. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ExchangeSchema, HarSchema } from "../../../src/cli/wire-trace/trace-document.ts";
import { canMakeNamespaces } from "../../net/namespaces.ts";
import { finish, GOALSTATE } from "../processes.ts";
import { openScene, tenantFile } from "./fabric.ts";

const TEST_TIMEOUT_MS = 120_000;
const CONTAINER = "faulty.web_0";

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("a fault (needs root)", () => {
  test(
    "reaches a guest's requests and its DHCP, is told by why and in the trace, and ends with its container",
    async () => {
      await using scene = openScene("fault");
      const up = scene.start("up", "--nodes", "1", "--hypervisor", "netns");
      await up.says("\nready\n");
      const tenant = scene.write(
        "tenant.yaml",
        tenantFile({ tenant: "faulty", roles: { web: 1 } }),
      );
      await scene.tell("deploy", tenant, "--wait");
      const requests = async (...args: string[]) => {
        const text = await scene.tell("requests", CONTAINER, "--json", ...args);
        const lines = text.split("\n").filter((line) => line !== "");
        return lines.map((line) => ExchangeSchema.parse(JSON.parse(line)));
      };
      const kinds = (await requests()).map(({ request }) => request.url.replace(/^.*comp=/, ""));
      expect(kinds).toEqual(expect.arrayContaining(["versions", "goalstate", "health"]));

      const mine = scene.write(
        "mine.yaml",
        `name: mine
rules:
  - endpoint: goalstate
    answers: [{ status: 500, repeat: 1 }, { delayMs: 50, repeat: 1 }, { pass: true }]
dhcp: { silent: true, replies: [offer], repeat: 1 }
`,
      );
      expect(await scene.tell("fault", "set", CONTAINER, mine)).toContain("fault mine is on");
      const isSeen = async () => (await requests()).filter(({ fault }) => fault === "mine").length;
      await expect.poll(isSeen, { timeout: 30_000 }).toBe(2);
      const wrong = (await requests()).filter(({ fault }) => fault === "mine");
      expect(wrong.map(({ response }) => response?.status)).toEqual([500, 200]);
      expect(wrong[1]?.waitMs).toBeGreaterThanOrEqual(45);
      expect(await scene.tell("why", CONTAINER)).toContain("Fault mine is on");

      await scene.tell("restart", CONTAINER, "--wait");
      const { mac } = await scene.row(CONTAINER);
      // Decisions are kept by the node.
      const node = join(scene.data, "nodes", "node-1");
      const { stdout } = await finish([GOALSTATE, "dhcp", "explain", mac, "--data", node]);
      expect(stdout).toContain("silence: fault.silent");

      const har = join(scene.data, "all.har");
      await scene.tell("requests", CONTAINER, "--har", "-o", har);
      const { log } = HarSchema.parse(JSON.parse(readFileSync(har, "utf8")));
      expect(log.entries.length).toBeGreaterThan(kinds.length);

      expect(await scene.tell("fault", "list")).toMatch(/faulty\.web_0 +mine /);
      await scene.tell("delete", "faulty", "--wait");
      expect(await scene.tell("fault", "list")).toContain("No fault is on.");
    },
    TEST_TIMEOUT_MS,
  );
});
