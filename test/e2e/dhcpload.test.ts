import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { canMakeNamespaces, ip } from "../net/namespaces.ts";
import { finish } from "./processes.ts";
import { INTERFACE, makeServeNetwork, NETWORK, type ServeNetwork } from "./serve-network.ts";

const DHCPLOAD = join(import.meta.dirname, "../../tools/dhcpload");
const RANGE = '{ mac: "00:0c:01:00:00:00", address: 10.77.20.0, count: 1000 }';
const INVENTORY = `${NETWORK}\nranges: [${RANGE}]\n`;

interface Outcome {
  readonly exchanges: number;
  readonly offers: number;
  readonly flooded: number;
}

/** A short run, so that CI stays fast; how fast the server is does not matter here. */
async function load(network: ServeNetwork, ...args: string[]) {
  const short = ["--warm-up", "0", "--seconds", "20", "--exchanges", "3000", "--clients", "1000"];
  const command = [DHCPLOAD, "--interface", "eth0", "--address", "10.77.20.0", ...short, ...args];
  const { code, stdout, stderr } = await finish(command, network.client);
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as Outcome & Record<string, unknown>;
}

const CLEAN = { lost: 0, naks: 0, wrong: 0, notSent: 0, faults: [] };

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("dhcpload (needs root)", () => {
  test("every NIC of a bindings file gets its own address; what is wrong in the file is one line", async () => {
    using network = makeServeNetwork("00:0c:02:00:00:01");
    const lines = Array.from({ length: 1000 }, (_, index) => {
      const mac = index
        .toString(16)
        .padStart(4, "0")
        .replace(/(..)(..)/, "$1:$2");
      return `00:0c:01:00:${mac},10.77.${20 + (index >> 8)}.${index & 255},web-${index},host-${index}`;
    });
    const path = join(network.folder, "fleet.csv");
    writeFileSync(path, lines.join("\n"));
    const inventory = `${NETWORK}\nbindings: fleet.csv\n`;
    {
      await using _server = await network.serve(inventory);
      expect(await load(network)).toMatchObject(CLEAN);
    }
    writeFileSync(path, [...lines, lines[7]].join("\n"));
    const { code, stderr } = await finish(network.command(inventory), network.host);
    const problem = "mac: is that of line 8 already; each mac may be used once";
    expect([code, stderr]).toEqual([2, expect.stringContaining(`${path}:1001: ${problem}`)]);
  });

  test("every client gets its own address: direct, relayed, renewing, and beside a flood", async () => {
    using network = makeServeNetwork("00:0c:02:00:00:01");
    const { host, client } = network;
    ip("-n", client, "addr", "add", "10.77.0.2/16", "dev", "eth0");
    const [link] = JSON.parse(ip("-j", "-n", host, "link", "show", INTERFACE)) as [
      { address: string },
    ];
    await using server = await network.serve(INVENTORY);
    const direct = await load(network);
    expect(direct).toMatchObject(CLEAN);
    expect(direct.exchanges).toBeGreaterThanOrEqual(3000);
    expect(direct.offers).toBeGreaterThanOrEqual(direct.exchanges);
    const station = ["--server-mac", link.address, "--server-address", "168.63.129.16"];
    const relayed = ["--mode", "relayed", "--giaddr", "10.77.0.2", ...station];
    expect(await load(network, ...relayed)).toMatchObject(CLEAN);
    expect(await load(network, "--mode", "renewal", ...station)).toMatchObject(CLEAN);
    const flood = await load(network, "--flood", "junk", "--flood-rate", "5000", "--rate", "3000");
    expect(flood).toMatchObject(CLEAN);
    expect(flood.flooded).toBeGreaterThan(0);
    server.kill("SIGTERM");
    expect(await server.ended).toBe(0);
    for (const reason of ["udp.csum", "bootp.hops", "opt.trunc", "port.spoof", "bootp.hlen"]) {
      expect(server.stderr()).toContain(`"${reason}"`);
    }
  });
});
