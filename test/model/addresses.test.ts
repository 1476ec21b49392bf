import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  broadcastOf,
  formatIpv4,
  type Ipv4Address,
  isHostAddress,
  parseIpv4,
  parseSubnet,
  readIpv4,
  writeIpv4,
} from "../../src/model/ipv4-address.ts";
import {
  formatMac,
  isGroupMac,
  MAC_SPACE,
  type MacAddress,
  parseMac,
  readMac,
  writeMac,
} from "../../src/model/mac-address.ts";

describe("MAC addresses", () => {
  for (const text of [
    "",
    "00:0d:3a:01:02",
    "00:0d:3a:01:02:03:04",
    "00:0d-3a:01:02:03",
    "0:d:3a:1:2:3",
  ]) {
    test(`parseMac() rejects "${text}"`, () => {
      expect(() => parseMac(text)).toThrow(SyntaxError);
    });
  }

  test("text and frame round trips keep every address", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: MAC_SPACE - 1 }), (value) => {
        const mac = value as MacAddress;
        const bytes = new Uint8Array(8);
        writeMac(bytes, 1, mac);
        expect(readMac(bytes, 1)).toBe(mac);
        expect(parseMac(formatMac(mac))).toBe(mac);
      }),
    );
  });

  test("isGroupMac() looks at the first octet's low bit", () => {
    expect(isGroupMac(parseMac("01:00:5e:00:00:01"))).toBe(true);
    expect(isGroupMac(parseMac("fe:ff:ff:ff:ff:ff"))).toBe(false);
  });
});

describe("IPv4 addresses", () => {
  for (const text of [
    "",
    "1.2.3",
    "1.2.3.4.5",
    "01.2.3.4",
    "1..1.1",
    "0x10.1.1.1",
    "256.1.1.1",
    "1.2.3.4 ",
  ]) {
    test(`parseIpv4() rejects "${text}"`, () => {
      expect(() => parseIpv4(text)).toThrow(SyntaxError);
    });
  }

  test("text and frame round trips keep every address", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (value) => {
        const address = value as Ipv4Address;
        const bytes = new Uint8Array(6);
        writeIpv4(bytes, 1, address);
        expect(readIpv4(bytes, 1)).toBe(address);
        expect(parseIpv4(formatIpv4(address))).toBe(address);
      }),
    );
  });

  test("parseSubnet() names the subnet when host bits are set", () => {
    expect(() => parseSubnet("10.77.3.1/16")).toThrow("10.77.0.0/16");
    expect(() => parseSubnet("10.77.0.0/33")).toThrow(SyntaxError);
  });

  test("isHostAddress() leaves out network and broadcast, except in /31 and /32", () => {
    const subnet = parseSubnet("10.0.0.0/30");
    expect(formatIpv4(broadcastOf(subnet))).toBe("10.0.0.3");
    const hosts = [0, 1, 2, 3, 4].map((last) => isHostAddress(subnet, parseIpv4(`10.0.0.${last}`)));
    expect(hosts).toEqual([false, true, true, false, false]);
    expect(isHostAddress(parseSubnet("10.0.0.0/31"), parseIpv4("10.0.0.0"))).toBe(true);
  });
});
