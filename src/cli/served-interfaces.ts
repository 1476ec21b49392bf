/** Keeps DHCP in step with the links of this machine: opens where one appears, closes where one is gone. */
import type { Logger } from "pino";
import { FabricError } from "../model/errors.ts";
import type { MacAddress } from "../model/mac-address.ts";
import { findBridgePort } from "../net/bridge-port.ts";
import type { FrameSocketCounters } from "../net/frame-socket.ts";
import {
  addressHolderOf,
  chooseInterfaces,
  INTERFACES_MAX,
  type InterfaceSelector,
} from "../net/interface-selection.ts";
import type { Link } from "../net/link-messages.ts";
import type { LinkMonitor } from "../net/link-monitor.ts";
import { ReceiveBatch } from "../net/receive-batch.ts";
import { type DhcpNetwork, type DhcpService, dhcpEnded, openDhcpService } from "./dhcp-service.ts";
import type { PlatformAddresses } from "./platform-addresses.ts";

export interface ServedInterfacesOptions {
  readonly selectors: readonly InterfaceSelector[];
  readonly monitor: LinkMonitor;
  readonly addresses: PlatformAddresses;
  readonly network: DhcpNetwork;
  /** Frames that each interface's ring holds; absent: 4096 for a named one, and a queue for what a pattern chose. */
  readonly ringFrames?: number;
  readonly log: Logger;
}

/** An interface that is served. */
interface Served {
  link: Link;
  readonly service: DhcpService;
  /** Addresses that frames for us may have; the server looks at it for every frame. */
  readonly localMacs: MacAddress[];
}

/**
 * The interfaces that are served now. With one named interface, its end is the end; else the others go on, and one that
 * comes back is served again. Disposing stops all.
 */
export class ServedInterfaces implements AsyncDisposable {
  /** Rejects when the only interface can no longer be served. */
  readonly ended: Promise<void>;
  readonly #options: ServedInterfacesOptions;
  readonly #served = new Map<number, Served>();
  readonly #closing = new Set<Promise<void>>();
  readonly #batch = new ReceiveBatch();
  /** Frames of sockets that are closed. */
  readonly #past: FrameSocketCounters = {
    received: 0,
    transmitted: 0,
    droppedByKernel: 0,
    transmitFailed: 0,
  };
  readonly #fail: (error: unknown) => void;
  #chosen: ReadonlySet<number> = new Set();
  #holders = "";
  #isDisposed = false;

  constructor(options: ServedInterfacesOptions) {
    this.#options = options;
    const { promise, reject } = Promise.withResolvers<void>();
    promise.catch(() => undefined); // whoever waits for it is told
    this.ended = promise;
    this.#fail = reject;
  }

  /**
   * Serves what is there now; {@link ServedInterfaces.update} follows what changes.
   *
   * @throws FabricError ERR_NET_SYSTEM_CALL, ERR_TOOL_FAILED if a named interface cannot be served
   */
  async start(): Promise<void> {
    const { addresses, selectors } = this.#options;
    const served = this.#choose();
    try {
      await addresses.hold(this.#newHolders(served) ?? []);
    } catch (error) {
      if (selectors.some(({ isPattern }) => !isPattern)) throw error;
      this.#addressesMissing(error); // what a pattern chose may be gone again by now
    }
    for (const link of served) {
      if (this.#isNamed(link.name)) this.#open(link);
      else this.#refresh(link);
    }
  }

  /** Call it when links have changed. Never throws: what cannot be served is logged, and tried again at the next call. */
  update(): void {
    if (this.#isDisposed) return;
    const served = this.#choose();
    const indexes = new Set(served.map(({ ifindex }) => ifindex));
    for (const [ifindex, one] of this.#served) if (!indexes.has(ifindex)) this.#close(ifindex, one);
    for (const link of served) this.#refresh(link);
    const holders = this.#newHolders(served);
    if (holders === undefined) return;
    this.#options.addresses.hold(holders).catch(this.#addressesMissing);
  }

  #choose(): readonly Link[] {
    const { monitor, selectors, log } = this.#options;
    const { chosen, served } = chooseInterfaces(monitor.links, this.#chosen, selectors);
    if (chosen.size === INTERFACES_MAX && this.#chosen.size < INTERFACES_MAX) {
      log.warn({ interfaces: INTERFACES_MAX }, "more interfaces than this are not served");
    }
    this.#chosen = chosen;
    return served;
  }

  readonly #addressesMissing = (err: unknown): void => {
    this.#holders = ""; // try again at the next change
    this.#options.log.warn({ err }, "the platform's addresses are not on all interfaces");
  };

  /** Frames of all sockets since the start; asks the kernel. */
  readFrames(): FrameSocketCounters {
    const sum = { ...this.#past };
    for (const { service } of this.#served.values()) addFrames(sum, service.readFrames());
    return sum;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    for (const [ifindex, served] of this.#served) this.#close(ifindex, served);
    await Promise.all(this.#closing);
    this.#batch[Symbol.dispose]();
  }

  /** The one interface without which there is nothing to do. */
  get #onlyName(): string | undefined {
    const [first, ...more] = this.#options.selectors;
    return first === undefined || first.isPattern || more.length > 0 ? undefined : first.text;
  }

  /** Whose addresses answer for what is served; undefined if they are the same as before. */
  #newHolders(served: readonly Link[]): Link[] | undefined {
    const { links } = this.#options.monitor;
    const byIndex = new Map(
      served.map((link) => addressHolderOf(links, link)).map((link) => [link.ifindex, link]),
    );
    const holders = [...byIndex.values()];
    const text = holders.map(({ ifindex, name }) => `${ifindex}/${name}`).join();
    if (text === this.#holders) return undefined;
    this.#holders = text;
    return holders;
  }

  #refresh(link: Link): void {
    const served = this.#served.get(link.ifindex);
    if (served === undefined) {
      try {
        this.#open(link);
      } catch (err) {
        this.#options.log.warn({ ifname: link.name, err }, "interface cannot be served");
      }
      return;
    }
    this.#fillLocalMacs(served.localMacs, link);
    if (link.hasXdp && !served.link.hasXdp) this.#warnOfXdp(link);
    const { name } = served.link;
    if (link.name !== name) this.#options.log.info({ ifname: link.name, before: name }, "renamed");
    served.link = link;
  }

  #open(link: Link): void {
    const { network, monitor, ringFrames, log } = this.#options;
    const { ifindex, name } = link;
    const localMacs: MacAddress[] = [];
    this.#fillLocalMacs(localMacs, link);
    const nameNow = () => monitor.links.get(ifindex)?.name ?? name;
    const buffer =
      ringFrames === undefined && !this.#isNamed(name)
        ? ({ kind: "queue", batch: this.#batch } as const)
        : ({ kind: "ring", ...(ringFrames !== undefined && { frames: ringFrames }) } as const);
    const service = openDhcpService(network, {
      name,
      ifindex,
      localMacs,
      mtu: () => monitor.links.get(ifindex)?.mtu ?? link.mtu,
      // A tap is its guest's alone; other interfaces may have a traffic policy of their owner.
      bypassQueue: link.kind === "tun",
      watchesRemoval: false,
      buffer,
      ...(link.kind === "bridge" && { findPort: (mac) => findBridgePort(nameNow(), mac) }),
    });
    this.#served.set(ifindex, { link, service, localMacs });
    log.info({ ifname: name, ifindex }, "serving");
    if (link.hasXdp) this.#warnOfXdp(link);
    service.ended.catch((error: unknown) => {
      if (this.#onlyName !== undefined) this.#fail(error);
      const served = this.#served.get(ifindex);
      if (served?.service === service) this.#close(ifindex, served);
    });
  }

  #close(ifindex: number, { link, service }: Served): void {
    const { log, monitor } = this.#options;
    this.#served.delete(ifindex);
    if (!this.#isDisposed) {
      const isGone = !monitor.links.has(ifindex);
      log.info({ ifname: link.name, ifindex }, isGone ? "interface is gone" : "no longer serving");
      if (isGone && this.#onlyName !== undefined) this.#fail(interfaceRemoved(link.name));
    }
    addFrames(this.#past, service.readFrames());
    const closing = closeService(service)
      .catch((err: unknown) => log.error({ ifname: link.name, err }, "socket not closed"))
      .finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  #isNamed(name: string): boolean {
    return this.#options.selectors.some(({ isPattern, text }) => !isPattern && text === name);
  }

  /** A guest of a bridge's port sends to the bridge. */
  #fillLocalMacs(localMacs: MacAddress[], link: Link): void {
    const holder = addressHolderOf(this.#options.monitor.links, link);
    localMacs.splice(0, localMacs.length, link.mac, holder.mac);
  }

  #warnOfXdp({ name }: Link): void {
    const text = "an XDP program is attached; frames that it takes are not seen here";
    this.#options.log.warn({ ifname: name }, text);
  }
}

async function closeService(service: DhcpService): Promise<void> {
  await service[Symbol.asyncDispose]();
}

function interfaceRemoved(name: string): FabricError {
  const cause = new FabricError("ERR_NET_INTERFACE_REMOVED", "The interface was removed");
  return dhcpEnded(name, cause);
}

function addFrames(sum: FrameSocketCounters, frames: Readonly<FrameSocketCounters>): void {
  sum.received += frames.received;
  sum.transmitted += frames.transmitted;
  sum.droppedByKernel += frames.droppedByKernel;
  sum.transmitFailed += frames.transmitFailed;
}
