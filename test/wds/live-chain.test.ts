import { describe, expect, test } from "vitest";
import type { Assignment, ChainVerdict } from "../../src/dhcp/index.ts";
import { LiveChain, NEXT, type Plugin } from "../../src/wds/index.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  OTHER_IP,
  OTHER_MAC,
  profileWith,
  readReply,
} from "../dhcp/packets.ts";
import { startServer } from "../dhcp/test-server.ts";

const PROFILE = profileWith();
const ASSIGNMENT: Assignment = { address: CLIENT_IP, profile: PROFILE };
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("LiveChain", () => {
  test("a request that waits ends on the chain that it began on", async () => {
    const { promise, resolve } = Promise.withResolvers<ChainVerdict>();
    const slow: Plugin = { name: "slow", isAsynchronous: true, resolve: () => promise };
    const log: string[] = [];
    const policy = (name: string): Plugin => ({
      name,
      policy: () => {
        log.push(name);
        return NEXT;
      },
    });
    const chain = new LiveChain([slow, policy("old")]);
    const { send, socket } = startServer({ decide: chain.decide });
    send({ type: "DHCPDISCOVER" });
    const fast: Plugin = {
      name: "fast",
      resolve: () => ({ kind: "assigned", assignment: { ...ASSIGNMENT, address: OTHER_IP } }),
    };
    chain.replace([fast, policy("new")]);
    expect(send({ type: "DHCPDISCOVER", mac: OTHER_MAC })[0]?.message.yiaddr).toBe(OTHER_IP);
    socket.sent.length = 0;
    resolve({ kind: "assigned", assignment: ASSIGNMENT });
    await settled();
    expect(socket.sent.map(({ bytes }) => readReply(bytes).message)).toMatchObject([
      { chaddr: CLIENT_MAC, yiaddr: CLIENT_IP },
    ]);
    expect(log).toEqual(["new", "old"]);
  });

  test("counters go on under the plugin's name, and those of plugins that went stay", () => {
    const dropper = (name: string): Plugin => ({
      name,
      resolve: () => ({ kind: "drop", reason: "x" }),
    });
    const chain = new LiveChain([dropper("a")]);
    const { send } = startServer({ decide: chain.decide });
    send({ type: "DHCPDISCOVER" });
    chain.replace([dropper("b")]);
    send({ type: "DHCPDISCOVER" });
    chain.replace([dropper("a")]);
    send({ type: "DHCPDISCOVER" });
    const decided = [...chain.counters].map(([name, counter]) => [name, counter.decided]);
    expect(decided).toEqual([
      ["a", 2],
      ["b", 1],
    ]);
  });

  test("plugins that cannot be replaced leave the old ones", () => {
    const plugin: Plugin = { name: "a", resolve: () => NEXT };
    const chain = new LiveChain([plugin]);
    expect(() => chain.replace([plugin, plugin])).toThrow('two plugins of one chain are named "a"');
    const { counters, send } = startServer({ decide: chain.decide });
    send({ type: "DHCPDISCOVER" });
    expect(counters.drops.get("nic.unknown")).toBe(1);
  });
});
