/**
 * An AF_PACKET socket with a memory-mapped TPACKET_V2 receive ring: frames are read in the kernel's memory. One
 * system call sends a batch (transmit-batch.ts). The kernel filter is attached before bind, so that no
 * unfiltered frame is ever queued.
 *
 * @see Linux Documentation/networking/packet_mmap.rst
 */
import { closeSync } from "node:fs";
import { FabricError } from "../model/errors.ts";
import type { MacAddress } from "../model/mac-address.ts";
import {
  FRAME_BYTES_MAX,
  type FrameHandler,
  type FrameSocket,
  type FrameSocketCounters,
  type ReceivedFrame,
  type TransmitBuffer,
} from "./frame-socket.ts";
import {
  type MappedMemory,
  mapShared,
  pollNow,
  setSocketFlag,
  setSocketOption,
  socketName,
} from "./libc.ts";
import {
  LINK_ADDRESS_BYTES,
  openPacketSocket,
  type PacketSocketOptions,
  readDrops,
  SOL_PACKET,
  SOL_SOCKET,
  takeSocketError,
} from "./packet-socket.ts";
import { type Poller, pollTable } from "./poller.ts";
import { TransmitBatch } from "./transmit-batch.ts";

const SO_RCVBUFFORCE = 33;
const PACKET_RX_RING = 5;
const PACKET_VERSION = 10;
const TPACKET_V2 = 1;

const TP_STATUS_KERNEL = 0;
const TP_STATUS_USER = 1;
const TP_STATUS_LOSING = 4;
const TP_STATUS_CSUM_NOT_READY = 8;
const TP_STATUS_VLAN_VALID = 0x10;

/** Offsets in struct tpacket2_hdr (status at 0), followed by struct sockaddr_ll at 32. */
const HEADER = { length: 4, snapLength: 8, mac: 12, vlanTci: 24, linkAddress: 32 };
const SLOT_BYTES = 2048;
const BLOCK_BYTES = 64 * 1024;
const BLOCK_SLOTS = BLOCK_BYTES / SLOT_BYTES;
/** Frames that a ring holds unless its owner says otherwise: a network's burst, in 8 MiB. */
const RX_SLOTS = 4096;
/** A ring's share of buffers to send from; 8 at least. */
const RX_SLOTS_PER_TX_SLOT = 8;
/** Frames handled before the event loop gets a turn. */
const BATCH_FRAMES_MAX = 256;
const REMOVAL_CHECK_MS = 250;
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

export interface PacketRingOptions extends PacketSocketOptions {
  readonly poller: Poller;
  /** Frames that the ring holds, rounded up to whole blocks of 32; 2 KiB of memory each. Default 4096. */
  readonly receiveFrames?: number;
  /** False where a link monitor says when the interface is gone; else the ring looks itself, after an error. */
  readonly watchesRemoval?: boolean;
}

/**
 * Opens a ring on an interface. Call it inside the interface's network namespace; the socket stays there. The kernel
 * needs some 15 ms for it, and twice that to close it: for many interfaces that come and go, see packet-queue.ts.
 *
 * @throws FabricError ERR_USAGE_INTERFACE if there is no such interface, ERR_NET_SYSTEM_CALL without CAP_NET_RAW
 */
export function openPacketRing(options: PacketRingOptions): PacketRing {
  const slots = Math.ceil((options.receiveFrames ?? RX_SLOTS) / BLOCK_SLOTS) * BLOCK_SLOTS;
  let memory: MappedMemory | undefined;
  try {
    const socket = openPacketSocket(options, (fd) => {
      memory = setUpRing(fd, slots);
      return memory;
    });
    return new PacketRing({ ...options, ...socket, memory: socket.prepared, slots });
  } catch (error) {
    memory?.unmap();
    throw error;
  }
}

function setUpRing(fd: number, slots: number): MappedMemory {
  setSocketFlag(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2);
  setSocketFlag(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
  setSocketOption(fd, SOL_PACKET, PACKET_RX_RING, ringRequest(slots));
  return mapShared(fd, slots * SLOT_BYTES);
}

/** struct tpacket_req: block size, block count, frame size, frame count. */
function ringRequest(slots: number): Buffer {
  const blocks = slots / BLOCK_SLOTS;
  return Buffer.from(new Uint32Array([BLOCK_BYTES, blocks, SLOT_BYTES, slots]).buffer);
}

/** A packet socket and its ring; see {@link openPacketRing}. */
export class PacketRing implements FrameSocket {
  readonly hardwareAddress: MacAddress;
  readonly ifindex: number;
  readonly counters: FrameSocketCounters = {
    received: 0,
    transmitted: 0,
    droppedByKernel: 0,
    transmitFailed: 0,
  };
  readonly #fd: number;
  readonly #memory: MappedMemory;
  readonly #poller: Poller;
  readonly #words: Int32Array;
  readonly #frame: ReceivedFrame;
  readonly #transmit: TransmitBatch;
  readonly #pollTable: Buffer;
  readonly #slots: number;
  readonly #watchesRemoval: boolean;
  #receiveSlot = 0;
  #draining = false;
  #removalTimer: NodeJS.Timeout | undefined;
  #closed = false;
  #endReceive: () => void = () => undefined;

  constructor(parts: {
    fd: number;
    memory: MappedMemory;
    slots: number;
    ifindex: number;
    hardwareAddress: MacAddress;
    poller: Poller;
    watchesRemoval?: boolean;
  }) {
    this.#fd = parts.fd;
    this.#slots = parts.slots;
    this.#watchesRemoval = parts.watchesRemoval !== false;
    this.#memory = parts.memory;
    this.#poller = parts.poller;
    this.ifindex = parts.ifindex;
    this.hardwareAddress = parts.hardwareAddress;
    const { buffer } = parts.memory;
    this.#words = new Int32Array(buffer);
    this.#frame = {
      bytes: new Uint8Array(buffer),
      view: new DataView(buffer),
      offset: 0,
      length: 0,
      wireLength: 0,
      ifindex: parts.ifindex,
      vlanId: 0,
      checksumNotReady: false,
    };
    this.#transmit = new TransmitBatch(parts.fd, parts.slots / RX_SLOTS_PER_TX_SLOT);
    this.#pollTable = pollTable([parts.fd]);
  }

  async receive(handler: FrameHandler, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#closed) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#poller.watch(this.#fd, (failed) => {
      if (failed) this.#takeError(reject);
      return this.#drain(handler) > 0;
    });
    this.#endReceive = resolve;
    signal.addEventListener("abort", () => resolve(), { once: true });
    try {
      await promise;
    } finally {
      clearInterval(this.#removalTimer);
      if (!this.#closed) this.#poller.unwatch(this.#fd);
    }
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

  #flush(): void {
    const refused = this.#transmit.flush();
    this.counters.transmitted -= refused;
    this.counters.transmitFailed += refused;
  }

  /** Asks the kernel how many frames it dropped because the ring was full; the kernel's own counter restarts. */
  readStatistics(): FrameSocketCounters {
    this.counters.droppedByKernel += readDrops(this.#fd);
    return this.counters;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#removalTimer); // the descriptor that it looks at may soon be another's
    this.#poller.unwatch(this.#fd);
    this.#endReceive();
    closeSync(this.#fd);
    this.#memory.unmap();
    this.#transmit[Symbol.dispose]();
  }

  /**
   * Handles what is in the ring now, at most one batch, and sends what the handler queued. For programs that own their
   * thread, such as a load generator; servers use {@link PacketRing.receive}.
   *
   * @returns how many frames were handled
   */
  receiveNow(handler: FrameHandler): number {
    return this.#drain(handler);
  }

  /** Blocks the calling thread until a frame has arrived or `timeoutMs` have passed. */
  waitReadable(timeoutMs: number): void {
    pollNow(this.#pollTable, 1, timeoutMs);
  }

  /** Sends all frames that `action` commits with one system call, as they are from inside a handler. */
  sendTogether(action: () => void): void {
    this.#draining = true;
    action();
    this.#draining = false;
    this.#flush();
  }

  #drain(handler: FrameHandler): number {
    this.#draining = true;
    let count = 0;
    for (; count < BATCH_FRAMES_MAX && !this.#closed; count += 1) {
      const offset = this.#receiveSlot * SLOT_BYTES;
      const status = Atomics.load(this.#words, offset / 4);
      if ((status & TP_STATUS_USER) === 0) break;
      this.#present(offset, status);
      handler(this.#frame);
      Atomics.store(this.#words, offset / 4, TP_STATUS_KERNEL);
      this.#receiveSlot = (this.#receiveSlot + 1) % this.#slots;
    }
    this.#draining = false;
    if (!this.#closed) this.#flush();
    return count;
  }

  #present(offset: number, status: number): void {
    const frame = this.#frame;
    const view = frame.view;
    frame.offset = offset + view.getUint16(offset + HEADER.mac, true);
    frame.length = Math.min(view.getUint32(offset + HEADER.snapLength, true), FRAME_BYTES_MAX);
    frame.wireLength = view.getUint32(offset + HEADER.length, true);
    frame.ifindex = view.getInt32(offset + HEADER.linkAddress + 4, true);
    const tagged = (status & TP_STATUS_VLAN_VALID) !== 0;
    frame.vlanId = tagged ? view.getUint16(offset + HEADER.vlanTci, true) & 0x0fff : 0;
    frame.checksumNotReady = (status & TP_STATUS_CSUM_NOT_READY) !== 0;
    this.counters.received += 1;
    if ((status & TP_STATUS_LOSING) !== 0) this.readStatistics();
  }

  /** Before anything is sent: the kernel would refuse the frame for an error that is over. */
  #takeError(fail: (error: FabricError) => void): void {
    takeSocketError(this.#fd);
    if (this.#watchesRemoval) this.#watchRemoval(fail);
  }

  /**
   * After an error: an interface that went down may come up again, or be removed. The kernel reports only the former,
   * so the latter is looked for until a frame arrives.
   */
  #watchRemoval(fail: (error: FabricError) => void): void {
    clearInterval(this.#removalTimer);
    const { received } = this.counters;
    this.#removalTimer = setInterval(() => {
      if (this.#isRemoved()) {
        clearInterval(this.#removalTimer);
        fail(new FabricError("ERR_NET_INTERFACE_REMOVED", "The interface was removed"));
      } else if (this.counters.received !== received) clearInterval(this.#removalTimer);
    }, REMOVAL_CHECK_MS);
  }

  /** The kernel unbinds a socket from an interface that is removed. */
  #isRemoved(): boolean {
    const IFINDEX_OFFSET = 4;
    return socketName(this.#fd, LINK_ADDRESS_BYTES).readInt32LE(IFINDEX_OFFSET) !== this.ifindex;
  }
}
