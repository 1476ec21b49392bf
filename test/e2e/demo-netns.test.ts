import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { MILESTONES } from "../../src/model/milestone.ts";
import { canMakeNamespaces, ip, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { finish, GOALSTATE, run } from "./processes.ts";

const EXAMPLE = join(import.meta.dirname, "../../examples/hello");
const TEST_TIMEOUT_MS = 120_000;
const UP = "up; Ctrl-C stops";
const WEB = "http://10.20.0.4:8080/";

/** Writes a tenant like the example's with another name and greeting; returns its path. */
function writeTenant(folder: string, tenant: string, change = (text: string) => text): string {
  const text = readFileSync(join(EXAMPLE, "tenant.yaml"), "utf8");
  cpSync(join(EXAMPLE, "app"), join(folder, "app"), { recursive: true });
  const path = join(folder, `${tenant}.yaml`);
  const named = text
    .replace("tenant: hello", `tenant: ${tenant}`)
    .replace("hello from goalstate", `greetings from ${tenant}`);
  writeFileSync(path, change(named));
  return path;
}

function demo(data: string, ...args: string[]): string[] {
  return [GOALSTATE, "demo", "--hypervisor", "netns", "--data", data, "--timeout", "60", ...args];
}

/** The namespaces of the fabric with this data folder. */
function namespacesOf(data: string): string[] {
  const id = readFileSync(join(data, "fabric-id"), "utf8").trim();
  const all = ip("netns", "list").match(/^[\w.-]+/gm) ?? [];
  return all.filter((name) => name.startsWith(`gs-${id}-`)).sort();
}

async function fetchIn(namespace: string, url = WEB): Promise<string> {
  const script = `fetch(${JSON.stringify(url)}).then(r => r.text()).then(t => console.log(t))`;
  const { stdout, stderr } = await finish([process.execPath, "-e", script], namespace);
  return stdout || stderr;
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}/cmdline`);
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("demo on netns (needs root)", () => {
  test(
    "reaches every milestone in the contract's order, exits 0, leaves nothing",
    async () => {
      const data = temporaryFolder("demo");
      const { code, stdout, stderr } = await finish(demo(data, "--exit-when-ready"));
      expect([code, stderr]).toEqual([0, ""]);
      const reached = MILESTONES.map((milestone) => stdout.indexOf(`  ${milestone} `));
      expect(reached).not.toContain(-1);
      expect(reached).toEqual(reached.toSorted((a, b) => a - b));
      expect(stdout).toContain("hello.web_0 is Ready at 10.20.0.4");
      expect(namespacesOf(data)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "two VNETs with one address space run side by side and do not see each other",
    async () => {
      const folder = temporaryFolder("two");
      const files = ["a", "b"].map((tenant) => writeTenant(folder, tenant));
      await using fabric = run(demo(folder, ...files));
      await fabric.says(UP);
      const [vnetA, guestA, vnetB, guestB] = namespacesOf(folder);
      expect(await fetchIn(vnetA!)).toContain("greetings from a");
      expect(await fetchIn(vnetB!)).toContain("greetings from b");
      // Each guest knows one 10.20.0.4, itself, and no other station but the bridge.
      expect(await fetchIn(guestA!)).toContain("greetings from a");
      expect(await fetchIn(guestB!)).toContain("greetings from b");
      for (const guest of [guestA!, guestB!]) {
        const neighbours = ip("-n", guest, "neigh").trim().split("\n").filter(Boolean);
        expect(neighbours.every((line) => line.startsWith("10.20.0.1 "))).toBe(true);
      }
      fabric.kill("SIGINT");
      expect(await fabric.ended).toBe(0);
      expect(namespacesOf(folder)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a guest that takes another address is not heard",
    async () => {
      const data = temporaryFolder("spoof");
      await using fabric = run(demo(data));
      await fabric.says(UP);
      const [vnet, guest] = namespacesOf(data);
      const url = "http://168.63.129.16/?comp=versions";
      expect(await fetchIn(guest!, url)).toContain("<Versions>");
      ip("-n", guest!, "addr", "add", "10.20.0.9/24", "dev", "eth0");
      ip("-n", guest!, "route", "replace", "168.63.129.16", "via", "10.20.0.1", "src", "10.20.0.9");
      const script = `fetch(${JSON.stringify(url)}, { signal: AbortSignal.timeout(1500) }).then(() => console.log("heard"), () => console.log("silence")).then(() => process.exit())`;
      const { stdout } = await finish([process.execPath, "-e", script], guest!);
      expect(stdout.trim()).toBe("silence");
      const rules = await finish(["nft", "list", "counters"], vnet!);
      const spoofed = /_spoofed \{\s+packets (\d+)/.exec(rules.stdout)?.[1];
      expect(Number(spoofed)).toBeGreaterThan(0);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "after kill -9 the next start removes what was left, and nothing else",
    async () => {
      using foreign = makeNamespace("foreign");
      await using bystander = run(["sleep", "100"], foreign.name);
      const data = temporaryFolder("killed");
      await using fabric = run(demo(data));
      await fabric.says(UP);
      const left = namespacesOf(data);
      fabric.kill("SIGKILL");
      expect(await fabric.ended).toBe("SIGKILL");
      expect(namespacesOf(data)).toEqual(left);
      const { code, stdout } = await finish(demo(data, "--exit-when-ready"));
      expect(code).toBe(0);
      for (const name of left) {
        expect(stdout).toContain(`removed what an earlier run left: namespace ${name}`);
      }
      expect(namespacesOf(data)).toEqual([]);
      expect(ip("netns", "list")).toContain(foreign.name);
      expect(isAlive(bystander.pid)).toBe(true);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a role whose program cannot start ends in exit 1 with the reason",
    async () => {
      const folder = temporaryFolder("broken");
      const file = writeTenant(folder, "broken");
      writeFileSync(join(folder, "app/app.json"), '{ "command": ["./nothing"] }');
      const { code, stderr } = await finish(
        demo(folder, file, "--exit-when-ready", "--timeout", "10"),
      );
      expect(code).toBe(1);
      expect(stderr).toMatch(/^goalstate: Not ready within 10 s\. broken\.web_0: It waits for /);
      expect(stderr.trim().split("\n")).toHaveLength(1);
      expect(namespacesOf(folder)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "an app that is not there is Failed at once, with the path",
    async () => {
      const folder = temporaryFolder("noapp");
      const file = writeTenant(folder, "noapp", (text) => text.replace("./app", "./missing"));
      const { code, stderr } = await finish(demo(folder, file, "--exit-when-ready"));
      expect(code).toBe(1);
      expect(stderr).toContain("noapp.web_0 is Failed");
      expect(stderr).toContain(join(folder, "missing"));
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a reader that goes away ends it, and nothing is left",
    async () => {
      const data = temporaryFolder("pipe");
      const line = `${demo(data).join(" ")} | head -n 3`;
      const { code } = await finish(["bash", "-c", line]);
      expect(code).toBe(0);
      expect(namespacesOf(data)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a second fabric on the same data folder is refused",
    async () => {
      const data = temporaryFolder("twice");
      await using fabric = run(demo(data));
      await fabric.says("hypervisor:");
      const { code, stderr } = await finish(demo(data));
      expect(code).toBe(1);
      expect(stderr).toContain(`${data}/fabric.sqlite is in use by another goalstate`);
    },
    TEST_TIMEOUT_MS,
  );
});
