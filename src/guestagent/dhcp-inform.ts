/**
 * Asks the DHCP server for option 245 with a DHCPINFORM (RFC 2131 section 4.4.3): the guest keeps the address that
 * it has, and no lease is touched. Only what this one question needs; the agent is one file without native parts.
 */

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { type Ipv4Address, readIpv4, writeIpv4 } from "../model/ipv4-address.ts";
import { type MacAddress, writeMac } from "../model/mac-address.ts";
import type { AgentEdge } from "./edge.ts";

const BOOTREQUEST = 1;
const BOOTREPLY = 2;
const MAGIC_COOKIE = 0x63_82_53_63;
const MESSAGE_BYTES_MIN = 300; // RFC 1542 section 2.1
const OFFSET = {
  op: 0,
  htype: 1,
  hlen: 2,
  xid: 4,
  ciaddr: 12,
  chaddr: 28,
  cookie: 236,
  options: 240,
};
const OPTION = { pad: 0, messageType: 53, parameterList: 55, wireServer: 245, end: 255 };
const DHCPINFORM = 8;
const DHCPACK = 5;

/** Whose question it is: the guest's NIC and the address that it already has. */
export interface InformSender {
  readonly address: Ipv4Address;
  readonly mac: MacAddress;
}

/** Where to ask and how often; all but tests leave these as they are. */
export interface InformPlan {
  readonly serverAddress: string;
  readonly serverPort: number;
  readonly clientPort: number;
  readonly triesMax: number;
  readonly waitMs: number;
}

export const INFORM_PLAN: InformPlan = {
  serverAddress: "255.255.255.255",
  serverPort: 67,
  clientPort: 68,
  triesMax: 3,
  waitMs: 3_000,
};

/** Writes the DHCPINFORM. */
export function encodeInform(sender: InformSender, xid: number): Uint8Array {
  const bytes = new Uint8Array(MESSAGE_BYTES_MIN);
  const view = new DataView(bytes.buffer);
  bytes[OFFSET.op] = BOOTREQUEST;
  bytes[OFFSET.htype] = 1; // Ethernet
  bytes[OFFSET.hlen] = 6;
  view.setUint32(OFFSET.xid, xid);
  writeIpv4(bytes, OFFSET.ciaddr, sender.address);
  writeMac(bytes, OFFSET.chaddr, sender.mac);
  view.setUint32(OFFSET.cookie, MAGIC_COOKIE);
  const options = [
    ...[OPTION.messageType, 1, DHCPINFORM],
    ...[OPTION.parameterList, 1, OPTION.wireServer],
    OPTION.end,
  ];
  bytes.set(options, OFFSET.options);
  return bytes;
}

/**
 * Reads option 245 from the DHCPACK to {@link encodeInform}'s message. Never throws, whatever the bytes are.
 *
 * @returns undefined if it is not that answer, or is malformed, or does not carry the option in four bytes
 */
export function findEndpointInReply(bytes: Uint8Array, xid: number): Ipv4Address | undefined {
  if (bytes.length < OFFSET.options) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const answers =
    bytes[OFFSET.op] === BOOTREPLY &&
    view.getUint32(OFFSET.xid) === xid &&
    view.getUint32(OFFSET.cookie) === MAGIC_COOKIE;
  const options = answers ? readOptions(bytes.subarray(OFFSET.options)) : undefined;
  if (options?.get(OPTION.messageType)?.[0] !== DHCPACK) return undefined;
  const value = options.get(OPTION.wireServer);
  return value?.length === 4 ? readIpv4(value, 0) : undefined;
}

/** Of a repeated option the first counts; undefined if a length does not fit. */
function readOptions(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> | undefined {
  const options = new Map<number, Uint8Array>();
  let cursor = 0;
  while (cursor < bytes.length) {
    const code = bytes[cursor++]!;
    if (code === OPTION.pad) continue;
    if (code === OPTION.end) break;
    const length = bytes[cursor++];
    if (length === undefined || cursor + length > bytes.length) return undefined;
    if (!options.has(code)) options.set(code, bytes.subarray(cursor, cursor + length));
    cursor += length;
  }
  return options;
}

/**
 * Asks, and waits for the answer.
 *
 * @returns undefined if nobody answered
 * @throws Error if the socket cannot be opened or used (no right to port 68, no network yet)
 */
export async function askForEndpoint(
  sender: InformSender,
  edge: AgentEdge,
  signal: AbortSignal,
  plan: InformPlan = INFORM_PLAN,
): Promise<Ipv4Address | undefined> {
  const xid = Math.floor(edge.random() * 2 ** 32);
  // The DHCP client of the guest may hold port 68 as well.
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  try {
    await bind(socket, plan.clientPort);
    const answered = new AbortController();
    let endpoint: Ipv4Address | undefined;
    socket.on("message", (bytes) => {
      endpoint ??= findEndpointInReply(bytes, xid);
      if (endpoint !== undefined) answered.abort();
    });
    const done = AbortSignal.any([signal, answered.signal]);
    for (let tries = 0; tries < plan.triesMax && !done.aborted; tries++) {
      await send(socket, encodeInform(sender, xid), plan);
      await edge.sleep(plan.waitMs, done);
    }
    return endpoint;
  } finally {
    socket.close();
  }
}

async function bind(socket: Socket, port: number): Promise<void> {
  const listening = once(socket, "listening");
  socket.bind(port);
  await listening;
  // From here on: a later error shows as a missing answer.
  socket.on("error", () => {});
  socket.setBroadcast(true);
}

function send(socket: Socket, bytes: Uint8Array, plan: InformPlan): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(bytes, plan.serverPort, plan.serverAddress, (error) =>
      error ? reject(error) : resolve(),
    );
  });
}
