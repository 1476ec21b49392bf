import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { MILESTONES } from "../../src/model/milestone.ts";
import { readPortCounts } from "../../src/net/port-filter.ts";
import { canMakeNamespaces, disableIpv6, ip, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { demo, fetchIn, namespacesOf, UP, writeTenant } from "./demo.ts";
import { finish, GOALSTATE, run } from "./processes.ts";

const TEST_TIMEOUT_MS = 120_000;

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}/cmdline`);
}

/** What the ports of a VNET were refused for speaking as somebody else. */
async function spoofedCount(vnet: string): Promise<number> {
  const counts = [...(await readPortCounts(vnet)).values()];
  return counts.reduce((sum, { mac, arp, ip }) => sum + mac + arp + ip, 0);
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
      const two = (text: string) => text.replace("instances: 1", "instances: 2");
      const files = [writeTenant(folder, "a"), writeTenant(folder, "b", two)];
      await using fabric = run(demo(folder, ...files));
      await fabric.says(UP);
      const [vnetA, guestA, vnetB, guestB] = namespacesOf(folder);
      expect(await fetchIn(vnetA!)).toContain("greetings from a");
      expect(await fetchIn(vnetB!)).toContain("greetings from b");
      // Each guest knows one 10.20.0.4: itself.
      expect(await fetchIn(guestA!)).toContain("greetings from a");
      expect(await fetchIn(guestB!)).toContain("greetings from b");
      // Only b has a second instance: a's guest and a's bridge find nobody at its address.
      const second = "http://10.20.0.5:8080/";
      expect(await fetchIn(guestB!, second)).toContain("greetings from b");
      expect(await fetchIn(guestA!, second)).toMatch(/^silence: /);
      expect(await fetchIn(vnetA!, second)).toMatch(/^silence: /);
      const known = ip("-n", guestA!, "neigh")
        .split("\n")
        .filter((line) => line.includes("lladdr"));
      expect(known.map((line) => line.split(" ")[0])).toEqual(["10.20.0.1"]);
      const [, mac = ""] = /a\.web_0 .* mac ([\da-f:]+)/.exec(fabric.stdout()) ?? [];
      const asked = await finish([GOALSTATE, "dhcp", "explain", mac, "--data", folder]);
      expect(asked.stdout).toMatch(new RegExp(`^${mac} \\(a\\.web_0\\), the latest last:$`, "m"));
      expect(asked.stdout).toContain("-> DHCPACK 10.20.0.4");
      fabric.kill("SIGINT");
      expect(await fabric.ended).toBe(0);
      expect(namespacesOf(folder)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a guest that takes another address or MAC is not heard",
    async () => {
      const data = temporaryFolder("spoof");
      await using fabric = run(demo(data));
      await fabric.says(UP);
      const [vnet, guest] = namespacesOf(data);
      const url = "http://168.63.129.16/?comp=versions";
      expect(await fetchIn(guest!, url)).toContain("<Versions>");
      disableIpv6(guest!); // its discovery is counted too
      const before = await spoofedCount(vnet!);
      ip("-n", guest!, "addr", "add", "10.20.0.9/24", "dev", "eth0");
      ip("-n", guest!, "route", "replace", "168.63.129.16", "via", "10.20.0.1", "src", "10.20.0.9");
      expect(await fetchIn(guest!, url)).toMatch(/^silence: /);
      const afterAddress = await spoofedCount(vnet!);
      expect(afterAddress).toBeGreaterThan(before);
      ip("-n", guest!, "addr", "del", "10.20.0.9/24", "dev", "eth0");
      ip("-n", guest!, "route", "replace", "168.63.129.16", "via", "10.20.0.1");
      expect(await fetchIn(guest!, url)).toContain("<Versions>");
      ip("-n", guest!, "link", "set", "dev", "eth0", "address", "02:67:73:ff:ff:ff");
      expect(await fetchIn(guest!, url)).toMatch(/^silence: /);
      expect(await spoofedCount(vnet!)).toBeGreaterThan(afterAddress);
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
