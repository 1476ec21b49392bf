/** A DHCP client over a frame socket: gives the state machine (client-machine.ts) its time, chance and wire. */

import { randomInt } from "node:crypto";
import { performance } from "node:perf_hooks";
import { IPV4_BROADCAST } from "../model/ipv4-address.ts";
import { MAC_BROADCAST } from "../model/mac-address.ts";
import { createUdpFrame, readUdpFrame, UDP_PAYLOAD_OFFSET, writeUdpFrame } from "../net/frame.ts";
import type { FrameSocket, ReceivedFrame } from "../net/frame-socket.ts";
import {
  type ClientAction,
  type ClientEvent,
  type ClientIdentity,
  initialClientState,
  stepClient,
} from "./client-machine.ts";
import { CLIENT_PORT, SERVER_PORT } from "./header.ts";
import type { DhcpLease } from "./lease.ts";
import { type DhcpMessage, decodeMessage, encodeMessage } from "./message.ts";

/** Time for a client; replace it in tests and simulations. */
export interface ClientClock {
  /** Monotonic milliseconds. */
  nowMs(): number;
  /** Calls `callback` once, `waitMs` from now; the returned function cancels it. */
  setTimer(callback: () => void, waitMs: number): () => void;
}

/** What {@link runDhcpClient} needs. */
export interface DhcpClientOptions extends ClientIdentity {
  readonly socket: FrameSocket;
  readonly signal: AbortSignal;
  /** A lease was given or renewed; set it on the interface. */
  readonly onBound: (lease: DhcpLease) => void;
  /** The lease is over: take the address away. The client goes on looking for another. */
  readonly onLost: () => void;
  /** Default: the monotonic clock of the process. */
  readonly clock?: ClientClock;
  /** Numbers from [0, 1) for xid and waiting times; default: the system's generator. */
  readonly random?: () => number;
}

/** Node fires longer timers at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;
const RANDOM_SPACE = 2 ** 47;

const SYSTEM_CLOCK: ClientClock = {
  nowMs: () => performance.now(),
  setTimer(callback, waitMs) {
    const timer = setTimeout(callback, waitMs);
    return () => clearTimeout(timer);
  },
};

/**
 * Keeps a lease until the signal aborts. It is not released then: the next boot gets the same address.
 *
 * @throws what the socket or a callback throws
 * @see RFC 2131 section 4.4
 */
export async function runDhcpClient(options: DhcpClientOptions): Promise<void> {
  const clock = options.clock ?? SYSTEM_CLOCK;
  const random = options.random ?? (() => randomInt(RANDOM_SPACE) / RANDOM_SPACE);
  const failed = new AbortController();
  let failure: { readonly cause: unknown } | undefined;
  let state = initialClientState(clock.nowMs());
  let cancelTimer = () => {};

  const step = (event: ClientEvent) => {
    const next = stepClient(state, event, options);
    state = next.state;
    for (const action of next.actions) perform(options, action);
  };
  const advance = (event: ClientEvent) => {
    cancelTimer();
    try {
      step(event);
      // An offer is taken at once, in the batch of frames in which it came.
      if (state.wakeAtMs <= clock.nowMs()) step(timerEvent());
    } catch (cause) {
      failure = { cause };
      failed.abort();
      return;
    }
    const waitMs = Math.max(state.wakeAtMs - clock.nowMs(), 0);
    cancelTimer = clock.setTimer(onTimer, Math.min(waitMs, TIMER_MS_MAX));
  };
  const timerEvent = (): ClientEvent => ({
    kind: "timer",
    nowMs: clock.nowMs(),
    random: random(),
  });
  const onTimer = () => advance(timerEvent());
  const onMessage = ({ message, serverMac }: IncomingMessage) => {
    advance({ kind: "message", message, serverMac, nowMs: clock.nowMs(), random: random() });
  };

  const received = options.socket.receive(
    createFrameReader(options, onMessage),
    AbortSignal.any([options.signal, failed.signal]),
  );
  if (!options.signal.aborted) onTimer();
  try {
    await received;
  } finally {
    cancelTimer();
  }
  if (failure !== undefined) throw failure.cause;
}

type IncomingMessage = Pick<Extract<ClientEvent, { kind: "message" }>, "message" | "serverMac">;

/** Picks the messages for this client out of all frames of the interface. */
function createFrameReader(
  { mac }: ClientIdentity,
  onMessage: (incoming: IncomingMessage) => void,
): (frame: ReceivedFrame) => void {
  const udp = createUdpFrame();
  return (frame) => {
    if (readUdpFrame(frame, udp, CLIENT_PORT) !== undefined) return;
    if (udp.destinationMac !== mac && udp.destinationMac !== MAC_BROADCAST) return;
    if (udp.sourcePort !== SERVER_PORT) return;
    const result = decodeMessage(frame.bytes.subarray(udp.payloadStart, udp.payloadEnd));
    if (result.kind !== "message" || result.message.chaddr !== mac) return;
    onMessage({ message: result.message, serverMac: udp.sourceMac });
  };
}

function perform(options: DhcpClientOptions, action: ClientAction): void {
  switch (action.kind) {
    case "send":
      sendMessage(options, action.message, action.to);
      break;
    case "bound":
      options.onBound(action.lease);
      break;
    case "lost":
      options.onLost();
      break;
    default:
      action satisfies never;
  }
}

/** Without a transmit buffer the message is lost, as on a wire; the machine sends it again. */
function sendMessage(
  { socket, mac }: DhcpClientOptions,
  message: DhcpMessage,
  to: Extract<ClientAction, { kind: "send" }>["to"],
): void {
  const buffer = socket.reserve();
  if (buffer === undefined) return;
  const payload = encodeMessage(message);
  buffer.bytes.set(payload, UDP_PAYLOAD_OFFSET);
  const length = writeUdpFrame(buffer.bytes, buffer.view, {
    sourceMac: mac,
    destinationMac: to?.mac ?? MAC_BROADCAST,
    sourceIp: message.ciaddr,
    destinationIp: to?.address ?? IPV4_BROADCAST,
    sourcePort: CLIENT_PORT,
    destinationPort: SERVER_PORT,
    payloadLength: payload.length,
  });
  socket.commit(length, socket.ifindex);
}
