/** What holds in every scenario, whatever it is about. */
import { expect } from "vitest";
import {
  type DhcpMessage,
  decodeMessage,
  messageTypeName,
  walkOptions,
} from "../../src/dhcp/index.ts";
import { readMac } from "../../src/model/mac-address.ts";
import { answersOf, type Host, type SentReply, type World } from "./simulation.ts";
import {
  type Message,
  type OptionWord,
  optionsOf,
  PORTS,
  payloadOf,
  portOf,
  STATIONS,
} from "./vocabulary.ts";

const PAYLOAD_OFFSET = 42;
const IP_UDP_OCTETS = 28;

/** The message in a frame that the server sent. */
export function messageIn(bytes: Uint8Array): DhcpMessage {
  const decoded = decodeMessage(bytes.subarray(PAYLOAD_OFFSET));
  if (decoded.kind !== "message") throw new Error(`a reply is malformed: ${decoded.reason}`);
  return decoded.message;
}

/** What tells an exchange from another in a message's own octets. */
function exchangeOf(payload: Uint8Array): string {
  const hex = (start: number, end: number) =>
    Buffer.from(payload.subarray(start, end)).toString("hex");
  return `xid ${hex(4, 8)} giaddr ${hex(24, 28)} chaddr ${hex(28, 44)}`;
}

/** What a message may be answered with at all, by its type; BOOTP has none. */
const ANSWERS: Readonly<Record<string, readonly (string | undefined)[]>> = {
  DHCPDISCOVER: ["DHCPOFFER", "DHCPACK"],
  DHCPREQUEST: ["DHCPACK", "DHCPNAK"],
  DHCPINFORM: ["DHCPACK"],
  none: [undefined],
};

/** Follows one scenario and holds every reply against the requests before it. */
export class Ledger {
  readonly #requests = new Map<string, { readonly messages: Message[] }>();
  readonly #replies = new Map<string, number>();

  requested(message: Message): void {
    const key = exchangeOf(payloadOf(message));
    const asked = this.#requests.get(key) ?? { messages: [] };
    asked.messages.push(message);
    this.#requests.set(key, asked);
  }

  /** P1 to P5: a reply is one request's, names its client and no other, on its port, in its size. */
  replied({ bytes, ifindex }: SentReply, world: World): void {
    const payload = bytes.subarray(PAYLOAD_OFFSET);
    const key = exchangeOf(payload);
    const messages = this.#requests.get(key)?.messages ?? [];
    expect(messages.length, `P2: xid, giaddr and chaddr are a request's (${key})`).toBeGreaterThan(
      0,
    );
    const count = messages.length;
    const type = messageTypeName(messageIn(bytes));
    const answered = messages.filter((message) => ANSWERS[message.type]?.includes(type));
    expect(answered.length, `${type} answers one of the requests`).toBeGreaterThan(0);
    const reply = messageIn(bytes);
    const isCopy = reply.options.get(53)?.[0] === 6 && bytes[30] !== 255 && reply.giaddr === 0;
    if (!isCopy) this.#replies.set(key, (this.#replies.get(key) ?? 0) + 1);
    expect(
      this.#replies.get(key) ?? 0,
      "P1: one reply at most to each request",
    ).toBeLessThanOrEqual(count);
    const assigned = world.find(readMac(payload, 28))?.address;
    expect([0, assigned], "P3: yiaddr is 0 or the assigned address").toContain(reply.yiaddr);
    const ports = answered.map((message) => PORTS[portOf(message)]);
    expect(ports, "P4: no reply leaves another port").toContain(ifindex);
    const size = Math.max(...answered.map(sizeAskedFor));
    const mtu = world.setup.network?.mtu ?? 1500;
    const limit = Math.min(Math.max(size, 576), mtu);
    expect(payload.length + IP_UDP_OCTETS, "P5: size").toBeLessThanOrEqual(limit);
    expect(payload.length, "P5: size").toBeGreaterThanOrEqual(300);
  }
}

/** Option 57, or 0. */
function sizeAskedFor(message: Message): number {
  const asked = new Map(optionsOf(message)).get(57);
  return typeof asked === "object" ? (asked[0]! << 8) | asked[1]! : 0;
}

/** P9: every frame is counted once. */
export function expectSums({ counters, drops }: Host): void {
  const { received, replies, pending } = counters;
  const dropped = [...counters.drops.values()].reduce((sum, count) => sum + count, 0);
  const sent = Object.values(replies).reduce((sum, count) => sum + count, 0);
  expect(received, "P9: received = replies + drops + pending").toBe(sent + dropped + pending);
  expect(drops.length, "the observer saw every drop").toBeGreaterThanOrEqual(dropped);
}

/**
 * P6 to P8: the same request twice, its options in another order, and options that nobody knows among them, get the same
 * octets. Asked of servers that were just started, so it shows as well that nothing needs to be remembered.
 */
export async function expectStable(
  world: World,
  message: Message,
  replies: readonly SentReply[],
): Promise<void> {
  const isWhole = message.tail === undefined && isCanonical(payloadOf(message));
  const options = optionsOf(message);
  const variants = [payloadOf(message), payloadOf(message)];
  if (isWhole) variants.push(payloadOf(message, reversed(options)));
  if (isWhole && message.type !== "none") {
    variants.push(payloadOf(message, [[224, [1, 2, 3]], ...options, [230, []]]));
  }
  const [first, ...others] = await answersOf(world, message, variants);
  const inHex = (sent: readonly SentReply[]) =>
    sent.map(({ bytes, ifindex }) => `${ifindex} ${Buffer.from(bytes).toString("hex")}`);
  for (const other of others) expect(inHex(other), "P6, P7, P8").toEqual(inHex(first!));
  if (replies.length > 0) expect(inHex(replies), "P6").toEqual(inHex(first!));
}

/** True if the options area is read to its End, once, and holds no other area. */
function isCanonical(payload: Uint8Array): boolean {
  let canonical = true;
  const end = walkOptions(payload, 240, payload.length, (code) => {
    canonical &&= code !== 52;
    return true;
  });
  return canonical && end.kind === "end";
}

/** The options last to first; instances of one option stay in their order, for together they are one. */
function reversed(options: readonly OptionWord[]): OptionWord[] {
  const codes = [...new Set(options.map(([code]) => code))].reverse();
  return codes.flatMap((code) => options.filter((option) => option[0] === code));
}

/** Every drop that has a sender names it and its port: what an alarm is made of. */
export function expectNamed(host: Host, message: Message): void {
  const { sourceMac, ifindex } = host.drops.at(-1)!;
  expect(ifindex).toBe(PORTS[portOf(message)]);
  const source = STATIONS[message.from ?? (message.giaddr ? "R1" : (message.client ?? "M1"))];
  expect([0, source]).toContain(sourceMac);
}
