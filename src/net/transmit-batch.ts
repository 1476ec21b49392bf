/**
 * Frames on their way out of a packet socket: written in memory that the kernel can read, sent many with one system
 * call. The kernel copies them, so a buffer is free again when the call returns; the packet socket's own transmit ring
 * saves that copy and costs more, because the next hop (veth, tap, bridge) then copies page by page.
 */
import { FRAME_BYTES_MAX, type TransmitBuffer } from "./frame-socket.ts";
import { AF_PACKET, type MappedMemory, mapAnonymous, sendMessages } from "./libc.ts";

/** Most frames of one system call. Few, so that their memory stays in the processor's cache. */
export const BATCH_SLOTS_MAX = 64;
const BATCH_SLOTS_MIN = 8;
const SLOT_BYTES = 2048;
/** An odd multiple of 2: the IPv4 header after 14 octets of Ethernet is then aligned. */
const FRAME_OFFSET = 66;

/** struct mmsghdr, struct iovec and struct sockaddr_ll on 64-bit Linux; the last one is at the start of its slot. */
const MESSAGE = { bytes: 64, name: 0, nameLength: 8, vectors: 16, vectorCount: 24 };
const VECTOR = { bytes: 16, base: 0, length: 8 };
const LINK_ADDRESS = { bytes: 20, family: 0, protocol: 2, ifindex: 4, addressLength: 11 };
const VECTORS_OFFSET = BATCH_SLOTS_MAX * MESSAGE.bytes;
const SLOTS_OFFSET = VECTORS_OFFSET + BATCH_SLOTS_MAX * VECTOR.bytes;
const ETH_P_IP = 0x0800;

/** Collects frames of one socket and sends them together. */
export class TransmitBatch implements Disposable {
  readonly #fd: number;
  readonly #memory: MappedMemory;
  readonly #words: Int32Array;
  readonly #slots: readonly TransmitBuffer[];
  #pending = 0;
  #closed = false;

  /** @param slots - frames that are sent together at most; kept between 8 and {@link BATCH_SLOTS_MAX} */
  constructor(fd: number, slots: number = BATCH_SLOTS_MAX) {
    this.#fd = fd;
    const length = Math.min(Math.max(Math.floor(slots), BATCH_SLOTS_MIN), BATCH_SLOTS_MAX);
    this.#memory = mapAnonymous(slotOffset(length));
    const { buffer, address } = this.#memory;
    this.#words = new Int32Array(buffer);
    this.#slots = Array.from({ length }, (_, slot) => {
      writeMessageHeader(new DataView(buffer), address, slot);
      const start = slotOffset(slot) + FRAME_OFFSET;
      return {
        bytes: new Uint8Array(buffer, start, FRAME_BYTES_MAX),
        view: new DataView(buffer, start, FRAME_BYTES_MAX),
      };
    });
  }

  get isFull(): boolean {
    return this.#pending === this.#slots.length;
  }

  /** A zero-filled buffer for the next frame. The batch must not be full. */
  reserve(): TransmitBuffer {
    const slot = this.#slots[this.#pending]!;
    slot.bytes.fill(0);
    return slot;
  }

  /** Adds the reserved buffer's first `length` bytes, to leave by `ifindex`. */
  commit(length: number, ifindex: number): void {
    const slot = this.#pending;
    this.#words[(VECTORS_OFFSET + slot * VECTOR.bytes + VECTOR.length) >> 2] = length;
    this.#words[(slotOffset(slot) + LINK_ADDRESS.ifindex) >> 2] = ifindex;
    this.#pending += 1;
  }

  /** Sends what was added. @returns how many frames the kernel refused */
  flush(): number {
    const count = this.#pending;
    this.#pending = 0;
    let done = 0;
    let refused = 0;
    while (done < count) {
      const address = this.#memory.address + BigInt(done * MESSAGE.bytes);
      const sent = sendMessages(this.#fd, address, count - done);
      // The call stops before a frame that is refused: its port may be gone. The others must not pay for it.
      if (sent <= 0) refused += 1;
      done += Math.max(sent, 1);
    }
    return refused;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#memory.unmap();
  }
}

function slotOffset(slot: number): number {
  return SLOTS_OFFSET + slot * SLOT_BYTES;
}

/** Everything in a message header that stays as it is: only the length and the interface change. */
function writeMessageHeader(view: DataView, memory: bigint, slot: number): void {
  const linkAddress = slotOffset(slot);
  view.setUint16(linkAddress + LINK_ADDRESS.family, AF_PACKET, true);
  view.setUint16(linkAddress + LINK_ADDRESS.protocol, ETH_P_IP);
  view.setUint8(linkAddress + LINK_ADDRESS.addressLength, 6);
  const vector = VECTORS_OFFSET + slot * VECTOR.bytes;
  view.setBigUint64(vector + VECTOR.base, memory + BigInt(linkAddress + FRAME_OFFSET), true);
  const message = slot * MESSAGE.bytes;
  view.setBigUint64(message + MESSAGE.name, memory + BigInt(linkAddress), true);
  view.setUint32(message + MESSAGE.nameLength, LINK_ADDRESS.bytes, true);
  view.setBigUint64(message + MESSAGE.vectors, memory + BigInt(vector), true);
  view.setBigUint64(message + MESSAGE.vectorCount, 1n, true);
}
