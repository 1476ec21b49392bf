/**
 * What is fuzzed: whole servers on a memory socket, with the chain and the rules of an inventory, and the readable codec
 * beside them. Each input must end in a right answer or in a counted drop.
 */

import { createInventoryServer } from "../../src/cli/inventory-server.ts";
import {
  type ChainVerdict,
  createDhcpCounters,
  createDhcpRequest,
  type DecideRequest,
  type DhcpCounters,
  type DhcpRequest,
  decodeMessage,
  decodeRoutes,
  escapeTenantText,
  isIpxe,
  MESSAGE_TYPE,
  readClientArchitectures,
  readClientFqdn,
  readClientInterface,
  readHostname,
  readLease,
  readMachineIdentifier,
  readOption,
  readRequest,
  readSubnetSelection,
  readSuboptions,
  readUserClasses,
  readVendorClass,
  serveDhcp,
} from "../../src/dhcp/index.ts";
import {
  type Ipv4Address,
  parseIpv4,
  readIpv4,
  WIRE_SERVER_ADDRESS,
} from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress, parseMac, readMac } from "../../src/model/mac-address.ts";
import { createUdpFrame, readUdpFrame } from "../../src/net/frame.ts";
import { createInventoryResolver, parseInventory } from "../../src/nm/index.ts";
import { createHardwarePlugin, createNmPlugin, Journal } from "../../src/wds/index.ts";
import { type FuzzReply, FuzzSocket } from "./fuzz-socket.ts";
import type { Input } from "./input.ts";

export const SERVER_MAC = parseMac("02:67:73:00:00:01");
export const GIADDR = parseIpv4("10.77.0.2");
const PORT = 7;
const MTU = 1500;
const HEAD = 42;
const PAYLOAD_MIN = 300;
const DATAGRAM_DEFAULT = 576;
const IP_UDP_BYTES = 28;
/** Far enough apart that no refusal is damped and no decline is held: equal requests then get equal answers. */
const CLOCK_STEP_MS = 3_600_000;
const READ_EVERY = 4;
const DECODE_EVERY = 3;
const ASK_EVERY = 8;
const POISONS = [0x00, 0xff, 0x35] as const;

/** A client that the servers know. */
export interface Client {
  readonly mac: MacAddress;
  readonly octets: readonly number[];
  readonly address: Ipv4Address;
}

/** A NIC, a physical host that boots from the network, and two of a range. */
export const CLIENTS: readonly Client[] = [
  client("00:0c:01:02:03:04", "10.77.10.1"),
  client("00:0c:02:00:00:01", "10.77.11.1"),
  client("00:0c:03:00:00:00", "10.77.20.0"),
  client("00:0c:03:00:00:63", "10.77.20.99"),
];

function client(mac: string, address: string): Client {
  const octets = mac.split(":").map((octet) => Number.parseInt(octet, 16));
  return { mac: parseMac(mac), octets, address: parseIpv4(address) };
}

const NETWORK = {
  subnet: "10.77.0.0/16",
  gateway: "10.77.0.1",
  dns: ["10.77.0.53", "10.77.0.54"],
  domain: "tenant.internal",
};
const REST = {
  nics: [
    { mac: "00:0c:01:02:03:04", address: "10.77.10.1", container: "web-0", hostname: "web-0" },
  ],
  hosts: [{ mac: "00:0c:02:00:00:01", address: "10.77.11.1", hostname: "node-1" }],
  ranges: [{ mac: "00:0c:03:00:00:00", address: "10.77.20.0", count: 100 }],
  boot: {
    server: "10.77.0.7",
    bios: "undionly.kpxe",
    "uefi-x64": "ipxe.efi",
    "http-x64": "http://10.77.0.7/ipxe.efi",
    ipxe: "http://10.77.0.7/boot.ipxe",
  },
};

interface ServerSpec {
  readonly name: string;
  readonly network: Readonly<Record<string, unknown>>;
  /** Decide from a promise, on a copy of the request. */
  readonly isAsynchronous: boolean;
}

/** The servers: with everything off, with everything on, and with a chain that answers later. */
export const SERVERS: readonly ServerSpec[] = [
  { name: "plain", network: {}, isAsynchronous: false },
  {
    name: "all-on",
    network: { bootp: true, rapidCommit: true, refuseUnknown: true, decline: "hold" },
    isAsynchronous: false,
  },
  { name: "asynchronous", network: { rapidCommit: true }, isAsynchronous: true },
];

/** Everything there is to read of a request. None may throw, whatever the client sent. */
function readAll(request: DhcpRequest): void {
  isIpxe(request);
  readClientArchitectures(request);
  readClientInterface(request);
  readMachineIdentifier(request);
  readSubnetSelection(request);
  readVendorClass(request);
  readUserClasses(request);
  const fqdn = readClientFqdn(request);
  const hostname = readHostname(request);
  if (fqdn?.serverUpdates === true && fqdn.noUpdates) throw new Error("N and S were both taken");
  if (hostname !== undefined && !/^[a-z0-9.-]+$/.test(hostname)) {
    throw new Error(`host name ${JSON.stringify(hostname)} was not scrubbed`);
  }
  const vendor = readOption(request, 43);
  if (vendor !== undefined) readSuboptions(vendor);
  for (const code of [12, 56, 60, 77, 81, 82]) {
    const data = readOption(request, code);
    if (data !== undefined) escapeTenantText(data);
  }
}

/** What one parse of a frame says, to compare with another parse of it. */
interface Parse {
  reason: string | undefined;
  readonly request: DhcpRequest;
}

interface Running {
  readonly spec: ServerSpec;
  readonly socket: FuzzSocket;
  readonly counters: DhcpCounters;
  /** An error inside the chain's call, which the server takes for a plugin's. */
  fault: unknown;
}

/** The servers, running, and the checks. Dispose it to end them. */
export class FuzzTarget implements AsyncDisposable {
  readonly #servers: readonly Running[];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>[] = [];
  readonly #udp = createUdpFrame();
  readonly #parses: readonly Parse[] = POISONS.map(() => ({
    reason: undefined,
    request: createDhcpRequest(),
  }));
  readonly #before: FuzzReply[] = [];
  readonly #everyTime: boolean;
  #nowMs = 0;
  #turn = 0;
  #runs = 0;

  /** @param everyTime - run all checks on every input, as in a replay; else the slow ones on some */
  constructor(everyTime = false) {
    this.#everyTime = everyTime;
    this.#servers = SERVERS.map((spec) => this.#start(spec));
  }

  #start(spec: ServerSpec): Running {
    const socket = new FuzzSocket(SERVER_MAC);
    const inventory = parseInventory({ network: { ...NETWORK, ...spec.network }, ...REST }, "fuzz");
    const resolver = createInventoryResolver(inventory, { isGateway: true });
    const plugins = [createHardwarePlugin(resolver), createNmPlugin(resolver)];
    const { chain, rules } = createInventoryServer(inventory, plugins);
    const counters = createDhcpCounters();
    const journal = new Journal({ now: () => this.#nowMs, seed: 1 });
    const running: Running = { spec, socket, counters, fault: undefined };
    const decide: DecideRequest = (request, context) => {
      try {
        // Every reader of every request would take more time than the server does.
        if (this.#isDue(READ_EVERY)) readAll(request);
      } catch (error) {
        running.fault = error;
      }
      if (!spec.isAsynchronous) return chain.decide(request, context);
      const copy = context.detach();
      const later = async (): Promise<ChainVerdict> => {
        await undefined;
        return chain.decide(copy.request, copy.context);
      };
      return later();
    };
    const done = serveDhcp({
      socket,
      counters,
      decide,
      ...rules,
      now: () => this.#nowMs,
      serverAddress: WIRE_SERVER_ADDRESS,
      onExchange: (event) => {
        chain.observe(event);
        journal.observe(event);
      },
      onDrop: (event) => {
        chain.observe(event);
        journal.observe(event);
      },
      signal: this.#stop.signal,
    });
    this.#done.push(done);
    return running;
  }

  /** Replies and drops of all servers, by name. */
  get results(): { replies: Record<string, number>; drops: Record<string, number> } {
    const replies: Record<string, number> = {};
    const drops: Record<string, number> = {};
    for (const { counters } of this.#servers) {
      for (const [type, count] of Object.entries(counters.replies)) {
        replies[type] = (replies[type] ?? 0) + count;
      }
      for (const [reason, count] of counters.drops) drops[reason] = (drops[reason] ?? 0) + count;
    }
    return { replies, drops };
  }

  /**
   * Runs one input through everything.
   *
   * @returns undefined if it is done; a promise if a chain answers later
   * @throws whatever is wrong
   */
  run(input: Input): Promise<void> | undefined {
    const server = this.#servers[input.server % this.#servers.length]!;
    this.#nowMs += CLOCK_STEP_MS;
    this.#runs++;
    this.#parseInPoisons(server.socket, input);
    if (this.#isDue(DECODE_EVERY)) this.#decode(input);
    server.socket.place(input, PORT, POISONS[this.#turn++ % POISONS.length]!);
    server.socket.deliver();
    if (server.counters.pending > 0) return this.#finishLater(server, input);
    this.#check(server, input);
    if (this.#isDue(ASK_EVERY) && server.socket.replyCount > 0) this.#askAgain(server, input);
    return undefined;
  }

  #isDue(every: number): boolean {
    return this.#everyTime || this.#runs % every === 0;
  }

  async #finishLater(server: Running, input: Input): Promise<void> {
    // Whoever waits has a copy: the frame is gone.
    server.socket.place({ ...input, length: 0 }, PORT, 0xee);
    for (let turn = 0; server.counters.pending > 0; turn++) {
      if (turn === 100) throw new Error("a request is still pending after 100 turns");
      await undefined;
    }
    this.#check(server, input);
  }

  /** The result of a parse may not depend on what lies around the frame. */
  #parseInPoisons(socket: FuzzSocket, input: Input): void {
    for (const [index, parse] of this.#parses.entries()) {
      socket.place(input, PORT, POISONS[index]!);
      const { frame } = socket;
      const { payloadStart, payloadEnd } = this.#udp;
      parse.reason = readUdpFrame(frame, this.#udp, 67);
      if (parse.reason === undefined) {
        const { payloadStart: start, payloadEnd: end } = this.#udp;
        parse.reason = readRequest(frame.bytes, frame.view, start, end, parse.request);
      } else {
        this.#udp.payloadStart = payloadStart;
        this.#udp.payloadEnd = payloadEnd;
      }
      if (index > 0) assertSameParse(this.#parses[0]!, parse);
    }
  }

  /** The readable codec takes what the server takes, and agrees on its type. */
  #decode({ bytes, length }: Input): void {
    const decoded = decodeMessage(bytes.subarray(Math.min(HEAD, length), length));
    if (decoded.kind !== "message") return;
    const { message } = decoded;
    readLease(message);
    const routes = message.options.get(121);
    if (routes !== undefined) decodeRoutes(routes);
    const { reason, request } = this.#parses[0]!;
    const isWhole = request.end - request.offset === length - HEAD;
    if (reason !== undefined || !request.hasCookie || !isWhole) return;
    const type = message.options.get(53)?.[0] ?? 0;
    if (type !== request.messageType) {
      throw new Error(`readRequest() says type ${request.messageType}, decodeMessage() ${type}`);
    }
  }

  #check(server: Running, input: Input): void {
    const { socket, counters } = server;
    if (server.fault !== undefined) throw server.fault;
    if (counters.observerErrors > 0) throw new Error("an observer threw");
    if (counters.drops.has("plugin.error")) throw new Error("the chain threw");
    if (counters.drops.has("other"))
      throw new Error("there are more drop reasons than are counted");
    // P1
    if (socket.replyCount > 2) throw new Error(`${socket.replyCount} replies to one request`);
    for (let index = 0; index < socket.replyCount; index++) {
      this.#checkReply(server, input, socket.replies[index]!, index);
    }
    this.#checkSum(server);
  }

  /** P9: every frame is counted once. */
  #checkSum({ counters }: Running): void {
    const { replies } = counters;
    let sum = replies.DHCPOFFER + replies.DHCPACK + replies.DHCPNAK + replies.BOOTREPLY;
    for (const count of counters.drops.values()) sum += count;
    if (sum + counters.pending !== counters.received) {
      throw new Error(`${counters.received} frames, but ${sum} replies and drops`);
    }
  }

  #checkReply({ spec }: Running, input: Input, reply: FuzzReply, index: number): void {
    const { bytes, view, length } = reply;
    const head = { bytes, view, offset: 0, length, wireLength: length, ifindex: PORT, vlanId: 0 };
    const reason = readUdpFrame({ ...head, checksumNotReady: false }, this.#udp);
    if (reason !== undefined) throw new Error(`the reply's frame is malformed: ${reason}`);
    const type = optionsOfReply(bytes, length);
    const isNak = type === MESSAGE_TYPE.DHCPNAK;
    if (index === 1 && !isNak) throw new Error("a second reply that is no DHCPNAK");
    // P2
    for (const [from, to] of [
      [4, 8],
      [24, 44],
    ] as const) {
      for (let octet = HEAD + from; octet < HEAD + to; octet++) {
        if (bytes[octet] !== input.bytes[octet]) throw new Error(`octet ${octet} is not echoed`);
      }
    }
    // P3
    const chaddr = readMac(bytes, HEAD + 28);
    const assigned = CLIENTS.find(({ mac }) => mac === chaddr)?.address ?? rangeAddress(chaddr);
    const yiaddr = readIpv4(bytes, HEAD + 16);
    if (yiaddr !== 0 && (isNak || yiaddr !== assigned)) throw new Error("yiaddr is nobody's");
    if (assigned === undefined && !(isNak && spec.network["refuseUnknown"] === true)) {
      throw new Error("a client that nobody knows was answered");
    }
    // P4
    if (reply.ifindex !== PORT) throw new Error(`the reply leaves on interface ${reply.ifindex}`);
    const to = readMac(bytes, 0);
    if (to !== MAC_BROADCAST && to !== readMac(input.bytes, 6)) {
      throw new Error("the reply goes to another station");
    }
    // P5
    const { maxMessageSize } = this.#parses[0]!.request;
    const sizeMax =
      type === 0 || isNak ? DATAGRAM_DEFAULT : Math.max(maxMessageSize, DATAGRAM_DEFAULT);
    const limit = Math.min(isNak ? Math.max(maxMessageSize, sizeMax) : sizeMax, MTU);
    const size = length - HEAD;
    if (size < PAYLOAD_MIN || size > limit - IP_UDP_BYTES) {
      throw new Error(`the message has ${size} octets, the client takes ${limit - IP_UDP_BYTES}`);
    }
  }

  /** P6, in other poison: equal requests get equal answers. */
  #askAgain({ socket, counters }: Running, input: Input): void {
    const count = socket.replyCount;
    for (let index = 0; index < count; index++) {
      const { bytes, view, length, ifindex } = socket.replies[index]!;
      this.#before[index] ??= { bytes: new Uint8Array(bytes.length), view, length, ifindex };
      this.#before[index]!.bytes.set(bytes);
      this.#before[index]!.length = length;
    }
    this.#nowMs += CLOCK_STEP_MS;
    socket.place(input, PORT, POISONS[this.#turn++ % POISONS.length]!);
    socket.deliver();
    if (socket.replyCount !== count) {
      throw new Error(
        `${count} replies, then ${socket.replyCount} (${[...counters.drops.keys()].at(-1)})`,
      );
    }
    for (let index = 0; index < count; index++) {
      const before = this.#before[index]!;
      const now = socket.replies[index]!;
      const isSame = before.length === now.length && Buffer.compare(before.bytes, now.bytes) === 0;
      if (!isSame) throw new Error("asked again, another reply");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#done);
  }
}

/** Addresses of the range, of which {@link CLIENTS} has the ends. */
function rangeAddress(mac: MacAddress): Ipv4Address | undefined {
  const { mac: first, address } = CLIENTS[2]!;
  const index = mac - first;
  return index >= 0 && index < 100 ? ((address + index) as Ipv4Address) : undefined;
}

function assertSameParse(one: Parse, other: Parse): void {
  if (one.reason !== other.reason) {
    throw new Error(`what lies around the frame decides: ${one.reason} or ${other.reason}`);
  }
  if (one.reason !== undefined) return;
  const [a, b] = [one.request, other.request];
  const isSame =
    a.messageType === b.messageType &&
    a.xid === b.xid &&
    a.seen === b.seen &&
    a.ignored === b.ignored &&
    a.requestedAddress === b.requestedAddress &&
    a.serverIdentifier === b.serverIdentifier &&
    a.serverIdentifierOverride === b.serverIdentifierOverride &&
    a.linkSelection === b.linkSelection &&
    a.subnetSelection === b.subnetSelection &&
    a.requestedLeaseSeconds === b.requestedLeaseSeconds &&
    a.maxMessageSize === b.maxMessageSize &&
    a.parameterRequestList.length === b.parameterRequestList.length &&
    a.clientIdentifier.length === b.clientIdentifier.length &&
    a.hostname.length === b.hostname.length &&
    a.relayInformation.length === b.relayInformation.length;
  if (!isSame) throw new Error("what lies around the frame changes what the request says");
}

/**
 * Walks the options of a reply as a strict client does: no Pad before End, nothing past it but zeros.
 *
 * @returns the value of option 53, or 0
 */
function optionsOfReply(bytes: Uint8Array, length: number): number {
  let cursor = HEAD + 240;
  let type = 0;
  let last = 0;
  while (bytes[cursor] !== 255) {
    const code = bytes[cursor]!;
    const size = bytes[cursor + 1]!;
    if (code === 0) throw new Error("a Pad before End");
    if (cursor + 2 + size >= length) throw new Error("an option runs past the reply");
    if (size === 0 && code !== 80) throw new Error(`option ${code} is empty`);
    if (last === 82 && code !== 82) throw new Error("option 82 is not last");
    if (code === 53) type = bytes[cursor + 2]!;
    last = code;
    cursor += 2 + size;
  }
  for (let octet = cursor + 1; octet < length; octet++) {
    if (bytes[octet] !== 0) throw new Error("an octet of something else after End");
  }
  return type;
}
