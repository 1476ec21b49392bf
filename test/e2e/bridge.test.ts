import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readCapture } from "../../src/net/capture-file.ts";
import { canMakeNamespaces, connect, ip, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { finish, GOALSTATE, run } from "./processes.ts";

const CLIENT_MAC = "02:00:00:00:00:0a";
const OTHER_MAC = "02:00:00:00:00:0b";

/** A bridge with client namespaces behind ports of it. */
function makeBridge(host: string, clients: readonly string[]): void {
  ip("-n", host, "link", "add", "name", "br0", "type", "bridge");
  ip("-n", host, "addr", "add", "10.77.0.1/16", "dev", "br0");
  ip("-n", host, "link", "set", "dev", "br0", "up");
  clients.forEach((client, index) => {
    connect(host, `port${index}`, client, "eth0");
    ip("-n", host, "link", "set", "dev", `port${index}`, "master", "br0");
  });
}

/** A udhcpc script that takes what the lease says, option 121 in place of option 3 (RFC 3442). */
const CONFIGURE = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
set -- $staticroutes
while [ $# -ge 2 ]; do
  ip route replace "$1" via "$2"
  shift 2
done
`;

/** Takes a lease as a guest does; returns the goal state that its wire server then has for it. */
async function bootGuest(namespace: string, folder: string): Promise<string> {
  const script = join(folder, "configure.sh");
  writeFileSync(script, CONFIGURE, { mode: 0o755 });
  const once = ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "5", "-T", "1", "-s", script];
  const { code, stderr } = await finish([...once, "-O", "121"], namespace);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  const fetching =
    'fetch("http://168.63.129.16/machine?comp=goalstate", { headers: { "x-ms-version": "2012-11-30" } })' +
    ".then(async (r) => console.log(r.status, await r.text()))";
  const { stdout } = await finish([process.execPath, "-e", fetching], namespace);
  return stdout;
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("serve on a bridge (needs root)", () => {
  test("a broadcast reply reaches its client's port and no other", async () => {
    using host = makeNamespace("host");
    using client = makeNamespace("client");
    using other = makeNamespace("other");
    makeBridge(host.name, [client.name, other.name]);
    ip("-n", client.name, "link", "set", "dev", "eth0", "address", CLIENT_MAC);
    const folder = temporaryFolder("bridge");
    const inventory = join(folder, "inventory.yaml");
    const network = "{ subnet: 10.77.0.0/16, gateway: 10.77.0.1 }";
    const nics = `[{ mac: "${CLIENT_MAC}", address: 10.77.3.4 }]`;
    writeFileSync(inventory, `network: ${network}\nnics: ${nics}\n`);
    await using server = run(
      [GOALSTATE, "serve", "--interface", "br0", "--inventory", inventory, "--data", folder],
      host.name,
    );
    await server.says("ready");
    const capture = join(folder, "other.pcap");
    const tcpdump = ["tcpdump", "--immediate-mode", "-Z", "root", "-U"];
    await using sniffer = run([...tcpdump, "-i", "eth0", "-w", capture, "udp"], other.name);
    await sniffer.says("listening");
    const once = ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "5", "-T", "1"];
    // -B asks for broadcast replies.
    const { code } = await finish([...once, "-B", "-s", "/bin/true"], client.name);
    expect(code).toBe(0);
    sniffer.kill("SIGTERM");
    await sniffer.ended;
    const { frames } = await readCapture(capture);
    const ports = frames.map(({ bytes }) => (bytes[36]! << 8) | bytes[37]!);
    expect(new Set(ports)).toEqual(new Set([67]));
  });

  test("each guest takes its lease and finds its own goal state behind option 121", async () => {
    using host = makeNamespace("host");
    using client = makeNamespace("client");
    using other = makeNamespace("other");
    makeBridge(host.name, [client.name, other.name]);
    ip("-n", client.name, "link", "set", "dev", "eth0", "address", CLIENT_MAC);
    ip("-n", other.name, "link", "set", "dev", "eth0", "address", OTHER_MAC);
    const folder = temporaryFolder("bridge");
    const inventory = join(folder, "inventory.yaml");
    const network = "{ subnet: 10.77.0.0/16, gateway: 10.77.0.1 }";
    const nics =
      `[{ mac: "${CLIENT_MAC}", address: 10.77.3.4, container: web-0 }, ` +
      `{ mac: "${OTHER_MAC}", address: 10.77.3.5, container: db-0 }]`;
    writeFileSync(inventory, `network: ${network}\nnics: ${nics}\n`);
    await using server = run(
      [GOALSTATE, "serve", "--interface", "br0", "--inventory", inventory, "--data", folder],
      host.name,
    );
    await server.says("ready");
    const states = await Promise.all(
      [client, other].map(({ name }) => bootGuest(name, temporaryFolder("guest"))),
    );
    const instances = states.map((text) => /<InstanceId>[\w-]+\.(.*?)</.exec(text)?.[1]);
    expect(instances).toEqual(["web-0", "db-0"]);
    const containers = states.map((text) => /<ContainerId>(.*?)</.exec(text)?.[1]);
    expect(new Set(containers).size).toBe(2);
    expect(containers).not.toContain(undefined);
  });
});
