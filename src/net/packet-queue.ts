/**
 * An AF_PACKET socket without a ring, for one of many interfaces: its frames wait in the kernel's own queue, which takes
 * memory only while it holds some, and it opens and closes without the grace periods that a ring costs. A busy interface
 * is better served by a ring (packet-ring.ts), which spares the copy.
 */
import { close } from "node:fs";
import type { MacAddress } from "../model/mac-address.ts";
import type {
  FrameHandler,
  FrameSocket,
  FrameSocketCounters,
  TransmitBuffer,
} from "./frame-socket.ts";
import { setSocketFlag } from "./libc.ts";
import {
  openPacketSocket,
  type PacketSocketOptions,
  readDrops,
  SOL_PACKET,
  SOL_SOCKET,
  takeSocketError,
} from "./packet-socket.ts";
import type { Poller } from "./poller.ts";
import { RECEIVE_SLOTS, type ReceiveBatch } from "./receive-batch.ts";
import { TransmitBatch } from "./transmit-batch.ts";

const SO_RCVBUFFORCE = 33;
const PACKET_AUXDATA = 8;
/** The kernel doubles it and charges each frame of a client with some 1.3 KiB: about 100 frames. */
const RECEIVE_BUFFER_BYTES = 64 * 1024;
const TRANSMIT_SLOTS = 8;
/** Frames handled before the others get a turn. */
const BATCH_FRAMES_MAX = 256;

export interface PacketQueueOptions extends PacketSocketOptions {
  readonly poller: Poller;
  /** Shared by all queues of the poller; outlives them. */
  readonly batch: ReceiveBatch;
}

/**
 * Opens a queue on an interface. Call it inside the interface's network namespace; the socket stays there. It does not
 * see that its interface is removed: a link monitor does.
 *
 * @throws FabricError ERR_USAGE_INTERFACE if there is no such interface, ERR_NET_SYSTEM_CALL without CAP_NET_RAW
 */
export function openPacketQueue(options: PacketQueueOptions): PacketQueue {
  const socket = openPacketSocket(options, (fd) => {
    setSocketFlag(fd, SOL_PACKET, PACKET_AUXDATA, 1);
    setSocketFlag(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
  });
  return new PacketQueue({ ...options, ...socket });
}

/** A packet socket and its queue; see {@link openPacketQueue}. */
export class PacketQueue implements FrameSocket {
  readonly hardwareAddress: MacAddress;
  readonly ifindex: number;
  readonly counters: FrameSocketCounters = {
    received: 0,
    transmitted: 0,
    droppedByKernel: 0,
    transmitFailed: 0,
  };
  readonly #fd: number;
  readonly #poller: Poller;
  readonly #batch: ReceiveBatch;
  readonly #transmit: TransmitBatch;
  #draining = false;
  #closed = false;
  #endReceive: () => void = () => undefined;

  constructor(parts: {
    fd: number;
    ifindex: number;
    hardwareAddress: MacAddress;
    poller: Poller;
    batch: ReceiveBatch;
  }) {
    this.#fd = parts.fd;
    this.#poller = parts.poller;
    this.#batch = parts.batch;
    this.ifindex = parts.ifindex;
    this.hardwareAddress = parts.hardwareAddress;
    this.#transmit = new TransmitBatch(parts.fd, TRANSMIT_SLOTS);
  }

  async receive(handler: FrameHandler, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#poller.watch(this.#fd, (failed) => {
      // Before anything is sent: the kernel would refuse the frame for an error that is over.
      if (failed) takeSocketError(this.#fd);
      return this.#drain(handler);
    });
    this.#endReceive = resolve;
    signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    if (!this.#closed) this.#poller.unwatch(this.#fd);
  }

  reserve(): TransmitBuffer | undefined {
    if (this.#closed) return undefined; // an answer that took long may come after the end
    if (this.#transmit.isFull) this.#flush();
    return this.#transmit.reserve();
  }

  commit(length: number, ifindex: number): void {
    if (this.#closed) return;
    this.#transmit.commit(length, ifindex);
    this.counters.transmitted += 1;
    if (!this.#draining) this.#flush();
  }

  /** Asks the kernel how many frames it dropped because the queue was full; the kernel's own counter restarts. */
  readStatistics(): FrameSocketCounters {
    this.counters.droppedByKernel += readDrops(this.#fd);
    return this.counters;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#poller.unwatch(this.#fd);
    this.#endReceive();
    this.#transmit[Symbol.dispose]();
    // The kernel waits for a grace period: not on the thread that serves the others.
    await new Promise<void>((resolve) => close(this.#fd, () => resolve()));
  }

  /** @returns true if there may be more; to look again for what is yet to come would cost a system call each time */
  #drain(handler: FrameHandler): boolean {
    this.#draining = true;
    let count = 0;
    while (count < BATCH_FRAMES_MAX && !this.#closed) {
      const received = this.#batch.receive(this.#fd);
      for (let slot = 0; slot < received && !this.#closed; slot += 1) {
        this.counters.received += 1;
        handler(this.#batch.frameAt(slot, this.ifindex));
      }
      count += received;
      if (received < RECEIVE_SLOTS) break;
    }
    this.#draining = false;
    if (!this.#closed) this.#flush();
    return count >= BATCH_FRAMES_MAX;
  }

  #flush(): void {
    const refused = this.#transmit.flush();
    this.counters.transmitted -= refused;
    this.counters.transmitFailed += refused;
  }
}
