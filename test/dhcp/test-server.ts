/** A server on a memory socket, for the tests in this folder. */

import { expect, onTestFinished } from "vitest";
import {
  createDhcpCounters,
  type DecideRequest,
  type DhcpRequest,
  type DhcpServerOptions,
  type OptionProfile,
  serveDhcp,
} from "../../src/dhcp/index.ts";
import type { Ipv4Address } from "../../src/model/ipv4-address.ts";
import type { MacAddress } from "../../src/model/mac-address.ts";
import { createMemoryFrameSocket, type InjectOptions } from "../../src/net/memory-frame-socket.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  type EnvelopeSpec,
  OTHER_IP,
  OTHER_MAC,
  profileWith,
  type RequestSpec,
  readReply,
  requestFrame,
  SERVER_IP,
  SERVER_MAC,
} from "./packets.ts";

/** The interface that requests arrive on. */
export const PORT = 7;

/** A server on a memory socket, with an inventory that a test may change. */
export function startServer(
  changes: Partial<DhcpServerOptions> & {
    profile?: OptionProfile;
    /** Sees each request that reaches the chain. */
    look?: (request: DhcpRequest) => void;
  } = {},
) {
  const socket = createMemoryFrameSocket({ hardwareAddress: SERVER_MAC, ifindex: 1 });
  const profile = changes.profile ?? profileWith();
  const inventory = new Map<MacAddress, Ipv4Address>([
    [CLIENT_MAC, CLIENT_IP],
    [OTHER_MAC, OTHER_IP],
  ]);
  const decide: DecideRequest = (request) => {
    changes.look?.(request);
    const address = inventory.get(request.chaddr);
    if (address === undefined) return { kind: "unknown" };
    const assignment = { address, profile, hostname: "web-0", container: "c-1" };
    return { kind: "assigned", assignment };
  };
  const counters = createDhcpCounters();
  const stop = new AbortController();
  const base = {
    socket,
    decide,
    now: () => 0,
    serverAddress: SERVER_IP,
    counters,
    signal: stop.signal,
  };
  const done = serveDhcp({ ...base, ...changes });
  onTestFinished(async () => {
    stop.abort();
    await done;
    const { replies, received, drops } = counters;
    const counted = [...drops.values(), ...Object.values(replies)];
    expect(counted.reduce((sum, count) => sum + count, 0)).toBe(received);
  });
  const sendFrame = (bytes: Uint8Array, options: InjectOptions = {}) => {
    socket.sent.length = 0;
    socket.inject(bytes, { ifindex: PORT, ...options });
    return socket.sent.map((frame) => ({ ...readReply(frame.bytes), ifindex: frame.ifindex }));
  };
  const send = (spec: RequestSpec, envelope?: EnvelopeSpec) =>
    sendFrame(requestFrame(spec, envelope));
  const ask = (spec: RequestSpec, envelope?: EnvelopeSpec) => {
    const [reply, ...more] = send(spec, envelope);
    if (reply === undefined || more.length > 0) {
      throw new Error(`${more.length} more replies, drops ${JSON.stringify([...counters.drops])}`);
    }
    return reply;
  };
  return { socket, inventory, counters, send, sendFrame, ask };
}
