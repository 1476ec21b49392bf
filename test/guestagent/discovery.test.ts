import { createSocket } from "node:dgram";
import { once } from "node:events";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  encodeInform,
  findEndpointInReply,
  INFORM_PLAN,
} from "../../src/guestagent/dhcp-inform.ts";
import { discoverEndpoint, findSender } from "../../src/guestagent/discovery.ts";
import { formatIpv4, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { createTestEdge } from "./test-edge.ts";

const SENDER = { address: parseIpv4("10.20.0.4"), mac: parseMac("00:15:5d:0a:0b:0c") };
const XID = 0x1234_5678;

/** A DHCPACK, its options as given. */
function reply(options: readonly number[], xid = XID, op = 2): Uint8Array {
  const bytes = encodeInform(SENDER, xid);
  bytes.fill(0, 240);
  bytes[0] = op;
  bytes.set(options, 240);
  return bytes.subarray(0, 240 + options.length);
}

const ACK = [53, 1, 5];
const WIRE = [245, 4, 168, 63, 129, 16];

describe("DHCPINFORM", () => {
  test("encodeInform() says who asks, what for, and is long enough for every relay", () => {
    const bytes = encodeInform(SENDER, XID);
    expect(bytes.length).toBe(300);
    const hex = Buffer.from(bytes).toString("hex");
    expect(hex.slice(0, 32)).toBe("0101060012345678000000000a140004");
    expect(hex.slice(56, 68)).toBe("00155d0a0b0c");
    expect(hex.slice(472, 498)).toBe("638253633501083701f5ff0000");
  });

  for (const [name, bytes, want] of [
    ["an ACK with the option", reply([...ACK, ...WIRE, 255]), "168.63.129.16"],
    ["pads before it", reply([0, 0, ...ACK, 0, ...WIRE, 255]), "168.63.129.16"],
    ["no end option", reply([...ACK, ...WIRE]), "168.63.129.16"],
    ["an ACK without it", reply([...ACK, 255]), undefined],
    ["the option after the end", reply([...ACK, 255, ...WIRE]), undefined],
    ["three bytes", reply([...ACK, 245, 3, 1, 2, 3, 255]), undefined],
    ["an OFFER", reply([53, 1, 2, ...WIRE, 255]), undefined],
    ["another transaction", reply([...ACK, ...WIRE, 255], XID + 1), undefined],
    ["a request", reply([...ACK, ...WIRE, 255], XID, 1), undefined],
    ["a length beyond the end", reply([...ACK, 245, 4, 1, 2, 3]), undefined],
    ["a length missing", reply([...ACK, 245]), undefined],
    ["239 bytes", reply([]).subarray(0, 239), undefined],
  ] as const) {
    test(`findEndpointInReply() takes from ${name}: ${want ?? "nothing"}`, () => {
      const found = findEndpointInReply(bytes, XID);
      expect(found === undefined ? undefined : formatIpv4(found)).toBe(want);
    });
  }

  test("findEndpointInReply() never throws", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        findEndpointInReply(bytes, XID);
        const long = reply(ACK);
        findEndpointInReply(Buffer.concat([long, bytes]), XID);
      }),
    );
  });
});

const INTERFACE = {
  address: "10.20.0.4",
  netmask: "255.255.255.0",
  family: "IPv4",
  mac: "00:15:5d:0a:0b:0c",
  internal: false,
  cidr: "10.20.0.4/24",
} as const;

describe("discoverEndpoint()", () => {
  async function discover(lease: string | undefined, answer: readonly number[] | undefined) {
    const folder = temporaryFolder("discovery");
    const leaseFile = join(folder, "lease");
    if (lease !== undefined) await writeFile(leaseFile, lease);
    const server = createSocket("udp4").bind(0, "127.0.0.1");
    await once(server, "listening");
    let asked = 0;
    server.on("message", (bytes, { port }) => {
      asked++;
      if (answer === undefined) return;
      server.send(reply(answer, bytes.readUInt32BE(4)), port, "127.0.0.1");
    });
    const { edge, lines } = createTestEdge();
    const plan = { ...INFORM_PLAN, serverAddress: "127.0.0.1", serverPort: server.address().port };
    const endpoint = await discoverEndpoint({
      leaseFile,
      interfaces: () => ({ lo: [{ ...INTERFACE, internal: true }], eth0: [INTERFACE] }),
      leaseWaitMs: 0,
      epochMs: 0,
      edge,
      signal: new AbortController().signal,
      informPlan: { ...plan, clientPort: 0, waitMs: answer === undefined ? 20 : 5_000 },
    });
    server.close();
    return { endpoint: formatIpv4(endpoint), asked, last: lines.at(-1) };
  }

  test("takes the lease's without asking", async () => {
    expect(await discover("opt245=0a000001", [...ACK, ...WIRE])).toEqual({
      endpoint: "10.0.0.1",
      asked: 0,
      last: "wire server 10.0.0.1 from lease option 245",
    });
  });

  for (const [name, lease] of [
    ["no lease file", undefined],
    ["a lease without it", "ip=1.2.3.4"],
  ] as const) {
    test(`asks DHCP if there is ${name}`, async () => {
      expect(await discover(lease, [...ACK, 245, 4, 10, 0, 0, 2, 255])).toEqual({
        endpoint: "10.0.0.2",
        asked: 1,
        last: "wire server 10.0.0.2 from the answer to a DHCPINFORM",
      });
    });
  }

  test("waits for a lease that is still to come", async () => {
    const folder = temporaryFolder("discovery");
    const leaseFile = join(folder, "lease");
    const { edge, lines } = createTestEdge();
    const found = discoverEndpoint({
      leaseFile,
      interfaces: () => ({}),
      leaseWaitMs: 60_000,
      epochMs: 0,
      edge,
      signal: new AbortController().signal,
    });
    await expect.poll(() => lines).toEqual([`waiting for the lease in ${leaseFile}`]);
    await writeFile(`${leaseFile}.new`, "opt245=0a000001");
    await rename(`${leaseFile}.new`, leaseFile);
    expect(formatIpv4(await found)).toBe("10.0.0.1");
  });

  test("asks three times, then takes the default", async () => {
    const { endpoint, asked, last } = await discover(undefined, undefined);
    expect([endpoint, asked]).toEqual(["168.63.129.16", 3]);
    expect(last).toMatch(/^wire server 168\.63\.129\.16 by default/);
  });

  test("findSender() passes loopback and IPv6 over", () => {
    const six = {
      ...INTERFACE,
      family: "IPv6",
      address: "fe80::1",
      cidr: null,
      scopeid: 1,
    } as const;
    expect(findSender({ lo: [{ ...INTERFACE, internal: true }], eth0: [six, INTERFACE] })).toEqual(
      SENDER,
    );
    expect(findSender({ eth0: [six] })).toBeUndefined();
  });
});
