/** The examples on three nodes: names, public addresses, and what becomes of a public address when an instance dies. */
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { processesOf } from "../../compute/adoption.ts";
import { canMakeNamespaces, ip, makeNamespace } from "../../net/namespaces.ts";
import { finish } from "../processes.ts";
import { EXAMPLES, openScene, prefixOf } from "./fabric.ts";

const TEST_TIMEOUT_MS = 240_000;
const SITE = "http://198.18.0.1:80/";

/** Somebody on the network between the nodes, who knows where public addresses are. */
function openClient(underlay: string): string {
  const client = makeNamespace("client");
  onTestFinished(() => client[Symbol.dispose]());
  const { name } = client;
  ip(
    ...["-n", underlay, "link", "add", "name", "client", "type", "veth"],
    ...["peer", "name", "eth0", "netns", name],
  );
  ip("-n", underlay, "link", "set", "dev", "client", "master", "br0", "up");
  ip("-n", name, "addr", "add", "100.127.0.200/24", "dev", "eth0");
  ip("-n", name, "link", "set", "dev", "eth0", "up");
  ip("-n", name, "route", "add", "198.18.0.0/24", "dev", "eth0");
  return name;
}

/** What each of `times` clients, one after another, is told; empty: nothing. */
async function get(client: string, times: number): Promise<string[]> {
  const script = `for i in $(seq ${times}); do curl --silent --max-time 3 ${SITE} || echo; done`;
  const { stdout } = await finish(["sh", "-c", script], client);
  return stdout.trimEnd().split("\n");
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("examples (need root)", () => {
  test(
    "two-tier is reached at its public address, finds its api by name, and leaves out who died; classic comes up beside it",
    async () => {
      await using scene = openScene("examples");
      const up = scene.start("up", "--nodes", "3", "--hypervisor", "netns");
      await up.says("\nready\n");
      const tenant = join(EXAMPLES, "two-tier/tenant.yaml");
      const classic = join(EXAMPLES, "classic/ServiceConfiguration.cscfg");
      await scene.tell("deploy", tenant);
      await scene.tell("deploy", classic);
      const seconds = 90;
      await scene.until("all are Ready and open", seconds, (rows) => {
        return rows.length === 6 && rows.every(({ milestone }) => milestone === "endpoint-open");
      });
      const tenants = JSON.parse(await scene.tell("tenants", "--json"));
      expect(tenants).toMatchObject([
        { tenant: "classic", ready: 3, endpoints: ["frontend.site tcp 198.18.0.2:80"] },
        { tenant: "two-tier", ready: 3, endpoints: ["web.site tcp 198.18.0.1:80"] },
      ]);

      const prefix = prefixOf(scene.data);
      const client = openClient(`${prefix}underlay`);
      await scene.until("both instances are asked", seconds, async () => {
        const said = await get(client, 8);
        return ["web_0", "web_1"].every((who) => {
          return said.some((line) => line.startsWith(`${who}: the api says: `));
        });
      });

      await scene.tell("stop", "two-tier.web_0", "--wait", "--timeout", "45");
      await scene.until("only the other one is asked", seconds, async () => {
        const said = await get(client, 6);
        return said.every((line) => line.startsWith("web_1: the api says: "));
      });
      const { node, container } = await scene.row("two-tier.web_1");
      const [guest] = processesOf({ name: `${prefix}${node}-${container}` });
      await scene.tell("start", "two-tier.web_0", "--wait", "--timeout", "45");
      process.kill(guest!.pid, "SIGKILL");
      await scene.until("the one that died is back, too", seconds, async () => {
        const said = await get(client, 8);
        return ["web_0", "web_1"].every((who) => said.some((line) => line.startsWith(who)));
      });
    },
    TEST_TIMEOUT_MS,
  );
});
