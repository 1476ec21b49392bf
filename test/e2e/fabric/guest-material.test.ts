/** Extensions and accounts, from a tenant file and from commands, as their user sees them. */
import { cpSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { canMakeNamespaces } from "../../net/namespaces.ts";
import { finish } from "../processes.ts";
import { EXAMPLES, openScene, prefixOf } from "./fabric.ts";

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

/** Asks as a guest does; returns the body. */
async function fromGuest(namespace: string, ...args: string[]): Promise<string> {
  const curl = ["curl", "--silent", "--max-time", "10", "--header", "x-ms-version: 2012-11-30"];
  return (await finish([...curl, ...args], namespace)).stdout;
}

/** A URL in the guest's extensions configuration. */
async function findUrl(namespace: string, pattern: RegExp): Promise<string> {
  const goal = await fromGuest(namespace, "http://168.63.129.16/machine/?comp=goalstate");
  const url = unescapeXml(/<ExtensionsConfig>([^<]+)/.exec(goal)?.[1]);
  return unescapeXml(pattern.exec(await fromGuest(namespace, url))?.[1]);
}

function unescapeXml(text = ""): string {
  return text.replaceAll("&amp;", "&");
}

/** The SHA-256 of the package that the guest is led to. */
async function downloadPackage(namespace: string): Promise<string> {
  const manifest = await fromGuest(namespace, await findUrl(namespace, / location="([^"]+)"/));
  const url = unescapeXml(/<Uri>([^<]+)/.exec(manifest)?.[1]);
  const script = `curl --silent --max-time 10 '${url}' | sha256sum`;
  return (await finish(["sh", "-c", script], namespace)).stdout.split(" ")[0] ?? "";
}

/** Uploads a status with these results of the extension, as its agent does. */
async function upload(
  namespace: string,
  results: readonly { readonly status: string; readonly code: number; readonly message: string }[],
): Promise<void> {
  const handlers = results.map(({ status, code, message }) => ({
    ...{ handlerName: "Goalstate.Echo", handlerVersion: "1.0.0", status: "Ready", code: 0 },
    runtimeSettingsStatus: {
      sequenceNumber: 0,
      settingsStatus: {
        status: { operation: "Enable", status, code, formattedMessage: { lang: "en", message } },
      },
    },
  }));
  const aggregateStatus = {
    guestAgentStatus: { version: "2.7.3", status: "Ready" },
    handlerAggregateStatus: handlers,
  };
  const url = await findUrl(namespace, /<StatusUploadBlob[^>]*>([^<]+)/);
  const put = ["--request", "PUT", "--header", "x-ms-blob-type: BlockBlob"];
  const body = JSON.stringify({ version: "1.1", aggregateStatus });
  const code = await fromGuest(namespace, ...put, "--write-out", "%{http_code}", "-d", body, url);
  expect(code).toBe("201");
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("guests' extras (need root)", () => {
  test(
    "a deploy keeps them, a guest fetches them and says what became of them, and commands show it",
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
      const guest = `${prefixOf(scene.data)}node-1-lab.web_0`;
      const [package_] = artifacts();
      await upload(guest, [{ status: "error", code: 7, message: "no luck" }]);
      expect(await downloadPackage(guest)).toBe(package_?.replace(".zip", ""));
      expect(await scene.tell("extensions", "lab.web_0")).toMatch(
        /\nGoalstate\.Echo +1\.0\.0 +enabled +Ready +error +7 +no +no luck\n$/,
      );
      // Taken out of the file, it is served to be uninstalled until the agent does not list it.
      const without = tenantText("./echo", "a").split("    extensions:")[0] ?? "";
      await scene.tell("deploy", scene.write("lab.yaml", without), "--wait");
      expect((await scene.row("lab.web_0")).extensions).toMatchObject([
        { state: "uninstall", pending: true },
      ]);
      await upload(guest, []);
      await scene.until("it is forgotten", 10, (now) => now[0]?.extensions.length === 0);
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
