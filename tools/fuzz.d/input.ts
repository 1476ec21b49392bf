/** One input: a frame, what the kernel would say about it, and which server gets it. Also as a file. */

import { FRAME_BYTES_MAX } from "../../src/net/frame-socket.ts";

/** Room for frames that are longer than any that is read. */
export const INPUT_BYTES_MAX = FRAME_BYTES_MAX + 32;

export interface Input {
  /** Memory of {@link INPUT_BYTES_MAX}; the frame is its first `length` octets. */
  readonly bytes: Uint8Array;
  length: number;
  vlanId: number;
  checksumNotReady: boolean;
  /** Index of the server. */
  server: number;
}

export function createInput(): Input {
  return {
    bytes: new Uint8Array(INPUT_BYTES_MAX),
    length: 0,
    vlanId: 0,
    checksumNotReady: true,
    server: 0,
  };
}

/** A copy in memory of its own. */
export function copyInput(input: Input): Input {
  const copy = createInput();
  assignInput(copy, input);
  return copy;
}

export function assignInput(to: Input, from: Input): void {
  to.bytes.set(from.bytes);
  to.length = from.length;
  to.vlanId = from.vlanId;
  to.checksumNotReady = from.checksumNotReady;
  to.server = from.server;
}

/** One line of JSON. */
export function encodeInput(input: Input): string {
  const { length, vlanId, checksumNotReady, server } = input;
  const frame = Buffer.from(input.bytes.subarray(0, length)).toString("hex");
  return `${JSON.stringify({ server, vlanId, checksumNotReady, frame })}\n`;
}

/** @throws SyntaxError or RangeError if the text is no input */
export function decodeInput(text: string): Input {
  const { server, vlanId, checksumNotReady, frame } = JSON.parse(text);
  const octets = Buffer.from(frame, "hex");
  const input = createInput();
  input.bytes.set(octets);
  return Object.assign(input, { length: octets.length, server, vlanId, checksumNotReady });
}
