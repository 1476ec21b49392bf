import { closeSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import type { VnetGoal } from "../../../src/model/documents.ts";
import { WIRE_SERVER_ADDRESS } from "../../../src/model/ipv4-address.ts";
import { DROP_ALL } from "../../../src/net/bpf.ts";
import { inNamespace } from "../../../src/net/namespace.ts";
import { Poller } from "../../../src/net/poller.ts";
import { openDatagramSocketFd } from "../../../src/net/sockets.ts";
import { attachVipLink } from "../../../src/net/vips.ts";
import { createLinuxNetwork } from "../../../src/nm/index.ts";
import { makeTestFabric } from "../../net/fabric-network.ts";
import { canMakeNamespaces, ip } from "../../net/namespaces.ts";

function goalOf(vnet: string): VnetGoal {
  return { vnet, tenant: "t", addressSpace: "10.20.0.0/24", gateway: "10.20.0.1", vni: 77 };
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("Linux network (needs root)", () => {
  test("a VNET's numbers are free with its end, even if a socket in its namespace is still open", async () => {
    using fabric = await makeTestFabric(1);
    const node = fabric.nodes[0]!;
    using network = createLinuxNetwork({
      ...{ namespacePrefix: `${node.namespace}-`, canFilter: true, underlay: node },
      poller: new Poller(),
    });
    const make = async (vnet: string) => {
      const goal = goalOf(vnet);
      await network.ensureVnet(goal);
      await network.overlay?.setPeers(goal, [], []);
      const { vni } = goal;
      const vnetNamespace = network.namespaceOf(vnet);
      await attachVipLink({ nodeNamespace: node.namespace, vnetNamespace, vni });
      return vnetNamespace;
    };
    const first = await make("a.net");
    const socket = inNamespace(first, () => openDatagramSocketFd(WIRE_SERVER_ADDRESS, 9, DROP_ALL));
    onTestFinished(() => closeSync(socket));
    await network.removeVnet("a.net");
    const second = await make("b.net");
    for (const link of ["vxlan0", "vip0"]) expect(ip("-n", second, "link")).toContain(link);
    await network.removeVnet("b.net");
    await network.removeVnet("b.net"); // harmless
    expect(await network.listVnets()).toEqual([]);
  });
});
