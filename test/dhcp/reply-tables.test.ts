/**
 * Every cell of two tables: what each field of each kind of reply holds (RFC 2131 table 3, and what clients read beyond
 * it), and where each kind of reply is sent (RFC 2131 section 4.1).
 */
import { describe, expect, test } from "vitest";
import {
  createBootProfile,
  createDhcpRequest,
  createRequestContext,
  type DecideRequest,
  nakCopyDestination,
  readRequest,
  replyDestination,
} from "../../src/dhcp/index.ts";
import { formatIpv4, parseIpv4, parseSubnet } from "../../src/model/ipv4-address.ts";
import {
  addressOf,
  bootp,
  discover,
  frameOf,
  inform,
  type Message,
  type OptionWord,
  payloadOf,
  rebind,
  reboot,
  renew,
  request,
  STATIONS,
  select,
} from "../scenarios/vocabulary.ts";
import { CLIENT_IP, profileWith, type SERVER_IP } from "./packets.ts";
import { startServer } from "./test-server.ts";

const RELAY = "10.0.0.254";
const IDENTIFIER = [255, 1, 2, 3];
const MACHINE = [0, ...Array.from({ length: 16 }, (_, index) => index)];
const RELAY_INFORMATION = [1, 2, 3, 4];
/** A ROM that says all that it may say. */
const SAYS_ALL: readonly OptionWord[] = [
  [55, [12, 15]],
  [60, "PXEClient:Arch:00007:UNDI:003016"],
  [61, IDENTIFIER],
  [93, [0, 7]],
  [97, MACHINE],
];

const decide: DecideRequest = () => ({
  kind: "assigned",
  assignment: {
    address: CLIENT_IP,
    profile: profileWith(),
    hostname: "web-0",
    boot: createBootProfile({
      server: parseIpv4("10.0.0.2"),
      files: { bios: "boot.efi", "uefi-x64": "boot.efi" },
    }),
  },
});

interface Kind {
  readonly message: Message;
  /** Columns of the field table. */
  readonly ciaddr: string;
  readonly yiaddr: string;
  readonly isBooting: boolean;
  readonly type: number | undefined;
  readonly has: readonly number[];
}

const LEASE = [51, 58, 59];
const NETWORK = [1, 3, 6, 121, 249, 245];
const ASKED = [12, 15];
const BOOT = [66, 67];
const BOOT_DIALOGUE = [60, 43, 97];
const said = (message: Message): Message => ({
  ...message,
  options: [...(message.options ?? []), ...SAYS_ALL],
});
const KINDS: Readonly<Record<string, Kind>> = {
  DHCPOFFER: {
    message: said(discover()),
    ciaddr: "0.0.0.0",
    yiaddr: "10.0.0.5",
    isBooting: true,
    type: 2,
    has: [53, 54, ...LEASE, ...NETWORK, ...ASKED, ...BOOT, ...BOOT_DIALOGUE, 61],
  },
  "DHCPOFFER to a ciaddr": {
    message: said(discover({ ciaddr: ".5" })),
    ciaddr: "0.0.0.0",
    yiaddr: "10.0.0.5",
    isBooting: true,
    type: 2,
    has: [53, 54, ...LEASE, ...NETWORK, ...ASKED, ...BOOT, ...BOOT_DIALOGUE, 61],
  },
  "DHCPACK to SELECTING": {
    message: said(select(".5")),
    ciaddr: "0.0.0.0",
    yiaddr: "10.0.0.5",
    isBooting: true,
    type: 5,
    has: [53, 54, ...LEASE, ...NETWORK, ...ASKED, ...BOOT, ...BOOT_DIALOGUE, 61],
  },
  "DHCPACK to INIT-REBOOT": {
    message: said(reboot(".5")),
    ciaddr: "0.0.0.0",
    yiaddr: "10.0.0.5",
    isBooting: true,
    type: 5,
    has: [53, 54, ...LEASE, ...NETWORK, ...ASKED, ...BOOT, ...BOOT_DIALOGUE, 61],
  },
  "DHCPACK to RENEWING": {
    message: said(renew(".5")),
    ciaddr: "10.0.0.5",
    yiaddr: "10.0.0.5",
    isBooting: true,
    type: 5,
    has: [53, 54, ...LEASE, ...NETWORK, ...ASKED, ...BOOT, 61],
  },
  "DHCPACK to REBINDING": {
    message: said(rebind(".5")),
    ciaddr: "10.0.0.5",
    yiaddr: "10.0.0.5",
    isBooting: true,
    type: 5,
    has: [53, 54, ...LEASE, ...NETWORK, ...ASKED, ...BOOT, 61],
  },
  "DHCPACK to INFORM": {
    message: said(inform({ ciaddr: ".5", sourceIp: ".5" })),
    ciaddr: "10.0.0.5",
    yiaddr: "0.0.0.0",
    isBooting: true,
    type: 5,
    has: [53, 54, ...NETWORK, ...ASKED, ...BOOT, ...BOOT_DIALOGUE, 61],
  },
  DHCPNAK: {
    message: said(select(".99")),
    ciaddr: "0.0.0.0",
    yiaddr: "0.0.0.0",
    isBooting: false,
    type: 6,
    has: [53, 54, 56, 61],
  },
  "DHCPNAK to RENEWING": {
    message: said(rebind(".99")),
    ciaddr: "0.0.0.0",
    yiaddr: "0.0.0.0",
    isBooting: false,
    type: 6,
    has: [53, 54, 56, 61],
  },
  BOOTREPLY: {
    message: bootp({ ciaddr: ".5", options: SAYS_ALL }),
    ciaddr: "10.0.0.5",
    yiaddr: "10.0.0.5",
    isBooting: true,
    type: undefined,
    has: [1, 3, 12, 6],
  },
};
const WAYS = {
  "from the client": {},
  "from a relay": { giaddr: RELAY, hops: 3 },
} as const satisfies Record<string, Partial<Message>>;

describe.each(Object.entries(KINDS))("the field table: %s", (_kind, kind) => {
  test.each(Object.entries(WAYS))("%s", (_way, way) => {
    const isRelayed = "giaddr" in way;
    const options = kind.message.options ?? [];
    const message: Message = {
      ...kind.message,
      ...way,
      ...(isRelayed && { sourceIp: RELAY, destinationIp: "S", to: "S" }),
      options: isRelayed ? [...options, [82, RELAY_INFORMATION]] : options,
      xid: 0xfedc_ba98,
      secs: 7,
      flags: 0x0001,
    };
    const payload = payloadOf(message);
    payload.set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 34); // the rest of chaddr comes back as it is
    payload.set([9, 9, 9, 9, 8, 8, 8, 8], 16); // rubbish of a ROM in yiaddr and siaddr
    const { sendFrame } = startServer({
      decide,
      relays: [parseSubnet("10.0.0.0/24")],
      policy: { bootp: true, rapidCommit: false },
    });
    const [reply] = sendFrame(frameOf(message, payload));
    const { message: read } = reply!;
    expect([read.op, reply!.payload[1], reply!.payload[2], read.hops]).toEqual([2, 1, 6, 0]);
    expect([read.xid, read.secs]).toEqual([0xfedc_ba98, 0]);
    const mustBroadcast = kind.type === 6 && isRelayed;
    expect(read.flags).toBe(mustBroadcast ? 0x8000 : 0);
    expect(formatIpv4(read.ciaddr)).toBe(kind.ciaddr);
    expect(formatIpv4(read.yiaddr)).toBe(kind.yiaddr);
    expect(formatIpv4(read.siaddr)).toBe(kind.isBooting ? "10.0.0.2" : "0.0.0.0");
    expect(formatIpv4(read.giaddr)).toBe(isRelayed ? RELAY : "0.0.0.0");
    expect(reply!.payload.slice(28, 44)).toEqual(payload.slice(28, 44));
    expect(read.sname).toEqual(new Uint8Array());
    expect(new TextDecoder().decode(read.file)).toBe(kind.isBooting ? "boot.efi" : "");
    const want = isRelayed ? [...kind.has, 82] : kind.has;
    expect([...read.options.keys()].sort()).toEqual([...want].sort());
    const echoes: readonly [number, readonly number[]][] = [
      [61, IDENTIFIER],
      [97, MACHINE],
      [82, RELAY_INFORMATION],
    ];
    for (const [code, data] of echoes) {
      if (want.includes(code)) expect(read.options.get(code)).toEqual(Uint8Array.from(data));
    }
    if (kind.type !== undefined) {
      expect(read.options.get(53)).toEqual(Uint8Array.of(kind.type));
      expect(read.options.get(54)).toEqual(Uint8Array.of(168, 63, 129, 16));
    }
  });
});

describe("the destination table", () => {
  const BROADCAST = "all 255.255.255.255:68";
  const ASSIGNED = "M1 10.0.0.5:68";
  const CIADDR = "M1 10.0.0.7:68";
  const SOURCE = "M1 10.0.0.9:68";
  const GIADDR = `R1 ${RELAY}:67`;
  /** One row per reply; one column per pair of ciaddr and broadcast bit, without and with a relay. */
  const COLUMNS = [
    { ciaddr: "0.0.0.0", flags: 0 },
    { ciaddr: "0.0.0.0", flags: 0x8000 },
    { ciaddr: ".7", flags: 0 },
    { ciaddr: ".7", flags: 0x8000 },
  ];
  const ROWS = [
    ["DHCPOFFER", discover, CLIENT_IP, [ASSIGNED, BROADCAST, ASSIGNED, BROADCAST]],
    ["DHCPACK", request, addressOf(".7"), [CIADDR, BROADCAST, CIADDR, CIADDR]],
    // NetworkManager selects an offer with its old address in ciaddr, which it uses no more.
    ["DHCPACK", request, CLIENT_IP, [ASSIGNED, BROADCAST, ASSIGNED, BROADCAST]],
    // To a DHCPDISCOVER (rapid commit), and ciaddr is as idle as for an offer.
    ["DHCPACK", discover, CLIENT_IP, [ASSIGNED, BROADCAST, ASSIGNED, BROADCAST]],
    ["DHCPACK", inform, 0, [SOURCE, SOURCE, CIADDR, CIADDR]],
    ["DHCPNAK", request, 0, [BROADCAST, BROADCAST, BROADCAST, BROADCAST]],
    ["BOOTREPLY", bootp, CLIENT_IP, [ASSIGNED, BROADCAST, ASSIGNED, BROADCAST]],
  ] as const;
  type To = { readonly mac: number; readonly address: number; readonly port: number };

  const inWords = (to: To) => {
    const station = Object.entries(STATIONS).find(([, mac]) => mac === to.mac)?.[0];
    return `${station} ${formatIpv4(to.address as typeof SERVER_IP)}:${to.port}`;
  };
  const requestOf = (message: Message) => {
    const bytes = payloadOf(message);
    const request = createDhcpRequest();
    const drop = readRequest(bytes, new DataView(bytes.buffer), 0, bytes.length, request);
    if (drop !== undefined) throw new Error(drop);
    return request;
  };
  const contextOf = (station: "M1" | "R1", sourceIp: string, sourcePort = 68) => ({
    ...createRequestContext(),
    sourceMac: STATIONS[station],
    sourceIp: addressOf(sourceIp),
    sourcePort,
  });

  for (const [type, ask, yiaddr, row] of ROWS) {
    const asked = ask().type === "none" ? "BOOTREQUEST" : ask().type;
    const name = `${type} of ${formatIpv4(yiaddr as typeof CLIENT_IP)} to ${asked}`;
    test.each(COLUMNS.map((column, index) => ({ ...column, want: row[index]! })))(
      `${name}: ciaddr $ciaddr, flags $flags`,
      ({ want, ...fields }) => {
        const reply = { type, yiaddr: yiaddr as typeof CLIENT_IP };
        const direct = replyDestination(requestOf(ask(fields)), contextOf("M1", ".9"), reply);
        expect(inWords(direct)).toBe(want);
        const relayed = requestOf(ask({ ...fields, giaddr: RELAY }));
        expect(inWords(replyDestination(relayed, contextOf("R1", RELAY, 67), reply))).toBe(GIADDR);
      },
    );
  }

  test("a relay gets its answer at its own port only if it says so", () => {
    const reply = { type: "DHCPOFFER", yiaddr: CLIENT_IP } as const;
    const asks = requestOf(discover({ giaddr: RELAY, options: [[82, [19, 0]]] }));
    const to = (request: typeof asks) =>
      inWords(replyDestination(request, contextOf("R1", RELAY, 1067), reply));
    expect(to(asks)).toBe(`R1 ${RELAY}:1067`);
    expect(to(requestOf(discover({ giaddr: RELAY })))).toBe(GIADDR);
  });

  test.each([
    ["ciaddr, by unicast", ".7", true, undefined, CIADDR],
    ["ciaddr, by broadcast", ".7", false, undefined, undefined],
    ["no ciaddr, by unicast", "0.0.0.0", true, undefined, undefined],
    ["ciaddr, by unicast, relayed", ".7", true, RELAY, undefined],
  ])("the copy of a DHCPNAK: %s", (_name, ciaddr, unicast, giaddr, want) => {
    const request = requestOf(discover({ ciaddr, ...(giaddr !== undefined && { giaddr }) }));
    const copy = nakCopyDestination(request, { ...contextOf("M1", ".7"), unicast });
    expect(copy && inWords(copy)).toBe(want);
  });
});
