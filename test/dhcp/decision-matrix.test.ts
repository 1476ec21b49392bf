/**
 * Every cell of the decision matrix: what a client in each state gets, by what the inventory knows of it and by how the
 * network is owned. One row per state, one column per verdict.
 */
import { describe, expect, test } from "vitest";
import {
  type Assignment,
  type ChainVerdict,
  classify,
  createDhcpRequest,
  createRequestContext,
  decideReply,
  type ReplyPolicy,
  readRequest,
} from "../../src/dhcp/index.ts";
import {
  bootp,
  decline,
  discover,
  inform,
  type Message,
  type OptionWord,
  payloadOf,
  rebind,
  reboot,
  release,
  renew,
  request,
  select,
} from "../scenarios/vocabulary.ts";
import { CLIENT_IP, profileWith, SERVER_IP, SUBNET } from "./packets.ts";

const assigned = (authoritative: boolean): ChainVerdict => {
  const assignment: Assignment = { address: CLIENT_IP, profile: profileWith({ authoritative }) };
  return { kind: "assigned", assignment };
};
const UNKNOWN: ChainVerdict = { kind: "unknown" };
const TURNED_ON: ReplyPolicy = { bootp: true, rapidCommit: true };
const ALONE: ReplyPolicy = { ...TURNED_ON, refuseUnknown: SUBNET };

/** The address that the client names, what the chain knows, and who owns the network. */
const COLUMNS = {
  hit: [".5", assigned(true), TURNED_ON],
  "hit shared": [".5", assigned(false), TURNED_ON],
  other: [".99", assigned(true), TURNED_ON],
  "other shared": [".99", assigned(false), TURNED_ON],
  moved: ["192.168.7.4", assigned(true), TURNED_ON],
  "moved shared": ["192.168.7.4", assigned(false), TURNED_ON],
  none: [".5", UNKNOWN, TURNED_ON],
  "none moved": ["192.168.7.4", UNKNOWN, TURNED_ON],
  "none alone": [".5", UNKNOWN, ALONE],
  "none moved alone": ["192.168.7.4", UNKNOWN, ALONE],
  wrongnet: [".5", { kind: "wrong-network" }, ALONE],
  err: [".99", { kind: "error", reason: "inventory.timeout" }, ALONE],
  drop: [".5", { kind: "drop", reason: "port.mismatch" }, ALONE],
} as const satisfies Record<string, readonly [string, ChainVerdict, ReplyPolicy]>;

type Column = keyof typeof COLUMNS;

const FAILED = { err: "inventory.timeout", drop: "port.mismatch" };
const NOBODY = {
  none: "nic.unknown",
  "none moved": "nic.unknown",
  "none alone": "nic.unknown",
  "none moved alone": "nic.unknown",
};
/** The answer whatever the client names. */
const always = (answer: string) => ({
  hit: answer,
  "hit shared": answer,
  other: answer,
  "other shared": answer,
  moved: answer,
  "moved shared": answer,
});
const SILENT_ELSEWHERE = { ...NOBODY, wrongnet: "nic.wrongnetwork", ...FAILED };
/** It named us, so we once gave it what it names: whatever is wrong with that is refused. */
const ADDRESSED_TO_US = {
  hit: "DHCPACK",
  "hit shared": "DHCPACK",
  other: "DHCPNAK",
  "other shared": "DHCPNAK",
  moved: "DHCPNAK",
  "moved shared": "DHCPNAK",
  ...NOBODY,
  "none alone": "DHCPNAK",
  "none moved alone": "DHCPNAK",
  wrongnet: "DHCPNAK",
  ...FAILED,
};
/** It asks everybody: on a shared network another server may know an address of the same subnet. */
const ADDRESSED_TO_ALL = {
  ...ADDRESSED_TO_US,
  "other shared": "net.notauthoritative",
  "none alone": "nic.unknown",
};
/** Its own address is noted, another's is not its business. */
const noted = (reason: string) => ({
  ...always(`${reason}.foreign`),
  hit: reason,
  "hit shared": reason,
  ...SILENT_ELSEWHERE,
});

const MATRIX: Readonly<
  Record<string, readonly [(address: string) => Message, Readonly<Record<Column, string>>]>
> = {
  INIT: [
    (address) => discover({ options: [[50, address]] }),
    { ...always("DHCPOFFER"), ...SILENT_ELSEWHERE },
  ],
  "INIT, rapid commit": [
    (address) =>
      discover({
        options: [
          [50, address],
          [80, []],
        ],
      }),
    { ...always("DHCPACK at once"), ...SILENT_ELSEWHERE },
  ],
  SELECTING: [select, ADDRESSED_TO_US],
  "INIT-REBOOT": [reboot, ADDRESSED_TO_ALL],
  RENEWING: [renew, ADDRESSED_TO_US],
  "RENEWING, 54 ours": [(address) => rebind(address, { options: [[54, "S"]] }), ADDRESSED_TO_US],
  REBINDING: [rebind, ADDRESSED_TO_ALL],
  INFORM: [
    (address) => inform({ ciaddr: address, sourceIp: address }),
    { ...always("DHCPACK without lease"), ...SILENT_ELSEWHERE },
  ],
  DECLINE: [(address) => decline({ options: [[50, address]] }), noted("client.decline")],
  RELEASE: [release, noted("client.release")],
  BOOTP: [() => bootp(), { ...always("BOOTREPLY"), ...SILENT_ELSEWHERE }],
};

const OTHER_SERVER = ["req.otherserver", "req.otherserver"] as const;
type Fields = "no 50" | "50" | "ciaddr, no 50" | "ciaddr, 50";

/** A DHCPREQUEST by options 54 and 50 and ciaddr: what it is by broadcast, and by unicast. */
const REQUESTS: Readonly<Record<string, Readonly<Record<Fields, readonly [string, string]>>>> = {
  "": {
    "no 50": ["req.empty", "req.empty"],
    "50": ["INIT-REBOOT", "INIT-REBOOT"],
    "ciaddr, no 50": ["REBINDING", "RENEWING"],
    "ciaddr, 50": ["REBINDING", "RENEWING"],
  },
  ...Object.fromEntries(
    ["S", "0.0.0.0"].map((ours) => [
      ours,
      {
        "no 50": ["req.no50", "req.no50"],
        "50": ["SELECTING", "SELECTING"],
        "ciaddr, no 50": ["RENEWING", "RENEWING"],
        // NetworkManager selects with its old address in ciaddr.
        "ciaddr, 50": ["SELECTING", "SELECTING"],
      } as const,
    ]),
  ),
  ".77": {
    "no 50": OTHER_SERVER,
    "50": OTHER_SERVER,
    "ciaddr, no 50": OTHER_SERVER,
    "ciaddr, 50": OTHER_SERVER,
  },
};

describe.each(Object.entries(REQUESTS))("a DHCPREQUEST with 54 %j", (server, row) => {
  test.each(Object.entries(row))("%s", (fields, [byBroadcast, byUnicast]) => {
    const options: OptionWord[] = [];
    if (server !== "") options.push([54, server]);
    if (/(^|, )50$/.test(fields)) options.push([50, ".5"]);
    const message = request({ options, ...(fields.startsWith("ciaddr") && { ciaddr: ".5" }) });
    for (const [unicast, want] of [
      [false, byBroadcast],
      [true, byUnicast],
    ] as const) {
      const context = { ...createRequestContext(), unicast };
      const found = classify(requestOf(message), context, SERVER_IP);
      expect(found.kind === "silent" ? found.reason : found.kind).toBe(want);
      // Through a relay it is the relay that says how it came (RFC 5010).
      const relayed = {
        ...message,
        giaddr: "10.1.0.1",
        options: [...options, [82, [10, 1, unicast ? 0x80 : 0]] as const],
      };
      const other = { ...createRequestContext(), unicast: true };
      const throughRelay = classify(requestOf(relayed), other, SERVER_IP);
      expect(throughRelay).toEqual(found);
    }
  });
});

function requestOf(message: Message) {
  const bytes = payloadOf(message);
  const read = createDhcpRequest();
  const drop = readRequest(bytes, new DataView(bytes.buffer), 0, bytes.length, read);
  if (drop !== undefined) throw new Error(drop);
  return read;
}

function decide(message: Message, verdict: ChainVerdict, policy: ReplyPolicy) {
  const asked = requestOf(message);
  const context = { ...createRequestContext(), unicast: message.to === "S" };
  if (message.sourceIp !== undefined) context.sourceIp = asked.ciaddr;
  const requestClass = classify(asked, context, SERVER_IP);
  if (requestClass.kind === "silent") throw new Error(requestClass.reason);
  return { requestClass, decision: decideReply(requestClass, asked, verdict, policy) };
}

function inWords({ decision }: ReturnType<typeof decide>): string {
  if (decision.kind === "silent") return decision.reason;
  if (decision.type === "DHCPNAK") return decision.type;
  expect(decision.assignment.address).toBe(CLIENT_IP);
  if (decision.isRapid) return `${decision.type} at once`;
  return decision.hasLease ? decision.type : `${decision.type} without lease`;
}

describe.each(Object.entries(MATRIX))("the decision matrix: %s", (state, [message, row]) => {
  test.each(Object.entries(COLUMNS))("%s", (column, [address, verdict, policy]) => {
    const decided = decide(message(address), verdict, policy);
    expect(decided.requestClass.kind).toBe(state.split(",")[0]);
    expect(inWords(decided)).toBe(row[column as Column]);
  });
});

test("rapid commit and BOOTP are off unless the network's owner turns them on", () => {
  const asking = discover({ options: [[80, []]] });
  const { decision } = decide(asking, assigned(true), { bootp: false, rapidCommit: false });
  expect(decision).toMatchObject({ type: "DHCPOFFER", isRapid: false });
});
