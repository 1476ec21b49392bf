import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readCapture } from "../../src/net/capture-file.ts";
import { canMakeNamespaces, connect, ip, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { finish, GOALSTATE, run } from "./processes.ts";

const CLIENT_MAC = "02:00:00:00:00:0a";

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
});
