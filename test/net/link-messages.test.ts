import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseMac } from "../../src/model/mac-address.ts";
import { encodeLinkDump, type LinkMessage, readLinkMessages } from "../../src/net/link-messages.ts";
import captured from "../fixtures/netlink/link-messages.json" with { type: "json" };

const octets = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
const said = (step: keyof typeof captured): LinkMessage[] =>
  captured[step].flatMap((hex) => readLinkMessages(octets(hex)));
/** What is said about one link, in order. */
const about = (step: keyof typeof captured, ifindex: number) =>
  said(step).flatMap((message) =>
    message.kind === "link" && message.link.ifindex === ifindex ? [message.link] : [],
  );

const TAP = 2;
const BRIDGE = 3;
const TAP_LINK = {
  ifindex: TAP,
  name: "tap7",
  isEthernet: true,
  isUp: false,
  hasCarrier: false,
  mtu: 1500,
  mac: parseMac("02:00:00:00:00:07"),
  hasXdp: false,
  kind: "tun",
};

describe("readLinkMessages()", () => {
  test("reads a dump to its end", () => {
    expect(said("dump")).toEqual([
      { kind: "link", link: expect.objectContaining({ name: "lo", isEthernet: false, mac: 0 }) },
      { kind: "done", sequence: 7 },
    ]);
  });

  test("reads the kind and the address of a bridge", () => {
    const mac = parseMac("02:00:00:00:00:08");
    expect(about("bridge", BRIDGE).at(-1)).toMatchObject({ name: "br7", kind: "bridge", mac });
  });

  test("reads the master of a port, and that it left", () => {
    expect(about("enslave", TAP).at(-1)).toEqual({ ...TAP_LINK, master: BRIDGE });
    expect(about("release", TAP).at(-1)).toEqual(TAP_LINK);
  });

  test("does not take a port that left its bridge for one that is gone", () => {
    expect(captured.release.some((hex) => octets(hex)[4] === 17)).toBe(true); // RTM_DELLINK
    expect(said("release").map(({ kind }) => kind)).not.toContain("gone");
  });

  test("reads a new name under the same index", () => {
    expect(about("rename", TAP)).toEqual([{ ...TAP_LINK, name: "tapx" }]);
  });

  test("reads MTU and administrative state; a tap without a reader has no carrier", () => {
    const link = { ...TAP_LINK, name: "tapx", mtu: 1400 };
    expect(about("mtu-up", TAP).at(-1)).toEqual({ ...link, isUp: true });
  });

  test("reads that an XDP program is attached", () => {
    const bytes = Buffer.from(captured["mtu-up"].at(-1)!, "hex");
    expect(about("mtu-up", TAP).at(-1)!.hasXdp).toBe(false);
    // IFLA_XDP with IFLA_XDP_ATTACHED, which says 0 here.
    const attribute = bytes.indexOf("0c002b000500020000", 0, "hex");
    bytes[attribute + 8] = 2; // in the driver's place
    expect(readLinkMessages(bytes)).toMatchObject([{ link: { hasXdp: true } }]);
  });

  test("reads that a link is gone", () => {
    expect(said("delete").at(-1)).toEqual({ kind: "gone", ifindex: TAP });
  });

  test("reads several messages of one datagram", () => {
    const both = Buffer.concat([octets(captured.dump[0]!), octets(captured.dump[1]!)]);
    expect(readLinkMessages(both)).toEqual(said("dump"));
  });

  test("reads an error, and passes over an acknowledgement", () => {
    const error = Buffer.alloc(36);
    error.writeUInt32LE(36, 0);
    error.writeUInt16LE(2, 4);
    error.writeInt32LE(-16, 16);
    expect(readLinkMessages(error)).toEqual([{ kind: "error", errno: 16 }]);
    error.writeInt32LE(0, 16);
    expect(readLinkMessages(error)).toEqual([]);
  });

  test("leaves out a message that names no link, as wireless drivers send them", () => {
    const bytes = Buffer.alloc(32);
    bytes.writeUInt32LE(32, 0);
    bytes.writeUInt16LE(16, 4);
    expect(readLinkMessages(bytes)).toEqual([]);
  });

  test("says malformed for a length below the header, past the end, and an attribute past its message", () => {
    const link = Buffer.from(captured.rename[0]!, "hex");
    for (const [offset, value] of [
      [0, 15],
      [0, link.length + 1],
      [32, 0xffff],
      [32, 3],
    ] as const) {
      const broken = Buffer.from(link);
      broken.writeUInt16LE(value, offset);
      expect(readLinkMessages(broken).at(-1)).toEqual({ kind: "malformed" });
    }
  });

  test("stays inside any input, cut or changed anywhere", () => {
    const whole = octets(captured.enslave.join(""));
    const change = fc.record({ at: fc.nat(whole.length - 1), value: fc.nat(255) });
    const inputs = fc.record({
      changes: fc.array(change, { maxLength: 8 }),
      start: fc.nat(400),
      length: fc.nat(whole.length),
    });
    fc.assert(
      fc.property(inputs, ({ changes, start, length }) => {
        const bytes = Uint8Array.from(whole);
        for (const { at, value } of changes) bytes[at] = value;
        const messages = readLinkMessages(bytes.subarray(start, start + length));
        expect(messages.length).toBeLessThanOrEqual(Math.ceil(length / 16));
      }),
    );
  });

  test("asks for a dump of all links", () => {
    const request = encodeLinkDump(9);
    expect(request.readUInt32LE(0)).toBe(request.length);
    expect([request.readUInt16LE(4), request.readUInt16LE(6)]).toEqual([18, 0x301]);
    expect(request.readUInt32LE(8)).toBe(9);
  });
});
