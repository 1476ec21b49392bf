import { describe, expect, test } from "vitest";
import { createDhcpRequest } from "../../src/dhcp/index.ts";
import { readRequest } from "../../src/dhcp/read-request.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { createUdpFrame, readUdpFrame } from "../../src/net/frame.ts";
import { Flood } from "../../tools/dhcpload.d/flood.ts";
import { Latencies } from "../../tools/dhcpload.d/latencies.ts";
import { RequestTemplate, type Way } from "../../tools/dhcpload.d/request-frames.ts";

const MAC = parseMac("00:0c:01:02:03:ff");
const ADDRESS = parseIpv4("10.64.255.254");
const SERVER = { mac: parseMac("02:00:00:00:00:01"), address: parseIpv4("168.63.129.16") };
const AGENT = { mac: parseMac("02:00:00:00:00:02"), address: parseIpv4("10.64.0.2") };
const CLIENT = { mac: MAC, xid: 0xfedc_ba98, address: ADDRESS, serverIdentifier: SERVER.address };
const NO_ADDRESS = parseIpv4("0.0.0.0");

const WAYS: readonly Way[] = [
  { kind: "direct", broadcastReplies: false },
  { kind: "direct", broadcastReplies: true },
  { kind: "relayed", giaddr: AGENT.address, mac: AGENT.mac, server: SERVER },
  { kind: "renewal", server: SERVER },
];

const newBuffer = () => {
  const bytes = new Uint8Array(1968);
  return { bytes, view: new DataView(bytes.buffer) };
};

function received(bytes: Uint8Array, view: DataView, length: number) {
  return {
    bytes,
    view,
    offset: 0,
    length,
    wireLength: length,
    ifindex: 1,
    vlanId: 0,
    checksumNotReady: false,
  };
}

/** Reads a frame as the server does. */
function read(bytes: Uint8Array, view: DataView, length: number) {
  const udp = createUdpFrame();
  const frameDrop = readUdpFrame(received(bytes, view, length), udp, 67);
  const request = createDhcpRequest();
  const drop = frameDrop ?? readRequest(bytes, view, udp.payloadStart, udp.payloadEnd, request);
  return { udp, request, drop };
}

describe("RequestTemplate", () => {
  for (const way of WAYS) {
    for (const clientIdentifier of [false, true]) {
      for (const count of [1, 2]) {
        const title = `${JSON.stringify(way)}, ${clientIdentifier ? "with" : "without"} option 61, ${count} wanted`;
        test(`writes a DHCPREQUEST that the server reads: ${title}`, () => {
          const requestedOptions = [1, 3].slice(0, count);
          const template = new RequestTemplate("REQUEST", {
            way,
            requestedOptions,
            clientIdentifier,
          });
          const { bytes, view } = newBuffer();
          template.write({ bytes, view }, CLIENT);
          const { udp, request, drop } = read(bytes, view, template.length);
          expect(drop).toBeUndefined();
          expect([request.messageType, request.xid, request.chaddr]).toEqual([3, CLIENT.xid, MAC]);
          expect(request.parameterRequestList.length).toBe(count);
          expect(request.clientIdentifier.length).toBe(clientIdentifier ? 7 : 0);
          if (way.kind === "renewal") {
            expect([request.ciaddr, udp.sourceIp, udp.sourceMac]).toEqual([ADDRESS, ADDRESS, MAC]);
            expect([udp.destinationMac, udp.destinationIp]).toEqual([SERVER.mac, SERVER.address]);
          } else {
            expect(request.requestedAddress).toBe(ADDRESS);
            expect(request.serverIdentifier).toBe(SERVER.address);
            const relayed = way.kind === "relayed";
            expect(request.giaddr).toBe(relayed ? AGENT.address : NO_ADDRESS);
            expect(udp.sourceMac).toBe(relayed ? AGENT.mac : MAC);
          }
        });
      }
    }
  }

  test("writes a DHCPDISCOVER without address and server", () => {
    const template = new RequestTemplate("DISCOVER", {
      way: WAYS[0]!,
      requestedOptions: [1],
      clientIdentifier: false,
    });
    const { bytes, view } = newBuffer();
    template.write({ bytes, view }, CLIENT);
    const { request, drop } = read(bytes, view, template.length);
    expect(drop).toBeUndefined();
    expect(request).toMatchObject({
      messageType: 1,
      hasRequestedAddress: false,
      hasServerIdentifier: false,
    });
  });
});

test("Flood writes junk that breaks a different rule each of five times", () => {
  const options = { way: WAYS[0]!, requestedOptions: [1], clientIdentifier: false };
  const flood = new Flood("junk", options);
  const drops = Array.from({ length: 5 }, () => {
    const { bytes, view } = newBuffer();
    const length = flood.write({ bytes, view });
    const { udp, request, drop } = read(bytes, view, length);
    return drop ?? (request.chaddr === udp.sourceMac ? "good" : "port.spoof");
  });
  expect(drops).toEqual(["udp.csum", "bootp.hops", "opt.trunc", "port.spoof", "bootp.hlen"]);
});

test("Latencies tells percentiles in microseconds", () => {
  const latencies = new Latencies();
  for (let value = 1; value <= 1000; value++) latencies.record(value / 1000);
  expect(latencies.summarise()).toEqual({ p50: 500, p99: 990, p999: 999, max: 1000 });
  latencies.clear();
  expect(latencies.summarise()).toEqual({ p50: 0, p99: 0, p999: 0, max: 0 });
});
