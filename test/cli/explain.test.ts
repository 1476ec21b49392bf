/** What is said about a client, from a journal that a real server filled. */
import { describe, expect, test } from "vitest";
import { ExplanationSchema, explainClient, renderExplanation } from "../../src/cli/dhcp/explain.ts";
import type { DhcpNetworkView } from "../../src/cli/dhcp/network-view.ts";
import { DROP_REASONS, NAK_REASONS } from "../../src/cli/dhcp/reasons.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { formatMac, type MacAddress, parseMac } from "../../src/model/mac-address.ts";
import {
  CLIENT_MAC,
  OTHER_IP,
  OTHER_MAC,
  octets,
  RELAY_MAC,
  UNKNOWN_MAC,
} from "../dhcp/packets.ts";
import { startLookedAtServer } from "./looked-at-server.ts";

const NOBODY = parseMac("00:0c:01:00:00:01");
const RELAY_IP = parseIpv4("10.0.0.9");
const ASSIGNED = "    nm  assigned: a binding has this MAC on this network";

async function explain(view: DhcpNetworkView, mac: MacAddress = CLIENT_MAC): Promise<string[]> {
  return renderExplanation(await explainClient([view], mac));
}

describe("what is said about a client", () => {
  test("is each request with its outcome and reason, repeats as one, the latest last", async () => {
    const { send, view } = startLookedAtServer();
    send({ type: "DHCPDISCOVER" });
    send({ type: "DHCPDISCOVER", xid: 0x42 });
    send({ type: "DHCPREQUEST", options: { 50: octets("192.168.7.4") } });
    send({ type: "DHCPREQUEST" });
    expect(await explain(view)).toEqual([
      "00:0d:3a:01:02:03 (c-1), the latest last:",
      "2026-01-01T00:00:01.000Z  br0, port tap7  DHCPDISCOVER (INIT) xid 00000042  (2 times since 2026-01-01T00:00:00.000Z)",
      ASSIGNED,
      "  -> DHCPOFFER 10.0.0.5",
      "2026-01-01T00:00:02.000Z  br0, port tap7  DHCPREQUEST (INIT-REBOOT) for 192.168.7.4 xid 12345678",
      ASSIGNED,
      "  -> DHCPNAK (wrong-network)",
      `     ${NAK_REASONS["wrong-network"].meaning}`,
      `     To do: ${NAK_REASONS["wrong-network"].advice}`,
      "2026-01-01T00:00:03.000Z  br0, port tap7  DHCPREQUEST xid 12345678",
      "  -> silence: req.empty",
      `     ${DROP_REASONS["req.empty"].meaning}`,
      `     To do: ${DROP_REASONS["req.empty"].advice}`,
    ]);
  });

  test("explains a reason that repeats only where it is met last", async () => {
    const { send, view } = startLookedAtServer();
    send({ type: "DHCPDISCOVER", mac: UNKNOWN_MAC });
    send({ type: "DHCPREQUEST", mac: UNKNOWN_MAC, options: { 50: octets("10.0.0.9") } });
    const text = await explain(view, UNKNOWN_MAC);
    const { meaning } = DROP_REASONS["nic.unknown"];
    expect(text.filter((line) => line === "  -> silence: nic.unknown")).toHaveLength(2);
    expect(text.filter((line) => line.endsWith(meaning))).toHaveLength(1);
    expect(text.at(-2)).toBe(`     ${meaning}`);
  });

  test("names the relay agent, and an interface that is gone by its number", async () => {
    const { send, view } = startLookedAtServer();
    send({ type: "DHCPDISCOVER", giaddr: RELAY_IP }, { sourceMac: RELAY_MAC });
    const gone = { ...view, listInterfaces: async () => new Map() };
    const [, request, outcome] = await explain(gone);
    expect(request).toMatch(/ br0, port interface 7 {2}DHCPDISCOVER xid .* relayed by 10.0.0.9$/);
    expect(outcome).toBe("  -> silence: relay.untrusted");
  });

  test("is who else was seen, the latest first, if nothing was seen from it", async () => {
    const { send, view } = startLookedAtServer();
    send({ type: "DHCPDISCOVER" });
    send({ type: "DHCPDISCOVER", mac: UNKNOWN_MAC });
    send({ type: "DHCPREQUEST", mac: OTHER_MAC, options: { 50: octets(OTHER_IP) } });
    const [title, ...rest] = await explain(view, NOBODY);
    expect(title).toMatch(/^Nothing was seen from 00:0c:01:00:00:01 on br0[.]/);
    expect(rest.slice(0, -1).map((line) => line.trim().split(/ {2}/)[1])).toEqual([
      formatMac(OTHER_MAC),
      formatMac(UNKNOWN_MAC),
      formatMac(CLIENT_MAC),
    ]);
  });

  test("is a capture to make, if nothing was seen at all", async () => {
    const text = await explain(startLookedAtServer().view, NOBODY);
    expect(text.join()).toContain("tcpdump -eni br0 udp port 67");
  });

  test("comes from all networks", async () => {
    const [one, other] = [startLookedAtServer(), { ...startLookedAtServer().view, name: "br1" }];
    one.send({ type: "DHCPDISCOVER" });
    const explanation = await explainClient([other, one.view], CLIENT_MAC);
    expect(explanation.networks).toEqual(["br1", "br0"]);
    expect(explanation.decisions).toMatchObject([{ network: "br0" }]);
    expect(ExplanationSchema.parse(JSON.parse(JSON.stringify(explanation)))).toEqual(explanation);
  });
});
