/** What becomes of servers' replies, and the relay agent as a whole on memory sockets. */

import { describe, expect, onTestFinished, test } from "vitest";
import {
  createRelayCounters,
  decodeMessage,
  encodeMessage,
  HEADER,
  RELAY_CLIENTS_MAX,
  RELAY_REPLY_MS,
  RelayClients,
  type RelayedClient,
  type RelayedNetwork,
  relayDhcp,
  relayReply,
} from "../../src/dhcp/index.ts";
import { createOptionIndex } from "../../src/dhcp/option-index.ts";
import { IPV4_BROADCAST, IPV4_UNSPECIFIED, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST, macPlus, parseMac } from "../../src/model/mac-address.ts";
import type { DatagramHandler, DatagramSocket } from "../../src/net/datagram-socket.ts";
import { FRAME_BYTES_MAX } from "../../src/net/frame-socket.ts";
import { createMemoryFrameSocket } from "../../src/net/memory-frame-socket.ts";
import {
  CLIENT_MAC,
  OTHER_MAC,
  octets,
  RELAY_MAC,
  readReply,
  requestFrame,
  requestMessage,
} from "./packets.ts";

const GIADDR = parseIpv4("10.1.0.1");
const SERVER = parseIpv4("192.0.2.1");
const ADDRESS = parseIpv4("10.1.0.9");
const NETWORK: RelayedNetwork = {
  giaddr: GIADDR,
  addresses: [GIADDR],
  hardwareAddress: RELAY_MAC,
  mtu: 1500,
};
const INFORMATION = Uint8Array.of(1, 4, 116, 97, 112, 55, 10, 1, 0);
const CLIENT: RelayedClient = {
  ifindex: 7,
  information: INFORMATION,
  isOurs: true,
  unicastAddress: IPV4_UNSPECIFIED,
};

interface ReplySpec {
  type?: number;
  flags?: number;
  yiaddr?: typeof ADDRESS;
  ciaddr?: typeof ADDRESS;
  giaddr?: typeof ADDRESS;
  op?: number;
  options?: Record<number, Uint8Array | number[]>;
}

function replyOctets(spec: ReplySpec = {}): Uint8Array {
  const { options = { 54: octets(SERVER), 82: INFORMATION } } = spec;
  const message = requestMessage({ type: "DHCPDISCOVER", giaddr: spec.giaddr ?? GIADDR, options });
  const { op = 2, flags = 0, yiaddr = ADDRESS, ciaddr = IPV4_UNSPECIFIED, type = 2 } = spec;
  const withType = new Map([...message.options, [53, Uint8Array.of(type)]] as const);
  return encodeMessage({ ...message, op, flags, yiaddr, ciaddr, options: withType });
}

interface Changes {
  source?: typeof ADDRESS;
  client?: RelayedClient | undefined;
  network?: Partial<RelayedNetwork>;
}

function relayOctets(message: Uint8Array, changes: Changes = {}) {
  const client = "client" in changes ? changes.client : CLIENT;
  const out = new Uint8Array(FRAME_BYTES_MAX);
  const source = changes.source ?? SERVER;
  const reply = { message, source, servers: [SERVER], findClient: () => client };
  const network = { ...NETWORK, ...changes.network };
  const verdict = relayReply({ ...reply, index: createOptionIndex() }, network, out);
  return { verdict, out: verdict.kind === "deliver" ? out.slice(0, verdict.length) : out };
}

function deliver(spec: ReplySpec = {}, changes: Changes = {}) {
  const { verdict, out } = relayOctets(replyOctets(spec), changes);
  if (verdict.kind !== "deliver") throw new Error(`dropped: ${verdict.reason}`);
  const result = decodeMessage(out);
  if (result.kind !== "message") throw new Error(result.reason);
  return { ...verdict, out, message: result.message };
}

function dropReason(spec: ReplySpec = {}, changes: Changes = {}): string {
  const { verdict } = relayOctets(replyOctets(spec), changes);
  return verdict.kind === "drop" ? verdict.reason : "delivered";
}

const BROADCAST = { mac: MAC_BROADCAST, address: IPV4_BROADCAST };

describe("a reply", () => {
  test("S88 agent-reply-foreign-giaddr: is taken from a server only, and only for our own giaddr (A12)", () => {
    expect(dropReason({}, { source: parseIpv4("192.0.2.9") })).toBe("reply.server");
    expect(dropReason({ giaddr: parseIpv4("10.9.0.1") })).toBe("reply.giaddr");
    expect(dropReason({ op: 1 })).toBe("bootp.op");
    expect(dropReason()).toBe("delivered");
  });

  test("is of a type that answers a client, or of BOOTP", () => {
    for (const type of [2, 5, 6]) expect(dropReason({ type })).toBe("delivered");
    for (const type of [1, 3, 4, 7, 8, 9, 13, 0]) expect(dropReason({ type })).toBe("reply.type");
    const bootp = replyOctets();
    bootp.fill(0, HEADER.cookie);
    expect(relayOctets(bootp).verdict).toMatchObject({ kind: "deliver", ifindex: 7 });
  });

  test("keeps hops, giaddr and all else, and loses option 82 alone (A12, A13, A16)", () => {
    const bytes = replyOctets({ options: { 54: octets(SERVER), 82: INFORMATION, 15: [104] } });
    bytes[HEADER.hops] = 3;
    const { out } = relayOctets(bytes);
    expect(out.length).toBe(300);
    expect(out.subarray(0, HEADER.options)).toEqual(bytes.subarray(0, HEADER.options));
    const options = [53, 1, 2, 15, 1, 104, 54, 4, ...octets(SERVER), 255];
    expect([...out.subarray(HEADER.options, HEADER.options + options.length)]).toEqual(options);
    expect(new Set(out.subarray(HEADER.options + options.length))).toEqual(new Set([0]));
  });

  test("loses each piece of a split option 82, in file and sname as well (A16)", () => {
    const bytes = replyOctets({ options: {} });
    const pieces = [53, 1, 2, 82, 4, ...INFORMATION.subarray(0, 4), 52, 1, 3, 255];
    bytes.set(pieces, HEADER.options);
    bytes.set([82, 2, ...INFORMATION.subarray(4, 6), 255], HEADER.file);
    bytes.set([82, 3, ...INFORMATION.subarray(6), 255], HEADER.sname);
    const { verdict, out } = relayOctets(bytes);
    expect(verdict.kind).toBe("deliver");
    expect(out.includes(82)).toBe(false);
  });

  test("with another option 82 than we sent goes nowhere (A13)", () => {
    const other = INFORMATION.slice();
    other[5] = 56; // "tap8": another client's port
    expect(dropReason({ options: { 82: other } })).toBe("reply.information");
    const client = { ...CLIENT, information: undefined };
    expect(dropReason({}, { client })).toBe("reply.information");
  });

  test("without option 82 goes to the port that asked (A13)", () => {
    expect(deliver({ options: {} }).ifindex).toBe(7);
  });

  test("keeps the option 82 of a switch, which takes it out itself", () => {
    const client = { ...CLIENT, isOurs: false };
    expect(deliver({}, { client }).message.options.get(82)).toEqual(INFORMATION);
  });

  test("is broadcast on the port if the client asks for that, else sent to yiaddr (A14)", () => {
    expect(deliver({ flags: 0x8000 }).to).toEqual(BROADCAST);
    expect(deliver().to).toEqual({ mac: CLIENT_MAC, address: ADDRESS });
  });

  test("to DHCPINFORM is sent to ciaddr, or broadcast if there is none (A14)", () => {
    const inform = { type: 5, yiaddr: IPV4_UNSPECIFIED };
    expect(deliver({ ...inform, ciaddr: ADDRESS }).to).toEqual({
      mac: CLIENT_MAC,
      address: ADDRESS,
    });
    expect(deliver(inform).to).toEqual(BROADCAST);
  });

  test("that refuses is broadcast whatever its flags, and copied to who renews by unicast (A14)", () => {
    const nak = { type: 6, yiaddr: IPV4_UNSPECIFIED };
    expect(deliver(nak)).toMatchObject({ to: BROADCAST, copyTo: undefined });
    const client = { ...CLIENT, unicastAddress: ADDRESS };
    const copyTo = { mac: CLIENT_MAC, address: ADDRESS };
    expect(deliver(nak, { client })).toMatchObject({ to: BROADCAST, copyTo });
    expect(deliver({ type: 5 }, { client }).copyTo).toBeUndefined();
  });

  test("comes from the server identifier if that is ours, else from giaddr (A15)", () => {
    expect(deliver().source).toBe(GIADDR);
    const other = parseIpv4("10.1.0.2");
    const network = { addresses: [GIADDR, other] };
    expect(deliver({ options: { 54: octets(other) } }, { network }).source).toBe(other);
  });

  test("that the client's link cannot carry goes nowhere (A16)", () => {
    const options = { 82: INFORMATION, 43: new Uint8Array(255), 125: new Uint8Array(255) };
    expect(dropReason({ options }, { network: { mtu: 576 } })).toBe("reply.long");
    expect(dropReason({ options })).toBe("delivered");
  });

  test("that nobody asked for goes nowhere (A17)", () => {
    expect(dropReason({}, { client: undefined })).toBe("reply.unsolicited");
  });

  test("with a broken option goes nowhere", () => {
    const bytes = replyOctets({ options: {} });
    bytes.set([53, 1, 2, 12, 255], HEADER.options);
    expect(relayOctets(bytes).verdict).toEqual({ kind: "drop", reason: "opt.trunc" });
    expect(relayOctets(bytes.subarray(0, 239)).verdict).toEqual({
      kind: "drop",
      reason: "bootp.short",
    });
  });
});

describe("the clients that asked", () => {
  test("are forgotten after a minute, and renewed by asking again", () => {
    const clients = new RelayClients();
    clients.remember(CLIENT_MAC, CLIENT, 0);
    expect(clients.find(CLIENT_MAC, RELAY_REPLY_MS)).toBe(CLIENT);
    expect(clients.find(CLIENT_MAC, RELAY_REPLY_MS + 1)).toBeUndefined();
    clients.remember(CLIENT_MAC, CLIENT, RELAY_REPLY_MS);
    expect(clients.find(CLIENT_MAC, RELAY_REPLY_MS + 1)).toBe(CLIENT);
  });

  test("are bounded: who asked longest ago goes first", () => {
    const clients = new RelayClients();
    for (let count = 0; count < RELAY_CLIENTS_MAX; count++) {
      clients.remember(macPlus(CLIENT_MAC, count), CLIENT, 0);
    }
    clients.remember(CLIENT_MAC, CLIENT, 0);
    clients.remember(macPlus(CLIENT_MAC, RELAY_CLIENTS_MAX), CLIENT, 0);
    expect(clients.find(CLIENT_MAC, 0)).toBe(CLIENT);
    expect(clients.find(macPlus(CLIENT_MAC, 1), 0)).toBeUndefined();
    expect(clients.find(macPlus(CLIENT_MAC, 2), 0)).toBe(CLIENT);
  });
});

/** A datagram socket in memory; `refuses` stands for a full queue. */
function createMemoryDatagramSocket() {
  let handler: DatagramHandler | undefined;
  const sent: { bytes: Uint8Array; address: number }[] = [];
  const socket: DatagramSocket & { refuses: boolean } = {
    refuses: false,
    counters: { received: 0, transmitted: 0, transmitFailed: 0 },
    async receive(to, signal) {
      handler = to;
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    },
    send(bytes, address) {
      if (socket.refuses) return false;
      sent.push({ bytes: bytes.slice(), address });
      return true;
    },
    async [Symbol.asyncDispose]() {},
  };
  return { socket, sent, inject: (bytes: Uint8Array) => handler?.(bytes, SERVER, 67) };
}

describe("the relay agent", () => {
  function startAgent(servers = [SERVER]) {
    const socket = createMemoryFrameSocket({ hardwareAddress: RELAY_MAC, ifindex: 1 });
    const upstream = createMemoryDatagramSocket();
    const counters = createRelayCounters();
    const drops: string[] = [];
    const stop = new AbortController();
    const done = relayDhcp({
      socket,
      upstream: upstream.socket,
      network: NETWORK,
      policy: {
        hopsMax: 4,
        secsMin: 0,
        clientInformation: "drop",
        trustedRelays: [],
        remoteId: Uint8Array.of(65),
        overridesServer: false,
      },
      servers,
      findPort: (client) => ({
        ifindex: client === CLIENT_MAC ? 7 : 8,
        circuitId: Uint8Array.of(client === CLIENT_MAC ? 7 : 8),
        isTrusted: false,
      }),
      now: () => 0,
      counters,
      onDrop: ({ reason }) => drops.push(reason),
      signal: stop.signal,
    });
    onTestFinished(async () => {
      stop.abort();
      await done;
      const dropped = [...counters.drops.values()].reduce((sum, count) => sum + count, 0);
      const passed = counters.forwarded + counters.delivered;
      expect(passed + dropped).toBe(counters.requests + counters.replies);
    });
    /** What a server makes of what was sent to it. */
    const answer = (bytes: Uint8Array, type = 2): Uint8Array => {
      const result = decodeMessage(bytes);
      if (result.kind !== "message") throw new Error(result.reason);
      const options = new Map([...result.message.options, [53, Uint8Array.of(type)] as const]);
      return encodeMessage({ ...result.message, op: 2, yiaddr: ADDRESS, options });
    };
    return { socket, upstream, counters, drops, answer };
  }

  test("S84 agent-add-strip: adds option 82 upstream and takes it out downstream, on the client's port alone", () => {
    const { socket, upstream, answer } = startAgent();
    socket.inject(requestFrame({ type: "DHCPDISCOVER" }));
    socket.inject(requestFrame({ type: "DHCPDISCOVER", mac: OTHER_MAC }));
    const [first, second] = upstream.sent.map(({ bytes }) => bytes);
    upstream.inject(answer(second!));
    upstream.inject(answer(first!));
    expect(socket.sent.map(({ ifindex }) => ifindex)).toEqual([8, 7]);
    const replies = socket.sent.map(({ bytes }) => readReply(bytes));
    expect(replies[1]).toMatchObject({
      sourceMac: RELAY_MAC,
      destinationMac: CLIENT_MAC,
      sourceIp: GIADDR,
      destinationIp: ADDRESS,
      sourcePort: 67,
      destinationPort: 68,
    });
    expect(replies.map(({ message }) => message.options.has(82))).toEqual([false, false]);
  });

  test("S86 agent-flag-preserved: keeps the broadcast flag both ways", () => {
    const { socket, upstream, answer } = startAgent();
    socket.inject(requestFrame({ type: "DHCPDISCOVER", broadcast: true }));
    const { bytes } = upstream.sent[0]!;
    expect(bytes[HEADER.flags]).toBe(0x80);
    upstream.inject(answer(bytes));
    expect(readReply(socket.sent[0]!.bytes).destinationMac).toBe(MAC_BROADCAST);
  });

  test("sends a copy to each server (A9)", () => {
    const servers = [SERVER, parseIpv4("192.0.2.2")];
    const { socket, upstream } = startAgent(servers);
    socket.inject(requestFrame({ type: "DHCPDISCOVER" }));
    expect(upstream.sent.map(({ address }) => address)).toEqual(servers);
    expect(upstream.sent[0]!.bytes).toEqual(upstream.sent[1]!.bytes);
  });

  test("does not deliver one client's reply to another's port (A13)", () => {
    const { socket, upstream, answer, drops } = startAgent();
    socket.inject(requestFrame({ type: "DHCPDISCOVER" }));
    socket.inject(requestFrame({ type: "DHCPDISCOVER", mac: OTHER_MAC }));
    const forged = answer(upstream.sent[0]!.bytes);
    forged.set(upstream.sent[1]!.bytes.subarray(HEADER.chaddr, HEADER.chaddr + 6), HEADER.chaddr);
    upstream.inject(forged);
    expect([socket.sent, drops]).toEqual([[], ["reply.information"]]);
  });

  test("counts what it passes on to nobody, by reason", () => {
    const { socket, upstream, counters, drops, answer } = startAgent();
    socket.inject(requestFrame({ type: "DHCPDISCOVER", options: { 82: [1, 1, 65] } }));
    socket.inject(requestFrame({ type: "DHCPDISCOVER", hops: 4 }));
    socket.inject(
      requestFrame({ type: "DHCPDISCOVER" }, { sourceMac: parseMac("02:00:00:00:00:99") }),
    );
    socket.inject(new Uint8Array(20));
    upstream.socket.refuses = true;
    socket.inject(requestFrame({ type: "DHCPDISCOVER" }));
    upstream.socket.refuses = false;
    socket.inject(requestFrame({ type: "DHCPDISCOVER" }));
    socket.transmitBuffersLeft = 0;
    upstream.inject(answer(upstream.sent[0]!.bytes));
    upstream.inject(new Uint8Array(FRAME_BYTES_MAX));
    expect(drops).toEqual([
      "relay.information",
      "relay.hops",
      "port.spoof",
      "l2.type",
      "tx.nobuffer",
      "tx.nobuffer",
      "reply.long",
    ]);
    expect(counters).toMatchObject({ requests: 6, forwarded: 1, replies: 2, delivered: 0 });
  });
});
