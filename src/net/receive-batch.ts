/**
 * Memory that packet sockets without a ring receive into, many frames with one system call. It is used from one call to
 * the next only, so all sockets of a thread share it: a socket that nobody sends to costs almost nothing.
 */
import { FRAME_BYTES_MAX, type ReceivedFrame } from "./frame-socket.ts";
import { type MappedMemory, mapAnonymous, receiveMessages } from "./libc.ts";

/** Frames of one system call. */
export const RECEIVE_SLOTS = 32;
const SLOT_BYTES = 2048;
/** An odd multiple of 2: the IPv4 header after 14 octets of Ethernet is then aligned. */
const FRAME_OFFSET = 66;

/** struct mmsghdr and struct iovec on 64-bit Linux. */
const MESSAGE = {
  bytes: 64,
  vectors: 16,
  vectorCount: 24,
  control: 32,
  controlLength: 40,
  got: 56,
};
const VECTOR = { bytes: 16, base: 0, length: 8 };
/** A control message with struct tpacket_auxdata; the kernel adds nothing else that we asked for. */
const CONTROL = { bytes: 64, level: 8, type: 12, status: 16, length: 20, vlanTci: 32 };
const SOL_PACKET = 263;
const PACKET_AUXDATA = 8;
const TP_STATUS_CSUM_NOT_READY = 8;
const TP_STATUS_VLAN_VALID = 0x10;
const VLAN_ID_MASK = 0x0fff;

const VECTORS_OFFSET = RECEIVE_SLOTS * MESSAGE.bytes;
const CONTROLS_OFFSET = VECTORS_OFFSET + RECEIVE_SLOTS * VECTOR.bytes;
const SLOTS_OFFSET = CONTROLS_OFFSET + RECEIVE_SLOTS * CONTROL.bytes;

/** Receives frames of any socket that has PACKET_AUXDATA on. Disposing twice is harmless. */
export class ReceiveBatch implements Disposable {
  readonly #memory: MappedMemory;
  readonly #view: DataView;
  readonly #frame: ReceivedFrame;
  #received = 0;
  #closed = false;

  constructor() {
    this.#memory = mapAnonymous(SLOTS_OFFSET + RECEIVE_SLOTS * SLOT_BYTES);
    const { buffer, address } = this.#memory;
    this.#view = new DataView(buffer);
    this.#frame = {
      bytes: new Uint8Array(buffer),
      view: this.#view,
      offset: 0,
      length: 0,
      wireLength: 0,
      ifindex: 0,
      vlanId: 0,
      checksumNotReady: false,
    };
    for (let slot = 0; slot < RECEIVE_SLOTS; slot += 1) writeMessage(this.#view, address, slot);
    this.#received = RECEIVE_SLOTS; // all are to be made ready
  }

  /** Receives what waits on a socket. @returns how many frames, at most {@link RECEIVE_SLOTS} */
  receive(fd: number): number {
    this.#makeReady();
    this.#received = Math.max(receiveMessages(fd, this.#memory.address, RECEIVE_SLOTS), 0);
    return this.#received;
  }

  /** One of the frames that were just received; the object and its bytes are reused. */
  frameAt(slot: number, ifindex: number): ReceivedFrame {
    const frame = this.#frame;
    const view = this.#view;
    const control = CONTROLS_OFFSET + slot * CONTROL.bytes;
    frame.offset = SLOTS_OFFSET + slot * SLOT_BYTES + FRAME_OFFSET;
    frame.length = view.getUint32(slot * MESSAGE.bytes + MESSAGE.got, true);
    frame.ifindex = ifindex;
    const hasAuxiliary =
      view.getUint32(slot * MESSAGE.bytes + MESSAGE.controlLength, true) > CONTROL.vlanTci &&
      view.getUint32(control + CONTROL.level, true) === SOL_PACKET &&
      view.getUint32(control + CONTROL.type, true) === PACKET_AUXDATA;
    const status = hasAuxiliary ? view.getUint32(control + CONTROL.status, true) : 0;
    frame.wireLength = hasAuxiliary ? view.getUint32(control + CONTROL.length, true) : frame.length;
    frame.checksumNotReady = (status & TP_STATUS_CSUM_NOT_READY) !== 0;
    const isTagged = (status & TP_STATUS_VLAN_VALID) !== 0;
    frame.vlanId = isTagged ? view.getUint16(control + CONTROL.vlanTci, true) & VLAN_ID_MASK : 0;
    return frame;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#memory.unmap();
  }

  /** The kernel has written how long the control messages were where it reads how long they may be. */
  #makeReady(): void {
    for (let slot = 0; slot < this.#received; slot += 1) {
      const length = slot * MESSAGE.bytes + MESSAGE.controlLength;
      this.#view.setUint32(length, CONTROL.bytes, true);
    }
  }
}

/** Everything in a message header that stays as it is. */
function writeMessage(view: DataView, memory: bigint, slot: number): void {
  const message = slot * MESSAGE.bytes;
  const vector = VECTORS_OFFSET + slot * VECTOR.bytes;
  const frame = SLOTS_OFFSET + slot * SLOT_BYTES + FRAME_OFFSET;
  const control = CONTROLS_OFFSET + slot * CONTROL.bytes;
  view.setBigUint64(vector + VECTOR.base, memory + BigInt(frame), true);
  view.setBigUint64(vector + VECTOR.length, BigInt(FRAME_BYTES_MAX), true);
  view.setBigUint64(message + MESSAGE.vectors, memory + BigInt(vector), true);
  view.setBigUint64(message + MESSAGE.vectorCount, 1n, true);
  view.setBigUint64(message + MESSAGE.control, memory + BigInt(control), true);
}
