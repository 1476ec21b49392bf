/** The good frames that a run starts from: one of each kind, and what real clients sent. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { encodeMessage } from "../../src/dhcp/index.ts";
import {
  IPV4_BROADCAST,
  IPV4_UNSPECIFIED,
  type Ipv4Address,
  parseIpv4,
  WIRE_SERVER_ADDRESS,
  writeIpv4,
} from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST } from "../../src/model/mac-address.ts";
import { readCapture } from "../../src/net/capture-file.ts";
import { UDP_PAYLOAD_OFFSET, writeUdpFrame } from "../../src/net/frame.ts";
import { FRAME_BYTES_MAX } from "../../src/net/frame-socket.ts";
import { CLIENTS, GIADDR, SERVER_MAC } from "./target.ts";

const CAPTURES = join(import.meta.dirname, "../../test/fixtures/pcap");

type Options = readonly (readonly [code: number, data: readonly number[]])[];

interface Spec {
  readonly options: Options;
  readonly ciaddr?: Ipv4Address;
  readonly giaddr?: Ipv4Address;
  readonly isUnicast?: boolean;
  readonly file?: readonly number[];
  readonly sname?: readonly number[];
}

const text = (value: string) => [...new TextEncoder().encode(value)];

function octets(address: Ipv4Address): number[] {
  const bytes = new Uint8Array(4);
  writeIpv4(bytes, 0, address);
  return [...bytes];
}

const US = octets(WIRE_SERVER_ADDRESS);
const OWN = octets(CLIENTS[0]!.address);
const RELAY = [
  1, 4, 112, 111, 114, 116, 2, 1, 9, 5, 4, 10, 77, 0, 0, 10, 1, 128, 11, 4, 10, 77, 0, 2,
];
const GUID = [0, ...Array.from({ length: 16 }, (_, index) => index)];

const SPECS: readonly Spec[] = [
  { options: [[53, [1]]] },
  {
    options: [
      [53, [1]],
      [61, [1, 0, 12, 1, 2, 3, 4]],
      [57, [5, 220]],
      [55, [1, 3, 6, 12, 15, 26, 28, 42, 121]],
      [12, text("web-0")],
    ],
  },
  {
    options: [
      [53, [3]],
      [54, US],
      [50, OWN],
      [51, [0, 0, 14, 16]],
      [55, [1, 3, 121, 249, 245]],
    ],
  },
  {
    options: [
      [53, [3]],
      [50, OWN],
      [55, [1, 3]],
    ],
  },
  {
    options: [
      [53, [3]],
      [50, [10, 77, 9, 9]],
    ],
  },
  {
    options: [
      [53, [3]],
      [50, [192, 168, 7, 4]],
    ],
  },
  { options: [[53, [3]]], ciaddr: CLIENTS[0]!.address, isUnicast: true },
  {
    options: [
      [53, [3]],
      [61, [7]],
    ],
    ciaddr: parseIpv4("10.9.9.9"),
  },
  {
    options: [
      [53, [4]],
      [54, US],
      [50, OWN],
      [56, text("in use")],
    ],
  },
  {
    options: [
      [53, [7]],
      [54, US],
    ],
    ciaddr: CLIENTS[0]!.address,
    isUnicast: true,
  },
  {
    options: [
      [53, [8]],
      [55, [1, 3, 6, 252]],
    ],
    ciaddr: CLIENTS[0]!.address,
  },
  {
    options: [
      [53, [1]],
      [80, []],
      [81, [5, 0, 0, 3, ...text("web"), 2, ...text("io"), 0]],
    ],
  },
  {
    options: [
      [53, [1]],
      [60, text("PXEClient:Arch:00007:UNDI:003016")],
      [77, text("iPXE")],
      [93, [0, 7]],
      [94, [1, 3, 16]],
      [97, GUID],
      [175, [176, 1, 1]],
      [43, [6, 1, 8, 255]],
    ],
  },
  {
    options: [
      [53, [1]],
      [60, text("HTTPClient:Arch:00016:UNDI:003001")],
      [93, [0, 16]],
    ],
  },
  {
    options: [
      [53, [1]],
      [82, RELAY],
      [118, [10, 77, 0, 0]],
    ],
    giaddr: GIADDR,
  },
  {
    options: [
      [53, [3]],
      [54, [10, 77, 0, 2]],
      [50, OWN],
      [82, RELAY],
    ],
    giaddr: GIADDR,
  },
  {
    options: [
      [53, [1]],
      [52, [3]],
      [55, [1]],
    ],
    file: [55, 2, 3, 6, 12, 2, 65, 66, 255],
    sname: [60, 4, 77, 83, 70, 84, 255],
  },
  {
    options: [
      [53, [1]],
      [55, [1, 3]],
      [12, [65]],
      [55, [6, 15]],
      [61, [1]],
      [61, [1]],
    ],
  },
  {
    options: [
      [53, [1]],
      [124, [0, 0, 1, 55, 1, 9]],
      [125, [0, 0, 1, 55, 2, 8, 9]],
      [116, [1]],
      [108, []],
    ],
  },
  { options: [[12, text("bootp-host")]] },
];

/** Every seed as a frame. */
export async function readSeeds(): Promise<Uint8Array[]> {
  const seeds = SPECS.map(frameOf);
  const captures = readdirSync(CAPTURES).filter((name) => /(?<!\.replies)\.pcap$/.test(name));
  for (const name of captures) {
    const { frames } = await readCapture(join(CAPTURES, name));
    seeds.push(...frames.map(({ bytes }) => Uint8Array.from(bytes)));
  }
  return seeds.filter((seed) => seed.length <= FRAME_BYTES_MAX);
}

function frameOf(spec: Spec): Uint8Array {
  const head = encodeMessage({
    op: 1,
    hops: 0,
    xid: 0x1234_5678,
    secs: 1,
    flags: 0,
    ciaddr: spec.ciaddr ?? IPV4_UNSPECIFIED,
    yiaddr: IPV4_UNSPECIFIED,
    siaddr: IPV4_UNSPECIFIED,
    giaddr: spec.giaddr ?? IPV4_UNSPECIFIED,
    chaddr: CLIENTS[0]!.mac,
    sname: Uint8Array.from(spec.sname ?? []),
    file: Uint8Array.from(spec.file ?? []),
    options: new Map(),
  }).slice(0, 240);
  const options = spec.options.flatMap(([code, data]) => [code, data.length, ...data]);
  const message = Uint8Array.of(...head, ...options, 255, 0, 0, 0);
  const bytes = new Uint8Array(FRAME_BYTES_MAX);
  bytes.set(message, UDP_PAYLOAD_OFFSET);
  const length = writeUdpFrame(bytes, new DataView(bytes.buffer), {
    sourceMac: CLIENTS[0]!.mac,
    destinationMac: spec.isUnicast === true ? SERVER_MAC : MAC_BROADCAST,
    sourceIp: spec.isUnicast === true ? CLIENTS[0]!.address : IPV4_UNSPECIFIED,
    destinationIp: spec.isUnicast === true ? WIRE_SERVER_ADDRESS : IPV4_BROADCAST,
    sourcePort: 68,
    destinationPort: 67,
    payloadLength: message.length,
  });
  return bytes.slice(0, length);
}
