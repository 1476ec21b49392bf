import { describe, expect } from "vitest";
import {
  type ClientFqdn,
  type DhcpRequest,
  isIpxe,
  readClientArchitectures,
  readClientFqdn,
  readClientInterface,
  readHostname,
  readMachineIdentifier,
  readOption,
  readSubnetSelection,
  readSuboptions,
  readUserClasses,
  readVendorClass,
  type ServerDropReason,
} from "../../src/dhcp/index.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import {
  DISCOVER,
  END,
  frame,
  type MalformedRow,
  put,
  REQUEST,
  testRows,
  times,
} from "./malformed.ts";
import { CLIENT_IP, octets, profileWith, RELAY_MAC, type ReadReply, SUBNET } from "./packets.ts";

const OURS = octets("168.63.129.16");
const D = [...DISCOVER, END];
const text = (value: string) => [...new TextEncoder().encode(value)];
const option = (code: number, ...data: readonly number[]) => [code, data.length, ...data];
/** A DHCPDISCOVER with these options. */
const discover = (...options: readonly number[]) => frame([...DISCOVER, ...options, END]);
/** A DHCPREQUEST that selects us and this address. */
const select = (address: string, ...options: readonly number[]) =>
  frame([...REQUEST, ...option(54, ...OURS), ...option(50, ...octets(address)), ...options, END]);
const relayed = (...options: readonly number[]) =>
  frame([...DISCOVER, ...options, END], { sourceMac: RELAY_MAC }, put(24, 10, 0, 0, 9));
const server = { relays: [SUBNET] };
const codesOf = ({ message }: ReadReply) => [...message.options.keys()];
const lease = ({ message }: ReadReply) => message.options.get(51);
/** Checks what a reader says of the request. */
const reads =
  <T>(read: (request: DhcpRequest) => T, want: T) =>
  (request: DhcpRequest) => {
    expect(read(request)).toEqual(want);
  };

const FRAMING: readonly MalformedRow[] = [
  { name: "M59 a code without length", frame: frame([...DISCOVER, 12]), ignored: ["opt.trunc"] },
  { name: "M59 a code without length before 53", frame: frame([12]), drop: "opt.trunc" },
  {
    name: "M60 one octet too long",
    frame: frame([...DISCOVER, 12, 2, 65]),
    ignored: ["opt.trunc"],
  },
  { name: "M60 255 octets too long", frame: frame([...DISCOVER, 12, 255]), ignored: ["opt.trunc"] },
  {
    name: "M60 what stands before it counts",
    frame: frame([...DISCOVER, ...option(57, 2, 0x40), 12, 9, 65]),
    ignored: ["opt.trunc"],
    look: (request) => expect(request.maxMessageSize).toBe(576),
  },
  { name: "M60 too long before 53", frame: frame([12, 2, 65]), drop: "opt.trunc" },
  ...[50, 54, 82].map(
    (code): MalformedRow => ({
      name: `M61 option ${code} too long`,
      frame: frame([...REQUEST, code, 9, 1, 2, 3]),
      drop: "opt.trunc",
    }),
  ),
  { name: "M62 no End", frame: frame(DISCOVER), ignored: ["opt.noend"] },
  { name: "M63 End first", frame: frame([END, ...DISCOVER]), drop: "bootp.disabled" },
  {
    name: "M64 a DHCPDISCOVER after End, and rubbish",
    frame: frame([
      ...option(53, 3),
      ...option(50, ...octets("10.0.0.5")),
      END,
      ...DISCOVER,
      50,
      200,
    ]),
    reply: "DHCPACK",
  },
  { name: "M65 1,200 Pads before 53", frame: frame([...times(1200, 0), ...D]) },
  { name: "M66 no 53", frame: frame([...option(12, 65), END]), drop: "bootp.disabled" },
  { name: "M71 53 last", frame: frame([...option(55, 1, 3), ...option(12, 65), ...D]) },
  {
    name: "M102 129 empty options",
    frame: discover(...times(128, 200).flatMap((code) => [code, 0])),
    drop: "opt.flood",
  },
  {
    name: "M102 128 empty options",
    frame: discover(...times(127, 200).flatMap((code) => [code, 0])),
  },
  {
    name: "M102 129 empty options that are read",
    frame: discover(...times(128, 12).flatMap((code) => [code, 0])),
    drop: "opt.flood",
  },
];

const typed = (name: string, types: readonly number[], drop: ServerDropReason): MalformedRow[] =>
  types.map((type) => ({ name: `${name} ${type}`, frame: frame([53, 1, type, END]), drop }));

const TYPE: readonly MalformedRow[] = [
  { name: "M67 53 without data", frame: frame([53, 0, END]), drop: "opt.53" },
  { name: "M67 53 of two octets", frame: frame([53, 2, 1, 1, END]), drop: "opt.53" },
  { name: "M67 53 twice, different", frame: frame([...DISCOVER, ...REQUEST, END]), drop: "opt.53" },
  {
    name: "M67 53 twice, equal",
    frame: frame([...DISCOVER, ...DISCOVER, END]),
    ignored: ["opt.dup"],
  },
  ...typed("M68 type", [0, 19, 20, 255], "type.unknown"),
  ...typed("M69 type", [2, 5, 6, 9, 11, 12, 13, 15, 17], "type.server"),
  ...typed("M70 type", [10, 14, 16, 18], "type.unsupported"),
];

const SHORT = option(50, 10, 0, 0);
const ADDRESS: readonly MalformedRow[] = [
  {
    name: "M72 50 of three octets in a DHCPREQUEST",
    frame: frame([...REQUEST, ...SHORT, END]),
    drop: "opt.50",
  },
  {
    name: "M72 50 of three octets in a DHCPDISCOVER",
    frame: discover(...SHORT),
    ignored: ["opt.50"],
  },
  {
    name: "M72 50 twice, different",
    frame: select("10.0.0.5", ...option(50, ...octets("10.0.0.6"))),
    drop: "opt.50",
  },
  {
    name: "M72 50 twice, equal",
    frame: select("10.0.0.5", ...option(50, ...octets("10.0.0.5"))),
    reply: "DHCPACK",
    ignored: ["opt.dup"],
  },
  ...["0.0.0.0", "255.255.255.255", "127.0.0.1"].flatMap((address): MalformedRow[] => [
    { name: `M73 50 = ${address}, selecting`, frame: select(address), reply: "DHCPNAK" },
    {
      name: `M73 50 = ${address}, after a reboot`,
      frame: frame([...REQUEST, ...option(50, ...octets(address)), END]),
      reply: "DHCPNAK",
    },
  ]),
  ...[3, 4, 7].map(
    (type): MalformedRow => ({
      name: `M74 54 of five octets in a message of type ${type}`,
      frame: frame([53, 1, type, ...option(54, ...OURS, 1), END], {}, put(12, 10, 0, 0, 5)),
      drop: "opt.54",
    }),
  ),
  {
    name: "M74 54 of five octets in a DHCPDISCOVER",
    frame: discover(...option(54, ...OURS, 1)),
    ignored: ["opt.54"],
  },
  {
    name: "M74 54 of five octets in a DHCPINFORM",
    frame: frame([53, 1, 8, ...option(54, ...OURS, 1), END], {}, put(12, 10, 0, 0, 5)),
    reply: "DHCPACK",
    ignored: ["opt.54"],
  },
  {
    name: "M75 54 = 0.0.0.0",
    frame: frame([...REQUEST, ...option(54, 0, 0, 0, 0), ...option(50, 10, 0, 0, 5), END]),
    reply: "DHCPACK",
    notes: ["req.54zero"],
  },
];

const day = Uint8Array.of(0, 1, 0x51, 0x80);
const NUMBERS: readonly MalformedRow[] = [
  ...(
    [
      ["M76 51 of three octets", [0, 1, 0], day, ["opt.51"]],
      ["M76 51 = 0", [0, 0, 0, 0], day, ["opt.51"]],
      ["M76 51 = 1", [0, 0, 0, 1], Uint8Array.of(0, 0, 0, 60), []],
      ["M77 51 without end", [255, 255, 255, 255], day, []],
    ] as const
  ).map(
    ([name, data, want, ignored]): MalformedRow => ({
      name,
      frame: discover(...option(51, ...data)),
      ignored,
      check: (reply) => expect(lease(reply)).toEqual(want),
    }),
  ),
  { name: "M78 55 without data", frame: discover(55, 0), ignored: ["opt.55"] },
  {
    name: "M78 55 with repetitions and codes that are nobody's to ask for",
    frame: discover(...option(55, 28, 0, 15, 28, 255, 52, 53, 54, 82, 12, 15)),
    check: (reply) =>
      expect(codesOf(reply)).toEqual([53, 54, 51, 58, 59, 1, 3, 6, 121, 249, 245, 28, 15, 12]),
  },
  {
    name: "M79 55 with 255 codes",
    frame: discover(...option(55, ...Array.from({ length: 255 }, (_, code) => code))),
    check: (reply) => expect(codesOf(reply).slice(-4)).toEqual([12, 15, 26, 28]),
  },
  {
    name: "M79 55 in two instances",
    frame: discover(...option(55, 28, 15), ...option(60, 65), ...option(55, 12)),
    check: (reply) => expect(codesOf(reply).slice(-3)).toEqual([28, 15, 12]),
  },
  ...(
    [
      ["M80 57 of one octet", [5], 0, ["opt.57"]],
      ["M80 57 = 300", [1, 44], 0, []],
      ["M80 57 = 0", [0, 0], 0, []],
      ["M80 57 = 65,280, as OVMF sends", [255, 0], 65_280, []],
    ] as const
  ).map(
    ([name, data, want, ignored]): MalformedRow => ({
      name,
      frame: discover(...option(57, ...data)),
      server: { profile: manyRoutes() },
      ignored,
      look: (request) => expect(request.maxMessageSize).toBe(want),
      check: ({ payload }) => expect(payload.length).toBeLessThanOrEqual((want || 576) - 28),
    }),
  ),
];

function manyRoutes() {
  const destination = (net: number) => ({ network: parseIpv4(`10.${net}.0.0`), prefixLength: 16 });
  const routes = Array.from({ length: 100 }, (_, net) => ({
    destination: destination(net),
    gateway: parseIpv4("10.0.0.1"),
  }));
  return profileWith({ routes });
}

const long = Array.from({ length: 300 }, (_, octet) => octet & 255);
const IDENTITY: readonly MalformedRow[] = [
  {
    name: "M81 61 without data is not echoed",
    frame: discover(61, 0),
    ignored: ["opt.61"],
    check: (reply) => expect(codesOf(reply)).not.toContain(61),
  },
  {
    name: "M81 61 of one octet is echoed",
    frame: discover(...option(61, 7)),
    check: ({ message }) => expect(message.options.get(61)).toEqual(Uint8Array.of(7)),
  },
  {
    name: "M81 61 of 300 octets is echoed in the same pieces",
    frame: discover(
      ...option(57, 5, 0xc0),
      ...option(61, ...long.slice(0, 255)),
      ...option(61, ...long.slice(255)),
    ),
    check: ({ payload }) => {
      const wire = Buffer.from(payload);
      const pieces = Buffer.from([
        ...option(61, ...long.slice(0, 255)),
        ...option(61, ...long.slice(255)),
      ]);
      expect(wire.includes(pieces)).toBe(true);
    },
  },
  {
    name: "M82 61 with somebody else's MAC",
    frame: discover(...option(61, 1, 0, 0x0d, 0x3a, 9, 9, 9)),
    notes: ["clientid.mismatch"],
    check: ({ message }) => expect(message.yiaddr).toBe(CLIENT_IP),
  },
  {
    name: "M82 61 with the client's own MAC",
    frame: discover(...option(61, 1, 0, 0x0d, 0x3a, 1, 2, 3)),
  },
];

const NAMES: readonly MalformedRow[] = [
  { name: "M83 12 without data", frame: discover(12, 0), ignored: ["opt.12"] },
  { name: "M83 12 of NULs", frame: discover(...option(12, 0, 0)), ignored: ["opt.12"] },
  ...(
    [
      ["M83 12 with a NUL inside", [...text("web"), 0, ...text("db")], "web"],
      ["M83 12 with a NUL at its end", [...text("web-1"), 0], "web-1"],
      ["M83 12 with control octets", [7, ...text("we"), 27, ...text("b")], "web"],
      ["S70 12 with nothing that a name may have", text("___"), undefined],
      ["S69 12 with a command", text('$(reboot);"`'), "reboot"],
      ["S69 12 of 255 letters", times(255, 97), "a".repeat(63)],
    ] as const
  ).map(
    ([name, data, want]): MalformedRow => ({
      name,
      frame: discover(...option(12, ...data)),
      look: reads(readHostname, want),
    }),
  ),
  {
    name: "M83 12 of 300 octets in two instances",
    frame: discover(...option(12, ...times(255, 97)), ...option(12, ...times(45, 97))),
    look: reads(readHostname, "a".repeat(63)),
  },
];

const PARTIAL: ClientFqdn = {
  serverUpdates: false,
  noUpdates: false,
  isEncoded: true,
  name: "web",
  isComplete: false,
};
const FQDN: readonly MalformedRow[] = [
  ...(
    [
      ["M84 81 of two octets", [0, 0]],
      ["M84 81 with N and S", [9, 0, 0, ...text("web")]],
      ["M84 81 with a label of 64", [4, 0, 0, 64, ...times(64, 97), 0]],
      ["M84 81 with a label that runs past it", [4, 0, 0, 5, 97]],
      ["M84 81 with a compression pointer", [4, 0, 0, 3, ...text("web"), 0xc0, 0]],
    ] as const
  ).map(
    ([name, data]): MalformedRow => ({
      name,
      frame: discover(...option(81, ...data)),
      ignored: ["opt.81"],
      look: reads(readClientFqdn, undefined),
      check: (reply) => expect(codesOf(reply)).not.toContain(81),
    }),
  ),
  {
    name: "M84 81 with reserved flags",
    frame: discover(...option(81, 0xf4, 0, 0, 3, ...text("web"))),
    look: reads(readClientFqdn, PARTIAL),
    check: ({ message }) => expect(message.options.get(81)?.[0]).toBe(0x0c),
  },
  {
    name: "M84 81 with a name that does not end",
    frame: discover(...option(81, 4, 0, 0, 3, ...text("web"))),
    look: reads(readClientFqdn, PARTIAL),
  },
  {
    name: "M84 81 with a whole name",
    frame: discover(...option(81, 5, 0, 0, 3, ...text("web"), 2, ...text("io"), 0)),
    look: reads(readClientFqdn, {
      ...PARTIAL,
      serverUpdates: true,
      name: "web.io",
      isComplete: true,
    }),
  },
  {
    name: "M84 81 in ASCII",
    frame: discover(...option(81, 8, 0, 0, ...text("web.io."))),
    look: reads(readClientFqdn, {
      serverUpdates: false,
      noUpdates: true,
      isEncoded: false,
      name: "web.io",
      isComplete: true,
    }),
  },
];

const echoes =
  (...want: readonly number[]) =>
  ({ message }: ReadReply) => {
    expect(message.options.get(82)).toEqual(want.length === 0 ? undefined : Uint8Array.from(want));
    if (want.length > 0) expect([...message.options.keys()].at(-1)).toBe(82);
  };
const RELAY: readonly MalformedRow[] = [
  {
    name: "M85 82 without data",
    frame: relayed(82, 0),
    server,
    ignored: ["opt.82"],
    check: echoes(),
  },
  {
    name: "M86 82 with a sub-option that runs past it: none counts, all is echoed",
    frame: relayed(...option(82, 11, 4, 10, 0, 0, 9, 1, 200, 7)),
    server,
    ignored: ["rai.malformed"],
    look: (request) => expect(request.serverIdentifierOverride).toBe(0),
    check: echoes(11, 4, 10, 0, 0, 9, 1, 200, 7),
  },
  {
    name: "M86 82 with a code without length",
    frame: relayed(...option(82, 1, 1, 7, 2)),
    server,
    ignored: ["rai.malformed"],
    check: echoes(1, 1, 7, 2),
  },
  {
    name: "M87 82 in two instances",
    frame: relayed(...option(82, 1, 1, 7), ...option(82, 2, 1, 8)),
    server,
    check: echoes(1, 1, 7, 2, 1, 8),
  },
  {
    name: "M88 82 not last",
    frame: relayed(...option(82, 1, 1, 7), ...option(60, 65)),
    server,
    check: echoes(1, 1, 7),
  },
  {
    name: "M89 82 from a guest",
    frame: discover(...option(82, 11, 4, 10, 0, 0, 9)),
    ignored: ["rai.untrusted"],
    look: (request) => {
      expect(request.serverIdentifierOverride).toBe(0);
      expect(readOption(request, 82)).toBeUndefined();
    },
    check: echoes(),
  },
];

/** `file` full of this, and Pads before it, so that it ends where the field ends. */
const fileEndsWith = (...octetsOfFile: readonly number[]) =>
  put(108, ...times(128 - octetsOfFile.length, 0), ...octetsOfFile);
const OVERLOAD: readonly MalformedRow[] = [
  ...(
    [
      ["M90 52 without data", [52, 0]],
      ["M90 52 of two octets", option(52, 3, 3)],
      ["M90 52 = 0", option(52, 0)],
      ["M90 52 = 4", option(52, 4)],
      ["M90 52 = 255", option(52, 255)],
    ] as const
  ).map(
    ([name, data]): MalformedRow => ({
      name,
      frame: frame([...DISCOVER, ...data, END], {}, put(108, ...option(12, 65))),
      ignored: ["opt.52"],
      look: reads(readHostname, undefined),
    }),
  ),
  {
    name: "M91 file lacks End",
    frame: frame([...DISCOVER, ...option(52, 1), END], {}, fileEndsWith(...option(12, 65))),
    ignored: ["opt.noend"],
    look: reads(readHostname, "a"),
  },
  {
    name: "M91 an option runs past file, and sname is read all the same",
    frame: frame(
      [...DISCOVER, ...option(52, 3), END],
      {},
      fileEndsWith(12, 9),
      put(44, ...option(60, 65), END),
    ),
    ignored: ["opt.trunc"],
    look: reads(readVendorClass, "A"),
  },
  {
    name: "M92 52 inside sname",
    frame: frame(
      [...DISCOVER, ...option(52, 2), END],
      {},
      put(44, ...option(52, 1), ...option(60, 65), END),
      put(108, ...option(12, 65), END),
    ),
    ignored: ["opt.52"],
    look: (request) => {
      expect(readVendorClass(request)).toBe("A");
      expect(readHostname(request)).toBeUndefined();
    },
  },
  {
    name: "M93 53 only in file",
    frame: frame([...option(52, 1), END], {}, put(108, ...DISCOVER, END)),
  },
];

const CLASSES: readonly MalformedRow[] = [
  { name: "M94 60 without data", frame: discover(60, 0), ignored: ["opt.60"] },
  {
    name: "M94 60 with a NUL at its end",
    frame: discover(...option(60, ...text("MSFT 5.0"), 0)),
    look: reads(readVendorClass, "MSFT 5.0"),
  },
  {
    name: "M94 60 of 255 octets",
    frame: discover(...option(60, ...times(255, 65))),
    look: reads(readVendorClass, "A".repeat(255)),
  },
  ...(
    [
      ["M95 77 with a list", [2, 97, 98, 1, 99], ["ab", "c"]],
      ["M95 77 with a list that runs past it", [2, 97, 98, 9, 99], ["\u0002ab\tc"]],
      ["M95 77 with an empty class", [0, 1, 97], ["\u0000\u0001a"]],
      ["M95 77 as iPXE sends it", text("iPXE"), ["iPXE"]],
    ] as const
  ).map(
    ([name, data, want]): MalformedRow => ({
      name,
      frame: discover(...option(77, ...data)),
      look: (request) => {
        expect(readUserClasses(request)).toEqual(want);
        expect(isIpxe(request)).toBe(want[0] === "iPXE");
      },
    }),
  ),
  { name: "M95 77 without data", frame: discover(77, 0), ignored: ["opt.77"] },
  {
    name: "M95 iPXE's own option",
    frame: discover(...option(175, 1, 1, 1)),
    look: reads(isIpxe, true),
  },
  ...(
    [
      ["M96 43 with a tag without length", [1, 1, 9, 2], [[1, [9]]]],
      ["M96 43 with a tag that runs past it", [1, 1, 9, 2, 200, 1], [[1, [9]]]],
      ["M96 43 with an inner Pad", [0, 1, 1, 9], [[1, [9]]]],
      ["M96 43 with an inner End", [1, 1, 9, 255, 2, 1, 8], [[1, [9]]]],
    ] as const
  ).map(
    ([name, data, want]): MalformedRow => ({
      name,
      frame: discover(...option(43, ...data)),
      look: (request) => {
        const suboptions = readSuboptions(readOption(request, 43) ?? new Uint8Array());
        expect([...suboptions].map(([code, value]) => [code, [...value]])).toEqual(want);
      },
    }),
  ),
];

const FORMS: readonly MalformedRow[] = [
  { name: "M97 93 without data", frame: discover(93, 0), ignored: ["opt.93"] },
  {
    name: "M97 93 of three octets",
    frame: discover(...option(93, 0, 7, 0)),
    ignored: ["opt.93"],
    look: reads(readClientArchitectures, undefined),
  },
  {
    name: "M97 93 with two types",
    frame: discover(...option(93, 0, 7, 0, 16)),
    look: reads(readClientArchitectures, [7, 16]),
  },
  {
    name: "M97 94 of two octets",
    frame: discover(...option(94, 1, 3)),
    ignored: ["opt.94"],
    look: reads(readClientInterface, undefined),
  },
  {
    name: "M97 94 of three",
    frame: discover(...option(94, 1, 3, 16)),
    look: reads(readClientInterface, { type: 1, major: 3, minor: 16 }),
  },
  {
    name: "M97 97 of 16 octets",
    frame: discover(...option(97, ...times(16, 0))),
    ignored: ["opt.97"],
    look: reads(readMachineIdentifier, undefined),
  },
  {
    name: "M97 97 of type 1",
    frame: discover(...option(97, 1, ...times(16, 9))),
    ignored: ["opt.97"],
  },
  {
    name: "M97 97 of type 0",
    frame: discover(...option(97, 0, ...times(16, 9))),
    look: reads(readMachineIdentifier, Uint8Array.of(0, ...times(16, 9))),
    check: (reply) => expect(codesOf(reply)).not.toContain(97),
  },
  {
    name: "M98 118 of three octets",
    frame: discover(...option(118, 10, 0, 0)),
    ignored: ["opt.118"],
    look: reads(readSubnetSelection, undefined),
  },
  {
    name: "M98 118 of another subnet",
    frame: discover(...option(118, 10, 2, 0, 0)),
    drop: "subnet.unknown",
  },
  {
    name: "M98 118 of our subnet",
    frame: discover(...option(118, 10, 0, 0, 0)),
    look: reads(readSubnetSelection, parseIpv4("10.0.0.0")),
  },
  {
    name: "M98 118 of another subnet, but the relay says ours (RFC 3527)",
    frame: relayed(...option(118, 10, 2, 0, 0), ...option(82, 5, 4, 10, 0, 0, 0)),
    server,
  },
  { name: "M99 116 without data", frame: discover(116, 0), ignored: ["opt.116"] },
  { name: "M99 116 of one octet", frame: discover(...option(116, 1)) },
  {
    name: "M99 80 with data",
    frame: discover(...option(80, 1)),
    server: { policy: { bootp: false, rapidCommit: true } },
    ignored: ["opt.80"],
  },
  { name: "M99 108 with data", frame: discover(...option(108, 0, 0, 0, 9)), ignored: ["opt.108"] },
  {
    name: "M100 90",
    frame: discover(...option(90, 1, 1, 0, ...times(9, 0))),
    ignored: ["opt.90"],
    check: (reply) => expect(codesOf(reply)).not.toContain(90),
  },
  ...[124, 125].flatMap((code): MalformedRow[] => [
    {
      name: `M101 ${code} with a block that runs past it`,
      frame: discover(...option(code, 0, 0, 1, 55, 200, 1)),
      ignored: [code === 124 ? "opt.124" : "opt.125"],
    },
    {
      name: `M101 ${code} that ends inside a number`,
      frame: discover(...option(code, 0, 0, 1, 55, 1, 9, 0, 0)),
      ignored: [code === 124 ? "opt.124" : "opt.125"],
    },
    {
      name: `M101 ${code} with two blocks`,
      frame: discover(...option(code, 0, 0, 1, 55, 1, 9, 0, 0, 0, 9, 0)),
    },
  ]),
];

describe("the framing of options", () => testRows(FRAMING));
describe("option 53", () => testRows(TYPE));
describe("options 50 and 54", () => testRows(ADDRESS));
describe("options 51, 55 and 57", () => testRows(NUMBERS));
describe("option 61", () => testRows(IDENTITY));
describe("option 12", () => testRows(NAMES));
describe("option 81", () => testRows(FQDN));
describe("option 82", () => testRows(RELAY));
describe("option 52", () => testRows(OVERLOAD));
describe("options 60, 77 and 43", () => testRows(CLASSES));
describe("options of one form", () => testRows(FORMS));
