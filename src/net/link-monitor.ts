/**
 * Follows the links of a network namespace: what is there now, and what changes. The subscription comes before the first
 * dump, so that nothing between the two is missed. If the kernel had to throw news away, everything is asked for again.
 *
 * @see Linux man 7 rtnetlink
 */
import { closeSync } from "node:fs";
import { FabricError } from "../model/errors.ts";
import {
  AF_NETLINK,
  bindSocket,
  openSocket,
  receiveMessage,
  SOCK_NONBLOCK,
  SOCK_RAW,
  sendMessage,
  setSocketFlag,
} from "./libc.ts";
import { encodeLinkDump, type Link, readLinkMessages } from "./link-messages.ts";
import type { Poller } from "./poller.ts";

const NETLINK_ROUTE = 0;
const RTMGRP_LINK = 1;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
/** The kernel makes no longer datagrams of links. */
const DATAGRAM_BYTES_MAX = 64 * 1024;
/** Datagrams read before the event loop gets a turn. */
const BATCH_DATAGRAMS_MAX = 64;
const SETTLE_MS = 50;

/** struct sockaddr_nl: family, pad, port id, groups. Port id 0 is the kernel. */
const ADDRESS = { bytes: 12, portId: 4, groups: 8 };

export interface LinkMonitorOptions {
  readonly poller: Poller;
  /** Called at most every `settleMs`, when a link came, went or changed. Must not throw. */
  readonly onChange: () => void;
  /** What the kernel keeps for us while we are busy; default 4 MiB, some thousand changes. */
  readonly receiveBufferBytes?: number;
  /** Changes that come together within so many milliseconds are told together; default 50. */
  readonly settleMs?: number;
}

/**
 * Starts to follow the links of the calling thread's network namespace; they are known when this returns.
 *
 * @throws FabricError ERR_NET_SYSTEM_CALL
 */
export function openLinkMonitor(options: LinkMonitorOptions): LinkMonitor {
  const fd = openSocket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
  try {
    forceReceiveBuffer(fd, options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES);
    const address = Buffer.alloc(ADDRESS.bytes);
    address.writeUInt16LE(AF_NETLINK, 0);
    address.writeUInt32LE(RTMGRP_LINK, ADDRESS.groups);
    bindSocket(fd, address, "the link news");
    return new LinkMonitor(fd, options);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Without privilege the kernel's default has to do: news may then be lost, and is asked for again. */
function forceReceiveBuffer(fd: number, sizeBytes: number): void {
  try {
    setSocketFlag(fd, SOL_SOCKET, SO_RCVBUFFORCE, sizeBytes);
  } catch (error) {
    if (!(error instanceof FabricError)) throw error;
  }
}

/** The links of a namespace; see {@link openLinkMonitor}. Disposing twice is harmless. */
export class LinkMonitor implements Disposable {
  readonly #fd: number;
  readonly #options: LinkMonitorOptions;
  readonly #links = new Map<number, Link>();
  readonly #datagram = Buffer.alloc(DATAGRAM_BYTES_MAX);
  readonly #sender = Buffer.alloc(ADDRESS.bytes);
  /** While a dump runs: who was heard of since it began. */
  #heard: Set<number> | undefined;
  #mustDump = false;
  #sequence = 0;
  #overruns = 0;
  #settling: NodeJS.Timeout | undefined;
  #closed = false;

  /** Use {@link openLinkMonitor}. @param fd - owned by the monitor from now on */
  constructor(fd: number, options: LinkMonitorOptions) {
    this.#fd = fd;
    this.#options = options;
    this.#startDump();
    // The kernel makes the whole dump while it is read, so this never waits.
    while (this.#heard !== undefined && this.#receive());
    if (!this.#mustDump) this.#endSettling();
    options.poller.watch(fd, () => this.#drain());
  }

  /** All links by their index. Changes while you wait for something else. */
  get links(): ReadonlyMap<number, Link> {
    return this.#links;
  }

  /** How often the kernel had to throw news away. */
  get overruns(): number {
    return this.#overruns;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#settling);
    this.#options.poller.unwatch(this.#fd);
    closeSync(this.#fd);
  }

  #startDump(): void {
    this.#sequence += 1;
    this.#heard = new Set();
    sendMessage(this.#fd, encodeLinkDump(this.#sequence), "a question for all links");
  }

  #drain(): boolean {
    if (this.#closed) return false;
    let count = 0;
    while (count < BATCH_DATAGRAMS_MAX && this.#receive()) count += 1;
    return count > 0;
  }

  /** @returns false if there is nothing more to read now */
  #receive(): boolean {
    const got = receiveMessage(this.#fd, this.#datagram, this.#sender);
    if (got === "EAGAIN") return false;
    // ENOBUFS: the kernel threw news away. A datagram that was cut is the same to us.
    if (typeof got === "string" || got > DATAGRAM_BYTES_MAX) {
      this.#overrun();
      return typeof got === "number";
    }
    // Any privileged process may send to us; only the kernel is believed.
    const isKernel = this.#sender.readUInt32LE(ADDRESS.portId) === 0;
    if (isKernel) this.#take(this.#datagram.subarray(0, got));
    return true;
  }

  #take(datagram: Uint8Array): void {
    for (const message of readLinkMessages(datagram)) {
      switch (message.kind) {
        case "link":
          this.#add(message.link);
          break;
        case "gone":
          this.#heard?.delete(message.ifindex);
          if (this.#links.delete(message.ifindex)) this.#settle();
          break;
        case "done":
          // A dump that an overrun has made worthless may still be ending.
          if (message.sequence === this.#sequence) this.#endDump();
          break;
        case "error":
        case "malformed":
          this.#overrun();
          break;
        default:
          message satisfies never;
      }
    }
  }

  #add(link: Link): void {
    this.#heard?.add(link.ifindex);
    const before = this.#links.get(link.ifindex);
    this.#links.set(link.ifindex, link);
    if (before === undefined || !isSameLink(before, link)) this.#settle();
  }

  /** Whoever was not heard of is gone. */
  #endDump(): void {
    const heard = this.#heard;
    this.#heard = undefined;
    if (heard === undefined) return;
    for (const ifindex of this.#links.keys()) {
      if (heard.has(ifindex)) continue;
      this.#links.delete(ifindex);
      this.#settle();
    }
  }

  /** What we know may be wrong: ask for all of it, once the storm has passed. */
  #overrun(): void {
    this.#overruns += 1;
    this.#heard = undefined;
    this.#mustDump = true;
    this.#settle();
  }

  #settle(): void {
    if (this.#closed) return;
    this.#settling ??= setTimeout(() => this.#tell(), this.#options.settleMs ?? SETTLE_MS);
  }

  #endSettling(): void {
    clearTimeout(this.#settling);
    this.#settling = undefined;
  }

  #tell(): void {
    this.#endSettling();
    if (this.#mustDump) this.#dumpAgain();
    this.#options.onChange();
  }

  #dumpAgain(): void {
    try {
      this.#mustDump = false;
      this.#startDump();
      while (this.#heard !== undefined && this.#receive());
    } catch (error) {
      if (!(error instanceof FabricError)) throw error;
      this.#overrun(); // the kernel has no memory for the question now; ask again later
    }
  }
}

function isSameLink(a: Link, b: Link): boolean {
  return (
    a.name === b.name &&
    a.isUp === b.isUp &&
    a.hasCarrier === b.hasCarrier &&
    a.mtu === b.mtu &&
    a.mac === b.mac &&
    a.master === b.master &&
    a.kind === b.kind &&
    a.hasXdp === b.hasXdp
  );
}
