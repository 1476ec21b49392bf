/**
 * Kea as an oracle: the same frames to kea-dhcp4 with equal reservations, in a namespace, and to our server. Where the
 * two differ, the row says what each does; docs/protocols/dhcpv4.md says why.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  createDhcpCounters,
  createOptionProfile,
  decodeMessage,
  messageTypeName,
  serveDhcp,
} from "../../src/dhcp/index.ts";
import { formatIpv4, parseIpv4, parseSubnet } from "../../src/model/ipv4-address.ts";
import { type MacAddress, macPlus, parseMac, readMac } from "../../src/model/mac-address.ts";
import type { FrameSocket } from "../../src/net/frame-socket.ts";
import { createMemoryFrameSocket } from "../../src/net/memory-frame-socket.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { openPacketRing } from "../../src/net/packet-ring.ts";
import { Poller } from "../../src/net/poller.ts";
import { DISCOVER, END, payload, put, REQUEST, times } from "../dhcp/malformed.ts";
import { type EnvelopeSpec, frameOf, octets } from "../dhcp/packets.ts";
import { canMakeNamespaces, connect, disableIpv6, ip, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { run } from "./processes.ts";

const KEA = "/usr/sbin/kea-dhcp4";
const SUBNET = "10.77.0.0/16";
const GATEWAY = "10.77.0.1";
const SERVER = "10.77.0.2";
const DNS = "10.77.0.53";
const LEASE_SECONDS = 86_400;
const FIRST_MAC = parseMac("00:0c:05:00:00:00");
const UNKNOWN = parseMac("00:0c:06:00:00:01");
/** The client whose offer says that the server is done with what came before. */
const SENTINEL = 250;
const CLIENTS_MAX = 251;
const WAIT_MS = 20_000;
const XID = 4;

interface Client {
  readonly mac: MacAddress;
  readonly address: string;
  readonly serverMac: MacAddress;
}

interface Row {
  readonly name: string;
  /** The client gets its lease first: Kea answers some requests only with a lease. */
  readonly isBound?: boolean;
  readonly frame: (client: Client) => Uint8Array;
  /** What we answer. */
  readonly want: string;
  /** What Kea 2.2 answers, where it differs. */
  readonly kea?: string;
}

const US = octets(SERVER);
const text = (value: string) => [...new TextEncoder().encode(value)];
const option = (code: number, ...data: readonly number[]) => [code, data.length, ...data];
const mac = (client: Client) =>
  [40, 32, 24, 16, 8, 0].map((shift) => Math.floor(client.mac / 2 ** shift) & 255);

function frameFor(
  client: Client,
  options: readonly number[],
  changes: readonly ((bytes: Uint8Array) => void)[] = [],
  envelope: EnvelopeSpec = {},
): Uint8Array {
  const message = payload(options, put(28, ...mac(client)), ...changes);
  return frameOf(message, { sourceMac: client.mac, ...envelope });
}

const discover =
  (...options: readonly number[]) =>
  (client: Client) =>
    frameFor(client, [...DISCOVER, ...options, END]);
const discoverWith =
  (...changes: readonly ((bytes: Uint8Array) => void)[]) =>
  (client: Client) =>
    frameFor(client, [...DISCOVER, END], changes);
const raw =
  (...options: readonly number[]) =>
  (client: Client) =>
    frameFor(client, options);
const select = (address?: string) => (client: Client) =>
  frameFor(client, [
    ...REQUEST,
    ...option(54, ...US),
    ...option(50, ...octets(address ?? client.address)),
    END,
  ]);
const reboot = (address?: string) => (client: Client) =>
  frameFor(client, [...REQUEST, ...option(50, ...octets(address ?? client.address)), END]);
const unicast = (client: Client): EnvelopeSpec => ({
  destinationMac: client.serverMac,
  sourceIp: parseIpv4(client.address),
  destinationIp: parseIpv4(SERVER),
});
const withAddress =
  (type: number, address?: string, isUnicast = true) =>
  (client: Client) =>
    frameFor(
      client,
      [53, 1, type, END],
      [put(12, ...octets(address ?? client.address))],
      isUnicast ? unicast(client) : {},
    );

const OFFER = "DHCPOFFER own, mask, router, dns, lease, server";
const ACK = "DHCPACK own, mask, router, dns, lease, server";
const NAK = "DHCPNAK 0.0.0.0, server";
const INFORMED = "DHCPACK 0.0.0.0, mask, router, dns, server";
const SILENCE = "silence";

const ROWS: readonly Row[] = [
  { name: "DISCOVER", frame: discover(...option(55, 1, 3, 6)), want: OFFER },
  {
    name: "DISCOVER with a client identifier",
    frame: discover(...option(61, 1, 2, 3), ...option(55, 1, 3, 6)),
    want: OFFER,
  },
  {
    name: "DISCOVER of nobody",
    frame: (client) => discover()({ ...client, mac: UNKNOWN }),
    want: SILENCE,
  },
  {
    name: "DISCOVER that hints at another address",
    frame: discover(...option(50, 10, 77, 40, 1)),
    want: OFFER,
  },
  { name: "DISCOVER with ciaddr", frame: discoverWith(put(12, 10, 77, 40, 1)), want: OFFER },
  {
    name: "DISCOVER with the broadcast bit and reserved ones",
    frame: discoverWith(put(10, 255, 255)),
    want: OFFER,
  },
  { name: "DISCOVER with xid 0", frame: discoverWith(put(4, 0, 0, 0, 0)), want: OFFER },
  { name: "DISCOVER with secs 0xffff", frame: discoverWith(put(8, 255, 255)), want: OFFER },
  {
    name: "DISCOVER with another server's identifier",
    frame: discover(...option(54, 10, 9, 9, 9)),
    want: OFFER,
    kea: SILENCE,
  },
  { name: "DISCOVER with rapid commit, which is off", frame: discover(80, 0), want: OFFER },
  {
    name: "DISCOVER with rubbish in yiaddr and siaddr",
    frame: discoverWith(put(16, ...times(8, 9))),
    want: OFFER,
  },
  { name: "SELECTING", isBound: false, frame: select(), want: ACK },
  { name: "SELECTING another address", frame: select("10.77.40.1"), want: NAK },
  { name: "SELECTING an address of another subnet", frame: select("192.168.7.4"), want: NAK },
  {
    name: "SELECTING another server",
    frame: (client) =>
      frameFor(client, [
        ...REQUEST,
        ...option(54, 10, 9, 9, 9),
        ...option(50, ...octets(client.address)),
        END,
      ]),
    want: SILENCE,
  },
  {
    name: "SELECTING without an address",
    frame: raw(...REQUEST, ...option(54, ...US), END),
    want: SILENCE,
    kea: ACK,
  },
  { name: "INIT-REBOOT", isBound: true, frame: reboot(), want: ACK },
  { name: "INIT-REBOOT without a lease", frame: reboot(), want: ACK, kea: NAK },
  {
    name: "INIT-REBOOT with another address",
    isBound: true,
    frame: reboot("10.77.40.1"),
    want: NAK,
  },
  {
    name: "INIT-REBOOT with another subnet's address",
    isBound: true,
    frame: reboot("192.168.7.4"),
    want: NAK,
  },
  {
    name: "INIT-REBOOT of nobody",
    frame: (client) => reboot()({ ...client, mac: UNKNOWN }),
    want: SILENCE,
    kea: NAK,
  },
  { name: "RENEWING", isBound: true, frame: withAddress(3), want: ACK },
  {
    name: "RENEWING another address",
    isBound: true,
    frame: withAddress(3, "10.77.40.1"),
    want: NAK,
    kea: SILENCE,
  },
  { name: "REBINDING", isBound: true, frame: withAddress(3, undefined, false), want: ACK },
  {
    name: "REBINDING another subnet's address",
    isBound: true,
    frame: withAddress(3, "10.9.9.9", false),
    want: NAK,
    kea: SILENCE,
  },
  {
    name: "INFORM",
    isBound: true,
    frame: withAddress(8),
    want: INFORMED,
    kea: "DHCPACK 0.0.0.0, router, dns, server",
  },
  {
    name: "INFORM of nobody",
    frame: (client) => withAddress(8)({ ...client, mac: UNKNOWN }),
    want: SILENCE,
    kea: "DHCPACK 0.0.0.0, router, dns, server",
  },
  {
    name: "DECLINE",
    isBound: true,
    frame: (client) =>
      frameFor(client, [
        53,
        1,
        4,
        ...option(54, ...US),
        ...option(50, ...octets(client.address)),
        END,
      ]),
    want: SILENCE,
  },
  { name: "RELEASE", isBound: true, frame: withAddress(7), want: SILENCE },
  { name: "REQUEST that names nothing", frame: raw(...REQUEST, END), want: SILENCE, kea: ACK },
  { name: "BOOTP", frame: raw(END), want: SILENCE },
  {
    name: "M36 239 octets",
    frame: (client) =>
      frameOf(payload([...DISCOVER, END], put(28, ...mac(client))).slice(0, 239), {
        sourceMac: client.mac,
      }),
    want: SILENCE,
  },
  { name: "M40 op 3", frame: discoverWith(put(0, 3)), want: SILENCE, kea: OFFER },
  {
    name: "M41 htype 6",
    frame: discoverWith(put(1, 6)),
    want: SILENCE,
    kea: "an answer of htype 6",
  },
  { name: "M42 hlen 17", frame: discoverWith(put(2, 17)), want: SILENCE },
  { name: "M49 hops 17", frame: discoverWith(put(3, 17)), want: SILENCE, kea: OFFER },
  { name: "M58 a wrong cookie", frame: discoverWith(put(236, 1)), want: SILENCE },
  { name: "M60 an option runs past the end", frame: raw(...DISCOVER, 12, 9, 65), want: OFFER },
  { name: "M60 an option runs past the end before 53", frame: raw(12, 9, 65), want: SILENCE },
  { name: "M61 50 runs past the end", frame: raw(...REQUEST, 50, 9, 1), want: SILENCE, kea: ACK },
  { name: "M62 no End", frame: raw(...DISCOVER), want: OFFER },
  { name: "M64 rubbish after End", frame: raw(...DISCOVER, END, 50, 200, 1), want: OFFER },
  {
    name: "M65 1,200 Pads before 53",
    frame: raw(...times(1200, 0), ...DISCOVER, END),
    want: OFFER,
  },
  { name: "M67 53 without data", frame: raw(53, 0, END), want: SILENCE },
  { name: "M67 53 twice, different", frame: raw(...DISCOVER, ...REQUEST, END), want: SILENCE },
  {
    name: "M67 53 twice, equal",
    frame: raw(...DISCOVER, ...DISCOVER, END),
    want: OFFER,
    kea: SILENCE,
  },
  { name: "M68 type 19", frame: raw(53, 1, 19, END), want: SILENCE },
  { name: "M69 type 2", frame: raw(53, 1, 2, END), want: SILENCE },
  { name: "M70 type 10", frame: raw(53, 1, 10, END), want: SILENCE },
  {
    name: "M72 50 of three octets",
    frame: discover(...option(50, 1, 2, 3)),
    want: OFFER,
    kea: SILENCE,
  },
  {
    name: "M74 54 of five octets in a REQUEST",
    frame: raw(...REQUEST, ...option(54, ...US, 1), END),
    want: SILENCE,
    kea: ACK,
  },
  { name: "M78 55 without data", frame: discover(55, 0), want: OFFER, kea: SILENCE },
  {
    name: "M79 55 in two instances",
    frame: discover(...option(55, 1, 3), ...option(60, 65), ...option(55, 6)),
    want: OFFER,
  },
  { name: "M80 57 of one octet", frame: discover(...option(57, 5)), want: OFFER, kea: SILENCE },
  { name: "M80 57 = 300", frame: discover(...option(57, 1, 44)), want: OFFER },
  { name: "M81 61 without data", frame: discover(61, 0), want: OFFER, kea: SILENCE },
  { name: "M81 61 of one octet", frame: discover(...option(61, 7)), want: OFFER, kea: SILENCE },
  {
    name: "M82 61 with somebody else's MAC",
    frame: discover(...option(61, 1, 9, 9, 9, 9, 9, 9)),
    want: OFFER,
  },
  { name: "M83 12 without data", frame: discover(12, 0), want: OFFER },
  { name: "M83 12 of NULs", frame: discover(...option(12, 0, 0)), want: OFFER },
  {
    name: "M83 12 that ends with NUL",
    frame: discover(...option(12, ...text("web"), 0)),
    want: OFFER,
  },
  {
    name: "S70 12 with nothing that a name may have",
    frame: discover(...option(12, ...text("___"))),
    want: OFFER,
  },
  { name: "M84 81 of two octets", frame: discover(...option(81, 0, 0)), want: OFFER, kea: SILENCE },
  {
    name: "M84 81 with N and S",
    frame: discover(...option(81, 9, 0, 0, ...text("web"))),
    want: OFFER,
    kea: SILENCE,
  },
  {
    name: "M84 81 with a compression pointer",
    frame: discover(...option(81, 4, 0, 0, 0xc0, 0)),
    want: OFFER,
    kea: SILENCE,
  },
  { name: "M89 82 from a guest", frame: discover(...option(82, 1, 1, 7)), want: OFFER },
  { name: "M90 52 = 4", frame: discover(...option(52, 4)), want: OFFER },
  {
    name: "M93 53 in file",
    frame: (client) => frameFor(client, [...option(52, 1), END], [put(108, ...DISCOVER, END)]),
    want: OFFER,
    kea: SILENCE,
  },
  { name: "M94 60 without data", frame: discover(60, 0), want: OFFER },
  {
    name: "M95 77 with a list that runs past it",
    frame: discover(...option(77, 9, 97)),
    want: OFFER,
  },
  {
    name: "M97 93 of three octets",
    frame: discover(...option(93, 0, 7, 0)),
    want: OFFER,
    kea: SILENCE,
  },
  { name: "M100 90", frame: discover(...option(90, ...times(12, 1))), want: OFFER },
  {
    name: "M101 125 with a block that runs past it",
    frame: discover(...option(125, 0, 0, 1, 55, 200, 1)),
    want: OFFER,
  },
  {
    name: "M102 129 empty options",
    frame: discover(...times(128, 200).flatMap((code) => [code, 0])),
    want: SILENCE,
    kea: OFFER,
  },
];

const addressOf = (index: number) => `10.77.${30 + Math.floor(index / 250)}.${1 + (index % 250)}`;
const clientOf = (index: number, serverMac: MacAddress): Client => ({
  mac: macPlus(FIRST_MAC, index),
  address: addressOf(index),
  serverMac,
});

/** An answer in words, the client's own address as `own`. */
function inWords(bytes: Uint8Array, client: Client): string {
  const decoded = decodeMessage(bytes.subarray(42));
  if (decoded.kind !== "message") return `an answer of htype ${bytes[43]}`;
  const { message } = decoded;
  const yiaddr = formatIpv4(message.yiaddr);
  const has = (code: number, data: readonly number[], word: string) => {
    const found = message.options.get(code);
    if (found === undefined) return [];
    return Buffer.from(found).equals(Buffer.from(data)) ? [word] : [`${word} ${found.join(".")}`];
  };
  return [
    `${messageTypeName(message)} ${yiaddr === client.address ? "own" : yiaddr}`,
    ...has(1, [255, 255, 0, 0], "mask"),
    ...has(3, [...octets(GATEWAY)], "router"),
    ...has(6, [...octets(DNS)], "dns"),
    ...has(51, [0, 1, 0x51, 0x80], "lease"),
    ...(message.options.has(54) ? ["server"] : []),
  ].join(", ");
}

/** Sends a frame and says what came back to its client before the sentinel's offer. */
type Ask = (frame: Uint8Array, client: Client) => Promise<string>;

async function ask(one: Ask, row: Row, client: Client): Promise<string> {
  if (row.isBound === true) {
    expect(await one(discover(...option(55, 1, 3, 6))(client), client)).toBe(OFFER);
    expect(await one(select()(client), client)).toBe(ACK);
  }
  return one(row.frame(client), client);
}

/** Our server on a memory socket: what it does not answer at once it never answers. */
function startOurs(serverMac: MacAddress): Ask {
  const socket = createMemoryFrameSocket({ hardwareAddress: serverMac, ifindex: 1 });
  const profile = createOptionProfile({
    subnet: parseSubnet(SUBNET),
    gateway: parseIpv4(GATEWAY),
    dns: [parseIpv4(DNS)],
    leaseSeconds: LEASE_SECONDS,
    mtu: 1500,
    serverIdentifier: parseIpv4(SERVER),
    routes: [],
    authoritative: true,
  });
  const stop = new AbortController();
  const done = serveDhcp({
    socket,
    decide: ({ chaddr }) => {
      const index = chaddr - FIRST_MAC;
      if (index < 0 || index >= CLIENTS_MAX) return { kind: "unknown" };
      return { kind: "assigned", assignment: { address: parseIpv4(addressOf(index)), profile } };
    },
    now: () => 0,
    serverAddress: parseIpv4(SERVER),
    counters: createDhcpCounters(),
    signal: stop.signal,
  });
  onTestFinished(async () => {
    stop.abort();
    await done;
  });
  return async (frame, client) => {
    socket.sent.length = 0;
    socket.inject(frame);
    const [reply] = socket.sent;
    return reply === undefined ? SILENCE : inWords(reply.bytes, client);
  };
}

function keaConfig(folder: string): string {
  const reservations = Array.from({ length: CLIENTS_MAX }, (_, index) => ({
    "hw-address": `00:0c:05:00:00:${index.toString(16).padStart(2, "0")}`,
    "ip-address": addressOf(index),
  }));
  const Dhcp4 = {
    "interfaces-config": { interfaces: ["srv"], "dhcp-socket-type": "raw" },
    "lease-database": { type: "memfile", persist: false },
    "multi-threading": { "enable-multi-threading": false },
    "valid-lifetime": LEASE_SECONDS,
    "match-client-id": false,
    authoritative: true,
    "host-reservation-identifiers": ["hw-address"],
    "reservations-in-subnet": true,
    "reservations-out-of-pool": true,
    "option-data": [
      { name: "routers", data: GATEWAY, "always-send": true },
      { name: "domain-name-servers", data: DNS, "always-send": true },
    ],
    subnet4: [{ id: 1, subnet: SUBNET, reservations }],
    loggers: [{ name: "kea-dhcp4", severity: "INFO", output_options: [{ output: "stdout" }] }],
  };
  const path = join(folder, "kea.json");
  writeFileSync(path, JSON.stringify({ Dhcp4 }));
  return path;
}

/** Sends over a link, and takes the sentinel's offer for the end of the answers. */
function askOver(
  socket: FrameSocket,
  signal: AbortSignal,
  serverMac: MacAddress,
): { ask: Ask; done: Promise<void> } {
  const heard = new Map<MacAddress, Uint8Array>();
  let sentinels = 0;
  let awaited: (() => void) | undefined;
  const sentinel = clientOf(SENTINEL, serverMac);
  const done = socket.receive(({ bytes, offset, length }) => {
    const frame = bytes.slice(offset, offset + length);
    const chaddr = readMac(frame, 42 + 28);
    if (chaddr !== sentinel.mac) heard.set(chaddr, frame);
    else if (frame[42 + XID] === (sentinels & 255)) awaited?.();
  }, signal);
  const send = (frame: Uint8Array) => {
    const buffer = socket.reserve();
    if (buffer === undefined) throw new Error("the transmit ring is full");
    buffer.bytes.set(frame);
    socket.commit(frame.length, socket.ifindex);
  };
  const ask: Ask = async (frame, client) => {
    heard.clear();
    sentinels++;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    awaited = resolve;
    const again = setInterval(() => send(last), 1000);
    const late = setTimeout(() => reject(new Error("Kea does not answer the sentinel")), WAIT_MS);
    const last = frameFor(sentinel, [...DISCOVER, END], [put(XID, sentinels & 255)]);
    send(frame);
    send(last);
    await promise.finally(() => {
      clearInterval(again);
      clearTimeout(late);
    });
    const [reply] = heard.values();
    return reply === undefined ? SILENCE : inWords(reply, client);
  };
  return { ask, done };
}

const canRun = canMakeNamespaces && existsSync(KEA);

describe.skipIf(!canRun && !process.env["CI"])("Kea as an oracle (needs root, kea-dhcp4)", () => {
  test("S109 kea-oracle: answers every row as we do, but for the differences that are listed", {
    timeout: 120_000,
  }, async () => {
    using host = makeNamespace("kea");
    using guest = makeNamespace("kea-guest");
    connect(host.name, "srv", guest.name, "cli");
    ip("-n", host.name, "address", "add", `${SERVER}/16`, "dev", "srv");
    for (const { name } of [host, guest]) disableIpv6(name);
    const [{ address }] = JSON.parse(ip("-n", host.name, "-j", "link", "show", "dev", "srv"));
    const serverMac = parseMac(address);
    const folder = temporaryFolder("kea");
    const runFolder = join(folder, "run");
    mkdirSync(runFolder);
    const environment = [`KEA_LOCKFILE_DIR=${runFolder}`, `KEA_PIDFILE_DIR=${runFolder}`];
    await using kea = run(["env", ...environment, KEA, "-c", keaConfig(folder)], host.name);
    await kea.says("DHCP4_STARTED");
    const stop = new AbortController();
    await using socket = inNamespace(guest.name, () =>
      openPacketRing({ interfaceName: "cli", udpPort: 68, bootpOp: 2, poller: new Poller() }),
    );
    const theirs = askOver(socket, stop.signal, serverMac);
    const ours = startOurs(serverMac);
    // Another Kea may differ elsewhere; that the rest is equal holds for all.
    const isListed = execFileSync(KEA, ["-v"], { encoding: "utf8" }).startsWith("2.2.");
    const said: object[] = [];
    const wanted: object[] = [];
    for (const [index, row] of ROWS.entries()) {
      const client = clientOf(index, serverMac);
      const { name, want } = row;
      const answers = {
        ours: await ask(ours, row, client),
        kea: await ask(theirs.ask, row, client),
      };
      const differs = row.kea !== undefined && !isListed ? answers.kea : row.kea;
      said.push({ name, ...answers });
      wanted.push({ name, ours: want, kea: differs ?? want });
    }
    stop.abort();
    await theirs.done;
    expect(said).toEqual(wanted);
  });
});
