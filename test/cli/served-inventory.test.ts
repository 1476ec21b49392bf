/** An inventory that is read anew while it is served (S105). */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { readInventoryFile, ServedInventory } from "../../src/cli/served-inventory.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { openMemoryStore } from "../../src/store/index.ts";
import { requestFrame } from "../dhcp/packets.ts";
import { startServer } from "../dhcp/test-server.ts";
import { temporaryFolder } from "../temporary-folder.ts";

const A = "00:0c:01:00:00:01";
const B = "00:0c:01:00:00:02";
const NETWORK = "network: { subnet: 10.77.0.0/16 }";
const OFF = "{ plugin: rate-limit, settings: { mac: off, unknown: off } }";
const nics = (mac: string, address: string, container = "web-0") =>
  `nics: [{ mac: "${mac}", address: ${address}, container: ${container} }]`;
const FIRST = [NETWORK, nics(A, "10.77.0.5"), `chain: [log, ${OFF}, hardware, nm]`].join("\n");

async function serveInventory(text: string) {
  const folder = temporaryFolder("inventory");
  const path = join(folder, "inventory.yaml");
  const write = (changed: string) => writeFileSync(path, changed);
  write(text);
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const store = openMemoryStore();
  onTestFinished(() => store[Symbol.asyncDispose]());
  const data = {
    ...{ path: folder, fabricId: "abcdef", store },
    [Symbol.asyncDispose]: async () => undefined,
  };
  const served = await ServedInventory.open({
    ...{ file: readInventoryFile(path, log), data, log },
    isOwnAddress: () => false,
    plugins: { now: () => 0, log: () => undefined, seed: 1 },
  });
  const { chain, rules } = served;
  const { admit, decide, observe } = chain;
  const server = startServer({
    ...{ ...rules, admit, decide, onExchange: observe, onDrop: observe },
  });
  const addressOf = (mac: string) =>
    server.send({ type: "DHCPDISCOVER", mac: parseMac(mac) })[0]?.message.yiaddr;
  const reload = async (changed: string) => {
    write(changed);
    await served.reload();
    return lines.at(-1);
  };
  return { ...server, served, folder, lines, addressOf, reload };
}

describe("ServedInventory", () => {
  test("takes addresses, plugins, policy and containers from the new file, all at once", async () => {
    const { served, counters, addressOf, reload, sendFrame } = await serveInventory(FIRST);
    expect([addressOf(A), addressOf(B)]).toEqual([parseIpv4("10.77.0.5"), undefined]);
    const said = await reload(
      [
        "network: { subnet: 10.77.0.0/16, bootp: true }",
        nics(B, "10.77.0.6", "web-1"),
        `chain: [${OFF}, nm]`,
      ].join("\n"),
    );
    expect(said).toMatchObject({ msg: "inventory reloaded", plugins: ["rate-limit", "nm"] });
    expect([addressOf(A), addressOf(B)]).toEqual([undefined, parseIpv4("10.77.0.6")]);
    expect(served.rules.policy.bootp).toBe(true);
    expect(served.containers.isNamed("web-1")).toBe(true);
    expect(served.containers.isNamed("web-0")).toBe(false);
    expect(served.containers.isNamedMac(parseMac(B))).toBe(true);
    expect(served.containers.findByAddress(parseIpv4("10.77.0.5"))).toBeUndefined();
    expect(served.chain.counters.get("nm")?.decided).toBe(2);
    expect(served.chain.counters.has("log")).toBe(true);
    expect(counters.replies.DHCPOFFER).toBe(2);
    sendFrame(requestFrame({ type: "DHCPDISCOVER", mac: parseMac(B) }));
    expect(counters.replies.DHCPOFFER).toBe(3);
  });

  test.each<[string, string, string]>([
    ["is no YAML", "network: {", "inventory.yaml:1:11: "],
    [
      "has a wrong address",
      `${NETWORK}\n${nics(A, "10.78.0.1")}`,
      "nics[0]: address 10.78.0.1 is not",
    ],
    [
      "has a wrong chain",
      `${NETWORK}\nchain: [nm, nope]`,
      "chain[1] (nope): there is no such plugin",
    ],
    [
      "names a module that is not there",
      `${NETWORK}\nchain: [{ path: ./a.mjs }]`,
      "chain[0] (./a.mjs): the plugin cannot be loaded: there is no such file",
    ],
    [
      "has another subnet",
      "network: { subnet: 10.77.0.0/24 }",
      "network.subnet: cannot change while it is served; start again",
    ],
    [
      "has another gateway",
      "network: { subnet: 10.77.0.0/16, gateway: 10.77.0.1 }",
      "network.gateway: cannot change",
    ],
  ])("a file that %s changes nothing, and the log says why", async (_name, text, reason) => {
    const { addressOf, reload } = await serveInventory(FIRST);
    const said = await reload(text);
    expect(said).toMatchObject({ level: 50, msg: "inventory not reloaded, the old one is served" });
    expect(said?.["reason"]).toContain(reason);
    expect(addressOf(A)).toBe(parseIpv4("10.77.0.5"));
    expect(await reload(FIRST)).toMatchObject({ msg: "inventory reloaded" });
    expect(addressOf(A)).toBe(parseIpv4("10.77.0.5"));
  });

  test("a chain in a file of its own, with paths relative to it", async () => {
    const { folder, addressOf, reload } = await serveInventory(FIRST);
    const text = [NETWORK, nics(A, "10.77.0.5"), "chain: ./chain.yaml"].join("\n");
    const chainFile = join(folder, "chain.yaml");
    const plugin =
      'export default () => ({ name: "mine", policy: () => ({ kind: "drop", reason: "mine.no" }) });';
    writeFileSync(join(folder, "mine.mjs"), plugin);
    writeFileSync(chainFile, `chain: [${OFF}, hardware, nm, { path: ./mine.mjs }]`);
    expect(await reload(text)).toMatchObject({ msg: "inventory reloaded" });
    expect(addressOf(A)).toBeUndefined();
    writeFileSync(chainFile, "chain: [nm]");
    expect(await reload(text)).toMatchObject({ plugins: ["nm"] });
    expect(addressOf(A)).toBe(parseIpv4("10.77.0.5"));
    writeFileSync(chainFile, "plugins: [nm]");
    const said = await reload(text);
    expect(said?.["reason"]).toBe(
      `${chainFile}: must hold one key, chain, and under it the list of plugins`,
    );
    writeFileSync(chainFile, "chain: [nmm]");
    expect((await reload(text))?.["reason"]).toContain(`${chainFile}: chain[0] (nmm): there is no`);
  });

  test("S105: of 20,000 requests none is lost nor mixed while it is reloaded again and again", async () => {
    const { served, counters, addressOf, reload } = await serveInventory(FIRST);
    const files = [FIRST, FIRST.replace("10.77.0.5", "10.77.0.6").replace("[log, ", "[")];
    const allowed = [parseIpv4("10.77.0.5"), parseIpv4("10.77.0.6")];
    let asked = 0;
    let isDone = false;
    const seen = new Set<unknown>();
    const load = (async () => {
      while (asked < 20_000 || !isDone) {
        for (let index = 0; index < 100; index++, asked++) seen.add(addressOf(A));
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let index = 1; index <= 20; index++) await reload(files[index % 2]!);
    isDone = true;
    await load;
    expect([...seen].sort()).toEqual(allowed);
    expect(counters.replies.DHCPOFFER).toBe(asked);
    expect(served.chain.counters.get("nm")).toEqual({ decided: asked, failed: 0, timedOut: 0 });
    expect([...counters.drops]).toEqual([]);
  });
});
