/** The chain of a running `serve`: a third party's plugin, a reload, and what is refused at the start. */
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { canMakeNamespaces, ip } from "../net/namespaces.ts";
import { finish } from "./processes.ts";
import {
  environmentScript,
  makeServeNetwork,
  parseEnvironment,
  type ServeNetwork,
} from "./serve-network.ts";

const EXAMPLE = join(import.meta.dirname, "../../examples/wds-plugin");
const EXAMPLE_INVENTORY = readFileSync(join(EXAMPLE, "inventory.yaml"), "utf8");
const FREE = "00:0c:01:02:03:04";
const HELD = "00:0c:01:02:03:05";
const TEST_TIMEOUT_MS = 60_000;

/** Asks for a lease as `mac`; undefined if nobody answers. */
async function leaseOf(network: ServeNetwork, mac: string) {
  ip("-n", network.client, "link", "set", "dev", "eth0", "address", mac);
  const { script, output } = environmentScript(network.folder, "lease", '[ "$1" = bound ]');
  const once = ["-n", "-q", "-f", "-t", "2", "-T", "1"];
  const command = ["udhcpc", "-i", "eth0", ...once, "-O", "224", "-s", script];
  const { code } = await finish(command, network.client);
  return code === 0 ? parseEnvironment(readFileSync(output, "utf8")) : undefined;
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("serve's chain (needs root)", () => {
  test(
    "examples/wds-plugin decides, and SIGHUP takes a new list without a restart",
    async () => {
      using network = makeServeNetwork(FREE);
      copyFileSync(join(EXAMPLE, "maintenance.mjs"), join(network.folder, "maintenance.mjs"));
      await using server = await network.serve(EXAMPLE_INVENTORY);
      const site = Buffer.from("lab-1").toString("hex");
      expect(await leaseOf(network, FREE)).toMatchObject({ ip: "10.77.10.0", opt224: site });
      expect(await leaseOf(network, HELD)).toBeUndefined();
      await server.says('"reason":"maintenance.hold"');

      const path = join(network.folder, "inventory.yaml");
      writeFileSync(path, EXAMPLE_INVENTORY.replace("rate-limit", "rate-limits"));
      server.kill("SIGHUP");
      await server.says("inventory not reloaded, the old one is served");
      expect(server.stderr()).toContain("chain[1] (rate-limits): there is no such plugin");
      expect(await leaseOf(network, HELD)).toBeUndefined();

      writeFileSync(path, EXAMPLE_INVENTORY.replace(`hold: ["${HELD}"]`, `hold: ["${FREE}"]`));
      server.kill("SIGHUP");
      await server.says("inventory reloaded");
      expect(await leaseOf(network, FREE)).toBeUndefined();
      expect(await leaseOf(network, HELD)).toMatchObject({ ip: "10.77.10.1", opt224: site });
    },
    TEST_TIMEOUT_MS,
  );
});
