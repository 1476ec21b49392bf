/** A network on which a scenario happens: real chain, real server, memory sockets, and a clock that only steps move. */
import {
  type Assignment,
  createBootProfile,
  createDhcpCounters,
  createOptionProfile,
  type DhcpCounters,
  platformRoutes,
  serveDhcp,
} from "../../src/dhcp/index.ts";
import { parseSubnet, WIRE_SERVER_ADDRESS } from "../../src/model/ipv4-address.ts";
import type { MacAddress } from "../../src/model/mac-address.ts";
import {
  createMemoryFrameSocket,
  type MemoryFrameSocket,
} from "../../src/net/memory-frame-socket.ts";
import { createChain, createNmPlugin, NEXT, type Plugin } from "../../src/wds/index.ts";
import { GATEWAY, PROFILE_SPEC } from "../dhcp/packets.ts";
import { type BackendState, type Inventory, type Setup, TWO_NICS } from "./scenario.ts";
import {
  addressOf,
  frameOf,
  type Message,
  PORTS,
  portOf,
  SOCKET_IFINDEX,
  STATIONS,
  type Station,
} from "./vocabulary.ts";

/** Milliseconds of a monotonic clock, and timers on it. */
export class Clock {
  nowMs = 5_000;
  #timers: { readonly atMs: number; readonly callback: () => void }[] = [];

  readonly now = (): number => this.nowMs;

  readonly startTimer = (ms: number, callback: () => void): (() => void) => {
    const timer = { atMs: this.nowMs + ms, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  /** Lets time pass; what a timer causes has happened before the next one rings. */
  async advance(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    for (;;) {
      await settle();
      const [next] = this.#timers
        .filter(({ atMs }) => atMs <= endMs)
        .sort((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.nowMs = next.atMs;
      next.callback();
    }
    this.nowMs = endMs;
  }
}

/** Lets everything happen that waits for nothing but its turn. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** One frame that a server sent. */
export interface SentReply {
  readonly atMs: number;
  readonly bytes: Uint8Array;
  readonly ifindex: number;
}

/** A frame that was dropped, as the server's observer saw it. */
export interface Drop {
  readonly reason: string;
  readonly ifindex: number;
  readonly sourceMac: MacAddress;
}

/** One host's server. */
export class Host {
  readonly sent: SentReply[] = [];
  readonly drops: Drop[] = [];
  /** Of the running server. */
  counters: DhcpCounters = createDhcpCounters();
  readonly #world: World;
  #socket: MemoryFrameSocket | undefined;
  #stop = new AbortController();
  #done: Promise<void> = Promise.resolve();

  constructor(world: World) {
    this.#world = world;
  }

  start(): void {
    const { setup, clock } = this.#world;
    const socket = createMemoryFrameSocket({
      hardwareAddress: STATIONS.S,
      ifindex: SOCKET_IFINDEX,
    });
    socket.onSent = ({ bytes, ifindex }) => {
      this.sent.push({ atMs: clock.nowMs, bytes, ifindex });
    };
    const chain = createChain(this.#world.plugins(), { startTimer: clock.startTimer });
    this.counters = createDhcpCounters();
    this.#socket = socket;
    this.#stop = new AbortController();
    this.#done = serveDhcp({
      socket,
      decide: chain.decide,
      now: clock.now,
      serverAddress: WIRE_SERVER_ADDRESS,
      policy: { bootp: false, rapidCommit: false, ...setup.policy },
      ...(setup.relays !== undefined && { relays: [parseSubnet(setup.relays)] }),
      ...(setup.isGateway === true && { localMacs: [STATIONS.GW] }),
      counters: this.counters,
      onExchange: chain.observe,
      onDrop: (event) => {
        const { reason, ifindex, sourceMac } = event;
        this.drops.push({ reason, ifindex, sourceMac });
        chain.observe(event);
      },
      signal: this.#stop.signal,
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  /** Hands a frame to the server as the kernel does. */
  inject(message: Message, bytes: Uint8Array): void {
    this.#socket?.inject(bytes, {
      ifindex: PORTS[portOf(message)],
      vlanId: message.vlan ?? 0,
      checksumNotReady: message.checksumNotReady ?? false,
    });
  }
}

/** The inventory, the clock, and the hosts that serve them. */
export class World {
  readonly clock = new Clock();
  readonly setup: Setup;
  readonly hosts = { A: new Host(this), B: new Host(this) };
  backend: BackendState = "up";
  /** How often the inventory elsewhere was asked. */
  asked = 0;
  readonly #nics = new Map<MacAddress, Assignment>();
  readonly #elsewhere = new Map<MacAddress, Assignment>();
  readonly #ports = new Map<MacAddress, number>();

  constructor(setup: Setup) {
    this.setup = setup;
    const { backend } = setup;
    this.change(setup.nics ?? (backend === undefined ? TWO_NICS : {}));
    this.#fill(this.#elsewhere, backend?.nics ?? {});
  }

  /** Replaces the whole inventory. */
  change(nics: Inventory): void {
    this.#nics.clear();
    this.#fill(this.#nics, nics);
  }

  /** Takes over another world's inventory, not its troubles. */
  copyFrom(other: World): void {
    this.#nics.clear();
    for (const [mac, assignment] of other.#nics) this.#nics.set(mac, assignment);
    for (const [mac, port] of other.#ports) this.#ports.set(mac, port);
  }

  /** What a NIC is assigned, wherever that is written. */
  find(client: MacAddress): Assignment | undefined {
    return this.#nics.get(client) ?? this.#elsewhere.get(client);
  }

  plugins(): Plugin[] {
    const resolver = {
      findByMac: (mac: MacAddress) => this.#nics.get(mac),
      isElsewhere: (mac: MacAddress, ifindex: number) =>
        ifindex !== PORTS.uplink && this.#ports.get(mac) !== ifindex,
    };
    const plugins = [createNmPlugin(resolver)];
    return this.setup.backend === undefined ? plugins : [...plugins, this.#createBackend()];
  }

  #fill(into: Map<MacAddress, Assignment>, nics: Inventory): void {
    const { network = {} } = this.setup;
    const profile = createOptionProfile({
      ...PROFILE_SPEC,
      routes: platformRoutes(network.gateway ?? GATEWAY, network.subnet ?? PROFILE_SPEC.subnet),
      ...network,
    });
    for (const [station, nic] of Object.entries(nics) as [
      Station,
      NonNullable<Inventory["M1"]>,
    ][]) {
      const mac = STATIONS[station];
      const { address, hostname = "web-0", boot } = nic;
      into.set(mac, {
        address: addressOf(address),
        profile,
        hostname,
        container: station,
        ...(boot !== undefined && { boot: createBootProfile(boot) }),
      });
      this.#ports.set(mac, PORTS[nic.port ?? portOf({ type: "none", client: station })]);
    }
  }

  /** An inventory that is asked over a slow line, which may be cut. */
  #createBackend(): Plugin {
    const { latencyMs } = this.setup.backend!;
    return {
      name: "backend",
      isAsynchronous: true,
      resolve: async ({ chaddr }) => {
        this.asked++;
        if (this.backend === "silent") return new Promise(() => {});
        const { promise, resolve } = Promise.withResolvers<void>();
        this.clock.startTimer(latencyMs, resolve);
        await promise;
        if (this.backend === "down") throw new Error("the line is cut");
        const assignment = this.#elsewhere.get(chaddr);
        return assignment === undefined ? NEXT : { kind: "assigned", assignment };
      },
    };
  }
}

/** What a fresh server with the same inventory sends for some frames, one after the other. */
export async function answersOf(
  world: World,
  message: Message,
  payloads: readonly Uint8Array[],
): Promise<SentReply[][]> {
  const twin = new World(world.setup);
  twin.copyFrom(world);
  const host = twin.hosts.A;
  const answers: SentReply[][] = [];
  for (const payload of payloads) {
    host.start();
    host.sent.length = 0;
    host.inject(message, frameOf(message, payload));
    await twin.clock.advance(1_000);
    answers.push([...host.sent]);
    await host.stop();
  }
  return answers;
}
