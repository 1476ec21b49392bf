import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findEndpointInLease } from "../../src/guestagent/lease-file.ts";
import { formatIpv4 } from "../../src/model/ipv4-address.ts";

const NOW_MS = Date.UTC(2026, 10, 22, 12, 0, 0);

function isc(option: string, expire = "expire never;") {
  return `lease {\n  interface "eth0";\n  fixed-address 10.20.0.4;\n  ${option}\n  ${expire}\n}\n`;
}

const CASES = [
  ["udhcpc", "ip=10.20.0.4\nopt245=a83f8110\nlease=86400\n", "168.63.129.16"],
  ["udhcpc, upper case and CRLF", "opt245=A83F8110\r\nlease=1\r\n", "168.63.129.16"],
  ["udhcpc, quoted by the shell", "opt245='a83f8110'\n", "168.63.129.16"],
  ["udhcpc, exported", 'export opt245="a83f8110"\n', "168.63.129.16"],
  ["systemd-networkd", "# lease\nOPTION_245=a83f8110\n", "168.63.129.16"],
  ["NetworkManager", "private_245 = a8:3f:81:10\n", "168.63.129.16"],
  ["an address", "opt245=10.0.0.1\n", "10.0.0.1"],
  ["udhcpc without the option", "ip=10.20.0.4\nlease=86400\n", undefined],
  ["three bytes", "opt245=a83f81\n", undefined],
  ["five bytes", "opt245=a83f811000\n", undefined],
  ["no hexadecimal", "opt245=a83f811z\n", undefined],
  ["an empty value", "opt245=\n", undefined],
  ["another option that ends alike", "xopt245=a83f8110\n", undefined],
  ["nothing", "", undefined],
  ["dhclient", isc("option unknown-245 a8:3f:81:10;"), "168.63.129.16"],
  ["dhclient, no leading zeros", isc("option unknown-245 a:0:0:1;"), "10.0.0.1"],
  ["dhclient, quoted string", isc('option unknown-245 "\\250?\\201\\020";'), "168.63.129.16"],
  ["dhclient, quoted quote", isc('option unknown-245 "\\"\\\\;}";'), "34.92.59.125"],
  ["OpenBSD dhclient", isc("option option-245 a8:3f:81:10;"), "168.63.129.16"],
  ["dhclient without the option", isc("option routers 10.20.0.1;"), undefined],
  ["dhclient, three bytes", isc("option unknown-245 a8:3f:81;"), undefined],
  [
    "dhclient, expired",
    isc("option unknown-245 a8:3f:81:10;", "expire 0 2026/11/22 12:00:00;"),
    undefined,
  ],
  [
    "dhclient, one second left",
    isc("option unknown-245 a8:3f:81:10;", "expire 0 2026/11/22 12:00:01;"),
    "168.63.129.16",
  ],
  [
    "dhclient, epoch, expired",
    isc("option unknown-245 a8:3f:81:10;", `expire epoch ${NOW_MS / 1000};`),
    undefined,
  ],
  [
    "dhclient, epoch, one second left",
    isc("option unknown-245 a8:3f:81:10;", `expire epoch ${NOW_MS / 1000 + 1};`),
    "168.63.129.16",
  ],
  [
    "dhclient, the last of two",
    isc("option unknown-245 a:0:0:1;") + isc("option unknown-245 a:0:0:2;"),
    "10.0.0.2",
  ],
  ["dhclient, the last one without it", isc("option unknown-245 a:0:0:1;") + isc(""), "10.0.0.1"],
] as const;

describe("findEndpointInLease()", () => {
  for (const [name, text, want] of CASES) {
    test(`${name}: ${want ?? "nothing"}`, () => {
      const found = findEndpointInLease(text, NOW_MS);
      expect(found === undefined ? undefined : formatIpv4(found)).toBe(want);
    });
  }

  test("never throws", () => {
    const pieces = fc.constantFrom(
      "lease {",
      "}",
      "option unknown-245 ",
      "a8:3f",
      '"',
      "\\",
      ";",
      "opt245=",
      "\n",
      "\\377",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string()), { maxLength: 40 }), (parts) => {
        findEndpointInLease(parts.join(""), NOW_MS);
      }),
    );
  });
});
