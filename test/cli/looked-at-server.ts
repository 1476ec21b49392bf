/** A server on a memory socket with everything that the commands look at. */
import type { DhcpNetworkView } from "../../src/cli/dhcp/network-view.ts";
import { createChain, createNmPlugin, Journal } from "../../src/wds/index.ts";
import { CLIENT_IP, CLIENT_MAC, OTHER_IP, OTHER_MAC, profileWith } from "../dhcp/packets.ts";
import { PORT, startServer } from "../dhcp/test-server.ts";

const START_MS = Date.UTC(2026, 0, 1);

/** Knows two clients; each message comes a second after the one before. */
export function startLookedAtServer() {
  let nowMs = START_MS;
  const journal = new Journal({ now: () => nowMs, seed: 1 });
  const observe = (event: Parameters<Journal["observe"]>[0]) => {
    journal.observe(event);
    nowMs += 1_000;
  };
  const profile = profileWith();
  const addresses = new Map([
    [CLIENT_MAC, CLIENT_IP],
    [OTHER_MAC, OTHER_IP],
  ]);
  const nm = createNmPlugin({
    findByMac: (mac) => {
      const address = addresses.get(mac);
      return address === undefined ? undefined : { address, profile, container: "c-1" };
    },
  });
  const { decide, counters } = createChain([nm]);
  const server = startServer({ decide, onExchange: observe, onDrop: observe });
  const view: DhcpNetworkView = {
    name: "br0",
    counters: server.counters,
    plugins: counters,
    decisions: journal,
    readSocketCounters: () => server.socket.counters,
    listInterfaces: async () => new Map([[PORT, "tap7"]]),
  };
  return { ...server, view };
}
