/** Frames that deserve no answer, sent at a rate beside the good ones. */
import type { MacAddress } from "../../src/model/mac-address.ts";
import type { TransmitBuffer } from "../../src/net/frame-socket.ts";
import { type FrameOptions, RequestTemplate } from "./request-frames.ts";

export type FloodKind = "unknown" | "junk";

/** First of the MACs that no inventory has. */
const UNKNOWN_MAC = 0x02_00_66_00_00_00;
const UNKNOWN_MACS = 1_000_000;
const OPTIONS = 42 + 240;

/** Writes one frame after the other; junk takes turns between the ways to be broken. */
export class Flood {
  readonly #template: RequestTemplate;
  readonly #kind: FloodKind;
  #count = 0;
  readonly #client = {
    mac: UNKNOWN_MAC as MacAddress,
    xid: 0,
    address: 0 as never,
    serverIdentifier: 0 as never,
  };

  constructor(kind: FloodKind, options: FrameOptions) {
    this.#kind = kind;
    this.#template = new RequestTemplate("DISCOVER", options);
  }

  /** @returns the frame's length */
  write(buffer: TransmitBuffer): number {
    const number = this.#count++;
    this.#client.mac = (UNKNOWN_MAC + (number % UNKNOWN_MACS)) as MacAddress;
    this.#client.xid = number >>> 0;
    this.#template.write(buffer, this.#client);
    if (this.#kind === "junk") spoil(buffer, number);
    return this.#template.length;
  }
}

/** Each still passes the server's kernel filter: UDP to port 67, first octet BOOTREQUEST. */
function spoil({ bytes, view }: TransmitBuffer, number: number): void {
  switch (number % 5) {
    case 0: // the sum does not fit
      bytes[OPTIONS + 40] = 1;
      break;
    case 1: // 200 hops, and no checksum
      bytes[42 + 3] = 200;
      view.setUint16(40, 0);
      break;
    case 2: // an option that runs past the end
      bytes[OPTIONS + 1] = 250;
      view.setUint16(40, 0);
      break;
    case 3: // somebody else's chaddr
      bytes[6 + 5]! ^= 1;
      break;
    default: // a hardware address of 16 octets
      bytes[42 + 2] = 16;
      view.setUint16(40, 0);
  }
}
