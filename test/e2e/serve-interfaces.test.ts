/** `serve` on several interfaces: they come, go, are renamed and moved, and one process with one poll serves all. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { formatIpv4, ipv4Plus, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { formatMac, macPlus, parseMac } from "../../src/model/mac-address.ts";
import { requestFrame } from "../dhcp/packets.ts";
import { GuestTap } from "../net/guest-tap.ts";
import { canMakeNamespaces, disableIpv6, ip, ipBatch, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { GOALSTATE, type Running, run } from "./processes.ts";

const MAC = parseMac("02:00:00:00:00:00");
const FIRST = parseIpv4("10.77.20.0");
const RANGE = `ranges: [{ mac: "${formatMac(MAC)}", address: ${formatIpv4(FIRST)}, count: 1000 }]`;
const NETWORK = "network: { subnet: 10.77.0.0/16, gateway: 10.77.0.1 }";
const PLATFORM = ["168.63.129.16/32", "169.254.169.254/32"];
const TEST_TIMEOUT_MS = 60_000;
const IP_UDP_BYTES = 28;
const DISCOVER = { type: "DHCPDISCOVER" } as const;

const macOf = (index: number) => macPlus(MAC, index);
const addressOf = (index: number) => ipv4Plus(FIRST, index);

/** A namespace where `serve` runs, and taps in it; all go when the test ends. */
function makeHost() {
  const stack = new DisposableStack();
  const host = stack.use(makeNamespace("host")).name;
  disableIpv6(host);
  const folder = temporaryFolder("interfaces");
  const link = (...args: string[]) => ip("-n", host, "link", ...args);
  return {
    host,
    link,
    command: (interfaces: readonly string[], inventory = `${NETWORK}\n${RANGE}\n`) => {
      const path = join(folder, "inventory.yaml");
      writeFileSync(path, inventory);
      const options = interfaces.flatMap((name) => ["--interface", name]);
      const data = ["--data", join(folder, "data")];
      return [GOALSTATE, "serve", ...options, "--inventory", path, ...data];
    },
    /** A guest's tap that is up; the guest has the MAC of `index`. */
    tap: (name: string, index: number): GuestTap => {
      const tap = stack.use(new GuestTap(host, name, macOf(index)));
      link("set", "dev", name, "up");
      return tap;
    },
    addresses: (name: string) => {
      const text = ip("-n", host, "-4", "addr", "show", "dev", name);
      return [...text.matchAll(/inet (\S+)/g)].map(([, address]) => address!).sort();
    },
    indexOf: (name: string) => Number(/^\d+/.exec(link("show", "dev", name))?.[0]),
    [Symbol.dispose]: () => stack.dispose(),
  };
}

/** Asks who has the server identifier; resolves with the MAC that answers. */
async function resolveServer(guest: GuestTap, index: number): Promise<string> {
  const frame = Buffer.alloc(42);
  const mac = Buffer.from(guest.mac.toString(16).padStart(12, "0"), "hex");
  frame.fill(0xff, 0, 6);
  mac.copy(frame, 6);
  // ARP: Ethernet, IPv4, request.
  Buffer.from("08060001080006040001", "hex").copy(frame, 12);
  mac.copy(frame, 22);
  frame.writeUInt32BE(addressOf(index), 28);
  frame.writeUInt32BE(parseIpv4("168.63.129.16"), 38);
  guest.read();
  guest.send(frame);
  const answer: Buffer[] = [];
  const isAnswer = (bytes: Buffer) => bytes.readUInt16BE(12) === 0x0806 && bytes[21] === 2;
  const look = () => answer.push(...guest.read().filter(isAnswer));
  await expect.poll(look, { timeout: 10_000 }).toBe(1);
  return answer[0]!.toString("hex", 22, 28).replaceAll(/(..)(?!$)/g, "$1:");
}

async function serve(command: readonly string[], host: string): Promise<Running> {
  const server = run(command, host);
  await server.says("ready\n");
  return server;
}

const macIn = (shown: string) => /link\/ether (\S+)/.exec(shown)![1]!;

const serving = (name: string, ifindex: number) =>
  `"ifname":"${name}","ifindex":${ifindex},"msg":"serving"`;

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("serve on interfaces (root)", () => {
  test(
    "S96 raw-tap-recreate: a pattern that matches nothing yet serves a tap from its first DISCOVER on, also after it is made again",
    async () => {
      using network = makeHost();
      const { host, link, indexOf } = network;
      await using server = await serve(network.command(["tap*"]), host);
      // A tap that no program has opened has no carrier.
      ip("-n", host, "tuntap", "add", "dev", "tap0", "mode", "tap");
      link("set", "dev", "tap0", "up");
      await server.says(serving("tap0", indexOf("tap0")));
      {
        using guest = network.tap("tap0", 1);
        expect((await guest.ask(DISCOVER)).message.yiaddr).toBe(addressOf(1));
      }
      link("del", "dev", "tap0");
      await server.says("interface is gone");
      using again = network.tap("tap0", 2);
      await server.says(serving("tap0", indexOf("tap0")));
      expect((await again.ask(DISCOVER)).message.yiaddr).toBe(addressOf(2));
      server.kill("SIGTERM");
      expect(await server.ended).toBe(0);
      expect(network.addresses("tap0")).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a tap keeps its socket when it is renamed, goes down and up, changes its MTU, and joins or leaves a bridge",
    async () => {
      using network = makeHost();
      const { host, link, addresses, indexOf } = network;
      link("add", "name", "br9", "type", "bridge");
      link("set", "dev", "br9", "up");
      using guest = network.tap("tap0", 1);
      const dns = Array.from({ length: 8 }, (_, n) => `10.77.0.${n + 2}`).join();
      const inventory = `${NETWORK.replace(" }", `, dns: [${dns}] }`)}\n${RANGE}\n`;
      await using server = await serve(network.command(["tap*"], inventory), host);
      expect(addresses("tap0")).toEqual(PLATFORM);
      // A guest that cannot resolve the server could never renew.
      expect(await resolveServer(guest, 1)).toBe(macIn(link("show", "dev", "tap0")));
      link("set", "dev", "tap0", "down");
      link("set", "dev", "tap0", "name", "other");
      link("set", "dev", "other", "up");
      await server.says('"ifname":"other","before":"tap0","msg":"renamed"');
      expect((await guest.ask(DISCOVER)).message.yiaddr).toBe(addressOf(1));
      // It changes its MTU, and replies are that long at most.
      const options = { 57: [0x05, 0xdc], 61: new Uint8Array(255).fill(7) };
      const askLength = async () =>
        (await guest.ask({ ...DISCOVER, options })).payload.length + IP_UDP_BYTES;
      const mtu = (await askLength()) - 4;
      link("set", "dev", "other", "mtu", `${mtu}`);
      await expect.poll(askLength, { timeout: 10_000 }).toBeLessThanOrEqual(mtu);
      link("set", "dev", "other", "mtu", "1500");
      await expect.poll(askLength, { timeout: 10_000 }).toBe(mtu + 4);
      link("set", "dev", "other", "master", "br9");
      await expect.poll(() => addresses("br9"), { timeout: 10_000 }).toEqual(PLATFORM);
      expect(addresses("other")).toEqual([]);
      expect((await guest.ask(DISCOVER)).message.yiaddr).toBe(addressOf(1));
      // The guest renews with the bridge, whose address it resolved.
      const bridgeMac = macIn(link("show", "dev", "br9"));
      expect(await resolveServer(guest, 1)).toBe(bridgeMac);
      guest.read();
      guest.send(
        requestFrame(
          { type: "DHCPREQUEST", mac: guest.mac, ciaddr: addressOf(1) },
          {
            destinationMac: parseMac(bridgeMac),
            sourceIp: addressOf(1),
            destinationIp: parseIpv4("168.63.129.16"),
          },
        ),
      );
      await expect.poll(() => guest.readReplies().length, { timeout: 10_000 }).toBe(1);
      link("set", "dev", "other", "nomaster");
      await expect.poll(() => addresses("other"), { timeout: 10_000 }).toEqual(PLATFORM);
      expect(addresses("br9")).toEqual([]);
      expect((await guest.ask(DISCOVER)).message.yiaddr).toBe(addressOf(1));
      const opened = server.stderr().match(/"msg":"serving"/g);
      expect(opened).toHaveLength(1);
      using elsewhere = makeNamespace("elsewhere");
      const gone = `"ifname":"other","ifindex":${indexOf("other")},"msg":"interface is gone"`;
      link("set", "dev", "other", "netns", elsewhere.name);
      await server.says(gone);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "of several names one may go and come back while the others are served; what was added is taken away",
    async () => {
      using network = makeHost();
      const { host, link, addresses } = network;
      const first = network.tap("first", 1);
      using second = network.tap("second", 2);
      {
        await using killed = await serve(network.command(["first", "second"]), host);
        killed.kill("SIGKILL");
        await killed.ended;
      }
      await using server = await serve(network.command(["first", "second"]), host);
      expect((await first.ask(DISCOVER)).message.yiaddr).toBe(addressOf(1));
      first[Symbol.dispose]();
      await server.says("interface is gone");
      expect((await second.ask(DISCOVER)).message.yiaddr).toBe(addressOf(2));
      using again = network.tap("first", 1);
      await server.says(serving("first", network.indexOf("first")));
      expect((await again.ask(DISCOVER)).message.yiaddr).toBe(addressOf(1));
      await expect.poll(() => addresses("first"), { timeout: 10_000 }).toEqual(PLATFORM);
      link("set", "dev", "second", "name", "renamed");
      await server.says('"msg":"renamed"');
      server.kill("SIGTERM");
      expect(await server.ended).toBe(0);
      expect([addresses("first"), addresses("renamed")]).toEqual([[], []]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a NIC with a port is answered there alone; on a bridge, behind that port alone",
    async () => {
      using network = makeHost();
      const { host, link } = network;
      const nics = [1, 2].map(
        (n) => `{ mac: "${formatMac(macOf(n))}", address: 10.77.3.${n}, port: tap${n} }`,
      );
      const inventory = `${NETWORK}\nnics: [${nics.join()}]\n`;
      using one = network.tap("tap1", 1);
      using two = network.tap("tap2", 2);
      link("add", "name", "br9", "type", "bridge", "stp_state", "0");
      link("set", "dev", "br9", "up");
      link("set", "dev", "tap2", "master", "br9");
      const wrong = (guest: GuestTap, index: number) =>
        guest.send(requestFrame({ ...DISCOVER, mac: macOf(index) }));
      await using server = await serve(network.command(["tap1", "br9"], inventory), host);
      expect((await one.ask(DISCOVER)).message.yiaddr).toBe(parseIpv4("10.77.3.1"));
      expect((await two.ask(DISCOVER)).message.yiaddr).toBe(parseIpv4("10.77.3.2"));
      wrong(one, 2);
      wrong(two, 1);
      // Both are dropped before these are answered.
      await one.ask(DISCOVER);
      await two.ask(DISCOVER);
      expect([one, two].map((guest) => guest.readReplies())).toEqual([[], []]);
      server.kill("SIGTERM");
      expect(await server.ended).toBe(0);
      expect(server.stderr()).toContain('"silences":{"port.mismatch":2}');
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "two hundred taps are served by one process, with no thread more than for none",
    async () => {
      using network = makeHost();
      const { host } = network;
      const count = 200;
      await using server = await serve(network.command(["tap*"]), host);
      const threads = () => readdirSync(`/proc/${server.pid}/task`).length;
      const before = threads();
      using stack = new DisposableStack();
      const guests = Array.from({ length: count }, (_, n) =>
        stack.use(new GuestTap(host, `tap${n}`, macOf(n))),
      );
      ipBatch(
        host,
        guests.map(({ name }) => `link set dev ${name} up`),
      );
      const opened = () => server.stderr().match(/"msg":"serving"/g)?.length;
      await expect.poll(opened, { timeout: 20_000 }).toBe(count);
      for (const guest of guests) guest.read();
      for (const guest of guests) guest.send(requestFrame({ ...DISCOVER, mac: guest.mac }));
      const offers = new Map<string, number>();
      const collect = () => {
        for (const guest of guests) {
          for (const { message } of guest.readReplies()) offers.set(guest.name, message.yiaddr);
        }
        return offers.size;
      };
      await expect.poll(collect, { timeout: 20_000 }).toBe(count);
      expect(guests.map(({ name }) => offers.get(name))).toEqual(
        guests.map((_, n) => addressOf(n)),
      );
      expect(threads()).toBe(before);
      server.kill("SIGTERM");
      expect(await server.ended).toBe(0);
      expect(server.stderr()).toMatch(
        new RegExp(`"received":${count},.*"ring":\\{"received":${count},`),
      );
      expect(ip("-n", host, "-4", "addr")).not.toContain(PLATFORM[0]);
    },
    TEST_TIMEOUT_MS,
  );
});
