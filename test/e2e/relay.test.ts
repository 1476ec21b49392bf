/** Real clients behind our relay agent, a router, and `serve` on a network that the clients are not on. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { canMakeNamespaces, connect, disableIpv6, ip, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { hasTshark, tsharkComplaints } from "../tshark.ts";
import { readConversation } from "./clients/conversation.ts";
import { finish, GOALSTATE, type Running, run } from "./processes.ts";

const MACS = ["02:00:00:00:00:0a", "02:00:00:00:00:0b"] as const;
const SERVER = "168.63.129.16";
const GIADDR = "10.77.0.1";
const NETWORK = `network: { subnet: 10.77.0.0/16, gateway: ${GIADDR} }`;
const TEST_TIMEOUT_MS = 180_000;

/** A udhcpc script that sets the address, which udhcpc needs to renew, and the routes of option 121. */
const CONFIGURE = `#!/bin/sh
ip addr flush dev "$interface"
[ "$1" = deconfig ] && exit 0
[ -n "$ip" ] && ip addr add "$ip/$mask" dev "$interface"
set -- $staticroutes
while [ $# -ge 2 ]; do
  ip route replace "$1" via "$2" 2>/dev/null || ip route replace "$1" dev eth0
  shift 2
done
exit 0
`;

interface Chain extends AsyncDisposable {
  readonly folder: string;
  readonly relay: string;
  readonly clients: readonly string[];
  /** Starts the relay agent. */
  relays(...options: string[]): Promise<Running>;
  /** Serves an inventory with these addresses, in the order of {@link MACS}; ends the server before it. */
  serves(...addresses: string[]): Promise<void>;
  /** Captures on an interface; returns where to. */
  captures(namespace: string, interfaceName: string): Promise<string>;
  /** Runs an action before the namespaces go. */
  defer(action: () => Promise<unknown>): void;
  /** Ends the captures, so that their files are whole. */
  endCaptures(): Promise<void>;
}

/** Clients on two ports of a bridge, a relay agent on the bridge's host, a router, the host of the server. */
async function makeChain(): Promise<Chain> {
  await using stack = new AsyncDisposableStack();
  const [relay = "", router = "", wds = "", ...clients] = [
    "relay",
    "router",
    "wds",
    "vm",
    "vm",
  ].map((label) => stack.use(makeNamespace(label)).name);
  ip("-n", relay, "link", "add", "name", "br0", "type", "bridge");
  ip("-n", relay, "addr", "add", `${GIADDR}/16`, "dev", "br0");
  ip("-n", relay, "link", "set", "dev", "br0", "up");
  clients.forEach((client, index) => {
    connect(relay, `port${index}`, client, "eth0");
    ip("-n", relay, "link", "set", "dev", `port${index}`, "master", "br0");
    ip("-n", client, "link", "set", "dev", "eth0", "address", MACS[index]!);
  });
  connect(relay, "up", router, "down");
  connect(router, "up", wds, "served");
  for (const [namespace, address, device] of [
    [relay, "10.98.0.1/24", "up"],
    [router, "10.98.0.2/24", "down"],
    [router, "10.99.0.1/24", "up"],
    [wds, "10.99.0.2/24", "served"],
  ] as const) {
    ip("-n", namespace, "addr", "add", address, "dev", device);
  }
  ip("-n", relay, "route", "add", SERVER, "via", "10.98.0.2");
  ip("-n", router, "route", "add", SERVER, "via", "10.99.0.2");
  ip("-n", router, "route", "add", "10.77.0.0/16", "via", "10.98.0.1");
  ip("-n", wds, "route", "add", "default", "via", "10.99.0.1");
  for (const namespace of [relay, router]) forwards(namespace);
  for (const namespace of [relay, ...clients]) disableIpv6(namespace);
  // The kernel leaves checksums of its own datagrams to the NIC; without that, tshark sees them complete.
  completesChecksums(relay, "up");
  for (const client of clients) completesChecksums(client, "eth0");
  const folder = temporaryFolder("relay");
  const owned = stack.move(); // programs end before their namespaces do
  const sniffers: Running[] = [];
  let server: Running | undefined;
  owned.defer(async () => await server?.[Symbol.asyncDispose]());
  const relays = async (...options: string[]) => {
    const where = ["--interface", "br0", "--upstream", SERVER, "--remote-id", "node-1"];
    const agent = owned.use(run([GOALSTATE, "relay", ...where, ...options], relay));
    await agent.says("ready\n");
    return agent;
  };
  const serves = async (...addresses: string[]) => {
    await server?.[Symbol.asyncDispose]();
    const inventory = join(folder, "inventory.yaml");
    const nics = addresses.map(
      (address, index) => `{ mac: "${MACS[index]}", address: ${address} }`,
    );
    writeFileSync(inventory, `${NETWORK}\nnics: [${nics.join(", ")}]\n`);
    const files = ["--inventory", inventory, "--data", join(folder, "data")];
    server = run([GOALSTATE, "serve", "--interface", "served", ...files], wds);
    await server.says("ready\n");
  };
  const captures = async (namespace: string, interfaceName: string) => {
    const path = join(folder, `${namespace}-${interfaceName}.pcap`);
    const tcpdump = ["tcpdump", "--immediate-mode", "-Z", "root", "-U", "-i", interfaceName];
    const sniffer = owned.use(run([...tcpdump, "-w", path, "udp port 67 or port 68"], namespace));
    await sniffer.says("listening");
    sniffers.push(sniffer);
    return path;
  };
  const endCaptures = async () => {
    for (const sniffer of sniffers) sniffer.kill("SIGTERM");
    for (const { ended } of sniffers) await ended;
  };
  const defer = (action: () => Promise<unknown>) => owned.defer(async () => void (await action()));
  const dispose = { [Symbol.asyncDispose]: () => owned.disposeAsync() };
  return { folder, relay, clients, relays, serves, captures, defer, endCaptures, ...dispose };
}

function completesChecksums(namespace: string, device: string): void {
  const ethtool = ["ethtool", "-K", device, "tx", "off"];
  execFileSync("ip", ["netns", "exec", namespace, ...ethtool], { stdio: "ignore" });
}

function forwards(namespace: string): void {
  const write = "echo 1 >/proc/sys/net/ipv4/ip_forward";
  ip("netns", "exec", namespace, "sh", "-c", write);
}

/** udhcpc in the foreground, until it is ended. */
function udhcpc({ folder }: Chain, namespace: string, ...options: string[]): Running {
  const script = join(folder, "configure.sh");
  writeFileSync(script, CONFIGURE, { mode: 0o755 });
  const patience = ["-t", "10", "-T", "3", "-A", "1"];
  return run(["udhcpc", "-i", "eth0", "-f", ...patience, "-s", script, ...options], namespace);
}

/**
 * Has udhcpc renew until all of this was said. It sends a unicast request from a socket that it closes right after: an
 * answer that is quicker than that is lost, and it waits for its next turn.
 */
async function renewsUntil(guest: Running, pcap: string, words: readonly string[]): Promise<void> {
  guest.kill("SIGUSR1");
  const again = setInterval(() => guest.kill("SIGUSR1"), 4_000);
  try {
    await hears(pcap, words);
  } finally {
    clearInterval(again);
  }
}

/** Waits until all of this was said, in this order; on a busy machine, a client repeats itself in between. */
async function hears(pcap: string, words: readonly string[]): Promise<void> {
  const heard = () => {
    let count = 0;
    for (const said of readConversation(pcap)) if (said.words === words[count]) count++;
    return words.slice(0, count);
  };
  await expect.poll(heard, { timeout: 45_000, interval: 200 }).toEqual(words);
}

/** What the messages of a capture that a filter keeps have in each of these fields, each value once. */
function valuesOf(pcap: string, filter: string, fields: readonly string[]): string[][] {
  const args = ["-r", pcap, "-Y", filter, "-T", "fields", "-E", "separator=;"];
  const text = execFileSync("tshark", [...args, ...fields.flatMap((field) => ["-e", field])], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const lines = text.split("\n").filter((line) => line !== "");
  return fields.map((_, index) => [...new Set(lines.map((line) => line.split(";")[index] ?? ""))]);
}

const lease = (address: string) => [
  ...["DISCOVER", `OFFER ${address}`],
  ...[`REQUEST selecting ${address}`, `ACK ${address}`],
];
const RENEWAL = ["REQUEST renewing 10.77.3.4", "ACK 10.77.3.4"];

const skipped = !(canMakeNamespaces && hasTshark) && !process.env["CI"];
describe.skipIf(skipped)("the relay agent (needs root and tshark)", () => {
  test(
    "udhcpc leases, renews by unicast with the agent, is refused, moves and releases",
    async () => {
      await using chain = await makeChain();
      const { relay, clients } = chain;
      const [client = "", other = ""] = clients;
      await chain.serves("10.77.3.4", "10.77.3.5");
      await using agent = await chain.relays();
      const mine = await chain.captures(client, "eth0");
      const others = await chain.captures(other, "eth0");
      const upstream = await chain.captures(relay, "up");

      await using guest = udhcpc(chain, client);
      await hears(mine, lease("10.77.3.4"));
      await renewsUntil(guest, mine, [...lease("10.77.3.4"), ...RENEWAL]);

      await chain.serves("10.77.3.6", "10.77.3.5");
      const refused = ["REQUEST renewing 10.77.3.4", "NAK to 10.77.3.4", "NAK"];
      const moved = [...lease("10.77.3.4"), ...RENEWAL, ...refused, ...lease("10.77.3.6")];
      await renewsUntil(guest, mine, moved);
      guest.kill("SIGUSR2");
      await hears(mine, [...moved, "RELEASE 10.77.3.6"]);
      guest.kill("SIGTERM");
      agent.kill("SIGTERM");
      expect(await agent.ended).toBe(0);
      await chain.endCaptures();

      // Nobody else hears a reply; option 82 stays between the agent and the server.
      const replies = "udp.srcport == 67";
      const circuit = "dhcp.option.agent_information_option.agent_circuit_id";
      expect(valuesOf(others, replies, ["ip.dst"])).toEqual([[]]);
      const heard = valuesOf(mine, replies, [circuit, "ip.src", "dhcp.option.dhcp_server_id"]);
      expect(heard).toEqual([[""], [GIADDR], [GIADDR]]);
      const port0 = Buffer.from("port0").toString("hex");
      const forwarded = valuesOf(upstream, "dhcp.type == 1", [circuit, "dhcp.hops", "ip.src"]);
      expect(forwarded).toEqual([[port0], ["1"], [GIADDR]]);
      expect(valuesOf(upstream, "dhcp.type == 2", [circuit, "ip.dst"])).toEqual([
        [port0],
        [GIADDR],
      ]);
      expect(tsharkComplaints(upstream)).toEqual([]);
      expect(tsharkComplaints(mine)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "two clients on two ports get their own leases, one of them by broadcast; a client's own option 82 is refused",
    async () => {
      await using chain = await makeChain();
      const [client = "", other = ""] = chain.clients;
      await chain.serves("10.77.3.4", "10.77.3.5");
      await using agent = await chain.relays("--log-level", "debug");
      const captures = [await chain.captures(client, "eth0"), await chain.captures(other, "eth0")];
      await using guest = udhcpc(chain, client, "-B");
      const { code, stderr } = await dhclient(chain, other);
      expect([code, stderr]).toEqual([0, expect.any(String)]);
      await guest.says("lease of 10.77.3.4 obtained");
      const released = await dhclient(chain, other, "-r");
      expect(released.code).toBe(0);

      await using _forger = udhcpc(chain, other, "-x", "0x52:0101ff");
      await agent.says('"reason":"relay.information"');
      await chain.endCaptures();
      for (const [index, address] of ["10.77.3.4", "10.77.3.5"].entries()) {
        const given = valuesOf(captures[index]!, "udp.srcport == 67", ["dhcp.ip.your"]);
        expect(given).toEqual([[address]]);
      }
      const words = readConversation(captures[1]!).map((exchange) => exchange.words);
      const since = words.indexOf("RELEASE 10.77.3.5");
      expect(new Set(words.slice(since + 1))).toEqual(new Set(["DISCOVER"]));
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "without an override, renewal and release are routed to the server, and so is the wire server",
    async () => {
      await using chain = await makeChain();
      const [client = ""] = chain.clients;
      await chain.serves("10.77.3.4");
      await using _agent = await chain.relays("--no-server-id-override");
      const mine = await chain.captures(client, "eth0");
      await using guest = udhcpc(chain, client, "-O", "121");
      await hears(mine, lease("10.77.3.4"));
      await renewsUntil(guest, mine, [...lease("10.77.3.4"), ...RENEWAL]);
      const url = `http://${SERVER}/machine?comp=goalstate`;
      const ask = `fetch("${url}", { headers: { "x-ms-version": "2012-11-30" } })`;
      const say = ".then(async (r) => console.log(r.status, await r.text()))";
      const { stdout, stderr } = await finish([process.execPath, "-e", ask + say], client);
      expect(stderr + stdout).toMatch(/^200 [\s\S]*<GoalState/);

      await chain.serves("10.77.3.6");
      // The server's broadcast stays on its own network; the copy to the client's address is what arrives.
      const refused = ["REQUEST renewing 10.77.3.4", "NAK to 10.77.3.4"];
      const moved = [...lease("10.77.3.4"), ...RENEWAL, ...refused, ...lease("10.77.3.6")];
      await renewsUntil(guest, mine, moved);
      guest.kill("SIGUSR2");
      await hears(mine, [...moved, "RELEASE 10.77.3.6"]);
      await chain.endCaptures();
      expect(valuesOf(mine, "dhcp.type == 2", ["dhcp.option.dhcp_server_id"])).toEqual([[SERVER]]);
      expect(readConversation(mine).map((exchange) => exchange.words)).not.toContain("NAK");
    },
    TEST_TIMEOUT_MS,
  );
});

/** dhclient, until it has a lease and goes into the background; it keeps its files in the chain's folder. */
function dhclient({ folder, defer }: Chain, namespace: string, ...options: string[]) {
  const path = (name: string) => join(folder, `dhclient.${name}`);
  const script = join(folder, "dhclient-script");
  const set = '[ "$reason" = BOUND ] && ip addr add "$new_ip_address/16" dev eth0';
  writeFileSync(script, `#!/bin/sh\n${set}\nexit 0\n`, { mode: 0o755 });
  writeFileSync(path("conf"), "");
  writeFileSync(path("leases"), "", { flag: "a" });
  const files = ["-cf", path("conf"), "-pf", path("pid"), "-lf", path("leases"), "-sf", script];
  defer(() => finish(["dhclient", "-x", ...files, "eth0"], namespace));
  return finish(["dhclient", "-4", "-1", ...files, ...options, "eth0"], namespace);
}
