import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { checksumOf, foldSum, sumWords } from "../../src/net/checksum.ts";
import {
  createUdpFrame,
  type FrameDropReason,
  readUdpFrame,
  UDP_PAYLOAD_OFFSET,
  writeUdpFrame,
} from "../../src/net/frame.ts";
import { FRAME_BYTES_MAX, type ReceivedFrame } from "../../src/net/frame-socket.ts";

const HEADER = {
  sourceMac: parseMac("00:0d:3a:01:02:03"),
  destinationMac: parseMac("00:0d:3a:00:00:01"),
  sourceIp: parseIpv4("10.0.0.5"),
  destinationIp: parseIpv4("168.63.129.16"),
  sourcePort: 68,
  destinationPort: 67,
};
const PAYLOAD = Uint8Array.from({ length: 301 }, (_, index) => (index * 7) & 0xff);

function goodFrame(payload: Uint8Array = PAYLOAD): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES_MAX);
  bytes.set(payload, UDP_PAYLOAD_OFFSET);
  const view = new DataView(bytes.buffer);
  const length = writeUdpFrame(bytes, view, { ...HEADER, payloadLength: payload.length });
  return bytes.slice(0, length);
}

function received(bytes: Uint8Array, changes: Partial<ReceivedFrame> = {}): ReceivedFrame {
  // Not at the start of its memory, so that a forgotten offset shows.
  const memory = new Uint8Array(66 + bytes.length + 10).fill(0xee);
  memory.set(bytes, 66);
  return {
    bytes: memory,
    view: new DataView(memory.buffer),
    offset: 66,
    length: bytes.length,
    wireLength: bytes.length,
    ifindex: 3,
    vlanId: 0,
    checksumNotReady: false,
    ...changes,
  };
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Makes the IPv4 header checksum right again. */
function mendIp(bytes: Uint8Array): void {
  view(bytes).setUint16(24, 0);
  view(bytes).setUint16(24, checksumOf(sumWords(view(bytes), 14, 34, 0)));
}

type Change = (bytes: Uint8Array) => Uint8Array | undefined;
const set =
  (at: number, ...values: number[]): Change =>
  (bytes) => {
    bytes.set(values, at);
    if (at >= 14 && at < 34 && at !== 24) mendIp(bytes);
    return bytes;
  };

const ROWS: [name: string, change: Change, want: FrameDropReason | undefined][] = [
  ["a whole datagram", (bytes) => bytes, undefined],
  ["an empty frame", () => new Uint8Array(), "l2.short"],
  ["13 octets", (bytes) => bytes.slice(0, 13), "l2.short"],
  ["14 octets", (bytes) => bytes.slice(0, 14), "l2.short"],
  ["33 octets", (bytes) => bytes.slice(0, 33), "l2.short"],
  ["34 octets, cut after the IP header", (bytes) => bytes.slice(0, 34), "ip.len"],
  ["ARP", set(12, 0x08, 0x06), "l2.type"],
  ["IPv6", set(12, 0x86, 0xdd), "l2.type"],
  ["a VLAN tag left in the frame", set(12, 0x81, 0x00), "l2.type"],
  ["a provider tag", set(12, 0x88, 0xa8), "l2.type"],
  ["a multicast source", set(6, 0x01), "l2.src"],
  ["a broadcast source", set(6, 255, 255, 255, 255, 255, 255), "l2.src"],
  ["an all-zero source", set(6, 0, 0, 0, 0, 0, 0), "l2.src"],
  ["IP version 6", set(14, 0x65), "ip.version"],
  ["header length 4", set(14, 0x44), "ip.ihl"],
  [
    "header length 15 in a frame that is shorter",
    (b) => {
      b[14] = 0x4f;
      return b.slice(0, 60);
    },
    "ip.ihl",
  ],
  ["IP options", set(14, 0x46), "ip.options"],
  [
    "total length one above the frame",
    (b) => set(16, (b.length - 13) >> 8, (b.length - 13) & 255)(b),
    "ip.len",
  ],
  ["total length 27", set(16, 0, 27), "ip.len"],
  ["a trailer after the datagram", (bytes) => Uint8Array.of(...bytes, 1, 2, 3), undefined],
  ["a wrong header checksum", set(24, 0x12, 0x34), "ip.csum"],
  ["a fragment with an offset", set(20, 0x00, 0x01), "ip.frag"],
  ["a first fragment", set(20, 0x20, 0x00), "ip.frag"],
  ["do-not-fragment", set(20, 0x40, 0x00), undefined],
  ["TCP", set(23, 6), "ip.proto"],
  ["a loopback source", set(26, 127, 0, 0, 1), "ip.src"],
  ["a multicast source address", set(26, 224, 0, 0, 1), "ip.src"],
  ["a broadcast source address", set(26, 255, 255, 255, 255), "ip.src"],
  ["time to live 0 (checksum mended)", set(22, 0), undefined],
  ["another destination port", set(36, 0, 69), "udp.port"],
  ["UDP length 7", set(38, 0, 7), "udp.len"],
  ["UDP length above the IP payload", set(38, 1, 255), "udp.len"],
  ["UDP checksum 0", set(40, 0, 0), undefined],
  ["a wrong UDP checksum", set(40, 0x12, 0x34), "udp.csum"],
];

describe("readUdpFrame()", () => {
  test.each(ROWS)("%s", (_name, change, want) => {
    const bytes = goodFrame();
    const changed = change(bytes) ?? bytes;
    expect(readUdpFrame(received(changed), createUdpFrame(), 67)).toBe(want);
  });

  test("reads all fields and trims to the UDP length", () => {
    const out = createUdpFrame();
    const frame = received(Uint8Array.of(...goodFrame(), 9, 9, 9));
    expect(readUdpFrame(frame, out, 67)).toBeUndefined();
    const { payloadStart, payloadEnd, ...header } = out;
    expect(header).toEqual({ ...HEADER, hasPartialChecksum: false });
    expect(frame.bytes.slice(payloadStart, payloadEnd)).toEqual(PAYLOAD);
  });

  test("trims to a UDP length below the IP payload", () => {
    const bytes = goodFrame();
    bytes.set([0, 108], 38);
    bytes.set([0, 0], 40);
    const out = createUdpFrame();
    expect(readUdpFrame(received(bytes), out, 67)).toBeUndefined();
    expect(out.payloadEnd - out.payloadStart).toBe(100);
  });

  test("takes any destination port unless one is named", () => {
    expect(readUdpFrame(received(goodFrame()), createUdpFrame())).toBeUndefined();
    expect(readUdpFrame(received(goodFrame()), createUdpFrame(), 68)).toBe("udp.port");
  });

  test.each([
    [0, undefined],
    [1, "l2.vlan"],
    [4094, "l2.vlan"],
  ])("VLAN %i taken out by the kernel", (vlanId, want) => {
    expect(readUdpFrame(received(goodFrame(), { vlanId }), createUdpFrame())).toBe(want);
  });

  test("does not check a checksum that the kernel calls unfinished", () => {
    const bytes = goodFrame();
    bytes.set([0x12, 0x34], 40);
    const frame = received(bytes, { checksumNotReady: true });
    expect(readUdpFrame(frame, createUdpFrame())).toBeUndefined();
  });

  test("takes the sum of the pseudo header alone, left by transmit offload", () => {
    const bytes = goodFrame();
    const length = bytes.length - 34;
    const sum = sumWords(view(bytes), 26, 34, 17 + length);
    view(bytes).setUint16(40, foldSum(sum));
    expect(readUdpFrame(received(bytes), createUdpFrame())).toBeUndefined();
  });

  test("refuses a frame longer than any buffer", () => {
    const frame = received(new Uint8Array(FRAME_BYTES_MAX + 1));
    expect(readUdpFrame(frame, createUdpFrame())).toBe("l2.long");
  });

  test("never throws and stays inside the frame", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 400 }), (tail) => {
      const good = goodFrame();
      good.set(tail.subarray(0, good.length - 14), 14);
      const frame = received(good);
      const out = createUdpFrame();
      if (readUdpFrame(frame, out) !== undefined) return;
      expect(out.payloadStart).toBeLessThanOrEqual(out.payloadEnd);
      expect(out.payloadEnd).toBeLessThanOrEqual(frame.offset + frame.length);
    });
    fc.assert(property);
  });
});

describe("writeUdpFrame()", () => {
  test("writes these octets", () => {
    const bytes = goodFrame(Uint8Array.of(1, 2, 3));
    expect(Buffer.from(bytes).toString("hex")).toBe(
      // Checksums computed apart, with Python's struct.
      [
        "000d3a000001000d3a0102030800",
        "4510001f000040004011076a0a000005a83f8110",
        "00440043000bc7fa010203",
      ].join(""),
    );
  });

  test("what it writes is read back, whatever the payload", () => {
    const payloads = fc.uint8Array({ maxLength: FRAME_BYTES_MAX - UDP_PAYLOAD_OFFSET });
    const property = fc.property(payloads, (payload) => {
      const frame = received(goodFrame(payload));
      const out = createUdpFrame();
      expect(readUdpFrame(frame, out)).toBeUndefined();
      expect(frame.bytes.slice(out.payloadStart, out.payloadEnd)).toEqual(payload);
    });
    fc.assert(property);
  });

  test("never leaves the UDP checksum field 0", () => {
    // The payload word makes the sum 0xffff, whose complement is 0.
    const bytes = goodFrame(Uint8Array.of(0, 0));
    const missing = view(bytes).getUint16(40);
    const made = goodFrame(Uint8Array.of(missing >> 8, missing & 255));
    expect(view(made).getUint16(40)).toBe(0xffff);
  });
});
