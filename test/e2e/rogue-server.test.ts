/** S102 on a kernel: another DHCP server on the link is heard, named in the log, and never answered. */
import { describe, expect, test } from "vitest";
import { encodeMessage } from "../../src/dhcp/index.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { openPacketRing } from "../../src/net/packet-ring.ts";
import { Poller } from "../../src/net/poller.ts";
import { frameOf, octets, requestMessage } from "../dhcp/packets.ts";
import { canMakeNamespaces } from "../net/namespaces.ts";
import { finish } from "./processes.ts";
import { makeServeNetwork, NETWORK } from "./serve-network.ts";

const MAC = "00:0c:01:02:03:04";
const INVENTORY = `${NETWORK}
nics: [{ mac: "${MAC}", address: 10.77.10.0, container: web-0 }]
`;

/** A broadcast offer of 10.0.0.66, as a server in a guest sends it. */
function rogueOffer(): Uint8Array {
  const message = requestMessage({ type: "DHCPOFFER", options: { 54: octets("10.77.0.66") } });
  return frameOf(encodeMessage({ ...message, op: 2 }), {
    sourceMac: parseMac(MAC),
    sourceIp: parseIpv4("10.77.0.66"),
    sourcePort: 67,
    destinationPort: 68,
  });
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("another server (needs root)", () => {
  test("S102 is an alarm with its addresses, and clients are served as before", async () => {
    using network = makeServeNetwork(MAC);
    await using server = await network.serve(INVENTORY);
    const poller = new Poller();
    await using guest = inNamespace(network.client, () =>
      openPacketRing({ interfaceName: "eth0", udpPort: 68, bootpOp: 2, poller }),
    );
    const frame = rogueOffer();
    guest.reserve()!.bytes.set(frame);
    guest.commit(frame.length, guest.ifindex);
    await server.says('"reason":"rogue.server"');
    const alarm = server
      .stderr()
      .split("\n")
      .find((line) => line.includes("rogue.server"));
    expect(JSON.parse(alarm!)).toMatchObject({ level: 40, msg: "alarm" });
    expect(alarm).toContain(MAC);
    expect(alarm).toContain("10.77.0.66");
    const udhcpc = ["udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", "/bin/true"];
    expect((await finish(udhcpc, network.client)).code).toBe(0);
  });
});
