/** A rack is powered on: a thousand clients at once, each of which repeats what is not answered. */
import { expect, test } from "vitest";
import { createDhcpCounters, serveDhcp } from "../../src/dhcp/index.ts";
import {
  formatIpv4,
  ipv4Plus,
  parseIpv4,
  WIRE_SERVER_ADDRESS,
} from "../../src/model/ipv4-address.ts";
import { macPlus, parseMac } from "../../src/model/mac-address.ts";
import { createMemoryFrameSocket } from "../../src/net/memory-frame-socket.ts";
import { createInventoryResolver, parseInventory } from "../../src/nm/index.ts";
import { createChain, createNmPlugin } from "../../src/wds/index.ts";
import { octets, type RequestSpec, readReply, requestFrame, SERVER_MAC } from "../dhcp/packets.ts";

const CLIENTS = 1000;
const FIRST_MAC = "00:0c:01:00:00:00";
const FIRST_ADDRESS = "10.77.20.0";
const addressOf = (index: number) => formatIpv4(ipv4Plus(parseIpv4(FIRST_ADDRESS), index));

test("S107 avalanche-1000: in memory, each client is bound at its first try", async () => {
  const inventory = parseInventory(
    {
      network: { subnet: "10.77.0.0/16", gateway: "10.77.0.1" },
      ranges: [{ mac: FIRST_MAC, address: FIRST_ADDRESS, count: CLIENTS }],
    },
    "test",
  );
  const resolver = createInventoryResolver(inventory, { isGateway: true });
  const socket = createMemoryFrameSocket({ hardwareAddress: SERVER_MAC, ifindex: 1 });
  const counters = createDhcpCounters();
  const stop = new AbortController();
  const clients = Array.from({ length: CLIENTS }, (_, index) => {
    return macPlus(parseMac(FIRST_MAC), index);
  });
  /** All frames are there before the server looks. */
  const shower = async (requests: readonly RequestSpec[]) => {
    socket.sent.length = 0;
    for (const request of requests) socket.inject(requestFrame(request));
    await new Promise((resolve) => setImmediate(resolve));
    return socket.sent.map(({ bytes }) => formatIpv4(readReply(bytes).message.yiaddr));
  };
  const wanted = clients.map((_, index) => addressOf(index));
  const server = serveDhcp({
    socket,
    decide: createChain([createNmPlugin(resolver)]).decide,
    now: () => 0,
    serverAddress: WIRE_SERVER_ADDRESS,
    counters,
    signal: stop.signal,
  });
  try {
    const offers = await shower(clients.map((mac) => ({ type: "DHCPDISCOVER", mac })));
    expect(offers).toEqual(wanted);
    const leases = await shower(
      clients.map((mac, index) => {
        const options = { 54: octets(WIRE_SERVER_ADDRESS), 50: octets(offers[index]!) };
        return { type: "DHCPREQUEST", mac, options };
      }),
    );
    expect(leases).toEqual(wanted);
  } finally {
    stop.abort();
    await server;
  }
  expect(counters).toMatchObject({
    received: 2 * CLIENTS,
    replies: { DHCPOFFER: CLIENTS, DHCPACK: CLIENTS, DHCPNAK: 0 },
  });
});
