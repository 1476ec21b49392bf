/**
 * The relay agent between changed frames of clients and a server that answers them, and then between a hostile server and
 * the clients. What goes up must be what came, with option 82; what comes down must be what the server said, without it.
 */

import {
  createDhcpCounters,
  createOptionProfile,
  createRelayCounters,
  type DhcpMessage,
  decodeMessage,
  type RelayCounters,
  relayDhcp,
  serveDhcp,
} from "../../src/dhcp/index.ts";
import {
  type Ipv4Address,
  parseIpv4,
  parseSubnet,
  WIRE_SERVER_ADDRESS,
} from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import type { DatagramHandler, DatagramSocket } from "../../src/net/datagram-socket.ts";
import { UDP_PAYLOAD_OFFSET, writeUdpFrame } from "../../src/net/frame.ts";
import { FuzzSocket } from "./fuzz-socket.ts";
import { createInput, INPUT_BYTES_MAX, type Input } from "./input.ts";
import { Random } from "./random.ts";
import type { Target } from "./run.ts";
import { CLIENTS, SERVER_MAC } from "./target.ts";

const PORT = 7;
const HEAD = 42;
/** The agent's own address on the clients' network; {@link Input} frames of relays name it as well. */
const AGENT_ADDRESS = parseIpv4("10.77.0.1");
const AGENT_MAC = SERVER_MAC;
const UPSTREAM_MAC = parseMac("02:67:73:00:00:09");
const CIRCUIT = Uint8Array.of(112, 111, 114, 116);
const RELAY_INFORMATION = 82;
const CLOCK_STEP_MS = 10;

/** Datagrams to the server, and from it. */
class FuzzDatagrams implements DatagramSocket {
  readonly counters = { received: 0, transmitted: 0, transmitFailed: 0 };
  /** What the agent sent last; empty if nothing. */
  sent: Uint8Array = new Uint8Array();
  #handler: DatagramHandler | undefined;

  async receive(handler: DatagramHandler, signal: AbortSignal): Promise<void> {
    this.#handler = handler;
    await new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  send(bytes: Uint8Array): boolean {
    this.sent = bytes.slice();
    return true;
  }

  deliver(bytes: Uint8Array, source: Ipv4Address): void {
    this.#handler?.(bytes, source, 67);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#handler = undefined;
  }
}

export class RelayTarget implements Target, AsyncDisposable {
  readonly #agentSocket = new FuzzSocket(AGENT_MAC);
  readonly #serverSocket = new FuzzSocket(UPSTREAM_MAC);
  readonly #upstream = new FuzzDatagrams();
  readonly #counters: RelayCounters = createRelayCounters();
  readonly #stop = new AbortController();
  readonly #done: Promise<void>[];
  readonly #frame: Input = createInput();
  readonly #random = new Random(82);
  #nowMs = 0;

  constructor() {
    const network = {
      giaddr: AGENT_ADDRESS,
      addresses: [AGENT_ADDRESS],
      hardwareAddress: AGENT_MAC,
      mtu: 1500,
    };
    const policy = {
      hopsMax: 4,
      secsMin: 0,
      clientInformation: "replace" as const,
      trustedRelays: [parseSubnet("10.77.0.2/32")],
      remoteId: Uint8Array.of(104),
      overridesServer: false,
    };
    const agent = relayDhcp({
      socket: this.#agentSocket,
      upstream: this.#upstream,
      network,
      policy,
      servers: [WIRE_SERVER_ADDRESS],
      findPort: () => ({ ifindex: PORT, circuitId: CIRCUIT, isTrusted: false }),
      now: () => this.#nowMs,
      counters: this.#counters,
      signal: this.#stop.signal,
    });
    const profile = createOptionProfile({
      subnet: parseSubnet("10.77.0.0/16"),
      dns: [],
      leaseSeconds: 3600,
      mtu: 1500,
      routes: [],
      authoritative: true,
    });
    const server = serveDhcp({
      socket: this.#serverSocket,
      decide: ({ chaddr }) => {
        const known = CLIENTS.find(({ mac }) => mac === chaddr);
        if (known === undefined) return { kind: "unknown" };
        return { kind: "assigned", assignment: { address: known.address, profile } };
      },
      now: () => this.#nowMs,
      serverAddress: WIRE_SERVER_ADDRESS,
      policy: { bootp: true, rapidCommit: true },
      relays: [parseSubnet("10.77.0.0/16")],
      counters: createDhcpCounters(),
      signal: this.#stop.signal,
    });
    this.#done = [agent, server];
  }

  /** Requests that went up, replies that came down, and drops by reason. */
  get results(): Record<string, unknown> {
    const { requests, forwarded, replies, delivered, drops } = this.#counters;
    return { requests, forwarded, replies, delivered, drops: Object.fromEntries(drops) };
  }

  run(input: Input): undefined {
    this.#nowMs += CLOCK_STEP_MS;
    const { forwarded } = this.#counters;
    this.#upstream.sent = new Uint8Array();
    this.#agentSocket.place(input, PORT, 0xee);
    this.#agentSocket.deliver();
    if (this.#counters.forwarded > forwarded) this.#goUp(input);
    this.#checkSums();
  }

  /** What the agent sent goes to the server, and the server's answer back, once as it is and once changed. */
  #goUp(input: Input): void {
    const message = this.#upstream.sent;
    const isDirect = input.bytes.subarray(HEAD + 24, HEAD + 28).every((octet) => octet === 0);
    checkForwarded(input, message, isDirect);
    if (message.length + HEAD > INPUT_BYTES_MAX) return;
    this.#askServer(message);
    if (this.#serverSocket.replyCount === 0) return;
    const { bytes, length } = this.#serverSocket.replies[0]!;
    const answer = bytes.slice(HEAD, length);
    if (isDirect) this.#comeDown(answer);
    const hostile = this.#random.once(2) ? answer.slice() : message.slice();
    hostile[0] = 2;
    for (let change = this.#random.below(6); change >= 0; change--) {
      const least = this.#random.once(3) ? 0 : Math.min(240, hostile.length);
      const at = least + this.#random.below(hostile.length - least);
      hostile[at] = this.#random.below(256);
    }
    this.#agentSocket.replyCount = 0;
    this.#upstream.deliver(hostile, WIRE_SERVER_ADDRESS);
    this.#checkDelivered();
  }

  #askServer(message: Uint8Array): void {
    const frame = this.#frame;
    frame.bytes.set(message, UDP_PAYLOAD_OFFSET);
    const view = new DataView(frame.bytes.buffer);
    frame.length = writeUdpFrame(frame.bytes, view, {
      sourceMac: AGENT_MAC,
      destinationMac: UPSTREAM_MAC,
      sourceIp: AGENT_ADDRESS,
      destinationIp: WIRE_SERVER_ADDRESS,
      sourcePort: 67,
      destinationPort: 67,
      payloadLength: message.length,
    });
    this.#serverSocket.place(frame, 1, 0xee);
    this.#serverSocket.deliver();
  }

  /** The server's own answer reaches the client, whole but for option 82. */
  #comeDown(answer: Uint8Array): void {
    this.#agentSocket.replyCount = 0;
    const { delivered, drops } = this.#counters;
    this.#upstream.deliver(answer, WIRE_SERVER_ADDRESS);
    if (this.#counters.delivered === delivered) {
      throw new Error(`the server's answer was not delivered: ${[...drops.keys()].join()}`);
    }
    this.#checkDelivered();
    const { bytes, length } = this.#agentSocket.replies[0]!;
    const before = messageOf(answer);
    const after = messageOf(bytes.subarray(HEAD, length));
    if (before === undefined || after === undefined) throw new Error("the answer cannot be read");
    if (after.options.has(RELAY_INFORMATION)) throw new Error("option 82 reaches the client");
    assertSameOptions(before, after);
  }

  #checkDelivered(): void {
    const { replies, replyCount } = this.#agentSocket;
    if (replyCount > 2) throw new Error(`${replyCount} frames for one reply`);
    for (let index = 0; index < replyCount; index++) {
      const { ifindex, length } = replies[index]!;
      if (ifindex !== PORT) throw new Error(`delivered on interface ${ifindex}`);
      if (length < HEAD + 240) throw new Error(`delivered ${length} octets`);
    }
  }

  #checkSums(): void {
    const { requests, forwarded, replies, delivered, drops } = this.#counters;
    let sum = forwarded + delivered;
    for (const count of drops.values()) sum += count;
    if (sum !== requests + replies) throw new Error("a message is neither passed on nor dropped");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#done);
  }
}

function messageOf(bytes: Uint8Array): DhcpMessage | undefined {
  const decoded = decodeMessage(bytes);
  return decoded.kind === "message" ? decoded.message : undefined;
}

/** Hops one more, giaddr and option 82 if it came from a client itself, and nothing else changed. */
function checkForwarded({ bytes, length }: Input, message: Uint8Array, isDirect: boolean): void {
  if (message[3] !== bytes[HEAD + 3]! + 1) throw new Error("hops is not one more");
  for (let octet = 0; octet < 240; octet++) {
    const isOurs = octet === 3 || (octet >= 24 && octet < 28);
    // Pads take the place of option 82 in fields that hold options.
    const isField = octet >= 44 && octet < 236;
    if (!isOurs && !isField && message[octet] !== bytes[HEAD + octet]) {
      throw new Error(`octet ${octet} of the message was changed`);
    }
  }
  // The UDP length says where the message ends; behind it, the frame may have octets that nobody reads.
  const end = Math.min(34 + (bytes[38]! << 8) + bytes[39]!, length);
  const before = messageOf(bytes.subarray(HEAD, end));
  if (before === undefined) return; // BOOTP without the cookie
  const decoded = decodeMessage(message);
  if (decoded.kind !== "message") {
    // A client's 128 options and the agent's own are one more than anybody here reads.
    if (decoded.reason === "opt.flood") return;
    throw new Error(`what was forwarded cannot be read: ${decoded.reason}`);
  }
  const after = decoded.message;
  if (!isDirect) return;
  if (after.giaddr !== AGENT_ADDRESS) throw new Error("giaddr is not the agent's");
  assertSameOptions(before, after);
}

function assertSameOptions(before: DhcpMessage, after: DhcpMessage): void {
  for (const [code, data] of before.options) {
    if (code === RELAY_INFORMATION) continue;
    const other = after.options.get(code);
    if (other === undefined || Buffer.compare(data, other) !== 0) {
      throw new Error(`option ${code} was changed on the way`);
    }
  }
}
