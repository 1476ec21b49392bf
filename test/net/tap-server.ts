/** A DHCP server on packet sockets of a namespace, with the guests' taps; all go when the test ends. */
import { onTestFinished } from "vitest";
import {
  createDhcpCounters,
  type DecideRequest,
  type DhcpServerOptions,
  type OptionProfile,
  serveDhcp,
} from "../../src/dhcp/index.ts";
import { type Ipv4Address, ipv4Plus, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { type MacAddress, macPlus, parseMac } from "../../src/model/mac-address.ts";
import type { FrameSocket } from "../../src/net/frame-socket.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { openPacketQueue, type PacketQueue } from "../../src/net/packet-queue.ts";
import { openPacketRing, type PacketRing } from "../../src/net/packet-ring.ts";
import type { PacketSocketOptions } from "../../src/net/packet-socket.ts";
import { Poller } from "../../src/net/poller.ts";
import { ReceiveBatch } from "../../src/net/receive-batch.ts";
import { profileWith, SERVER_IP } from "../dhcp/packets.ts";
import { GuestTap } from "./guest-tap.ts";
import { disableIpv6, ip, makeNamespace } from "./namespaces.ts";

const FIRST_MAC = parseMac("02:00:00:00:00:00");
const FIRST_ADDRESS = parseIpv4("10.0.0.0");
const NICS = 200;

export const macOf = (index: number): MacAddress => macPlus(FIRST_MAC, index);
export const addressOf = (index: number): Ipv4Address => ipv4Plus(FIRST_ADDRESS, index);

export type SocketKind = "ring" | "queue";
export type PacketSocketOf = PacketRing | PacketQueue;

export interface TapNetwork {
  readonly namespace: string;
  readonly poller: Poller;
  link(...args: string[]): string;
  /** A guest's tap that is up, with the MAC of `index`; optionally a port of a bridge. */
  tap(name: string, index: number, bridge?: string): GuestTap;
  bridge(name: string): void;
  /** Opens a packet socket as the server would. */
  open(
    kind: SocketKind,
    interfaceName: string,
    more?: Partial<PacketSocketOptions>,
  ): PacketSocketOf;
  /** Serves DHCP on a socket; NIC `index` has {@link macOf} and {@link addressOf}. */
  serve(
    socket: FrameSocket,
    options?: Partial<DhcpServerOptions> & { readonly profile?: OptionProfile },
  ): ReturnType<typeof createDhcpCounters>;
}

/** Makes a namespace without IPv6, whose noise tests would count. */
export function makeTapNetwork(): TapNetwork {
  const stack = new AsyncDisposableStack();
  onTestFinished(() => stack.disposeAsync());
  const namespace = stack.use(makeNamespace("taps")).name;
  disableIpv6(namespace);
  const poller = new Poller();
  const batch = stack.use(new ReceiveBatch());
  const link = (...args: string[]) => ip("-n", namespace, "link", ...args);
  return {
    namespace,
    poller,
    link,
    tap(name, index, bridge) {
      const tap = stack.use(new GuestTap(namespace, name, macOf(index)));
      if (bridge !== undefined) link("set", "dev", name, "master", bridge);
      link("set", "dev", name, "up");
      return tap;
    },
    bridge(name) {
      link("add", "name", name, "type", "bridge", "stp_state", "0", "mcast_snooping", "0");
      link("set", "dev", name, "up");
    },
    open(kind, interfaceName, more = {}) {
      const common = { interfaceName, udpPort: 67, bootpOp: 1 as const, poller, ...more };
      return stack.use(
        inNamespace<PacketSocketOf>(namespace, () =>
          kind === "queue"
            ? openPacketQueue({ ...common, batch })
            : openPacketRing({ ...common, watchesRemoval: false }),
        ),
      );
    },
    serve(socket, { profile = profileWith(), ...more } = {}) {
      const counters = createDhcpCounters();
      const stop = new AbortController();
      const serving = serveDhcp({
        socket,
        decide: decideFor(profile),
        now: () => performance.now(),
        serverAddress: SERVER_IP,
        counters,
        signal: stop.signal,
        ...more,
      });
      stack.defer(async () => {
        stop.abort();
        await serving;
      });
      return counters;
    },
  };
}

function decideFor(profile: OptionProfile): DecideRequest {
  return ({ chaddr }) => {
    const index = chaddr - FIRST_MAC;
    if (index < 0 || index >= NICS) return { kind: "unknown" };
    return { kind: "assigned", assignment: { address: addressOf(index), profile } };
  };
}

/** Waits until something is true; a test's own time limit ends it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
