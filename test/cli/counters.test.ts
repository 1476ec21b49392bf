/** What `goalstate dhcp counters` shows of a server that was asked this and that. */
import { describe, expect, test } from "vitest";
import {
  CountersSchema,
  readCounters,
  renderCounters,
} from "../../src/cli/dhcp/counters-document.ts";
import { IGNORED_OPTIONS } from "../../src/cli/dhcp/ignored-options.ts";
import { DROP_REASONS, REQUEST_NOTES } from "../../src/cli/dhcp/reasons.ts";
import { octets, UNKNOWN_MAC } from "../dhcp/packets.ts";
import { startLookedAtServer } from "./looked-at-server.ts";

function askThisAndThat() {
  const server = startLookedAtServer();
  server.send({ type: "DHCPDISCOVER" });
  server.send({ type: "DHCPDISCOVER", mac: UNKNOWN_MAC });
  server.send({ type: "DHCPDISCOVER", mac: UNKNOWN_MAC });
  server.send({ type: "DHCPDISCOVER", options: { 12: [] } }, { sourcePort: 1068 });
  server.send({ type: "DHCPREQUEST", options: { 50: octets("192.168.7.4") } });
  return server;
}

describe("the counters", () => {
  test("sum up: received is answered, silent and pending", () => {
    const { view } = askThisAndThat();
    const document = readCounters([view]);
    const [network] = document.networks;
    expect(network).toMatchObject({
      network: "br0",
      received: 5,
      replies: { DHCPOFFER: 2, DHCPNAK: 1 },
      silences: { "nic.unknown": 2 },
      pending: 0,
      notes: { "udp.srcport": 1 },
      ignoredOptions: { "opt.12": 1, "opt.55": 0 },
      plugins: { nm: { decided: 3, failed: 0, timedOut: 0 } },
      ring: { received: 5, transmitted: 3, droppedByKernel: 0 },
    });
    expect(CountersSchema.parse(JSON.parse(JSON.stringify(document)))).toEqual(document);
  });

  test("are shown with their words, greatest first, without zeros", () => {
    const { view } = askThisAndThat();
    view.counters.omittedByCode[15] = 7;
    expect(renderCounters(readCounters([view]))).toEqual([
      "br0: 5 requests, 3 answered, 2 met with silence, 0 pending",
      "  replies",
      "    2 DHCPOFFER",
      "    1 DHCPNAK",
      "  silences",
      `    2 nic.unknown: ${DROP_REASONS["nic.unknown"].meaning}`,
      "  notes",
      `    1 udp.srcport: ${REQUEST_NOTES["udp.srcport"]}`,
      "  options ignored",
      `    1 opt.12: ${IGNORED_OPTIONS["opt.12"]}`,
      "  options that did not fit",
      "    7 15 domainName",
      "  plugins",
      "    3 nm decided",
      "  socket",
      "    5 received",
      "    3 transmitted",
    ]);
  });
});
