/** What other people's readers make of our replies to a thousand different requests. */
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeMessage } from "../../src/dhcp/index.ts";
import { formatIpv4 } from "../../src/model/ipv4-address.ts";
import { openCaptureWriter } from "../../src/net/capture-file.ts";
import { frameOfSent, type Option, SENT } from "../dhcp/arbitrary-requests.ts";
import { END, frame, times } from "../dhcp/malformed.ts";
import { profileWith, SUBNET } from "../dhcp/packets.ts";
import { startServer } from "../dhcp/test-server.ts";
import { readWithDhcpPackage } from "../dhcp-peer.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { hasTshark, tsharkComplaints } from "../tshark.ts";

/** What we echo octet by octet is as good as it was: here, it is good. */
function wellFormed([code, data]: Option): Option {
  if (code === 61) return [code, [0, ...data.map((octet) => 65 + (octet % 26))].slice(0, 200)];
  return code === 82 ? [code, [1, data.length + 1, 7, ...data]] : [code, data];
}

/** The replies of a server to a fixed sample of requests, BOOTP among them. */
function replies(): Uint8Array[] {
  let now = 0;
  const { socket, sendFrame } = startServer({
    relays: [SUBNET],
    now: () => (now += 3_600_000),
    policy: { bootp: true, rapidCommit: true },
    profile: profileWith({ mtu: 1400 }),
  });
  const sample = fc
    .sample(SENT, { seed: 110, numRuns: 1000 })
    .map((sent) => frameOfSent(sent, sent.options.map(wellFormed)));
  return [...sample, frame([END, ...times(59, 0)])].flatMap((request) => {
    sendFrame(request);
    return socket.sent.map(({ bytes }) => bytes);
  });
}

describe("replies to a thousand different requests", () => {
  test.skipIf(!hasTshark && !process.env["CI"])(
    "S110: tshark is content (needs tshark)",
    async () => {
      const path = join(temporaryFolder("peers"), "replies.pcap");
      const sent = replies();
      expect(sent.length).toBeGreaterThan(300);
      {
        await using writer = await openCaptureWriter(path);
        for (const bytes of sent) {
          writer.write({ bytes, wireLength: bytes.length, timestampNs: 0n });
        }
      }
      expect(tsharkComplaints(path)).toEqual([]);
    },
  );

  test("the npm package dhcp reads the same address, type and server", () => {
    for (const bytes of replies()) {
      const payload = bytes.slice(42);
      const ours = decodeMessage(payload);
      if (ours.kind !== "message") throw new Error(ours.reason);
      const theirs = readWithDhcpPackage(payload);
      expect(theirs).toMatchObject({ op: 2, yiaddr: formatIpv4(ours.message.yiaddr) });
      expect(theirs.options[53]).toBe(ours.message.options.get(53)?.[0]);
    }
  });
});
