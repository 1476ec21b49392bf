/** What broke other DHCP servers and clients (S17, S18), asked of ours. */

import { describe, expect, test } from "vitest";
import {
  type ChainVerdict,
  type DhcpMessage,
  decodeMessage,
  encodeMessage,
  type IgnoredOptionReason,
  messageTypeName,
  readHostname,
  readLease,
} from "../../src/dhcp/index.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { DISCOVER, END, frame, payload, put, times } from "./malformed.ts";
import {
  CLIENT_IP,
  octets,
  profileWith,
  requestMessage,
  SERVER_IP,
  SERVER_MAC,
} from "./packets.ts";
import { startServer } from "./test-server.ts";

const text = (value: string) => [...new TextEncoder().encode(value)];
const known: ChainVerdict = {
  kind: "assigned",
  assignment: { address: CLIENT_IP, profile: profileWith() },
};
const UNICAST = { destinationMac: SERVER_MAC, destinationIp: SERVER_IP };

describe("S17 what broke Kea", () => {
  test.each(["___", "\u0000", "...", "---", "\u0007\u0008"])(
    "CVE-2025-11232: the host name %j, of which nothing is left after scrubbing, gets its answer",
    (hostname) => {
      const names: unknown[] = [];
      const { ask } = startServer({ look: (request) => names.push(readHostname(request)) });
      const options = { 12: text(hostname), 81: [0, 0, 0, ...text(hostname)], 55: [12, 15, 81] };
      expect(messageTypeName(ask({ type: "DHCPDISCOVER", options }).message)).toBe("DHCPOFFER");
      expect(names).toEqual([undefined]);
    },
  );

  test.each([
    ["a client that nobody knows", "unknown", "nic.unknown"],
    ["a client of no network", "wrong-network", "nic.wrongnetwork"],
  ] as const)(
    "CVE-2025-40779: unicast from %s is silence, and the next client is answered",
    (_name, kind, reason) => {
      const { send, counters } = startServer({
        decide: ({ xid }) => (xid === 7 ? known : { kind }),
      });
      for (const options of [{}, { 61: [1, 2, 3] }, { 118: [10, 9, 0, 0] }]) {
        expect(send({ type: "DHCPDISCOVER", options }, UNICAST)).toEqual([]);
        expect(
          send({ type: "DHCPINFORM", ciaddr: parseIpv4("10.9.9.9"), options }, UNICAST),
        ).toEqual([]);
      }
      expect(Object.fromEntries(counters.drops)).toEqual({ [reason]: 6 });
      expect(send({ type: "DHCPDISCOVER", xid: 7 }, UNICAST)).toHaveLength(1);
    },
  );
});

/** A DHCPACK with these octets as options. */
function acknowledge(...options: readonly number[]): Uint8Array {
  return payload([53, 1, 5, ...options], put(0, 2), put(16, 10, 0, 0, 5));
}
const LEASE = [54, 4, ...octets(SERVER_IP), 51, 4, 0, 0, 14, 16];

function leaseOf(bytes: Uint8Array) {
  const decoded = decodeMessage(bytes);
  if (decoded.kind !== "message") throw new Error(decoded.reason);
  return readLease(decoded.message);
}

describe("S18 what broke busybox", () => {
  // CVE-2018-20679, CVE-2019-5747: an option of four octets that is shorter was read past its end.
  test.each([1, 3, 6, 51, 54, 58, 59, 245])(
    "option %i of 0 to 3 octets is not read past its end",
    (code) => {
      for (let length = 0; length < 4; length++) {
        const rest = LEASE.slice(code === 54 ? 6 : 0, code === 51 ? 6 : 12);
        const bytes = acknowledge(...rest, code, length, ...times(length, 0xaa));
        // What comes after the message in memory would be read: it must not matter.
        const leases = [0x00, 0xff].map((poison) => {
          const memory = new Uint8Array(bytes.length + 64).fill(poison);
          memory.set(bytes);
          return leaseOf(memory.subarray(0, bytes.length));
        });
        expect(leases[1]).toEqual(leases[0]);
        if (code === 51 || code === 54) expect(leases[0]).toBeUndefined();
        else expect(leases[0]?.address).toBe(CLIENT_IP);
      }
    },
  );

  test("a request with such options is answered, and they count for nothing", () => {
    const { sendFrame, counters } = startServer();
    const [plain] = sendFrame(frame([...DISCOVER, END]));
    for (const code of [50, 51, 54, 118]) {
      for (let length = 0; length < 4; length++) {
        const [reply] = sendFrame(frame([...DISCOVER, code, length, ...times(length, 0xaa), END]));
        expect(reply?.payload).toEqual(plain?.payload);
      }
      const reason = `opt.${code}` as IgnoredOptionReason;
      expect(counters.ignoredOptions[reason]).toBe(4);
    }
  });
});

describe("S18 what broke ISC's client and server", () => {
  // CVE-2018-5732: an option that was longer when written out than when read.
  test.each([
    ["options to the last octet", [...LEASE, 12, 255, ...times(255, 0xff)]],
    [
      "an option of every code, one octet each",
      [...LEASE, ...Array.from({ length: 100 }, (_, index) => [100 + index, 1, 0xff]).flat()],
    ],
    [
      "one code again and again",
      [...LEASE, ...Array.from({ length: 100 }, () => [15, 4, 1, 2, 3, 4]).flat()],
    ],
  ])("CVE-2018-5732: a reply with %s is read, and written again the same", (_name, options) => {
    const decoded = decodeMessage(acknowledge(...options, END));
    if (decoded.kind !== "message") throw new Error(decoded.reason);
    expect(readLease(decoded.message)?.address).toBe(CLIENT_IP);
    expect(decodeMessage(encodeMessage(decoded.message))).toEqual(decoded);
  });

  // CVE-2018-5733: a count of references that overflowed after enough packets.
  test("CVE-2018-5733: the ten thousandth request with repeated options is answered as the first", () => {
    const { sendFrame, counters } = startServer();
    const bytes = frame([
      ...DISCOVER,
      ...Array.from({ length: 60 }, () => [61, 2, 1, 2]).flat(),
      END,
    ]);
    const first = sendFrame(bytes);
    for (let count = 0; count < 10_000; count++) sendFrame(bytes);
    expect(sendFrame(bytes)).toEqual(first);
    expect(counters.ignoredOptions["opt.dup"]).toBe(10_002);
  });

  // CVE-2011-0997, CVE-2018-1111: the client's or server's text reached a shell.
  test.each([
    "$(reboot)",
    "`reboot`",
    "a;reboot",
    "x' & reboot & '",
    'x"\nreboot\n"',
    "| tee /etc/passwd",
    "../../etc/passwd",
  ])(
    "CVE-2011-0997, CVE-2018-1111: nothing of the text %j is sent back or kept as a name",
    (hostile) => {
      const names: (string | undefined)[] = [];
      const { ask } = startServer({ look: (request) => names.push(readHostname(request)) });
      const data = text(hostile);
      const options = {
        12: data,
        15: data,
        60: data,
        66: data,
        67: data,
        77: data,
        252: data,
        55: [12, 15, 60, 66, 67, 252],
      };
      const { payload: reply } = ask({ type: "DHCPDISCOVER", options });
      expect(Buffer.from(reply).includes(hostile)).toBe(false);
      expect(names[0] ?? "").toMatch(/^[a-z0-9.-]*$/);
      expect(names[0] ?? "").not.toContain("..");
    },
  );
});

describe("S18 numbers that broke clients and servers", () => {
  const withTimes = (lease: number, t1: number, t2: number): DhcpMessage => {
    const number = (value: number) => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
    const options = new Map([
      [53, Uint8Array.of(5)],
      [54, octets(SERVER_IP)],
      [51, number(lease)],
      [58, number(t1)],
      [59, number(t2)],
    ]);
    return { ...requestMessage({ type: "DHCPREQUEST" }), yiaddr: CLIENT_IP, options };
  };

  test("a lease of 0 s is none", () => {
    expect(readLease(withTimes(0, 0, 0))).toBeUndefined();
  });

  test.each([
    [1, 0, 0],
    [60, 60, 60],
    [60, 0xffff_ffff, 0xffff_ffff],
    [0x7fff_ffff, 0x8000_0000, 0x8000_0001],
    [0x8000_0000, 0x7fff_ffff, 0x6fff_ffff],
    [0xffff_fffe, 1, 0xffff_ffff],
  ])("lease %i, T1 %i, T2 %i: the times are in order, above 2^31 as well", (lease, t1, t2) => {
    const read = readLease(withTimes(lease, t1, t2))!;
    expect(read.leaseSeconds).toBe(lease);
    expect(read.t1Seconds).toBeGreaterThanOrEqual(0);
    expect(read.t1Seconds).toBeLessThanOrEqual(read.t2Seconds);
    expect(read.t2Seconds).toBeLessThanOrEqual(lease);
  });

  test.each([0, 1, 59, 60, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])(
    "a client that asks for a lease of %i s gets 60 s to a day",
    (seconds) => {
      const data = [seconds >>> 24, (seconds >>> 16) & 255, (seconds >>> 8) & 255, seconds & 255];
      const { message } = startServer().ask({ type: "DHCPDISCOVER", options: { 51: data } });
      const granted = new DataView(message.options.get(51)!.buffer).getUint32(0);
      expect(granted).toBeGreaterThanOrEqual(60);
      expect(granted).toBeLessThanOrEqual(86_400);
    },
  );
});
