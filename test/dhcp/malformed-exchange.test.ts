import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeMessage, MESSAGE_TYPE, messageTypeName } from "../../src/dhcp/index.ts";
import { END, frame, type MalformedRow, put, testRows } from "./malformed.ts";
import {
  CLIENT_IP,
  frameOf,
  OTHER_IP,
  OTHER_MAC,
  octets,
  RELAY_MAC,
  requestFrame,
  requestMessage,
  SERVER_IP,
  SERVER_MAC,
  SUBNET,
} from "./packets.ts";
import { startServer } from "./test-server.ts";

const FROM_OTHER = { sourceMac: OTHER_MAC };
const { DHCPDECLINE, DHCPDISCOVER, DHCPRELEASE } = MESSAGE_TYPE;
const decline = (address: string) => [53, 1, DHCPDECLINE, 50, 4, ...octets(address), END];
const release = [53, 1, DHCPRELEASE, END];

const ROWS: readonly MalformedRow[] = [
  {
    name: "M103 a DHCPDISCOVER with another server's identifier",
    frame: frame([53, 1, DHCPDISCOVER, 54, 4, 10, 9, 9, 9, END]),
    check: ({ message }) => expect(message.yiaddr).toBe(CLIENT_IP),
  },
  {
    name: "M104 a DHCPDISCOVER with ciaddr",
    frame: frame([53, 1, DHCPDISCOVER, END], {}, put(12, 10, 9, 9, 9)),
    check: ({ message, destinationIp }) => {
      expect(message).toMatchObject({ yiaddr: CLIENT_IP, ciaddr: 0 });
      expect(destinationIp).toBe(CLIENT_IP);
    },
  },
  {
    name: "M105 a DHCPRELEASE for somebody else",
    frame: frame(release, FROM_OTHER, put(12, 10, 0, 0, 5)),
    drop: "port.spoof",
  },
  {
    name: "M105 a DHCPDECLINE for somebody else",
    frame: frame(decline("10.0.0.5"), FROM_OTHER),
    drop: "port.spoof",
  },
  {
    name: "M105 a DHCPRELEASE of somebody else's address",
    frame: frame(release, {}, put(12, ...octets(OTHER_IP))),
    drop: "client.release.foreign",
  },
  {
    name: "M105 a DHCPDECLINE of somebody else's address",
    frame: frame(decline("10.0.0.6")),
    drop: "client.decline.foreign",
  },
];

describe("a message in its exchange", () => {
  testRows(ROWS);

  test("M107 two requests of one xid are both answered, each to its own client", () => {
    const { send } = startServer();
    const [one] = send({ type: "DHCPDISCOVER", xid: 7 });
    const [other] = send({ type: "DHCPDISCOVER", xid: 7, mac: OTHER_MAC });
    expect(one?.message.yiaddr).toBe(CLIENT_IP);
    expect(other?.message.yiaddr).toBe(OTHER_IP);
  });
});

const RENEW = { destinationMac: SERVER_MAC, sourceIp: CLIENT_IP, destinationIp: SERVER_IP };
/** One whole frame of each kind that is answered. */
const GOLDEN: readonly (readonly [string, Uint8Array])[] = [
  [
    "DHCPDISCOVER",
    requestFrame({ type: "DHCPDISCOVER", options: { 55: [1, 3, 6, 12, 15], 61: [1, 2, 3] } }),
  ],
  [
    "a selection",
    requestFrame({
      type: "DHCPREQUEST",
      options: { 50: octets(CLIENT_IP), 54: octets(SERVER_IP) },
    }),
  ],
  ["a renewal", requestFrame({ type: "DHCPREQUEST", ciaddr: CLIENT_IP }, RENEW)],
  ["DHCPINFORM", requestFrame({ type: "DHCPINFORM", ciaddr: CLIENT_IP }, RENEW)],
  [
    "a relayed DHCPDISCOVER",
    requestFrame(
      { type: "DHCPDISCOVER", giaddr: OTHER_IP, options: { 82: [1, 1, 7, 5, 4, 10, 0, 0, 0] } },
      { sourceMac: RELAY_MAC, sourceIp: OTHER_IP },
    ),
  ],
  [
    "a boot ROM's DHCPDISCOVER",
    requestFrame({
      type: "DHCPDISCOVER",
      options: {
        60: new TextEncoder().encode("PXEClient:Arch:00007:UNDI:003016"),
        77: new TextEncoder().encode("iPXE"),
        81: [4, 0, 0, 3, 119, 101, 98],
        93: [0, 7],
        94: [1, 3, 16],
        97: new Uint8Array(17),
        118: octets("10.0.0.0"),
        125: [0, 0, 1, 55, 1, 9],
      },
    }),
  ],
  [
    "an overloaded DHCPDISCOVER",
    frame(
      [53, 1, DHCPDISCOVER, 52, 1, 3, 55, 1, 1, END],
      {},
      put(108, 55, 1, 3, END),
      put(44, 12, 1, 65, END),
    ),
  ],
];

/** A server that takes all kinds of frames, and says that a frame was answered or counted as a drop. */
function startCounting() {
  const { socket, counters, sendFrame } = startServer({ relays: [SUBNET] });
  const countDrops = () => [...counters.drops.values()].reduce((sum, count) => sum + count, 0);
  let dropped = 0;
  return (bytes: Uint8Array) => {
    const replies = sendFrame(bytes, { checksumNotReady: true });
    const before = dropped;
    dropped = countDrops();
    socket.sent.length = 0;
    return { replies, isDropped: dropped > before };
  };
}

describe("M108 a good frame, damaged", () => {
  test.each(GOLDEN)("%s: answered as it is", (_name, bytes) => {
    const { replies } = startCounting()(bytes);
    expect(replies).toHaveLength(1);
    expect(messageTypeName(replies[0]!.message)).toMatch(/^DHCP(OFFER|ACK)$/);
  });

  test.each(GOLDEN)("%s: every octet flipped ends in a reply or a drop", (_name, bytes) => {
    const handle = startCounting();
    for (let offset = 0; offset < bytes.length; offset++) {
      for (const mask of [0x01, 0x80, 0xff]) {
        const flipped = bytes.slice();
        flipped[offset] = flipped[offset]! ^ mask;
        const { replies, isDropped } = handle(flipped);
        expect(replies.length === 0).toBe(isDropped);
      }
    }
  });

  test.each(GOLDEN)("%s: every prefix is dropped", (_name, bytes) => {
    const handle = startCounting();
    for (let length = 0; length < bytes.length; length++) {
      const { replies, isDropped } = handle(bytes.slice(0, length));
      expect(replies).toEqual([]);
      expect(isDropped).toBe(true);
    }
  });

  test.each(GOLDEN)("%s: every prefix of the message ends in a reply or a drop", (_name, bytes) => {
    const handle = startCounting();
    for (let length = 0; length < bytes.length - 42; length++) {
      const { replies, isDropped } = handle(frameOf(bytes.slice(42, 42 + length)));
      expect(replies.length === 0).toBe(isDropped);
    }
  });

  test("any 350 octets after a good header", () => {
    const handle = startCounting();
    const header = encodeMessage(requestMessage({ type: "DHCPDISCOVER" })).slice(0, 240);
    const property = fc.property(fc.uint8Array({ minLength: 350, maxLength: 350 }), (noise) => {
      const { replies, isDropped } = handle(frameOf(Uint8Array.of(...header, ...noise)));
      expect(replies.length === 0).toBe(isDropped);
    });
    fc.assert(property, { numRuns: 3000 });
  });
});
