import { describe, expect, test } from "vitest";
import { parseIpv4 } from "../../../src/model/ipv4-address.ts";
import { ip } from "../../net/namespaces.ts";
import { finish } from "../processes.ts";
import { NETWORK } from "../serve-network.ts";
import { canRunClients, makeClientNetwork } from "./client-network.ts";

const FIRST = parseIpv4("10.77.20.0");
const FLEET = `${NETWORK}\nranges: [{ mac: "00:0c:01:00:00:00", address: 10.77.20.0, count: 10000 }]\n`;
const RELAY_MAC = "00:0c:02:00:00:01";
const FLEET_OF_1000 = ["-4", "-l", "eth0", "-b", "mac=00:0c:01:00:00:00", "-R", "1000", "-u"];

describe.skipIf(!canRunClients)("perfdhcp (needs root, kea-admin and tshark)", () => {
  test("S107 avalanche-1000: of 1000 clients that start at once, each has its address, and no request stays without an answer", async () => {
    await using net = await makeClientNetwork(RELAY_MAC);
    ip("-n", net.network.client, "addr", "add", "10.77.0.2/16", "dev", "eth0");
    const server = await net.serve(FLEET);
    // "-x l" lists each client identifier (01, then its MAC) with the address offered, and then acknowledged.
    const command = ["perfdhcp", ...FLEET_OF_1000, "--scenario", "avalanche", "-x", "l"];
    const { code, stdout } = await finish(command, net.network.client);
    expect(code).toBe(0);
    const leases = [...stdout.matchAll(/^01000c01(\w{6}),(10\.77\.\d+\.\d+),/gm)];
    expect(new Set(leases.map(([, client]) => client)).size).toBe(1000);
    const wrong = leases.filter(
      ([, client, address]) => parseIpv4(address!) !== FIRST + Number.parseInt(client!, 16),
    );
    expect(wrong).toEqual([]);

    server.kill("SIGTERM");
    expect(await server.ended).toBe(0);
    // What perfdhcp sends again is what its own socket had no room for.
    const sent = /^Requests sent \+ resent: (\d+)$/m.exec(stdout)?.[1];
    const frames = `"ring":{"received":${sent},"transmitted":${sent},"droppedByKernel":0,"transmitFailed":0}`;
    expect(server.stderr()).toContain(frames);
    await net.check();
  });
});
