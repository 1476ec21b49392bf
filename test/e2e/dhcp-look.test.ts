/** The commands that look inside a running DHCP server, with a real one and real clients. */
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { askControl } from "../../src/cli/control/control-client.ts";
import { DROP_REASONS } from "../../src/cli/dhcp/reasons.ts";
import { canMakeNamespaces, ip } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { finish, GOALSTATE, run } from "./processes.ts";
import { INTERFACE, makeServeNetwork, NETWORK, type ServeNetwork } from "./serve-network.ts";

const MAC = "00:0c:01:02:03:04";
const STRANGER = "00:0c:01:99:99:99";
const NICS = `nics: [{ mac: "${MAC}", address: 10.77.10.1, container: web-0, hostname: web-0 }]`;
const INVENTORY = `${NETWORK}\n${NICS}\n`;
const METRICS = "127.0.0.1:9547";
const TEST_TIMEOUT_MS = 60_000;

/** One attempt of udhcpc; its script does nothing. */
function udhcpc(network: ServeNetwork, mac: string) {
  ip("-n", network.client, "link", "set", "dev", "eth0", "address", mac);
  const once = ["-i", "eth0", "-f", "-q", "-n", "-t", "1", "-T", "1", "-s", "/bin/true"];
  return finish(["udhcpc", ...once], network.client);
}

/** A command of the DHCP group on the network's server. */
function look(network: ServeNetwork, ...args: readonly string[]) {
  return finish([GOALSTATE, "dhcp", ...args, "--data", join(network.folder, "data")], network.host);
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("looking inside (needs root)", () => {
  test(
    "after a kill -9 and a new start, explain, counters and metrics tell each answer and silence",
    async () => {
      using network = makeServeNetwork(MAC);
      const killed = await network.serve(INVENTORY);
      killed.kill("SIGKILL");
      await killed.ended;
      const nobody = await look(network, "explain", MAC);
      expect([nobody.code, nobody.stdout]).toEqual([1, ""]);
      expect(nobody.stderr).toMatch(/^goalstate: No fabric runs on .*; start one with .*\n$/);
      ip("-n", network.host, "link", "set", "dev", "lo", "up");
      const command = [...network.command(INVENTORY), "--metrics", METRICS];
      await using server = run(command, network.host);
      await server.says("ready\n");
      expect(statSync(join(network.folder, "data", "control.sock")).mode & 0o777).toBe(0o600);
      await udhcpc(network, MAC);
      await udhcpc(network, STRANGER);

      const fetchMetrics = `fetch("http://${METRICS}/metrics").then(async (r) => console.log(await r.text()))`;
      const all = await Promise.all([
        look(network, "explain", MAC.toUpperCase()),
        look(network, "explain", STRANGER, "--json"),
        look(network, "explain", "00:11:22:33:44:55"),
        look(network, "counters", "--json"),
        finish([process.execPath, "-e", fetchMetrics], network.host),
      ]);
      expect(all.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0]);
      const [known, stranger, other, counters, metrics] = all;
      const asked = String.raw`^\S+Z  ${INTERFACE}  `;
      const steps = String.raw`\n    hardware  next: .*\n    nm        assigned: .*\n`;
      expect(known.stdout).toMatch(
        new RegExp(`${asked}DHCPDISCOVER \\(INIT\\) xid .*${steps}  -> DHCPOFFER 10.77.10.1$`, "m"),
      );
      expect(known.stdout).toMatch(
        new RegExp(
          `${asked}DHCPREQUEST \\(SELECTING\\) for 10.77.10.1 .*${steps}  -> DHCPACK 10.77.10.1$`,
          "m",
        ),
      );
      const [title] = known.stdout.split("\n");
      expect(title).toBe(`${MAC} (web-0), the latest last:`);

      const { meaning, advice } = DROP_REASONS["nic.unknown"];
      expect(JSON.parse(stranger.stdout)).toMatchObject({
        mac: STRANGER,
        decisions: [
          {
            message: "DHCPDISCOVER",
            state: "INIT",
            port: INTERFACE,
            steps: [{ plugin: "hardware" }, { plugin: "nm" }],
            outcome: { kind: "silence", reason: "nic.unknown", meaning, advice },
          },
        ],
      });

      expect(other.stdout).toMatch(new RegExp(`^  .*  ${STRANGER}  .* silence: nic.unknown$`, "m"));
      expect(other.stdout).toMatch(new RegExp(`^  .*  ${MAC}  .* DHCPACK 10.77.10.1$`, "m"));
      expect(JSON.parse(counters.stdout)).toMatchObject({
        networks: [
          {
            network: INTERFACE,
            received: 3,
            replies: { DHCPOFFER: 1, DHCPACK: 1, DHCPNAK: 0 },
            silences: { "nic.unknown": 1 },
            ring: { received: 3, transmitted: 2, droppedByKernel: 0, transmitFailed: 0 },
          },
        ],
      });
      const offers = `goalstate_dhcp_replies_total{network="${INTERFACE}",type="DHCPOFFER"} 1\n`;
      expect(metrics.stdout).toContain(offers);
      expect(await askControl(join(network.folder, "data"), "/metrics")).toContain(offers);
    },
    TEST_TIMEOUT_MS,
  );
});

describe("dhcp replay", () => {
  const FIXTURES = join(import.meta.dirname, "../fixtures/pcap");
  const isRoot = process.getuid?.() === 0;

  /** As nobody if the test runs as root, else as who runs it. */
  function replay(folder: string, ...args: readonly string[]) {
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const inventory = join(folder, "inventory.yaml");
    writeFileSync(inventory, INVENTORY);
    chmodSync(folder, 0o777);
    const command = [GOALSTATE, "dhcp", "replay", "--inventory", inventory, ...args];
    return finish(isRoot ? [...nobody, ...command] : command);
  }

  test(
    "needs no privilege: nobody gets the replies, twice the same, in text and as JSON",
    async () => {
      const folder = temporaryFolder("replay");
      const capture = join(FIXTURES, "udhcpc-renew-release.pcap");
      const golden = readFileSync(join(FIXTURES, "udhcpc-renew-release.replies.pcap"));
      const output = join(folder, "out.pcap");
      const first = await replay(folder, capture, "-o", output, "--on-gateway");
      expect([first.code, first.stderr]).toEqual([0, ""]);
      expect(first.stdout).toMatch(/^#2 .* DHCPREQUEST \(SELECTING\) .* -> DHCPACK 10.77.10.1$/m);
      expect(readFileSync(output).equals(golden)).toBe(true);
      const again = await replay(folder, capture, "-o", output, "--on-gateway", "--json");
      expect(readFileSync(output).equals(golden)).toBe(true);
      expect(JSON.parse(again.stdout)).toMatchObject({
        requests: [{ frame: 1 }, { frame: 2 }, { frame: 3 }, { frame: 4 }],
        summary: { requests: 4, answered: 3, silences: { "client.release": 1 } },
      });
    },
    TEST_TIMEOUT_MS,
  );
});
