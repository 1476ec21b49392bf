import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { createNetnsHypervisor, removeNamespace, type Vm } from "../../src/compute/index.ts";
import { listProcesses } from "../../src/compute/processes.ts";
import { createOptionProfile, platformRoutes, serveDhcp } from "../../src/dhcp/index.ts";
import { parseIpv4, parseSubnet, WIRE_SERVER_ADDRESS } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { listLinks } from "../../src/net/iproute.ts";
import { findNamespaceInode, inNamespace } from "../../src/net/namespace.ts";
import { openPacketRing } from "../../src/net/packet-ring.ts";
import { Poller } from "../../src/net/poller.ts";
import { canMakeNamespaces, ip, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";

const MAC = "02:67:73:00:00:0a";
const PORT = "tap0a";
const GATEWAY = parseIpv4("10.20.0.1");
const ADDRESS = parseIpv4("10.20.0.4");
const TEST_TIMEOUT_MS = 60_000;

let count = 0;

/** Boots a guest whose agent is this script; what is left of it goes when the test has ended. */
async function bootGuest(agentScript: string) {
  const host = makeNamespace("fabric");
  onTestFinished(() => host[Symbol.dispose]());
  const runDirectory = temporaryFolder("guest");
  const agent = join(runDirectory, "agent.mjs");
  writeFileSync(agent, agentScript);
  count += 1;
  const name = `gst-guest-${process.pid}-${count}`;
  onTestFinished(() => removeNamespace(name));
  const hypervisor = createNetnsHypervisor({ reason: "a test", buildAgent: async () => agent });
  const signal = new AbortController().signal;
  const prepared = await hypervisor.prepare({ container: "lab.web_0" }, signal);
  const vm = await prepared.boot(
    {
      ...{ name, runDirectory, cpus: 1, memoryMib: 64, hostname: "web-0", mac: parseMac(MAC) },
      ...{ container: "lab.web_0", attempt: 1 },
      vmId: "00000000-0000-0000-0000-000000000000",
      port: { namespace: host.name, name: PORT },
    },
    signal,
  );
  return { vm, name, host: host.name, runDirectory };
}

/** Opens the port, as a network agent does, and answers DHCP behind it. */
async function serveOn(host: string): Promise<void> {
  ip("-n", host, "addr", "add", "10.20.0.1/24", "dev", PORT);
  ip("-n", host, "link", "set", "dev", PORT, "up");
  const poller = new Poller();
  const socket = inNamespace(host, () =>
    openPacketRing({ interfaceName: PORT, udpPort: 67, bootpOp: 1, poller }),
  );
  const profile = createOptionProfile({
    subnet: parseSubnet("10.20.0.0/24"),
    gateway: GATEWAY,
    wireServer: WIRE_SERVER_ADDRESS,
    routes: platformRoutes(GATEWAY),
    ...{ dns: [], leaseSeconds: 3600, mtu: 1400, authoritative: true },
  });
  const stop = new AbortController();
  const served = serveDhcp({
    now: () => performance.now(),
    socket,
    decide: ({ chaddr }) =>
      chaddr === parseMac(MAC)
        ? { kind: "assigned", assignment: { address: ADDRESS, profile } }
        : { kind: "unknown" },
    serverAddress: WIRE_SERVER_ADDRESS,
    signal: stop.signal,
  });
  onTestFinished(async () => {
    stop.abort();
    await served;
    await socket[Symbol.asyncDispose]();
  });
}

function processesIn(name: string): number[] {
  const inode = findNamespaceInode(name);
  return listProcesses()
    .filter(({ networkNamespace }) => inode !== undefined && networkNamespace === inode)
    .map(({ pid }) => pid);
}

const consoleOf = (vm: Vm) => readFileSync(vm.consolePath, "utf8");

describe("createNetnsHypervisor()", () => {
  test("says what it is, and why", () => {
    const hypervisor = createNetnsHypervisor({
      reason: "no QEMU",
      buildAgent: () => Promise.reject(new Error("not asked")),
    });
    expect(hypervisor).toMatchObject({
      kind: "netns",
      description: "network namespaces (no QEMU)",
    });
  });

  test("refuses an app that is not there, with its path", async () => {
    const hypervisor = createNetnsHypervisor({ reason: "", buildAgent: async () => "/agent" });
    const app = temporaryFolder("noapp");
    const guest = { container: "lab.web_0", app };
    await expect(hypervisor.prepare(guest, new AbortController().signal)).rejects.toMatchObject({
      code: "ERR_APP_MISSING",
      message: `Cannot read the app of lab.web_0: ${app} has no app.json`,
    });
  });
});

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("a netns guest (needs root)", () => {
  test(
    "has a port that is down and attached to nothing; stopping it removes all of it",
    async () => {
      const { vm, name, host } = await bootGuest("");
      const port = (await listLinks(host)).find((link) => link.name === PORT);
      expect(port).toMatchObject({ kind: "veth", isUp: false, addresses: [] });
      expect(ip("-n", host, "-d", "link", "show", PORT)).not.toContain("master");
      expect(ip("-n", name, "link", "show", "eth0")).toContain(MAC);
      const asked = expect.poll(() => consoleOf(vm), { timeout: 20_000 });
      await asked.toContain(`MAC ${MAC}: asking for an address`);
      expect(processesIn(name)).toContain(vm.pid);
      expect(await vm.stop({ acpiMs: 20_000 })).toBe("acpi");
      expect(consoleOf(vm)).toMatch(/: asked to stop, powering off\n$/);
      expect(await vm.exited).toEqual({ kind: "stopped" });
      expect(existsSync(`/run/netns/${name}`)).toBe(false);
      expect((await listLinks(host)).map((link) => link.name)).not.toContain(PORT);
      await vm.stop(); // twice is harmless
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "takes its address, MTU and routes from the lease, and tells its agent where the lease is",
    async () => {
      const agent = `
        import { readFileSync } from "node:fs";
        const at = process.argv.indexOf("--lease") + 1;
        console.log("LEASE " + readFileSync(process.argv[at], "utf8").split("\\n").join(" "));
        setInterval(() => {}, 1000);`;
      const { vm, name, host } = await bootGuest(agent);
      await serveOn(host);
      await expect.poll(() => consoleOf(vm), { timeout: 20_000 }).toContain("LEASE ");
      expect(/LEASE (.*)/.exec(consoleOf(vm))?.[1]?.trim().split(" ")).toEqual([
        "interface=eth0",
        "ip=10.20.0.4",
        "subnet=255.255.255.0",
        "router=10.20.0.1",
        "dns=",
        "lease=3600",
        "serverid=168.63.129.16",
        "opt245=a83f8110",
      ]);
      expect(ip("-n", name, "addr", "show", "eth0")).toMatch(
        /mtu 1400 [\s\S]*inet 10\.20\.0\.4\/24 /,
      );
      const routes = ip("-n", name, "route");
      for (const destination of ["default", "168.63.129.16", "169.254.169.254"]) {
        expect(routes).toContain(`${destination} via 10.20.0.1 dev eth0`);
      }
      await vm.stop();
      expect(await vm.exited).toEqual({ kind: "stopped" });
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "an agent that ends is a guest that failed, with the end of its console as reason",
    async () => {
      const { vm, host } = await bootGuest('console.log("out of cheese"); process.exit(3);');
      await serveOn(host);
      const exit = await vm.exited;
      expect(exit).toMatchObject({ kind: "failed" });
      expect(exit.kind === "failed" && exit.reason).toMatch(
        /^its init ended \(1\): .*out of cheese \| goalstate-guest: failed: the agent ended: 3$/,
      );
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a guest that is killed has failed, and can still be removed",
    async () => {
      const { vm, name } = await bootGuest("");
      process.kill(vm.pid, "SIGKILL");
      expect(await vm.exited).toMatchObject({
        kind: "failed",
        reason: expect.stringMatching(/^its init ended \(SIGKILL\): /),
      });
      await vm.stop();
      expect(existsSync(`/run/netns/${name}`)).toBe(false);
    },
    TEST_TIMEOUT_MS,
  );
});
