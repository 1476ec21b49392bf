import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readCapture } from "../../src/net/capture-file.ts";
import { canMakeNamespaces, connect, ip, makeNamespace } from "../net/namespaces.ts";

const GOALSTATE = join(import.meta.dirname, "../../bin/goalstate");
const CLIENT_MAC = "02:00:00:00:00:0a";

/** Runs a program in a namespace until disposed; resolves when its output has `text`. */
async function start(namespace: string, command: readonly string[], text: string) {
  const child = spawn("ip", ["netns", "exec", namespace, ...command], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const hear = (part: Buffer) => {
    output += part;
    if (output.includes(text)) resolve();
  };
  child.stdout.on("data", hear);
  child.stderr.on("data", hear);
  child.once("exit", () => reject(new Error(`${command[0]} ended: ${output}`)));
  await promise;
  return {
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      await once(child, "exit");
    },
  };
}

/** A bridge with two client namespaces behind ports of it. */
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
    const folder = mkdtempSync(join(tmpdir(), "goalstate-bridge-"));
    const inventory = join(folder, "inventory.yaml");
    writeFileSync(
      inventory,
      `network: { subnet: 10.77.0.0/16, gateway: 10.77.0.1 }\nnics: [{ mac: "${CLIENT_MAC}", address: 10.77.3.4 }]\n`,
    );
    const capture = join(folder, "other.pcap");
    try {
      const serve = [GOALSTATE, "serve", "--interface", "br0", "--inventory", inventory];
      await using _server = await start(host.name, [...serve, "--data", folder], "ready");
      await using sniffer = await start(
        other.name,
        ["tcpdump", "--immediate-mode", "-Z", "root", "-i", "eth0", "-U", "-w", capture, "udp"],
        "listening",
      );
      // -B asks for broadcast replies.
      execFileSync("ip", [
        ...["netns", "exec", client.name, "udhcpc", "-i", "eth0", "-B", "-f", "-q", "-n"],
        ...["-t", "5", "-T", "1", "-s", "/bin/true"],
      ]);
      await sniffer[Symbol.asyncDispose]();
      const { frames } = await readCapture(capture);
      const ports = frames.map(({ bytes }) => (bytes[36]! << 8) | bytes[37]!);
      expect(new Set(ports)).toEqual(new Set([67]));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
