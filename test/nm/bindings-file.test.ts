import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatIpv4, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { formatMac, type MacAddress, parseMac } from "../../src/model/mac-address.ts";
import {
  bindingRulesOf,
  createInventoryResolver,
  parseInventory,
  readBindings,
} from "../../src/nm/index.ts";

const NETWORK = { subnet: "10.64.0.0/12", gateway: "10.64.0.1" };
const A = "00:0c:01:00:00:01";
const B = "00:0c:01:00:00:02";

/** Reads a text in pieces of `pieceBytes`, beside the rest of an inventory. */
function load(text: string | Buffer, rest: object = {}, pieceBytes = 1_000_000) {
  const inventory = parseInventory({ network: NETWORK, ...rest }, "lab.yaml");
  const bytes = Buffer.from(text);
  let position = 0;
  const read = (into: Uint8Array) => {
    const count = Math.min(into.length, pieceBytes, bytes.length - position);
    into.set(bytes.subarray(position, position + count));
    position += count;
    return count;
  };
  const source = { name: "fleet.csv", bytes: bytes.length, read };
  return { inventory, bindings: readBindings(source, bindingRulesOf(inventory)) };
}

function resolverOf(text: string, rest: object = {}) {
  const { inventory, bindings } = load(text, rest);
  return createInventoryResolver(inventory, { isGateway: true, bindings });
}

const long = (count: number) => "x".repeat(count);

const REFUSED: readonly (readonly [name: string, text: string, message: string, rest?: object])[] =
  [
    ["a line with one field", `${A}\n`, "1: has one field; write mac,address,container,hostname"],
    [
      "a line with five fields",
      `\n${A},10.64.1.1,a,b,c\n`,
      "2: has more than four fields: mac,address,container,hostname",
    ],
    [
      "no MAC",
      "00:0c:01:00:00:0g,10.64.1.1\n",
      '1: mac: "00:0c:01:00:00:0g" is not a MAC address; write it as 00:0d:3a:01:02:03',
    ],
    [
      "a MAC with two kinds of separator",
      "00:0c-01:00:00:01,10.64.1.1\n",
      '1: mac: "00:0c-01:00:00:01" is not a MAC address',
    ],
    [
      "a group address",
      "01:0c:01:00:00:01,10.64.1.1\n",
      "1: mac: 01:0c:01:00:00:01 is a group address, no NIC has it",
    ],
    ["a MAC of zeros", "00:00:00:00:00:00,10.64.1.1\n", "1: mac: 00:00:00:00:00:00 is all zero"],
    ["no address", `${A},10.64.1\n`, '1: address: "10.64.1" is not an IPv4 address'],
    ["a leading zero", `${A},10.64.1.01\n`, '1: address: "10.64.1.01" is not an IPv4 address'],
    ["a number above 255", `${A},10.64.1.256\n`, '1: address: "10.64.1.256" is not an IPv4'],
    ["octets after the address", `${A},10.64.1.1 \n`, '1: address: "10.64.1.1 " is not an IPv4'],
    [
      "an address outside the subnet",
      `${A},10.80.0.1\n`,
      "1: address: 10.80.0.1 is not a host address of 10.64.0.0/12 (network.subnet)",
    ],
    [
      "the gateway's address",
      `# gateway\n${A},10.64.0.1\n`,
      "2: address: 10.64.0.1 is the gateway's (network.gateway)",
    ],
    [
      "a MAC twice",
      `${A},10.64.1.1\n\n${A},10.64.1.2\n`,
      "3: mac: is that of line 1 already; each mac may be used once",
    ],
    [
      "an address twice",
      `${A},10.64.1.1\n${B},10.64.1.1\n`,
      "2: address: is that of line 1 already; each address may be used once",
    ],
    [
      "a container twice",
      `${A},10.64.1.1,web\n${B},10.64.1.2,web\n`,
      "2: container: is that of line 1 already; each container may be used once",
    ],
    [
      "a MAC of the inventory",
      `${A},10.64.1.1\n`,
      "1: mac: 00:0c:01:00:00:01 is taken by nics[0] already; each mac may be used once",
      { nics: [{ mac: A, address: "10.64.9.9" }] },
    ],
    [
      "an address of the inventory",
      `${A},10.64.1.1\n`,
      "1: address: 10.64.1.1 is taken by hosts[0] already; each address may be used once",
      { hosts: [{ mac: B, address: "10.64.1.1" }] },
    ],
    [
      "a container of the inventory",
      `${A},10.64.1.1,web\n`,
      "1: container: web is nics[0]'s already; a container has one NIC",
      { nics: [{ mac: B, address: "10.64.9.9", container: "web" }] },
    ],
    [
      "a container with a blank",
      `${A},10.64.1.1,web 0\n`,
      '1: container: "web 0" may hold letters, digits',
    ],
    [
      "a container of 128 characters",
      `${A},10.64.1.1,${long(128)}\n`,
      "1: container: is longer than 127 characters",
    ],
    [
      "a host name with an outer hyphen",
      `${A},10.64.1.1,,-web\n`,
      '1: hostname: "-web" is not a host name',
    ],
    [
      "a host name of 64 characters",
      `${A},10.64.1.1,,${long(64)}\n`,
      `1: hostname: "${long(64)}" is not a host name`,
    ],
  ];

describe("readBindings()", () => {
  for (const [name, text, message, rest] of REFUSED) {
    test(`refuses ${name}`, () => {
      expect(() => load(text, rest)).toThrow(`fleet.csv:${message}`);
    });
  }

  test("refuses a line that is longer than 1024 octets, wherever it is", () => {
    for (const line of [`#${long(1024)}\n`, `#${long(1024)}`, long(300_000)]) {
      const text = `${A},10.64.1.1\n${line}`;
      expect(() => load(text)).toThrow("fleet.csv:2: is longer than 1024 octets");
    }
    expect(load(`#${long(1023)}\n${A},10.64.1.1\n`).bindings.size).toBe(1);
  });

  test("skips comments, empty lines and the names of the fields, and takes CR LF and a last line without end", () => {
    const text = `mac,address,container,hostname\r\n# fleet\r\n\r\n${A},10.64.1.1,web-0,web\r\n${B.toUpperCase().replaceAll(":", "-")},10.64.1.2`;
    const { bindings } = load(text);
    expect(bindings.size).toBe(2);
    const resolver = resolverOf(text);
    expect(resolver.findByMac(parseMac(A))).toMatchObject({
      address: parseIpv4("10.64.1.1"),
      container: "web-0",
      hostname: "web",
    });
    const other = resolver.findByMac(parseMac(B));
    expect([other?.address, other?.hostname, other?.container]).toEqual([
      parseIpv4("10.64.1.2"),
      undefined,
      "nic-000c01000002",
    ]);
  });

  test("takes names of the greatest length, and an empty file", () => {
    const [container, hostname] = [long(127), long(63)];
    const found = resolverOf(`${A},10.64.1.1,${container},${hostname}`).findByMac(parseMac(A));
    expect([found?.container, found?.hostname]).toEqual([container, hostname]);
    expect(load("").bindings.size).toBe(0);
    expect(resolverOf("").findByMac(parseMac(A))).toBeUndefined();
  });

  test("reads the same in pieces of any size", () => {
    const lines = Array.from({ length: 500 }, (_, index) => {
      const mac = formatMac((0x000c_0100_0000 + index * 7919) as MacAddress);
      return `${mac},10.64.${1 + (index >> 8)}.${index & 255},c${index},h${index}`;
    });
    const text = lines.join("\n");
    for (const pieceBytes of [1, 7, 64, 1000]) {
      const { bindings } = load(text, {}, pieceBytes);
      expect(bindings.size).toBe(500);
      const place = bindings.find((0x000c_0100_0000 + 499 * 7919) as MacAddress);
      expect(bindings.hostnameOf(place)).toBe("h499");
    }
  });

  test("finds what is there by MAC and by address, and nothing else", () => {
    const mac = fc.integer({ min: 1, max: 2 ** 40 - 1 });
    fc.assert(
      fc.property(fc.uniqueArray(mac, { maxLength: 300 }), fc.array(mac), (macs, others) => {
        const rows = macs.map((value, index) => ({
          mac: value as MacAddress,
          address: parseIpv4(`10.${64 + (index % 16)}.${index >> 4}.7`),
        }));
        const text = rows.map((row) => `${formatMac(row.mac)},${formatIpv4(row.address)}\n`);
        const { bindings } = load(text.join(""));
        for (const row of rows) {
          const place = bindings.find(row.mac);
          expect([bindings.macOf(place), bindings.addressOf(place)]).toEqual([
            row.mac,
            row.address,
          ]);
          expect(bindings.findByAddress(row.address)).toBe(place);
        }
        const known = new Set(macs);
        for (const other of others) {
          expect(bindings.find(other as MacAddress) >= 0).toBe(known.has(other));
        }
        expect(bindings.findByAddress(parseIpv4("10.64.255.1"))).toBeLessThan(0);
      }),
    );
  });
});

describe("createInventoryResolver() with a bindings file", () => {
  test("a binding inside a range keeps its address, the range's MAC for it gets none", () => {
    const ranges = [{ mac: "00:0c:05:00:00:00", address: "10.64.1.0", count: 10 }];
    const resolver = resolverOf(`${A},10.64.1.3,web,web\n`, { ranges });
    expect(resolver.findByMac(parseMac(A))?.address).toBe(parseIpv4("10.64.1.3"));
    expect(resolver.findByMac(parseMac("00:0c:05:00:00:03"))).toBeUndefined();
    expect(resolver.findByMac(parseMac("00:0c:05:00:00:04"))?.address).toBe(parseIpv4("10.64.1.4"));
    expect(resolver.findNic(parseIpv4("10.64.1.3"))).toEqual({
      container: "web",
      mac: parseMac(A),
      address: parseIpv4("10.64.1.3"),
    });
    expect(resolver.findNic(parseIpv4("10.64.1.4"))?.container).toBe("nic-000c05000004");
  });
});
