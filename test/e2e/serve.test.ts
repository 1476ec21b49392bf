import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { NetworkCounters } from "../../src/cli/dhcp/counters-document.ts";
import { keys } from "../../src/model/documents.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { openSqliteStore } from "../../src/store/index.ts";
import { canMakeNamespaces, ip } from "../net/namespaces.ts";
import { finish, GOALSTATE, run } from "./processes.ts";
import {
  environmentScript,
  INTERFACE,
  makeServeNetwork,
  NETWORK,
  parseEnvironment,
  type ServeNetwork,
} from "./serve-network.ts";

const MAC = "00:0c:01:02:03:04";
const NICS = `nics: [{ mac: "${MAC}", address: 10.77.10.1, container: web-0, hostname: web-0 }]`;
const INVENTORY = `${NETWORK}\n${NICS}\n`;
const PLATFORM = ["168.63.129.16/32", "169.254.169.254/32"];
/** Options 121 and 249 as udhcpc shows them. */
const ROUTES = "0.0.0.0/0 10.77.0.1 168.63.129.16/32 10.77.0.1 169.254.169.254/32 10.77.0.1";
const TEST_TIMEOUT_MS = 60_000;
/** udhcpc until it has a lease or has failed; `-q` ends it then. */
function udhcpc(network: ServeNetwork, script: string, ...args: string[]) {
  const once = ["-i", "eth0", "-f", "-q", "-n", "-t", "3", "-T", "1", "-s", script];
  const ask = ["26", "121", "249", "245"].flatMap((code) => ["-O", code]);
  return finish(["udhcpc", ...once, ...ask, ...args], network.client);
}

async function lease(network: ServeNetwork, ...args: string[]): Promise<Record<string, string>> {
  const { script, output } = environmentScript(network.folder, "udhcpc", '[ "$1" = bound ]');
  const { code, stderr } = await udhcpc(network, script, ...args);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  return parseEnvironment(readFileSync(output, "utf8"));
}

/** Gives the client its address, as a DHCP script would. */
function configureClient({ client }: ServeNetwork, address = "10.77.10.1"): void {
  ip("-n", client, "addr", "add", `${address}/16`, "dev", "eth0");
  ip("-n", client, "route", "add", "default", "via", "10.77.0.1");
}

/** Asks from inside the client's namespace; prints status and body. */
async function ask(network: ServeNetwork, path: string, init: RequestInit = {}): Promise<string> {
  const url = `http://168.63.129.16${path}`;
  const script =
    `fetch(${JSON.stringify(url)}, ${JSON.stringify(init)})` +
    ".then(async (r) => console.log(r.status, await r.text()))";
  const { stdout, stderr } = await finish([process.execPath, "-e", script], network.client);
  return stdout || stderr;
}

const VERSION = { headers: { "x-ms-version": "2012-11-30" } };

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("serve (needs root)", () => {
  test(
    "udhcpc gets the inventory's address and all options of the platform",
    async () => {
      using network = makeServeNetwork(MAC);
      await using _server = await network.serve(INVENTORY);
      expect(await lease(network)).toMatchObject({
        ip: "10.77.10.1",
        subnet: "255.255.0.0",
        mask: "16",
        router: "10.77.0.1",
        dns: "10.77.0.53",
        lease: "86400",
        serverid: "168.63.129.16",
        opt245: "a83f8110",
        staticroutes: ROUTES,
        msstaticroutes: ROUTES,
      });
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "dhclient gets the same, and renews by unicast",
    async () => {
      using network = makeServeNetwork(MAC);
      await using server = await network.serve(INVENTORY);
      const { folder, client } = network;
      const when = 'case "$reason" in BOUND|REBOOT) true;; *) false;; esac';
      const { script, output } = environmentScript(folder, "dhclient", when);
      const leases = join(folder, "dhclient.leases");
      writeFileSync(join(folder, "dhclient.conf"), "");
      writeFileSync(leases, "");
      const files = ["-cf", join(folder, "dhclient.conf"), "-pf", join(folder, "dhclient.pid")];
      const command = ["dhclient", "-4", "-1", ...files, "-lf", leases, "-sf", script, "eth0"];
      const first = await finish(command, client);
      expect([first.code, first.stderr]).toEqual([0, expect.any(String)]);
      const environment = parseEnvironment(readFileSync(output, "utf8"));
      expect(environment).toMatchObject({
        new_ip_address: "10.77.10.1",
        new_subnet_mask: "255.255.0.0",
        new_routers: "10.77.0.1",
        new_dhcp_lease_time: "86400",
        new_dhcp_server_identifier: "168.63.129.16",
        new_unknown_245: "a8:3f:81:10",
      });
      expect(
        environment["new_unknown_121"] ?? environment["new_rfc3442_classless_static_routes"],
      ).toBeDefined();
      expect(readFileSync(leases, "utf8")).toContain("option unknown-245 a8:3f:81:10;");
      await finish(["dhclient", "-x", "-pf", join(folder, "dhclient.pid"), "eth0"], client);
      // With its lease file it comes back by INIT-REBOOT.
      const second = await finish(command, client);
      expect(second.stderr + second.stdout).not.toContain("NAK");
      expect(parseEnvironment(readFileSync(output, "utf8"))["new_ip_address"]).toBe("10.77.10.1");
      await finish(["dhclient", "-x", "-pf", join(folder, "dhclient.pid"), "eth0"], client);
      expect(server.stderr()).not.toContain("error");
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "an unknown MAC is met with silence",
    async () => {
      using network = makeServeNetwork("00:0c:01:99:99:99");
      await using _server = await network.serve(INVENTORY);
      const { code, stderr } = await udhcpc(network, "/bin/true");
      expect(code).toBe(1);
      expect(stderr).toContain("no lease, failing");
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "dhclient with another address in its lease file is refused, then gets the right one",
    async () => {
      using network = makeServeNetwork(MAC);
      await using _server = await network.serve(INVENTORY);
      const { folder, client } = network;
      const { script, output } = environmentScript(folder, "dhclient", '[ "$reason" = BOUND ]');
      const leases = join(folder, "dhclient.leases");
      writeFileSync(join(folder, "dhclient.conf"), "");
      writeFileSync(
        leases,
        'lease { interface "eth0"; fixed-address 10.77.99.99; option subnet-mask 255.255.0.0; ' +
          "option dhcp-server-identifier 168.63.129.16; option dhcp-lease-time 86400; " +
          "renew 5 2037/01/01 00:00:00; rebind 5 2037/01/02 00:00:00; expire 5 2037/01/03 00:00:00; }\n",
      );
      const files = ["-cf", join(folder, "dhclient.conf"), "-pf", join(folder, "dhclient.pid")];
      const command = [
        "dhclient",
        "-4",
        "-v",
        "-1",
        ...files,
        "-lf",
        leases,
        "-sf",
        script,
        "eth0",
      ];
      const { code, stderr } = await finish(command, client);
      expect(code).toBe(0);
      expect(stderr).toContain("DHCPNAK from 168.63.129.16");
      expect(parseEnvironment(readFileSync(output, "utf8"))["new_ip_address"]).toBe("10.77.10.1");
      await finish(["dhclient", "-x", "-pf", join(folder, "dhclient.pid"), "eth0"], client);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "S106 perfdhcp-smoke: perfdhcp completes 1000 exchanges a second through a relay, none lost, each MAC with its address",
    async () => {
      using network = makeServeNetwork("00:0c:02:00:00:01");
      ip("-n", network.client, "addr", "add", "10.77.0.2/16", "dev", "eth0");
      const FIRST = parseIpv4("10.77.20.0");
      const range = '{ mac: "00:0c:01:00:00:00", address: 10.77.20.0, count: 50000 }';
      await using server = await network.serve(`${NETWORK}\nranges: [${range}]\n`);
      // -W waits 1 s for the last answers; without it perfdhcp counts what is on its way at the end as lost.
      const load = [
        "-4",
        "-l",
        "eth0",
        "-b",
        "mac=00:0c:01:00:00:00",
        "-u",
        "-W",
        "1000000",
        "-x",
        "l",
      ];
      // On a busy machine perfdhcp itself now and then misses what was sent to it: one of three runs must lose nothing.
      const run1000 = ["perfdhcp", ...load, "-R", "1000", "-r", "1000", "-p", "5"];
      let result = await finish(run1000, network.client);
      for (let again = 0; again < 2 && result.code !== 0; again++) {
        result = await finish(run1000, network.client);
      }
      const { code, stdout } = result;
      const values = (name: string) =>
        [...stdout.matchAll(new RegExp(`^${name}: (\\d+)`, "gm"))].map(([, value]) =>
          Number(value),
        );
      expect([code, values("drops"), values("rejected leases")]).toEqual([0, [0, 0], [0, 0]]);
      expect(values("sent packets")[1]).toBeGreaterThan(1000);
      // With "-x l" it lists each client identifier (01, then its MAC) and the address that it got.
      const leases = [...stdout.matchAll(/^01000c01(\w{6}),(10\.77\.\d+\.\d+),/gm)];
      expect(new Set(leases.map(([, client]) => client)).size).toBe(1000);
      const wrong = leases.filter(
        ([, client, address]) => parseIpv4(address!) !== FIRST + Number.parseInt(client!, 16),
      );
      expect(wrong).toEqual([]);
      server.kill("SIGTERM");
      expect(await server.ended).toBe(0);
      // Whatever perfdhcp missed, the server answered all that reached it.
      const last = server.stderr().trim().split("\n").at(-1)!;
      const { replies, received, silences, ring } = JSON.parse(last) as NetworkCounters;
      expect(replies["DHCPOFFER"]! + replies["DHCPACK"]!).toBe(received);
      expect(silences).toEqual({});
      expect(ring).toMatchObject({ droppedByKernel: 0, transmitFailed: 0 });
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "works while another process holds UDP port 67, and says so",
    async () => {
      using network = makeServeNetwork(MAC);
      const script =
        'require("node:dgram").createSocket("udp4").bind(67, () => console.log("held"))';
      await using holder = run([process.execPath, "-e", script], network.host);
      await holder.says("held");
      await using server = await network.serve(INVENTORY);
      expect(server.stderr()).toContain("another process holds UDP port 67");
      expect(await lease(network)).toMatchObject({ ip: "10.77.10.1" });
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "S100 raw-fallback-icmp: a unicast renewal is answered, and not with an ICMP error",
    async () => {
      using network = makeServeNetwork(MAC);
      await using _server = await network.serve(INVENTORY);
      const { script, output } = environmentScript(network.folder, "renew", '[ "$1" = renew ]');
      configureClient(network);
      const tcpdump = [
        "tcpdump",
        "--immediate-mode",
        "-l",
        "-n",
        "-i",
        "eth0",
        "icmp and not src host 10.77.10.1",
      ];
      await using sniffer = run(tcpdump, network.client);
      await sniffer.says("listening");
      const client = run(
        ["udhcpc", "-i", "eth0", "-f", "-t", "3", "-T", "1", "-s", script],
        network.client,
      );
      await using _client = client;
      await client.says("obtained");
      client.kill("SIGUSR1");
      await client.says("sending renew");
      await expect
        .poll(() => readFileSync(output, "utf8"), { timeout: 10_000 })
        .toContain("opt245");
      sniffer.kill("SIGTERM");
      await sniffer.ended;
      expect(sniffer.stdout().trim()).toBe("");
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "the wire server knows its caller, and stores health before it answers",
    async () => {
      using network = makeServeNetwork(MAC);
      await using server = await network.serve(INVENTORY);
      configureClient(network);
      expect(await ask(network, "/?comp=versions")).toMatch(/^200 [\s\S]*<Version>2012-11-30</);
      expect(await ask(network, "/machine?comp=goalstate")).toMatch(/^400 /);
      const goalState = await ask(network, "/machine?comp=goalstate", VERSION);
      const containerId = /<ContainerId>(.*?)</.exec(goalState)?.[1];
      const instanceId = /<InstanceId>(.*?)</.exec(goalState)?.[1];
      expect(goalState).toContain("<Incarnation>1</Incarnation>");
      expect(instanceId).toMatch(/\.web-0$/);
      const body =
        "<Health><GoalStateIncarnation>1</GoalStateIncarnation><Container>" +
        `<ContainerId>${containerId}</ContainerId><RoleInstanceList><Role>` +
        `<InstanceId>${instanceId}</InstanceId><Health><State>Ready</State></Health>` +
        "</Role></RoleInstanceList></Container></Health>";
      const post = { method: "POST", body, headers: { "content-type": "text/xml;charset=utf-8" } };
      expect(await ask(network, "/machine?comp=health", post)).toMatch(/^200 /);
      expect(server.stderr()).toContain('"container":"web-0","incarnation":1,"msg":"ready"');
      // What was asked and answered is in its folder.
      const requests = [GOALSTATE, "requests", "web-0", "--data", join(network.folder, "data")];
      await expect
        .poll(async () => (await finish(requests)).stdout, { timeout: 10_000, interval: 500 })
        .toMatch(/ 400 .*version-header-missing\]\n.* 200 .*goalstate\n.* 200 .*comp=health\n/);
      // Another address of the subnet is nobody's.
      ip("-n", network.client, "addr", "del", "10.77.10.1/16", "dev", "eth0");
      configureClient(network, "10.77.10.99");
      expect(await ask(network, "/machine?comp=goalstate", VERSION)).toMatch(/^403 /);
      // kill -9: what was acknowledged is on disk.
      server.kill("SIGKILL");
      await server.ended;
      await using store = openSqliteStore({ path: join(network.folder, "data/fabric.sqlite") });
      const { kv } = await store.get(keys.containerStatus("web-0"));
      expect(kv?.value).toMatchObject({ state: "Ready", health: { state: "Ready" } });
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "the incarnation grows when an entry changes, and only then",
    async () => {
      using network = makeServeNetwork(MAC);
      configureClient(network);
      const incarnationOf = async (inventory: string) => {
        await using _server = await network.serve(inventory);
        const text = await ask(network, "/machine?comp=goalstate", VERSION);
        return /<Incarnation>(\d+)</.exec(text)?.[1];
      };
      expect(await incarnationOf(INVENTORY)).toBe("1");
      expect(await incarnationOf(INVENTORY)).toBe("1");
      expect(await incarnationOf(INVENTORY.replace("hostname: web-0", "hostname: web-9"))).toBe(
        "2",
      );
    },
    TEST_TIMEOUT_MS,
  );

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    test(
      `${signal} ends it with 0 and takes away what it added`,
      async () => {
        using network = makeServeNetwork(MAC);
        const before = network.addresses();
        await using server = await network.serve(INVENTORY);
        expect(network.addresses()).toEqual([...before, ...PLATFORM].sort());
        server.kill(signal);
        expect(await server.ended).toBe(0);
        expect(network.addresses()).toEqual(before);
      },
      TEST_TIMEOUT_MS,
    );
  }

  test(
    "after kill -9 the next one takes away what the first had added, and only that",
    async () => {
      using network = makeServeNetwork(MAC);
      const [kept, added] = PLATFORM;
      ip("-n", network.host, "addr", "add", kept!, "dev", INTERFACE);
      const before = network.addresses();
      await using killed = await network.serve(INVENTORY);
      killed.kill("SIGKILL");
      await killed.ended;
      expect(network.addresses()).toEqual([...before, added!].sort());
      await using next = await network.serve(INVENTORY);
      next.kill("SIGTERM");
      expect(await next.ended).toBe(0);
      expect(network.addresses()).toEqual(before);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "an interface that is removed ends it with a reason",
    async () => {
      using network = makeServeNetwork(MAC);
      await using server = await network.serve(INVENTORY);
      ip("-n", network.host, "link", "del", "dev", INTERFACE);
      expect(await server.ended).toBe(1);
      expect(server.stderr()).toContain(
        `goalstate: DHCP on ${INTERFACE} ended: The interface was removed`,
      );
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "an interface that goes down and comes up again is served on",
    async () => {
      using network = makeServeNetwork(MAC);
      await using _server = await network.serve(INVENTORY);
      ip("-n", network.host, "link", "set", "dev", INTERFACE, "down");
      ip("-n", network.host, "link", "set", "dev", INTERFACE, "up");
      expect(await lease(network)).toMatchObject({ ip: "10.77.10.1" });
    },
    TEST_TIMEOUT_MS,
  );
});
