/** Requests as clients might send them, well formed or nearly so, for properties and peers. */

import fc from "fast-check";
import { readMac } from "../../src/model/mac-address.ts";
import { END, payload, put } from "./malformed.ts";
import {
  CLIENT_IP,
  type EnvelopeSpec,
  frameOf,
  OTHER_IP,
  octets,
  RELAY_MAC,
  SERVER_IP,
  SERVER_MAC,
} from "./packets.ts";

export type Option = readonly [code: number, data: readonly number[]];

/** A request as a client might send it, well formed or nearly so. */
export interface Sent {
  readonly options: readonly Option[];
  readonly mac: "client" | "other" | "unknown";
  readonly ciaddr: readonly number[];
  readonly isRelayed: boolean;
  readonly isUnicast: boolean;
  readonly flags: number;
  readonly xid: readonly number[];
}

const ADDRESSES = fc.constantFrom<readonly number[]>(
  [0, 0, 0, 0],
  [...octets(CLIENT_IP)],
  [...octets(OTHER_IP)],
  [10, 0, 0, 99],
  [192, 168, 7, 4],
);
const IDENTIFIERS = fc.constantFrom<readonly number[]>(
  [...octets(SERVER_IP)],
  [0, 0, 0, 0],
  [10, 9, 9, 9],
);
export const some = (maxLength: number) => fc.array(fc.nat({ max: 255 }), { maxLength });
/** Options that the server reads, each at most once, so that their order does not matter. */
const KNOWN: readonly fc.Arbitrary<Option>[] = [
  ADDRESSES.map((data): Option => [50, data]),
  IDENTIFIERS.map((data): Option => [54, data]),
  fc.tuple(fc.constant(51), fc.constantFrom([0, 0, 0, 1], [0, 0, 1, 0], [255, 255, 255, 255])),
  fc.tuple(fc.constant(57), fc.constantFrom([2, 64], [5, 220], [255, 0], [0, 9])),
  fc.tuple(fc.constant(55), some(40)),
  fc.tuple(fc.constant(61), some(255)),
  fc.tuple(fc.constant(12), some(30)),
  fc.tuple(fc.constant(60), some(30)),
  fc.tuple(fc.constant(77), some(12)),
  fc.tuple(fc.constant(80), fc.constantFrom<readonly number[]>([], [1])),
  fc.tuple(fc.constant(81), some(20)),
  fc.tuple(fc.constant(82), some(60)),
  fc.tuple(fc.constant(93), some(5)),
  fc.tuple(fc.constant(97), some(17)),
  fc.tuple(fc.constant(118), fc.constantFrom<readonly number[]>([10, 0, 0, 0], [10])),
  fc.tuple(fc.constant(175), some(6)),
];
const TYPES = fc.constantFrom(1, 1, 3, 3, 3, 4, 7, 8).map((type): Option => [53, [type]]);
export const SENT: fc.Arbitrary<Sent> = fc.record({
  options: fc
    .tuple(TYPES, fc.tuple(...KNOWN.map((option) => fc.option(option, { nil: undefined }))))
    .map(([type, found]) => [type, ...found.filter((option) => option !== undefined)])
    .chain((options) => fc.shuffledSubarray(options, { minLength: options.length })),
  mac: fc.constantFrom("client", "client", "client", "other", "unknown"),
  ciaddr: ADDRESSES,
  isRelayed: fc.boolean(),
  isUnicast: fc.boolean(),
  flags: fc.constantFrom(0, 0x8000, 0xffff),
  xid: fc.array(fc.nat({ max: 255 }), { minLength: 4, maxLength: 4 }),
});

export const MACS = {
  client: [0, 0x0d, 0x3a, 1, 2, 3],
  other: [0, 0x0d, 0x3a, 1, 2, 4],
  unknown: [0, 0x0d, 0x3a, 0xff, 0xff, 0xff],
} as const;
export const GIADDR = [10, 0, 0, 9];
export const ASSIGNED = { client: CLIENT_IP, other: OTHER_IP, unknown: undefined } as const;

export function frameOfSent(sent: Sent, options: readonly Option[] = sent.options): Uint8Array {
  const mac = MACS[sent.mac];
  const message = payload(
    [...options.flatMap(([code, data]) => [code, data.length, ...data]), END],
    put(4, ...sent.xid),
    put(10, sent.flags >> 8, sent.flags & 255),
    put(12, ...sent.ciaddr),
    put(24, ...(sent.isRelayed ? GIADDR : [0, 0, 0, 0])),
    put(28, ...mac),
  );
  const envelope: EnvelopeSpec = {
    sourceMac: sent.isRelayed ? RELAY_MAC : readMac(Uint8Array.from(mac), 0),
    ...(sent.isUnicast && { destinationMac: SERVER_MAC, destinationIp: SERVER_IP }),
  };
  return frameOf(message, envelope);
}
