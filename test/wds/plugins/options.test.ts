/** The `options` plugin: what it sends to whom, and what it refuses. */
import { describe, expect, test } from "vitest";
import {
  createChain,
  createNmPlugin,
  createOptionsPlugin,
  OptionsSchema,
  optionsWarnings,
} from "../../../src/wds/index.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  OTHER_IP,
  OTHER_MAC,
  profileWith,
  type RequestSpec,
} from "../../dhcp/packets.ts";
import { startServer } from "../../dhcp/test-server.ts";

const text = (value: string) => new TextEncoder().encode(value);
const DISCOVER: RequestSpec = { type: "DHCPDISCOVER" };

function startWith(rules: readonly object[], container = "hello.web_0") {
  const profile = profileWith();
  const nm = createNmPlugin({
    findByMac: (mac) => ({ address: mac === OTHER_MAC ? OTHER_IP : CLIENT_IP, profile, container }),
  });
  const { decide } = createChain([nm, createOptionsPlugin(OptionsSchema.parse({ rules }))]);
  return startServer({ decide });
}

/** The option that one rule without conditions sends. */
function sent(option: object): Uint8Array | undefined {
  const { ask } = startWith([{ options: [option] }]);
  return ask(DISCOVER).message.options.get((option as { code: number }).code);
}

describe("a value in the form of", () => {
  test.each<[string, object, readonly number[] | Uint8Array]>([
    ["addresses", { addresses: ["10.0.0.2", "10.0.0.3"] }, [10, 0, 0, 2, 10, 0, 0, 3]],
    ["text", { text: "Europe/Berlin" }, text("Europe/Berlin")],
    ["uint8", { uint8: 255 }, [255]],
    ["uint16", { uint16: 258 }, [1, 2]],
    ["uint32", { uint32: 0xfffefdfc }, [255, 254, 253, 252]],
    ["bool", { bool: true }, [1]],
    ["bool, false", { bool: false }, [0]],
    ["hex", { hex: "01:02 fFab" }, [1, 2, 255, 171]],
    [
      "domains",
      { domains: ["a.bc", "example.com"] },
      [1, 97, 2, 98, 99, 0, 7, ...text("example"), 3, ...text("com"), 0],
    ],
  ])("%s is encoded", (_name, form, want) => {
    expect(sent({ code: 224, ...form })).toEqual(Uint8Array.from(want));
  });

  test("a value of more than 255 octets is sent in several instances", () => {
    const hex = "ab".repeat(300);
    const { ask } = startWith([{ options: [{ code: 224, hex }] }]);
    const { options } = ask({ ...DISCOVER, options: { 57: [5, 220] } }).message;
    expect(options.get(224)).toEqual(new Uint8Array(300).fill(0xab));
  });

  test("a value that only clients who ask for it get", () => {
    const { ask } = startWith([
      { options: [{ code: 42, addresses: ["10.0.0.2"], always: false }] },
    ]);
    expect(ask(DISCOVER).message.options.has(42)).toBe(false);
    expect(ask({ ...DISCOVER, options: { 55: [42] } }).message.options.has(42)).toBe(true);
  });
});

describe("a rule for", () => {
  const option = { code: 224, text: "x" };
  const has = (match: object, spec: Partial<RequestSpec> = {}, container?: string) => {
    const { ask } = startWith([{ match, options: [option] }], container);
    return ask({ ...DISCOVER, ...spec }).message.options.has(224);
  };
  const userClass = (...classes: string[]) => ({
    options: { 77: classes.flatMap((name) => [name.length, ...text(name)]) },
  });

  test.each<[string, object, Partial<RequestSpec>, boolean]>([
    ["everybody", {}, {}, true],
    ["a tenant", { tenant: "hello" }, {}, true],
    ["another tenant", { tenant: "hell" }, {}, false],
    ["a role", { role: "web" }, {}, true],
    ["another role", { role: "we" }, {}, false],
    ["a container", { container: "hello.web_0" }, {}, true],
    ["another container", { container: "hello.web_1" }, {}, false],
    ["a vendor class", { vendorClass: "MSFT" }, { options: { 60: text("MSFT 5.0") } }, true],
    [
      "another vendor class",
      { vendorClass: "MSFT 5.0x" },
      { options: { 60: text("MSFT 5.0") } },
      false,
    ],
    ["a vendor class of a client that says none", { vendorClass: "MSFT" }, {}, false],
    ["a bare user class", { userClass: "iPXE" }, { options: { 77: text("iPXE") } }, true],
    ["one of several user classes", { userClass: "b" }, userClass("aa", "b"), true],
    ["none of several user classes", { userClass: "a" }, userClass("aa", "b"), false],
    ["a user class that overruns", { userClass: "b" }, { options: { 77: [9, 98] } }, false],
    ["a MAC prefix", { macPrefix: "00:0d:3a" }, {}, true],
    ["a whole MAC", { macPrefix: "00-0d-3a-01-02-03" }, {}, true],
    ["another MAC prefix", { macPrefix: "00:0d:3b" }, {}, false],
    ["two conditions that hold", { tenant: "hello", macPrefix: "00" }, {}, true],
    ["two conditions of which one holds", { tenant: "hello", macPrefix: "01" }, {}, false],
  ])("%s", (_name, match, spec, want) => {
    expect(has(match, spec)).toBe(want);
  });

  test("a container of an inventory, which has neither tenant nor role", () => {
    expect(has({ container: "web-0" }, {}, "web-0")).toBe(true);
    expect(has({ tenant: "web-0" }, {}, "web-0")).toBe(false);
    expect(has({ role: "web-0" }, {}, "web-0")).toBe(false);
  });

  test("nobody else changes nothing for the next client", () => {
    const { ask } = startWith([{ match: { macPrefix: "00:0d:3a:01:02:03" }, options: [option] }]);
    expect(ask({ ...DISCOVER, mac: CLIENT_MAC }).message.options.has(224)).toBe(true);
    expect(ask({ ...DISCOVER, mac: OTHER_MAC }).message.options.has(224)).toBe(false);
  });
});

test("of one code, the last rule that matches counts, also against the network's own", () => {
  const dns = (address: string) => ({ options: [{ code: 6, addresses: [address] }] });
  const { ask } = startWith([
    dns("10.0.0.50"),
    { match: { tenant: "hello" }, ...dns("10.0.0.51") },
    { match: { tenant: "other" }, ...dns("10.0.0.52") },
  ]);
  expect(ask(DISCOVER).message.options.get(6)).toEqual(Uint8Array.of(10, 0, 0, 51));
});

describe("settings are refused for", () => {
  const rule = (option: object, match = {}) => ({ rules: [{ match, options: [option] }] });
  test.each<[string, object, string, string]>([
    ["no rules", { rules: [] }, "rules", "Too small"],
    [
      "the message type",
      rule({ code: 53, uint8: 5 }),
      "rules.0.options.0.code",
      "the server decides it",
    ],
    [
      "the lease time",
      rule({ code: 51, uint32: 9 }),
      "rules.0.options.0.code",
      "the server decides it",
    ],
    ["option 82", rule({ code: 82, hex: "00" }), "rules.0.options.0.code", "the server decides it"],
    [
      "the client identifier",
      rule({ code: 61, hex: "00" }),
      "rules.0.options.0.code",
      "the server decides it",
    ],
    [
      "the router",
      rule({ code: 3, addresses: ["10.0.0.9"] }),
      "rules.0.options.0.code",
      "is set by network.gateway; set it there",
    ],
    [
      "routes",
      rule({ code: 121, hex: "00" }),
      "rules.0.options.0.code",
      "is set by network.gateway",
    ],
    [
      "the wire server",
      rule({ code: 245, addresses: ["10.0.0.9"] }),
      "rules.0.options.0.code",
      "the server decides it",
    ],
    [
      "43 for everybody",
      rule({ code: 43, hex: "00" }),
      "rules.0.options.0.code",
      "add match.vendorClass",
    ],
    [
      "no form",
      rule({ code: 42 }),
      "rules.0.options.0",
      "needs its value in one form, one of addresses, text",
    ],
    ["two forms", rule({ code: 42, text: "a", uint8: 1 }), "rules.0.options.0", "in one form"],
    ["a number too large", rule({ code: 224, uint8: 256 }), "rules.0.options.0.uint8", "Too big"],
    [
      "half an octet",
      rule({ code: 224, hex: "abc" }),
      "rules.0.options.0.hex",
      "pairs of hexadecimal digits",
    ],
    [
      "a label too long",
      rule({ code: 119, domains: ["a".repeat(64)] }),
      "rules.0.options.0.domains.0",
      "is not a domain name",
    ],
    [
      "a prefix of seven octets",
      rule({ code: 42, text: "a" }, { macPrefix: "00:01:02:03:04:05:06" }),
      "rules.0.match.macPrefix",
      "1 to 6 octets",
    ],
    [
      "one code twice in a rule",
      {
        rules: [
          {
            options: [
              { code: 42, text: "a" },
              { code: 42, text: "b" },
            ],
          },
        ],
      },
      "rules.0.options.1.code",
      "options[0] of this rule already",
    ],
  ])("%s, with the place", (_name, settings, path, message) => {
    const { error } = OptionsSchema.safeParse(settings);
    const issues = error?.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
    expect(issues).toEqual([expect.stringContaining(message)]);
    expect(issues?.[0]?.startsWith(`${path}: `)).toBe(true);
  });

  test("43 for one vendor is taken", () => {
    const { success } = OptionsSchema.safeParse(
      rule({ code: 43, hex: "00" }, { vendorClass: "x" }),
    );
    expect(success).toBe(true);
  });
});

test("two rules that set one code for the same clients are named", () => {
  const options = [{ code: 42, text: "a" }];
  const written = { rules: [{ options }, { match: { role: "web" }, options }, { options }] };
  expect(optionsWarnings(OptionsSchema.parse(written))).toEqual([
    "rules[0] and rules[2] set option 42 for the same clients; rules[2] counts",
  ]);
});
