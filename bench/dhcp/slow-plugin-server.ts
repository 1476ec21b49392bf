/**
 * A server whose chain holds a plugin that takes 50 ms over 5 % of the clients; "none" leaves the plugin out. The rest
 * is what `goalstate serve` has.
 */
import { setTimeout as wait } from "node:timers/promises";
import { BOOTREQUEST, SERVER_PORT, serveDhcp } from "../../src/dhcp/index.ts";
import { WIRE_SERVER_ADDRESS } from "../../src/model/ipv4-address.ts";
import { openPacketRing } from "../../src/net/packet-ring.ts";
import { Poller } from "../../src/net/poller.ts";
import { createInventoryResolver, parseInventory } from "../../src/nm/index.ts";
import {
  createChain,
  createHardwarePlugin,
  createNmPlugin,
  NEXT,
  type Plugin,
} from "../../src/wds/index.ts";

export const SLOW_EVERY = 20;
const SLOW_MS = 50;

const [interfaceName = "", kind = ""] = process.argv.slice(2);
const inventory = parseInventory(
  {
    network: { subnet: "10.64.0.0/12", gateway: "10.64.0.1", dns: ["10.64.0.1"] },
    ranges: [{ mac: "00:0c:01:00:00:00", address: "10.64.1.0", count: 50_000 }],
  },
  "bench",
);
const resolver = createInventoryResolver(inventory, { isGateway: true });
const isSlow = (mac: number) => (mac & 0xff_ffff) % SLOW_EVERY === 0;
const slow: Plugin = {
  name: "slow",
  isAsynchronous: true,
  knows: isSlow,
  resolve: () => wait(SLOW_MS).then(() => NEXT),
};
const plugins = [createHardwarePlugin(resolver), createNmPlugin(resolver)];
const socket = openPacketRing({
  interfaceName,
  udpPort: SERVER_PORT,
  bootpOp: BOOTREQUEST,
  poller: new Poller(),
});
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
const serving = serveDhcp({
  socket,
  decide: createChain(kind === "none" ? plugins : [slow, ...plugins]).decide,
  now: () => performance.now(),
  serverAddress: WIRE_SERVER_ADDRESS,
  relays: [inventory.network.subnet],
  signal: stop.signal,
});
console.log("ready");
await serving;
await socket[Symbol.asyncDispose]();
