/** Takes a body and keeps nothing of it. */

import { Transform } from "node:stream";
import { refuse } from "../refusal.ts";

/** Makes a stream that ends when what is piped into it ends, and is empty; it fails beyond `bytesMax`. */
export function createDroppedBody(
  bytesMax: number,
): Transform & { readonly receivedEncodedLength: number } {
  let received = 0;
  const dropped = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      received += chunk.length;
      const error =
        received <= bytesMax
          ? null
          : refuse("ERR_WIRE_BODY_TOO_LARGE", `the body has more than ${bytesMax} bytes`);
      done(error);
    },
  });
  // The framework stops to listen with the first error, and whoever pipes tells it once more.
  dropped.on("error", () => undefined);
  // The framework compares it with the length that was announced.
  return Object.defineProperty(dropped, "receivedEncodedLength", {
    get: () => received,
  }) as ReturnType<typeof createDroppedBody>;
}
