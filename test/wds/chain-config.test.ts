/** The chain as people write it: order, settings, third parties, and what is refused with its place. */
import { readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { parseDocument } from "yaml";
import { type Assignment, createDhcpRequest, createRequestContext } from "../../src/dhcp/index.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import {
  CHAIN_PLUGINS_MAX,
  type ChainSurroundings,
  createChain,
  loadChain,
  PLUGIN_LOAD_MS,
} from "../../src/wds/index.ts";
import { CLIENT_IP, CLIENT_MAC, OTHER_IP, OTHER_MAC, profileWith } from "../dhcp/packets.ts";
import { startServer } from "../dhcp/test-server.ts";
import { temporaryFolder } from "../temporary-folder.ts";

const EXAMPLE = join(import.meta.dirname, "../../examples/wds-plugin");
const ASSIGNMENT: Assignment = { address: CLIENT_IP, profile: profileWith() };
const SURROUNDINGS: ChainSurroundings = {
  hosts: { findHost: () => undefined },
  nics: { findByMac: (mac) => (mac === CLIENT_MAC ? ASSIGNMENT : undefined) },
  now: () => 0,
  log: () => undefined,
  seed: 1,
};

const load = (chain: unknown, folder = EXAMPLE, more: Partial<ChainSurroundings> = {}) =>
  loadChain({ file: "lab.yaml", folder, chain }, { ...SURROUNDINGS, ...more });
const namesOf = async (chain: unknown) => (await load(chain)).plugins.map(({ name }) => name);

/** A folder with one module. */
function moduleFolder(text: string): string {
  const folder = temporaryFolder("plugin");
  writeFileSync(join(folder, "mine.mjs"), text);
  return folder;
}

describe("loadChain()", () => {
  test("has an order of its own where none is written", async () => {
    const { plugins, warnings } = await load(undefined);
    expect(plugins.map(({ name }) => name)).toEqual(["log", "rate-limit", "hardware", "nm"]);
    expect(warnings).toEqual([]);
  });

  test("takes names and names with settings, in the order that is written", async () => {
    const options = { rules: [{ options: [{ code: 42, addresses: ["10.0.0.9"] }] }] };
    const chain = ["nm", { plugin: "options", settings: options }, { plugin: "log" }, "hardware"];
    expect(await namesOf(chain)).toEqual(["nm", "options", "log", "hardware"]);
  });

  test.each<[string, unknown, string]>([
    ["a name", "nm", "chain: must be a list of 1 to 16 plugins; leave it out for the default"],
    ["no plugin", [], "chain: must be a list of 1 to 16"],
    [
      "too many plugins",
      Array(CHAIN_PLUGINS_MAX + 1).fill("nm"),
      "chain: must be a list of 1 to 16",
    ],
    [
      "an unknown plugin",
      ["nmm"],
      "chain[0] (nmm): there is no such plugin; there are log, rate-limit, hardware, nm, options",
    ],
    [
      "a plugin twice",
      ["nm", "log", "nm"],
      "chain[2] (nm): the plugin is named nm, and chain[0] has that name already; a chain has each plugin once",
    ],
    [
      "a number",
      [7],
      "chain[0]: Invalid input: expected object, received number; an entry is a name, { plugin, settings } or { path, settings }",
    ],
    [
      "an unknown key",
      ["nm", { plugin: "log", setings: {} }],
      'chain[1]: Unrecognized key: "setings"; an entry is',
    ],
    [
      "neither name nor path",
      [{ settings: {} }],
      "chain[0]: needs either `plugin`, a name, or `path`, a module",
    ],
    ["both name and path", [{ plugin: "nm", path: "./a.mjs" }], "chain[0]: needs either"],
    [
      "settings of a plugin that has none",
      [{ plugin: "nm", settings: { a: 1 } }],
      'chain[0].settings (nm): Unrecognized key: "a"',
    ],
    [
      "a wrong setting",
      ["nm", { plugin: "log", settings: { rate: -1 } }],
      "chain[1].settings.rate (log): Too small: expected number to be >=0.01",
    ],
    [
      "two wrong settings",
      [{ plugin: "log", settings: { rate: -1, burst: "a" } }],
      "chain[0].settings.rate (log): Too small: expected number to be >=0.01; settings.burst: Invalid input: expected number, received string",
    ],
    [
      "a code that is not free",
      [{ plugin: "options", settings: { rules: [{ options: [{ code: 54, hex: "00" }] }] } }],
      "chain[0].settings.rules[0].options[0].code (options): option 54 cannot be set here: the server decides it",
    ],
    [
      "a value that no reply holds",
      [
        {
          plugin: "options",
          settings: { rules: [{ options: [{ code: 224, hex: "00".repeat(1025) }] }] },
        },
      ],
      "chain[0].settings (options): option 224 has 1025 octets; it must have 1 to 1024",
    ],
    [
      "nobody who resolves",
      ["log", "rate-limit"],
      "chain: no plugin resolves, so nobody gets an answer; add hardware and nm",
    ],
    [
      "a module that is not there",
      [{ path: "./none.mjs" }],
      "chain[0] (./none.mjs): the plugin cannot be loaded: there is no such file",
    ],
  ])("refuses %s", async (_name, chain, message) => {
    const error = await load(chain).then(undefined, (thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "ERR_USAGE_CHAIN" });
    expect((error as Error).message).toContain(`lab.yaml: ${message}`);
    expect((error as Error).message).not.toContain("\n");
  });

  test("two plugins that set one option are both named", async () => {
    const settings = { rules: [{ options: [{ code: 224, text: "x" }] }] };
    const chain = [
      "nm",
      { path: "./maintenance.mjs", settings: { site: "lab" } },
      { plugin: "options", settings },
    ];
    expect((await load(chain)).warnings).toEqual([
      "chain: maintenance and options both set option 224; options counts, for it stands later",
    ]);
  });

  test("warnings of a plugin's settings have their place", async () => {
    const options = [{ code: 42, text: "a" }];
    const chain = ["nm", { plugin: "options", settings: { rules: [{ options }, { options }] } }];
    expect((await load(chain)).warnings).toEqual([
      "chain[1] (options): rules[0] and rules[1] set option 42 for the same clients; rules[1] counts",
    ]);
  });
});

describe("a plugin of a third party", () => {
  const FACTORY = (body: string) => `export default (settings, host) => (${body});`;
  const GOOD = FACTORY('{ name: "mine", resolve: () => host.NEXT, knows: () => false }');

  test.each<[string, string, string]>([
    ["throws at load", 'throw new Error("no licence")', "no licence"],
    ["has a syntax error", "export default (", ""],
    [
      "has no default export",
      "export const a = 1;",
      "it has no default export that is a function (settings, host) => plugin",
    ],
    ["exports junk", "export default 7;", "it has no default export that is a function"],
    [
      "throws in its factory",
      'export default () => { throw new Error("settings.a: must be b"); };',
      "settings.a: must be b",
    ],
    ["throws no error", "export default () => { throw 7; };", "7"],
    ["returns nothing", FACTORY("undefined"), "its factory returned no plugin object"],
    ["returns a text", FACTORY('"nm"'), "its factory returned no plugin object"],
    ["has no name", FACTORY("{ resolve() {} }"), "its `name` must be a lower-case word"],
    [
      "has a name for a terminal",
      FACTORY('{ name: "a\\u001b[31m", resolve() {} }'),
      "its `name` must be a lower-case word",
    ],
    [
      "has no phase",
      FACTORY('{ name: "mine" }'),
      "it takes part in nothing: it needs one of admit, resolve, policy, options, observe",
    ],
    [
      "has a phase that is no function",
      FACTORY('{ name: "mine", resolve: 7 }'),
      "`resolve` must be a function",
    ],
    [
      "has a budget of nothing",
      FACTORY('{ name: "mine", resolve() {}, budgetMs: 0 }'),
      "`budgetMs` must be a number above 0",
    ],
    [
      "says what it sets in words",
      FACTORY('{ name: "mine", options() {}, setsOptions: "6" }'),
      "`setsOptions` must be a list",
    ],
    ["rejects", "export default async () => { throw new Error('later'); };", "later"],
  ])("that %s is refused at the start, by name", async (_name, text, message) => {
    const folder = moduleFolder(text);
    await expect(load(["nm", { path: "./mine.mjs" }], folder)).rejects.toMatchObject({
      code: "ERR_USAGE_CHAIN",
      message: expect.stringContaining(
        `lab.yaml: chain[1] (./mine.mjs): the plugin cannot be loaded: ${message}`,
      ),
    });
  });

  test("that hangs at load is refused after a while", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const folder = moduleFolder("export default () => new Promise(() => undefined);");
      const loading = load([{ path: "./mine.mjs" }], folder).then(
        undefined,
        (e: Error) => e.message,
      );
      await vi.advanceTimersByTimeAsync(PLUGIN_LOAD_MS);
      expect(await loading).toContain("it was not loaded within 5 s");
    } finally {
      vi.useRealTimers();
    }
  });

  test("is given its settings, and a host that does not change", async () => {
    const folder = moduleFolder(
      FACTORY(
        '{ name: "mine", resolve: () => ({ kind: "drop", reason: settings.reason }), seen: Object.isFrozen(host) && host.apiVersion }',
      ),
    );
    const { plugins } = await load(
      [{ path: "./mine.mjs", settings: { reason: "mine.no" } }],
      folder,
    );
    expect(plugins[0]).toMatchObject({ name: "mine", seen: 1 });
    const { decide } = createChain(plugins);
    const verdict = await decide(createDhcpRequest(), createRequestContext());
    expect(verdict).toEqual({ kind: "drop", reason: "mine.no" });
  });

  test("with the name of another is refused", async () => {
    const folder = moduleFolder(GOOD.replace("mine", "nm"));
    await expect(load(["nm", { path: "./mine.mjs" }], folder)).rejects.toThrow(
      "chain[1] (./mine.mjs): the plugin is named nm, and chain[0] has that name already",
    );
  });

  test("is loaded anew after it was changed, and not otherwise", async () => {
    const folder = moduleFolder(GOOD);
    const path = join(folder, "mine.mjs");
    const resolveOf = async () => (await load([{ path: "./mine.mjs" }], folder)).plugins[0]?.name;
    expect(await resolveOf()).toBe("mine");
    writeFileSync(path, GOOD.replace("mine", "changed"));
    utimesSync(path, 1_900_000_000, 1_900_000_000);
    expect(await resolveOf()).toBe("changed");
  });

  test("that resolves without knows() makes rate-limit blind, and a warning says so", async () => {
    const folder = moduleFolder(GOOD.replace(", knows: () => false", ""));
    const blind = "chain: mine has no knows(), so rate-limit takes every sender for its client";
    const { warnings } = await load(["rate-limit", { path: "./mine.mjs" }], folder);
    expect(warnings).toEqual([blind]);
    expect((await load([{ path: "./mine.mjs" }], folder)).warnings).toEqual([]);
  });
});

describe("examples/wds-plugin", () => {
  const inventory = parseDocument(readFileSync(join(EXAMPLE, "inventory.yaml"), "utf8")).toJS();

  test("holds back who is worked on, tells others their site, and says so once", async () => {
    const lines: unknown[] = [];
    const { plugins, warnings } = await load(inventory.chain, EXAMPLE, {
      log: (level, fields, message) => {
        if (message === "held back") lines.push({ level, fields });
      },
      nics: {
        findByMac: (mac) => {
          const isHeld = mac === parseMac("00:0c:01:02:03:05");
          return { ...ASSIGNMENT, address: isHeld ? OTHER_IP : CLIENT_IP };
        },
      },
    });
    expect(warnings).toEqual([]);
    const { admit, decide, observe } = createChain(plugins);
    const server = startServer({ admit, decide, onExchange: observe, onDrop: observe });
    const { message } = server.ask({ type: "DHCPDISCOVER", mac: OTHER_MAC });
    expect(message.options.get(224)).toEqual(new TextEncoder().encode("lab-1"));
    for (let index = 0; index < 2; index++) {
      server.send({ type: "DHCPDISCOVER", mac: parseMac("00:0c:01:02:03:05") });
    }
    expect(server.counters.drops.get("maintenance.hold")).toBe(2);
    expect(lines).toEqual([{ level: "info", fields: { mac: "00:0c:01:02:03:05" } }]);
  });

  test.each([
    [{ site: "" }, "settings.site: must be a text"],
    [{ site: "a", hold: "b" }, "settings.hold: must be a list of MAC addresses"],
    [{ site: "a", hold: ["b"] }, '"b" is not a MAC address'],
    [{ site: "a", holds: [] }, "settings.holds: there are only hold and site"],
  ])("refuses %j", async (settings, message) => {
    await expect(load([{ path: "./maintenance.mjs", settings }])).rejects.toThrow(message);
  });
});
