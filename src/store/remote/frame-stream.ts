/** Messages over a stream socket, in frames. */
import type { Socket } from "node:net";
import { FRAME_BYTES_MAX, parseFrame } from "./protocol.ts";

const HEADER_BYTES = 4;

/** Text of messages that are sent before the turn of the loop ends, so that a frame stays far from its limit. */
const BATCH_BYTES = 1024 * 1024;

/** Sends and receives messages. Those of one turn of the event loop travel in one frame. */
export class FrameStream {
  readonly #socket: Socket;
  #received: Buffer[] = [];
  #receivedBytes = 0;
  /** Bytes that must be there before anything can be read. */
  #wantedBytes = HEADER_BYTES;
  #parts: string[] = [];
  #partsLength = 0;
  #flushing: NodeJS.Immediate | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Octets that wait for the other side to read. */
  get waitingBytes(): number {
    return this.#socket.writableLength + this.#partsLength;
  }

  /** Queues a message for this turn's frame; what changes in it later is not sent. */
  send(message: object): void {
    this.sendText(JSON.stringify(message));
  }

  /** As {@link FrameStream.send}, for a message that is JSON already. */
  sendText(text: string): void {
    this.#parts.push(text);
    this.#partsLength += text.length;
    if (this.#partsLength >= BATCH_BYTES) this.flush();
    else this.#flushing ??= setImmediate(() => this.flush());
  }

  /** Sends what is queued now. */
  flush(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    const parts = this.#parts;
    this.#parts = [];
    this.#partsLength = 0;
    if (parts.length === 0 || this.#socket.destroyed) return;
    const text = `[${parts.join(",")}]`;
    const length = Buffer.byteLength(text);
    const frame = Buffer.allocUnsafe(HEADER_BYTES + length);
    frame.writeUInt32BE(length);
    frame.write(text, HEADER_BYTES);
    this.#socket.write(frame);
  }

  /**
   * Takes received octets and returns the messages of the frames that they complete.
   *
   * @throws Error if the other side does not keep to the protocol
   */
  receive(chunk: Buffer): { readonly kind: string }[] {
    this.#received.push(chunk);
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes < this.#wantedBytes) return [];
    let bytes = this.#received.length === 1 ? chunk : Buffer.concat(this.#received);
    const messages: { readonly kind: string }[] = [];
    this.#wantedBytes = HEADER_BYTES;
    while (bytes.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + bytes.readUInt32BE();
      if (end > HEADER_BYTES + FRAME_BYTES_MAX) throw new RangeError("a frame is too long");
      if (bytes.length < end) {
        this.#wantedBytes = end;
        break;
      }
      for (const message of parseFrame(bytes.toString("utf8", HEADER_BYTES, end))) {
        messages.push(message);
      }
      bytes = bytes.subarray(end);
    }
    this.#received = bytes.length === 0 ? [] : [bytes];
    this.#receivedBytes = bytes.length;
    return messages;
  }

  /** Nothing that is queued is sent any more. */
  close(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    this.#parts = [];
    this.#partsLength = 0;
  }
}
