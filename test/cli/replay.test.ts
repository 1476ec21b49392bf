/** Captures replayed through the server that an inventory makes: without an interface, a privilege or a clock. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { DROP_REASONS } from "../../src/cli/dhcp/reasons.ts";
import { createInventoryServer, type InventoryServer } from "../../src/cli/inventory-server.ts";
import { readYaml } from "../../src/cli/read-yaml.ts";
import { replayCapture } from "../../src/cli/replay/replay.ts";
import { describeReplay, renderReplay } from "../../src/cli/replay/replay-document.ts";
import { addressOption, type DhcpMessage, encodeMessage, OPTION } from "../../src/dhcp/index.ts";
import { type Ipv4Address, parseIpv4, WIRE_SERVER_ADDRESS } from "../../src/model/ipv4-address.ts";
import type { Capture, CapturedFrame } from "../../src/net/capture.ts";
import { readCapture } from "../../src/net/capture-file.ts";
import {
  createInventoryResolver,
  type InventoryDescription,
  parseInventory,
} from "../../src/nm/index.ts";
import {
  type ChainOptions,
  createChain,
  createHardwarePlugin,
  createNmPlugin,
  type Plugin,
} from "../../src/wds/index.ts";
import {
  CLIENT_MAC,
  frameOf,
  octets,
  profileWith,
  type RequestSpec,
  readReply,
  requestFrame,
  requestMessage,
  SERVER_MAC,
  UNKNOWN_MAC,
} from "../dhcp/packets.ts";
import { temporaryFolder } from "../temporary-folder.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/pcap");
const CLIENT_IP = parseIpv4("10.0.0.5");
const OTHER_SERVER = parseIpv4("10.0.0.1");

const FIXTURE_INVENTORY = parseInventory(readYaml(join(FIXTURES, "inventory.yaml")), "test");
const INVENTORY = parseInventory(
  {
    network: { subnet: "10.0.0.0/24", gateway: "10.0.0.1", dns: ["10.0.0.2"] },
    nics: [{ mac: "00:0d:3a:01:02:03", address: "10.0.0.5" }],
  },
  "test",
);

/** Frames `stepMs` apart. */
function captureOf(frames: readonly Uint8Array[], stepMs = 1_000): Capture {
  return {
    kind: "capture",
    resolution: "microseconds",
    snaplen: 65_535,
    end: { kind: "complete" },
    frames: frames.map((bytes, index): CapturedFrame => {
      const timestampNs = 1_700_000_000_000_000_000n + BigInt(index * stepMs) * 1_000_000n;
      return { timestampNs, bytes, wireLength: bytes.length };
    }),
  };
}

type MakeServer = (options: ChainOptions) => InventoryServer;

function serverOf(inventory: InventoryDescription): MakeServer {
  const resolver = createInventoryResolver(inventory, { isGateway: true });
  const plugins = [createHardwarePlugin(resolver), createNmPlugin(resolver)];
  return (options) => createInventoryServer(inventory, plugins, options);
}

async function replay(capture: Capture, compare = false, makeServer = serverOf(INVENTORY)) {
  const output = join(temporaryFolder("replay"), "out.pcap");
  const found = await replayCapture({ capture, makeServer, output, standIn: compare });
  const document = describeReplay(found, capture, compare);
  return { document, text: renderReplay(document), output };
}

/** What another server answered. */
function captured(
  type: number,
  yiaddr: Ipv4Address,
  options: readonly (readonly [number, Uint8Array])[] = [],
  request: RequestSpec = { type: "DHCPDISCOVER" },
): Uint8Array {
  const message: DhcpMessage = {
    ...requestMessage(request),
    op: 2,
    yiaddr,
    options: new Map([[53, Uint8Array.of(type)], [54, octets(OTHER_SERVER)], ...options]),
  };
  return frameOf(encodeMessage(message), {
    sourceMac: SERVER_MAC,
    destinationMac: CLIENT_MAC,
    sourceIp: OTHER_SERVER,
    destinationIp: yiaddr,
    sourcePort: 67,
    destinationPort: 68,
  });
}

const DISCOVER = requestFrame({ type: "DHCPDISCOVER" });
const select = (server: Ipv4Address) =>
  requestFrame({ type: "DHCPREQUEST", options: { 50: octets(CLIENT_IP), 54: octets(server) } });
const OFFER = 2;
const ACK = 5;

describe("a replay", () => {
  const names = readdirSync(FIXTURES).filter((name) => /^[\w-]+\.pcap$/.test(name));
  test("answers captures of real clients as the golden files say, byte for byte, each time", async () => {
    expect(names.length).toBeGreaterThan(5);
    for (const name of names) {
      const capture = await readCapture(join(FIXTURES, name));
      const first = await replay(capture, false, serverOf(FIXTURE_INVENTORY));
      const golden = readFileSync(join(FIXTURES, name.replace(".pcap", ".replies.pcap")));
      expect(readFileSync(first.output).equals(golden), name).toBe(true);
      const again = await replay(capture, false, serverOf(FIXTURE_INVENTORY));
      expect(again.document).toEqual(first.document);
      expect(readFileSync(again.output).equals(golden), name).toBe(true);
    }
  });

  test("tells each answer and each silence with its reason, and sums up", async () => {
    const arp = Uint8Array.from({ length: 60 }, (_, at) => (at === 12 ? 8 : at === 13 ? 6 : 0));
    const { text } = await replay(
      captureOf([
        DISCOVER,
        arp,
        requestFrame({ type: "DHCPREQUEST", options: { 50: octets("10.0.0.99") } }),
        requestFrame({ type: "DHCPDISCOVER", mac: UNKNOWN_MAC }),
      ]),
    );
    const { meaning, advice } = DROP_REASONS["nic.unknown"];
    expect(text).toEqual([
      "#1  0.000000  00:0d:3a:01:02:03  DHCPDISCOVER (INIT) xid 12345678 -> DHCPOFFER 10.0.0.5",
      "#3  2.000000  00:0d:3a:01:02:03  DHCPREQUEST (INIT-REBOOT) for 10.0.0.99 xid 12345678 -> DHCPNAK (wrong-address): The client asked for an address that is not the one assigned to it.",
      `#4  3.000000  00:0d:3a:ff:ff:ff  DHCPDISCOVER (INIT) xid 12345678 -> silence: nic.unknown: ${meaning}`,
      "4 frames: 3 requests, 2 answered (1 DHCPOFFER, 1 DHCPNAK), 1 met with silence",
      `  1 nic.unknown: ${advice}`,
      "1 other frames: not replayed",
    ]);
  });

  test("damps refusals by the capture's clock", async () => {
    const wrong = requestFrame({ type: "DHCPREQUEST", options: { 50: octets("10.0.0.99") } });
    const frames = new Array<Uint8Array>(4).fill(wrong);
    const fast = await replay(captureOf(frames, 300));
    expect(fast.document.summary).toMatchObject({
      replies: { DHCPNAK: 1 },
      silences: { "nak.damped": 3 },
    });
    const slow = await replay(captureOf(frames, 1_500));
    expect(slow.document.summary).toMatchObject({ replies: { DHCPNAK: 4 }, silences: {} });
  });

  test("reads a request behind a VLAN tag as the server does: it is refused, and says why", async () => {
    const tagged = Uint8Array.from([
      ...DISCOVER.slice(0, 12),
      0x81,
      0,
      0,
      5,
      ...DISCOVER.slice(12),
    ]);
    const { document } = await replay(captureOf([tagged]));
    expect(document.requests).toMatchObject([{ outcome: { reason: "l2.vlan" } }]);
  });

  test("reads requests whose UDP checksum was not made yet, and counts them", async () => {
    const unmade = DISCOVER.slice();
    unmade[40]! ^= 0xff;
    const { document } = await replay(captureOf([unmade, DISCOVER]));
    expect(document.summary).toMatchObject({ answered: 2, wrongChecksums: 1 });
  });

  test("takes any frame, however damaged, for a request or for nothing", async () => {
    const cut = Array.from({ length: DISCOVER.length }, (_, length) => DISCOVER.slice(0, length));
    const { document } = await replay(captureOf(cut, 1));
    const { requests, otherFrames, answered, silences } = document.summary;
    expect(requests + otherFrames).toBe(cut.length);
    const silent = Object.values(silences).reduce((sum, count) => sum + count, 0);
    expect(answered + silent).toBe(requests);
  });

  test("leaves the replies of other servers alone", async () => {
    const { document, output } = await replay(
      captureOf([DISCOVER, captured(OFFER, CLIENT_IP), select(OTHER_SERVER)]),
    );
    expect(document.summary).toMatchObject({
      requests: 2,
      capturedReplies: 1,
      orphanReplies: 0,
      servers: ["10.0.0.1"],
      silences: { "req.otherserver": 1 },
    });
    expect((await readCapture(output)).frames).toHaveLength(1);
    expect(document.summary).not.toHaveProperty("compared");
    expect(document.requests[0]).not.toHaveProperty("captured");
  });
});

describe("a replay with an asynchronous plugin", () => {
  /** Answers after some turns of the event loop, or never. */
  function slowly(turns: number | "never"): MakeServer {
    const { rules } = serverOf(INVENTORY)({});
    const assignment = { address: CLIENT_IP, profile: profileWith() };
    const slow: Plugin = {
      name: "slow",
      isAsynchronous: true,
      budgetMs: 20,
      resolve: async () => {
        if (turns === "never") await new Promise(() => undefined);
        for (let turn = 0; turn !== turns; turn++) await new Promise(setImmediate);
        return { kind: "assigned", assignment };
      },
    };
    return (options) => ({ chain: createChain([slow], options), rules });
  }
  const frames = [DISCOVER, DISCOVER, requestFrame({ type: "DHCPDISCOVER", xid: 0x42 })];

  test("has each answer at its own request, with its time", async () => {
    const { document, output } = await replay(captureOf(frames), false, slowly(5));
    expect(document.requests.map(({ outcome }) => outcome)).toEqual(
      new Array(3).fill({ kind: "reply", type: "DHCPOFFER", address: "10.0.0.5" }),
    );
    const capture = captureOf(frames);
    const times = (await readCapture(output)).frames.map(({ timestampNs }) => timestampNs);
    expect(times).toEqual(capture.frames.map(({ timestampNs }) => timestampNs));
  });

  test("has its timeouts by the capture's clock", async () => {
    const reasons = async (stepMs: number) => {
      const { document } = await replay(captureOf(frames, stepMs), false, slowly("never"));
      return document.requests.map(({ outcome }) => outcome.reason);
    };
    expect(await reasons(1_000)).toEqual(["plugin.slow", "plugin.slow", "plugin.slow"]);
    // The second comes while the first is still being decided.
    expect(await reasons(10)).toEqual(["plugin.slow", "dup.inflight", "plugin.slow"]);
  });
});

describe("a compared replay", () => {
  const SAME_OPTIONS = async (type: "OFFER" | "ACK") => {
    const frames = type === "OFFER" ? [DISCOVER] : [select(parseIpv4("168.63.129.16"))];
    const { output } = await replay(captureOf(frames));
    const [reply] = (await readCapture(output)).frames;
    return reply!.bytes;
  };

  test("stands in for the server of the capture, whose clients name it", async () => {
    const { document, text } = await replay(
      captureOf([
        DISCOVER,
        captured(OFFER, CLIENT_IP),
        select(OTHER_SERVER),
        captured(ACK, CLIENT_IP),
      ]),
      true,
    );
    expect(document.summary).toMatchObject({
      replies: { DHCPOFFER: 1, DHCPACK: 1 },
      silences: {},
      compared: { same: 0, otherOptions: 2, other: 0, onlyOurs: 0 },
    });
    expect(document.requests.map((request) => request.captured?.map(({ frame }) => frame))).toEqual(
      [[2], [4]],
    );
    expect(text).toContain("      51 leaseTime: captured nothing, ours 86400");
    expect(text.at(-1)).toContain(
      "with 168.63.129.16 in the place of 10.0.0.1: 0 the same, 2 with",
    );
  });

  test("finds nothing between equal replies, whoever sent them", async () => {
    const { document, text } = await replay(
      captureOf([DISCOVER, await SAME_OPTIONS("OFFER")]),
      true,
    );
    expect(document.summary.compared).toEqual({ same: 1, otherOptions: 0, other: 0, onlyOurs: 0 });
    expect(text).toContain("    captured #2 from 168.63.129.16: DHCPOFFER 10.0.0.5: the same");
  });

  test("names another type, another address, and silence where a server answered", async () => {
    const other = parseIpv4("10.0.0.77");
    const unknown: RequestSpec = { type: "DHCPDISCOVER", mac: UNKNOWN_MAC };
    const { document, text } = await replay(
      captureOf([
        DISCOVER,
        captured(OFFER, other),
        requestFrame(unknown),
        captured(OFFER, other, [], unknown),
        select(OTHER_SERVER),
        captured(6, parseIpv4("0.0.0.0")),
      ]),
      true,
    );
    expect(document.summary.compared).toEqual({ same: 0, otherOptions: 0, other: 3, onlyOurs: 0 });
    expect(text).toContain("      yiaddr: captured 10.0.0.77, ours 10.0.0.5");
    expect(text).toContain("      type: captured DHCPOFFER, ours nothing");
    expect(text).toContain("      type: captured DHCPNAK, ours DHCPACK");
  });

  test("counts requests that only we answer, and replies to nothing in the capture", async () => {
    const late: RequestSpec = { type: "DHCPDISCOVER", xid: 0x99 };
    const { document } = await replay(
      captureOf([captured(OFFER, CLIENT_IP, [], late), DISCOVER]),
      true,
    );
    expect(document.summary).toMatchObject({
      orphanReplies: 1,
      compared: { same: 0, otherOptions: 0, other: 0, onlyOurs: 1 },
    });
  });

  test("shows what servers sent escaped", async () => {
    const text = Uint8Array.from(Buffer.from('a"\u001b[31m\u202e'));
    const { text: lines } = await replay(
      captureOf([
        DISCOVER,
        captured(OFFER, CLIENT_IP, [
          [OPTION.domainName, text],
          [224, text],
        ]),
      ]),
      true,
    );
    const shown = lines.join("\n");
    expect(shown).toContain('15 domainName: captured "a\\u0022\\u001b[31m\\u202e", ours nothing');
    expect(shown).toContain(`224: captured hex:${Buffer.from(text).toString("hex")}, ours nothing`);
    expect(shown).not.toContain("\u001b");
  });

  test("answers with our identifier in any case", async () => {
    const { output } = await replay(
      captureOf([DISCOVER, captured(OFFER, CLIENT_IP), select(OTHER_SERVER)]),
      true,
    );
    const { frames } = await readCapture(output);
    const identifiers = frames.map(({ bytes }) =>
      addressOption(readReply(bytes).message, OPTION.serverIdentifier),
    );
    expect(identifiers).toEqual([WIRE_SERVER_ADDRESS, WIRE_SERVER_ADDRESS]);
  });
});
