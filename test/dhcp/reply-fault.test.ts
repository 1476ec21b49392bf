import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DhcpFault, PlaybookSchema } from "../../src/model/playbook.ts";
import { createUdpFrame, readUdpFrame, UDP_PAYLOAD_OFFSET } from "../../src/net/frame.ts";
import { CLIENT_IP, CLIENT_MAC } from "./packets.ts";
import { startServer } from "./test-server.ts";

function faulty(fault: unknown) {
  const { dhcp } = PlaybookSchema.parse({ name: "test", dhcp: fault });
  const asked: string[] = [];
  const server = startServer({
    findReplyFault: ({ container }, reply): DhcpFault | undefined => {
      asked.push(`${container} ${reply}`);
      return dhcp?.replies?.includes(reply) === false ? undefined : dhcp;
    },
  });
  /** The octets of the reply from its options on. */
  const options = (type: "DHCPDISCOVER" | "DHCPREQUEST" = "DHCPDISCOVER") => {
    server.send({ type, broadcast: true });
    const frame = server.socket.sent[0]!.bytes;
    return frame.subarray(UDP_PAYLOAD_OFFSET + 240);
  };
  return { ...server, asked, options };
}

const OPTION_245 = [245, 4, 168, 63, 129, 16];

/** True if the octets are in this order somewhere. */
function contains(bytes: Uint8Array, wanted: readonly number[]): boolean {
  return Buffer.from(bytes).includes(Buffer.from(wanted));
}

describe("a reply that is wrong on purpose", () => {
  test("has no option 245, and all the others", () => {
    const right = startServer().ask({ type: "DHCPDISCOVER" });
    const reply = faulty({ option245: "absent" }).ask({ type: "DHCPDISCOVER" });
    expect(right.message.options.has(245)).toBe(true);
    expect([...reply.message.options.keys()]).toEqual(
      [...right.message.options.keys()].filter((code) => code !== 245),
    );
  });

  test("has an option 245 of a wrong length", () => {
    const short = faulty({ option245: "short" }).ask({ type: "DHCPDISCOVER" });
    expect([...(short.message.options.get(245) ?? [])]).toEqual([168, 63, 129]);
    const long = faulty({ option245: "long" }).ask({ type: "DHCPDISCOVER" });
    expect([...(long.message.options.get(245) ?? [])]).toEqual([168, 63, 129, 16, 0, 0, 0, 0]);
  });

  test("has pad octets before option 245", () => {
    const options = faulty({ padBefore245: 3 }).options();
    expect(contains(options, [0, 0, 0, ...OPTION_245])).toBe(true);
    expect(contains(faulty({ unicast: true }).options(), [0, 0, 0, ...OPTION_245])).toBe(false);
  });

  test("goes to the client's own address although it asked for a broadcast", () => {
    const { send } = faulty({ unicast: true });
    const [offer] = send({ type: "DHCPDISCOVER", broadcast: true });
    expect([offer?.destinationMac, offer?.destinationIp]).toEqual([CLIENT_MAC, CLIENT_IP]);
  });

  test("has a UDP checksum that is wrong, and says that there is one", () => {
    const { send, socket } = faulty({ badChecksum: true });
    expect(() => send({ type: "DHCPDISCOVER" })).toThrow(/udp.csum/);
    const { bytes } = socket.sent[0]!;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    expect(view.getUint16(UDP_PAYLOAD_OFFSET - 2)).not.toBe(0);
  });

  test("does not come at all, and that is counted", () => {
    const { send, counters } = faulty({ silent: true, replies: ["offer"] });
    expect(send({ type: "DHCPDISCOVER" })).toEqual([]);
    expect(counters.drops.get("fault.silent")).toBe(1);
    expect(send({ type: "DHCPREQUEST", ciaddr: CLIENT_IP })).toHaveLength(1);
  });
});

test("the container and the kind of reply are asked for", () => {
  const { send, asked } = faulty({ option245: "absent" });
  send({ type: "DHCPDISCOVER" });
  send({ type: "DHCPREQUEST", ciaddr: CLIENT_IP });
  expect(asked).toEqual(["c-1 offer", "c-1 ack"]);
});

test("whatever is spoiled, the frame is whole and the reply has an end", () => {
  const fault = fc.record(
    {
      option245: fc.constantFrom("absent", "short", "long"),
      padBefore245: fc.integer({ min: 1, max: 16 }),
    },
    { requiredKeys: ["padBefore245"] },
  );
  fc.assert(
    fc.property(fault, (spec) => {
      const { send, socket } = faulty(spec);
      send({ type: "DHCPDISCOVER" });
      const { bytes } = socket.sent[0]!;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const out = createUdpFrame();
      const frame = { bytes, view, offset: 0, length: bytes.length, wireLength: bytes.length };
      const reason = readUdpFrame(
        { ...frame, ifindex: 1, vlanId: 0, checksumNotReady: false },
        out,
      );
      expect(reason).toBeUndefined();
      expect(out.payloadEnd - out.payloadStart).toBeGreaterThanOrEqual(300);
      expect(bytes.subarray(UDP_PAYLOAD_OFFSET + 240)).toContain(255);
    }),
    { numRuns: 50 },
  );
});
