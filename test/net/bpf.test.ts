import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  type BpfInstruction,
  bootpFilter,
  DROP_ALL,
  encodeBpf,
  serverFilter,
} from "../../src/net/bpf.ts";
import { readCapture } from "../../src/net/capture-file.ts";
import { FRAME_BYTES_MAX } from "../../src/net/frame-socket.ts";
import { requestFrame } from "../dhcp/packets.ts";
import { type BpfInput, runBpf } from "./bpf-machine.ts";

const PCAPS = join(import.meta.dirname, "../fixtures/pcap");
const FILTER = bootpFilter(67, 1, FRAME_BYTES_MAX);
const DISCOVER = requestFrame({ type: "DHCPDISCOVER" });
const OUTGOING = 4;

/** A DISCOVER with octets put over it. */
function changed(...changes: readonly (readonly [offset: number, ...octets: number[]])[]) {
  const bytes = Uint8Array.from(DISCOVER);
  for (const [offset, ...octets] of changes) bytes.set(octets, offset);
  return bytes;
}

/** A DISCOVER behind an IPv4 header of 24 octets. */
function withIpOptions(): Uint8Array {
  const bytes = new Uint8Array(DISCOVER.length + 4);
  bytes.set(DISCOVER.subarray(0, 34));
  bytes.set(DISCOVER.subarray(34), 38);
  bytes[14] = 0x46;
  return bytes;
}

const KEPT: readonly (readonly [name: string, input: BpfInput])[] = [
  ["a broadcast DISCOVER", { bytes: DISCOVER, packetType: 1 }],
  ["a frame to another station, which is for code to judge", { bytes: DISCOVER, packetType: 3 }],
  ["a request behind IP options, which is for code to count", { bytes: withIpOptions() }],
  ["a frame that may not be fragmented", { bytes: changed([20, 0x40, 0]) }],
];

const DROPPED: readonly (readonly [name: string, input: BpfInput])[] = [
  ["a frame that leaves", { bytes: DISCOVER, packetType: OUTGOING }],
  ["another ethertype", { bytes: changed([12, 0x08, 0x06]) }],
  ["a tag that is still in the frame", { bytes: changed([12, 0x81, 0x00]) }],
  ["another protocol", { bytes: changed([23, 6]) }],
  ["a first fragment", { bytes: changed([20, 0x20, 0]) }],
  ["a later fragment", { bytes: changed([20, 0, 1]) }],
  ["another port", { bytes: changed([36, 0, 68]) }],
  ["a reply", { bytes: changed([42, 2]) }],
  ["a frame that ends before its ethertype", { bytes: DISCOVER.subarray(0, 13) }],
  ["a frame that ends before its protocol", { bytes: DISCOVER.subarray(0, 23) }],
  ["a frame that ends before its port", { bytes: DISCOVER.subarray(0, 37) }],
  ["a frame that ends before its op", { bytes: DISCOVER.subarray(0, 42) }],
  ["an empty frame", { bytes: new Uint8Array() }],
];

describe("serverFilter()", () => {
  const filter = serverFilter(67, 1, FRAME_BYTES_MAX);
  const answer = changed([34, 0, 67, 0, 68], [42, 2]);

  for (const [name, input] of [...KEPT, ["another server's reply", { bytes: answer }] as const]) {
    test(`keeps ${name}`, () => expect(runBpf(filter, input).kept).toBe(FRAME_BYTES_MAX));
  }
  for (const [name, input] of [
    ...DROPPED,
    ["a request to the client's port", { bytes: changed([36, 0, 68]) }] as const,
    ["a reply of ours", { bytes: answer, packetType: OUTGOING }] as const,
    ["a frame that ends before a reply's op", { bytes: answer.subarray(0, 42) }] as const,
    ["a third port", { bytes: changed([36, 0, 69]) }] as const,
  ]) {
    test(`drops ${name}`, () => expect(runBpf(filter, input).kept).toBe(0));
  }

  test("jumps forward only, inside the program", () => {
    filter.forEach(([code, jt, jf], pc) => {
      if ((code & 7) === 5) expect(pc + 1 + Math.max(jt, jf)).toBeLessThan(filter.length);
    });
  });
});

describe("bootpFilter()", () => {
  for (const [name, input] of KEPT) {
    test(`keeps ${name}`, () => expect(runBpf(FILTER, input).kept).toBe(FRAME_BYTES_MAX));
  }
  for (const [name, input] of DROPPED) {
    test(`drops ${name}`, () => expect(runBpf(FILTER, input).kept).toBe(0));
  }

  test("is passed through on every branch by these frames", () => {
    const taken = new Set<string>();
    for (const [, input] of [...KEPT, ...DROPPED]) {
      const { path } = runBpf(FILTER, input);
      path.forEach((from, index) => void taken.add(`${from}>${path[index + 1]}`));
    }
    const branches = FILTER.flatMap(([code, jt, jf], pc) => {
      if (code === 0x06) return [];
      return (code & 7) === 5
        ? [`${pc}>${pc + 1 + jt}`, `${pc}>${pc + 1 + jf}`]
        : [`${pc}>${pc + 1}`];
    });
    expect(branches.filter((branch) => !taken.has(branch))).toEqual([]);
  });

  test("keeps every request and drops every reply of the captures of real clients", async () => {
    const names = readdirSync(PCAPS).filter((name) => name.endsWith(".pcap"));
    let requests = 0;
    let replies = 0;
    for (const name of names) {
      for (const { bytes } of (await readCapture(join(PCAPS, name))).frames) {
        const isDhcp = bytes[12] === 8 && bytes[13] === 0 && bytes[23] === 17 && bytes[36] === 0;
        const isRequest = isDhcp && bytes[37] === 67 && bytes[42] === 1;
        expect([name, runBpf(FILTER, { bytes }).kept > 0]).toEqual([name, isRequest]);
        if (isRequest) requests += 1;
        else replies += 1;
      }
    }
    expect(requests).toBeGreaterThan(20);
    expect(replies).toBeGreaterThan(20);
  });

  test("jumps forward only, inside the program, and returns on every way", () => {
    FILTER.forEach(([code, jt, jf], pc) => {
      if ((code & 7) === 5) expect(pc + 1 + Math.max(jt, jf)).toBeLessThan(FILTER.length);
    });
    expect(FILTER.at(-1)![0]).toBe(0x06);
  });

  test("DROP_ALL keeps nothing", () => {
    expect(runBpf(DROP_ALL, { bytes: DISCOVER }).kept).toBe(0);
  });

  test("encodeBpf() lays instructions out as struct sock_filter", () => {
    const program: BpfInstruction[] = [[0x45, 5, 6, 0xffff_f004]];
    expect([...encodeBpf(program)]).toEqual([0x45, 0, 5, 6, 0x04, 0xf0, 0xff, 0xff]);
  });
});
