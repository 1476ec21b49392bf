import { copyFileSync, createReadStream, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createInventoryServer } from "../../src/cli/inventory-server.ts";
import { readYaml } from "../../src/cli/read-yaml.ts";
import {
  createDhcpCounters,
  decodeMessage,
  messageTypeName,
  serveDhcp,
} from "../../src/dhcp/index.ts";
import { formatIpv4, WIRE_SERVER_ADDRESS } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { readCapture } from "../../src/net/capture-file.ts";
import { openCaptureFrameSocket } from "../../src/net/capture-frame-socket.ts";
import { createInventoryResolver, parseInventory } from "../../src/nm/index.ts";
import { createHardwarePlugin, createNmPlugin } from "../../src/wds/index.ts";
import { readWithDhcpPackage } from "../dhcp-peer.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { hasTshark, tsharkComplaints } from "../tshark.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/pcap");
const REPLIES = ".replies.pcap";
const UDP_PAYLOAD = 42;
/** A physical host's, which has no wire server. */
const HOST_ADDRESS = "10.77.0.10";
const INVENTORY = parseInventory(readYaml(join(FIXTURES, "inventory.yaml")), "inventory.yaml");

/** What the server must answer to each capture, in words; the bytes are in the golden files. */
const SCENARIOS: Readonly<Record<string, readonly string[]>> = {
  udhcpc: ["DHCPOFFER 10.77.10.1 -> 10.77.10.1", "DHCPACK 10.77.10.1 -> 10.77.10.1"],
  "udhcpc-broadcast": [
    "DHCPOFFER 10.77.10.1 -> 255.255.255.255",
    "DHCPACK 10.77.10.1 -> 255.255.255.255",
  ],
  "udhcpc-requests-other": [
    "DHCPOFFER 10.77.10.1 -> 10.77.10.1",
    "DHCPACK 10.77.10.1 -> 10.77.10.1",
  ],
  "udhcpc-renew-release": [
    "DHCPOFFER 10.77.10.1 -> 10.77.10.1",
    "DHCPACK 10.77.10.1 -> 10.77.10.1",
    "DHCPACK 10.77.10.1 -> 10.77.10.1",
  ],
  "udhcpc-unknown-mac": [],
  dhclient: ["DHCPOFFER 10.77.10.1 -> 10.77.10.1", "DHCPACK 10.77.10.1 -> 10.77.10.1"],
  "dhclient-init-reboot": ["DHCPACK 10.77.10.1 -> 10.77.10.1"],
  "dhclient-init-reboot-wrong-address": [
    "DHCPNAK 0.0.0.0 -> 255.255.255.255",
    "DHCPOFFER 10.77.10.1 -> 10.77.10.1",
    "DHCPACK 10.77.10.1 -> 10.77.10.1",
  ],
  "dhclient-init-reboot-moved-subnet": [
    "DHCPNAK 0.0.0.0 -> 255.255.255.255",
    "DHCPOFFER 10.77.10.1 -> 10.77.10.1",
    "DHCPACK 10.77.10.1 -> 10.77.10.1",
  ],
  dhcpcd: ["DHCPOFFER 10.77.10.1 -> 10.77.10.1", "DHCPACK 10.77.10.1 -> 10.77.10.1"],
  "kernel-dhcp": ["DHCPOFFER 10.77.10.1 -> 10.77.10.1", "DHCPACK 10.77.10.1 -> 10.77.10.1"],
  "kernel-bootp": ["BOOTREPLY 10.77.10.1 -> 10.77.10.1"],
  "ipxe-rom": ["DHCPOFFER 10.77.0.10 -> 10.77.0.10", "DHCPACK 10.77.0.10 -> 10.77.0.10"],
  "ovmf-pxe": ["DHCPOFFER 10.77.0.10 -> 255.255.255.255", "DHCPACK 10.77.0.10 -> 255.255.255.255"],
  "ovmf-http": ["DHCPOFFER 10.77.0.10 -> 255.255.255.255", "DHCPACK 10.77.0.10 -> 255.255.255.255"],
  "perfdhcp-relayed": [
    "DHCPOFFER 10.77.20.0 -> 10.77.0.2",
    "DHCPACK 10.77.20.0 -> 10.77.0.2",
    "DHCPOFFER 10.77.20.1 -> 10.77.0.2",
    "DHCPACK 10.77.20.1 -> 10.77.0.2",
    "DHCPOFFER 10.77.20.2 -> 10.77.0.2",
  ],
};

/** Lets the server answer a capture; returns the path of its replies and its counters. */
async function replay(name: string) {
  const output = join(temporaryFolder("replay"), "replies.pcap");
  const resolver = createInventoryResolver(INVENTORY, { isGateway: true });
  const { chain, rules } = createInventoryServer(INVENTORY, [
    createHardwarePlugin(resolver),
    createNmPlugin(resolver),
  ]);
  const counters = createDhcpCounters();
  {
    await using socket = await openCaptureFrameSocket({
      input: join(FIXTURES, `${name}.pcap`),
      output,
      hardwareAddress: parseMac("02:67:73:00:00:01"),
      checksumNotReady: name === "perfdhcp-relayed",
    });
    await serveDhcp({
      socket,
      now: () => 0,
      decide: chain.decide,
      ...rules,
      serverAddress: WIRE_SERVER_ADDRESS,
      counters,
      // The captured server had another MAC; what was sent to it by unicast counts as sent to us.
      localMacs: socket.capture.frames.map(({ bytes }) => destinationOf(bytes)),
      signal: new AbortController().signal,
    });
  }
  return { output, counters };
}

function destinationOf(bytes: Uint8Array) {
  return parseMac(
    Buffer.from(bytes.subarray(0, 6))
      .toString("hex")
      .replaceAll(/(..)(?!$)/g, "$1:"),
  );
}

function inWords(bytes: Uint8Array): string {
  const decoded = decodeMessage(bytes.subarray(UDP_PAYLOAD));
  if (decoded.kind !== "message") return decoded.reason;
  const destination = Array.from(bytes.subarray(30, 34)).join(".");
  const { message } = decoded;
  return `${messageTypeName(message) ?? "BOOTREPLY"} ${formatIpv4(message.yiaddr)} -> ${destination}`;
}

/** The part of pcap-parser that is used; it has no types. */
interface PcapParser {
  parse(stream: NodeJS.ReadableStream): {
    on(event: "packet", heard: (packet: { data: Buffer }) => void): void;
    on(event: "end", heard: () => void): void;
    on(event: "error", heard: (error: Error) => void): void;
  };
}
const require = createRequire(import.meta.url);
const pcapParser: PcapParser = require("pcap-parser");

/** Reads a capture with somebody else's reader. */
function readWithPeer(path: string): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const packets: Buffer[] = [];
    const parser = pcapParser.parse(createReadStream(path));
    parser.on("packet", ({ data }) => void packets.push(data));
    parser.on("end", () => resolve(packets));
    parser.on("error", reject);
  });
}

describe("DHCP answers to captures of real clients", () => {
  test("every capture has a scenario", () => {
    const files = readdirSync(FIXTURES).filter((file) => /^[\w-]+\.pcap$/.test(file));
    expect(files.map((file) => file.replace(".pcap", "")).sort()).toEqual(
      Object.keys(SCENARIOS).sort(),
    );
  });

  for (const [name, want] of Object.entries(SCENARIOS)) {
    test(`${name}: the replies are those of the golden file`, async () => {
      const { output, counters } = await replay(name);
      const { frames } = await readCapture(output);
      expect(frames.map(({ bytes }) => inWords(bytes))).toEqual(want);
      const dropped = [...counters.drops.values()].reduce((sum, count) => sum + count, 0);
      expect(counters.received).toBe(want.length + dropped);
      const golden = join(FIXTURES, `${name}${REPLIES}`);
      if (process.env["UPDATE_GOLDENS"] !== undefined) copyFileSync(output, golden);
      expect(readFileSync(output).equals(readFileSync(golden))).toBe(true);
    });

    test(`${name}: other people's readers agree`, async () => {
      const golden = join(FIXTURES, `${name}${REPLIES}`);
      const { frames } = await readCapture(golden);
      const packets = await readWithPeer(golden);
      expect(packets.map((data) => data.toString("hex"))).toEqual(
        frames.map(({ bytes }) => Buffer.from(bytes).toString("hex")),
      );
      for (const data of packets) {
        const payload = Buffer.from(data.subarray(UDP_PAYLOAD));
        const ours = decodeMessage(payload);
        if (ours.kind !== "message") throw new Error(ours.reason);
        const theirs = readWithDhcpPackage(payload);
        expect(theirs).toMatchObject({ op: 2, yiaddr: formatIpv4(ours.message.yiaddr) });
        expect(theirs.options[53]).toBe(ours.message.options.get(53)?.[0]);
        const isDhcp = ours.message.options.has(53);
        expect(theirs.options[54]).toBe(isDhcp ? "168.63.129.16" : undefined);
        const isTenants = ours.message.options.has(51) && theirs.yiaddr !== HOST_ADDRESS;
        expect(theirs.options[245]).toBe(isTenants ? "168.63.129.16" : undefined);
      }
    });

    test.skipIf(!hasTshark && !process.env["CI"])(
      `${name}: tshark is content (needs tshark)`,
      () => {
        expect(tsharkComplaints(join(FIXTURES, `${name}${REPLIES}`))).toEqual([]);
      },
    );
  }
});
