/** A guest's side of a tap: frames in and out, as a hypervisor has them. */
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import type { MacAddress } from "../../src/model/mac-address.ts";
import { interfaceRequest } from "../../src/net/interface-info.ts";
import { ioctl } from "../../src/net/libc.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { type RequestSpec, readReply, requestFrame } from "../dhcp/packets.ts";

const TUNSETIFF = 0x4004_54ca;
const IFF_TAP_NO_PI = 0x1002;
const REQUEST_FLAGS_OFFSET = 16;
const FRAME_BYTES = 2048;
const REPLY_WAIT_MS = 10_000;
const LOOK_EVERY_MS = 5;

/** The DHCP messages that a tap's guest sees, and what it sends. Disposing closes it; a tap nobody keeps then vanishes. */
export class GuestTap implements Disposable {
  readonly name: string;
  readonly mac: MacAddress;
  readonly #fd: number;
  readonly #memory = Buffer.alloc(FRAME_BYTES);
  #closed = false;

  /** Makes the tap, down, in a namespace; or attaches to one that is there, which then has a carrier. */
  constructor(namespace: string, name: string, mac: MacAddress) {
    this.name = name;
    this.mac = mac;
    this.#fd = inNamespace(namespace, () => {
      const fd = openSync("/dev/net/tun", constants.O_RDWR | constants.O_NONBLOCK);
      const request = interfaceRequest(name);
      request.writeUInt16LE(IFF_TAP_NO_PI, REQUEST_FLAGS_OFFSET);
      ioctl(fd, TUNSETIFF, request, `make the tap ${name}`);
      return fd;
    });
  }

  send(frame: Uint8Array): void {
    writeSync(this.#fd, frame);
  }

  /** All frames that wait, oldest first. */
  read(): Buffer[] {
    const frames: Buffer[] = [];
    for (;;) {
      try {
        const length = readSync(this.#fd, this.#memory);
        frames.push(Buffer.from(this.#memory.subarray(0, length)));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EAGAIN") return frames;
        throw error;
      }
    }
  }

  /** The DHCP replies that wait. */
  readReplies() {
    return this.read().filter(isDhcpReply).map(readReply);
  }

  /** Sends a request of this guest and waits for one reply; fails if none comes. */
  async ask(spec: Omit<RequestSpec, "mac">) {
    this.read();
    this.send(requestFrame({ ...spec, mac: this.mac }));
    const end = performance.now() + REPLY_WAIT_MS;
    while (performance.now() < end) {
      const [reply] = this.readReplies();
      if (reply !== undefined) return reply;
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    throw new Error(`no reply to ${spec.type} on ${this.name}`);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#fd);
  }
}

/** IPv4, UDP, from port 67 to 68. */
function isDhcpReply(frame: Buffer): boolean {
  if (frame.length < 42 || frame.readUInt16BE(12) !== 0x0800 || frame[23] !== 17) return false;
  return frame.readUInt16BE(34) === 67 && frame.readUInt16BE(36) === 68;
}
