import { describe, expect, test } from "vitest";
import {
  type Assignment,
  type ChainVerdict,
  classify,
  createDhcpRequest,
  createRequestContext,
  decideReply,
  encodeMessage,
  nakCopyDestination,
  type RequestContext,
  readRequest,
  replyDestination,
} from "../../src/dhcp/index.ts";
import {
  IPV4_BROADCAST,
  IPV4_UNSPECIFIED,
  type Ipv4Address,
  parseIpv4,
} from "../../src/model/ipv4-address.ts";
import { MAC_BROADCAST } from "../../src/model/mac-address.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  GATEWAY,
  octets,
  profileWith,
  RELAY_MAC,
  type RequestSpec,
  requestMessage,
  SERVER_IP,
} from "./packets.ts";

function requestOf(spec: RequestSpec) {
  const bytes = encodeMessage(requestMessage(spec));
  const request = createDhcpRequest();
  const drop = readRequest(bytes, new DataView(bytes.buffer), 0, bytes.length, request);
  if (drop !== undefined) throw new Error(drop);
  return request;
}

function contextOf(changes: Partial<RequestContext> = {}): RequestContext {
  return {
    ...createRequestContext(),
    ifindex: 7,
    sourceMac: CLIENT_MAC,
    sourceIp: IPV4_UNSPECIFIED,
    destinationIp: IPV4_BROADCAST,
    sourcePort: 1067,
    ...changes,
  };
}

const UNICAST = { sourceIp: CLIENT_IP, destinationIp: SERVER_IP, unicast: true };
const WRONG = parseIpv4("10.0.0.99");
const ELSEWHERE = parseIpv4("192.168.7.4");
const RELAY = parseIpv4("10.1.0.1");
const ours = { 54: octets(SERVER_IP) };
const theirs = { 54: octets("10.0.0.77") };
const want = (address: Ipv4Address) => ({ 50: octets(address) });

describe("classify()", () => {
  test.each<[string, RequestSpec, Partial<RequestContext>, string]>([
    ["DISCOVER", { type: "DHCPDISCOVER" }, {}, "INIT"],
    ["DISCOVER with 54", { type: "DHCPDISCOVER", options: theirs }, {}, "INIT"],
    ["DISCOVER with ciaddr", { type: "DHCPDISCOVER", ciaddr: CLIENT_IP }, {}, "INIT"],
    [
      "54 ours, 50",
      { type: "DHCPREQUEST", options: { ...ours, ...want(CLIENT_IP) } },
      {},
      "SELECTING",
    ],
    [
      "54 zero, 50",
      { type: "DHCPREQUEST", options: { 54: [0, 0, 0, 0], ...want(CLIENT_IP) } },
      {},
      "SELECTING",
    ],
    ["54 ours, no 50", { type: "DHCPREQUEST", options: ours }, {}, "req.no50"],
    ["54 ours, ciaddr", { type: "DHCPREQUEST", ciaddr: CLIENT_IP, options: ours }, {}, "RENEWING"],
    [
      "54 ours, 50, old ciaddr",
      { type: "DHCPREQUEST", ciaddr: WRONG, options: { ...ours, ...want(CLIENT_IP) } },
      {},
      "SELECTING",
    ],
    [
      "54 other",
      { type: "DHCPREQUEST", options: { ...theirs, ...want(CLIENT_IP) } },
      {},
      "req.otherserver",
    ],
    [
      "54 other, ciaddr",
      { type: "DHCPREQUEST", ciaddr: CLIENT_IP, options: theirs },
      {},
      "req.otherserver",
    ],
    ["no 54, 50", { type: "DHCPREQUEST", options: want(CLIENT_IP) }, {}, "INIT-REBOOT"],
    ["ciaddr, unicast", { type: "DHCPREQUEST", ciaddr: CLIENT_IP }, UNICAST, "RENEWING"],
    ["ciaddr, broadcast", { type: "DHCPREQUEST", ciaddr: CLIENT_IP }, {}, "REBINDING"],
    [
      "ciaddr and 50",
      { type: "DHCPREQUEST", ciaddr: CLIENT_IP, options: want(WRONG) },
      {},
      "REBINDING",
    ],
    [
      "ciaddr, relayed",
      { type: "DHCPREQUEST", ciaddr: CLIENT_IP, giaddr: RELAY },
      UNICAST,
      "REBINDING",
    ],
    [
      "ciaddr, relayed as unicast",
      { type: "DHCPREQUEST", ciaddr: CLIENT_IP, giaddr: RELAY, options: { 82: [10, 1, 0x80] } },
      UNICAST,
      "RENEWING",
    ],
    [
      "54 of the relay",
      {
        type: "DHCPREQUEST",
        giaddr: RELAY,
        options: { 54: octets(RELAY), ...want(CLIENT_IP), 82: [11, 4, ...octets(RELAY)] },
      },
      UNICAST,
      "SELECTING",
    ],
    ["neither 54, 50 nor ciaddr", { type: "DHCPREQUEST" }, {}, "req.empty"],
    ["DECLINE", { type: "DHCPDECLINE", options: { ...ours, ...want(CLIENT_IP) } }, {}, "DECLINE"],
    ["DECLINE without 50", { type: "DHCPDECLINE", options: ours }, {}, "decline.malformed"],
    ["DECLINE of another", { type: "DHCPDECLINE", options: theirs }, {}, "req.otherserver"],
    ["RELEASE", { type: "DHCPRELEASE", ciaddr: CLIENT_IP, options: ours }, UNICAST, "RELEASE"],
    ["RELEASE without 54", { type: "DHCPRELEASE", ciaddr: CLIENT_IP }, UNICAST, "RELEASE"],
    ["RELEASE without ciaddr", { type: "DHCPRELEASE" }, UNICAST, "release.malformed"],
    [
      "RELEASE to another",
      { type: "DHCPRELEASE", ciaddr: CLIENT_IP, options: theirs },
      {},
      "req.otherserver",
    ],
    ["INFORM", { type: "DHCPINFORM", ciaddr: CLIENT_IP }, {}, "INFORM"],
    ["INFORM, source only", { type: "DHCPINFORM" }, { sourceIp: CLIENT_IP }, "INFORM"],
    ["INFORM from nowhere", { type: "DHCPINFORM" }, {}, "inform.noaddress"],
  ])("%s", (_name, spec, context, want) => {
    const requestClass = classify(requestOf(spec), contextOf(context), SERVER_IP);
    expect(requestClass.kind === "silent" ? requestClass.reason : requestClass.kind).toBe(want);
  });
});

const assignment = (authoritative: boolean): Assignment => ({
  address: CLIENT_IP,
  profile: profileWith({ authoritative }),
});
const VERDICTS = {
  assigned: { kind: "assigned", assignment: assignment(true) },
  shared: { kind: "assigned", assignment: assignment(false) },
  unknown: { kind: "unknown" },
  "wrong-network": { kind: "wrong-network" },
  error: { kind: "error", reason: "inventory.timeout" },
  drop: { kind: "drop", reason: "port.mismatch" },
} as const satisfies Record<string, ChainVerdict>;

const discover: RequestSpec = { type: "DHCPDISCOVER" };
const selecting = (address: Ipv4Address): RequestSpec => ({
  type: "DHCPREQUEST",
  options: { ...ours, ...want(address) },
});
const reboot = (address: Ipv4Address): RequestSpec => ({
  type: "DHCPREQUEST",
  options: want(address),
});
const renew = (ciaddr: Ipv4Address): RequestSpec => ({
  type: "DHCPREQUEST",
  ciaddr,
  options: ours,
});
const rebind = (ciaddr: Ipv4Address): RequestSpec => ({ type: "DHCPREQUEST", ciaddr });
const inform: RequestSpec = { type: "DHCPINFORM", ciaddr: WRONG };
const decline = (address: Ipv4Address): RequestSpec => ({
  type: "DHCPDECLINE",
  options: want(address),
});
const release = (ciaddr: Ipv4Address): RequestSpec => ({ type: "DHCPRELEASE", ciaddr });

describe("decideReply()", () => {
  test.each<[string, RequestSpec, keyof typeof VERDICTS, string]>([
    ["INIT", discover, "assigned", "DHCPOFFER"],
    ["INIT", discover, "unknown", "nic.unknown"],
    ["INIT", discover, "wrong-network", "nic.wrongnetwork"],
    ["INIT", discover, "error", "inventory.timeout"],
    ["INIT", discover, "drop", "port.mismatch"],
    ["SELECTING right", selecting(CLIENT_IP), "assigned", "DHCPACK"],
    ["SELECTING wrong", selecting(WRONG), "assigned", "DHCPNAK"],
    ["SELECTING wrong", selecting(WRONG), "shared", "DHCPNAK"],
    ["SELECTING right", { ...selecting(CLIENT_IP), ciaddr: WRONG }, "assigned", "DHCPACK"],
    ["SELECTING wrong", { ...selecting(WRONG), ciaddr: CLIENT_IP }, "assigned", "DHCPNAK"],
    ["SELECTING", selecting(CLIENT_IP), "unknown", "nic.unknown"],
    ["SELECTING", selecting(CLIENT_IP), "wrong-network", "DHCPNAK"],
    ["SELECTING", selecting(CLIENT_IP), "error", "inventory.timeout"],
    ["INIT-REBOOT right", reboot(CLIENT_IP), "assigned", "DHCPACK"],
    ["INIT-REBOOT right", reboot(CLIENT_IP), "shared", "DHCPACK"],
    ["INIT-REBOOT wrong", reboot(WRONG), "assigned", "DHCPNAK"],
    ["INIT-REBOOT wrong", reboot(WRONG), "shared", "net.notauthoritative"],
    ["INIT-REBOOT elsewhere", reboot(ELSEWHERE), "assigned", "DHCPNAK"],
    ["INIT-REBOOT elsewhere", reboot(ELSEWHERE), "shared", "DHCPNAK"],
    ["INIT-REBOOT of 0.0.0.0", reboot(IPV4_UNSPECIFIED), "assigned", "DHCPNAK"],
    ["INIT-REBOOT", reboot(CLIENT_IP), "unknown", "nic.unknown"],
    ["INIT-REBOOT", reboot(CLIENT_IP), "wrong-network", "DHCPNAK"],
    ["INIT-REBOOT", reboot(WRONG), "error", "inventory.timeout"],
    ["RENEWING right", renew(CLIENT_IP), "assigned", "DHCPACK"],
    ["RENEWING wrong", renew(WRONG), "assigned", "DHCPNAK"],
    ["RENEWING wrong", renew(WRONG), "shared", "DHCPNAK"],
    ["RENEWING", renew(CLIENT_IP), "unknown", "nic.unknown"],
    ["RENEWING", renew(CLIENT_IP), "wrong-network", "DHCPNAK"],
    ["RENEWING", renew(WRONG), "error", "inventory.timeout"],
    ["REBINDING right", rebind(CLIENT_IP), "assigned", "DHCPACK"],
    ["REBINDING wrong", rebind(WRONG), "assigned", "DHCPNAK"],
    ["REBINDING wrong", rebind(WRONG), "shared", "net.notauthoritative"],
    ["REBINDING elsewhere", rebind(ELSEWHERE), "shared", "DHCPNAK"],
    ["REBINDING", rebind(CLIENT_IP), "unknown", "nic.unknown"],
    ["REBINDING", rebind(CLIENT_IP), "wrong-network", "DHCPNAK"],
    ["INFORM, foreign ciaddr", inform, "assigned", "DHCPACK"],
    ["INFORM", inform, "unknown", "nic.unknown"],
    ["INFORM", inform, "wrong-network", "nic.wrongnetwork"],
    ["INFORM", inform, "error", "inventory.timeout"],
    ["DECLINE right", decline(CLIENT_IP), "assigned", "client.decline"],
    ["DECLINE wrong", decline(WRONG), "assigned", "client.decline.foreign"],
    ["DECLINE", decline(CLIENT_IP), "wrong-network", "nic.wrongnetwork"],
    ["RELEASE right", release(CLIENT_IP), "assigned", "client.release"],
    ["RELEASE wrong", release(WRONG), "assigned", "client.release.foreign"],
  ])("%s, chain says %3$s", (_name, spec, verdict, want) => {
    const request = requestOf(spec);
    const requestClass = classify(request, contextOf(), SERVER_IP);
    if (requestClass.kind === "silent") throw new Error(requestClass.reason);
    const decision = decideReply(requestClass, request, VERDICTS[verdict]);
    expect(decision.kind === "silent" ? decision.reason : decision.type).toBe(want);
  });
});

describe("replyDestination()", () => {
  const broadcast = { mac: MAC_BROADCAST, address: IPV4_BROADCAST, port: 68 };
  const toClient = { mac: CLIENT_MAC, address: CLIENT_IP, port: 68 };
  const toRelay = { mac: RELAY_MAC, address: RELAY, port: 67 };
  const relayed = { sourceMac: RELAY_MAC, sourceIp: RELAY };
  type Type = "DHCPOFFER" | "DHCPACK" | "DHCPNAK";
  test.each<[string, Type, Ipv4Address, RequestSpec, Partial<RequestContext>, object]>([
    ["relayed OFFER", "DHCPOFFER", CLIENT_IP, { ...discover, giaddr: RELAY }, relayed, toRelay],
    [
      "relayed NAK",
      "DHCPNAK",
      IPV4_UNSPECIFIED,
      { ...reboot(WRONG), giaddr: RELAY },
      relayed,
      toRelay,
    ],
    [
      "relayed ACK with ciaddr",
      "DHCPACK",
      CLIENT_IP,
      { ...rebind(CLIENT_IP), giaddr: RELAY },
      relayed,
      toRelay,
    ],
    ["NAK", "DHCPNAK", IPV4_UNSPECIFIED, renew(WRONG), UNICAST, broadcast],
    ["OFFER", "DHCPOFFER", CLIENT_IP, discover, {}, toClient],
    [
      "OFFER, broadcast flag",
      "DHCPOFFER",
      CLIENT_IP,
      { ...discover, broadcast: true },
      {},
      broadcast,
    ],
    ["OFFER, ciaddr set", "DHCPOFFER", CLIENT_IP, { ...discover, ciaddr: WRONG }, {}, toClient],
    ["ACK", "DHCPACK", CLIENT_IP, reboot(CLIENT_IP), {}, toClient],
    [
      "ACK, old ciaddr",
      "DHCPACK",
      CLIENT_IP,
      { ...selecting(CLIENT_IP), ciaddr: WRONG },
      {},
      toClient,
    ],
    [
      "ACK, flag and ciaddr",
      "DHCPACK",
      CLIENT_IP,
      { ...rebind(CLIENT_IP), broadcast: true },
      {},
      toClient,
    ],
    ["ACK to INFORM", "DHCPACK", IPV4_UNSPECIFIED, inform, {}, { ...toClient, address: WRONG }],
    [
      "ACK to INFORM without ciaddr",
      "DHCPACK",
      IPV4_UNSPECIFIED,
      { type: "DHCPINFORM", broadcast: true },
      { sourceIp: CLIENT_IP },
      toClient,
    ],
  ])("%s", (_name, type, yiaddr, spec, context, want) => {
    const reply = { type, yiaddr };
    expect(replyDestination(requestOf(spec), contextOf(context), reply)).toEqual(want);
  });

  test("follows a relay's source port only if asked to (RFC 8357)", () => {
    const spec = { ...discover, giaddr: RELAY, options: { 82: [19, 0] } };
    const reply = { type: "DHCPOFFER", yiaddr: CLIENT_IP } as const;
    const destination = replyDestination(requestOf(spec), contextOf(relayed), reply);
    expect(destination).toEqual({ ...toRelay, port: 1067 });
  });

  test("a second DHCPNAK goes to ciaddr, if the request was unicast", () => {
    const wrong = { ...toClient, address: WRONG };
    expect(nakCopyDestination(requestOf(renew(WRONG)), contextOf(UNICAST))).toEqual(wrong);
    expect(nakCopyDestination(requestOf(rebind(WRONG)), contextOf())).toBeUndefined();
    expect(nakCopyDestination(requestOf(reboot(WRONG)), contextOf(UNICAST))).toBeUndefined();
    const throughRelay = requestOf({ ...renew(WRONG), giaddr: GATEWAY });
    expect(nakCopyDestination(throughRelay, contextOf(UNICAST))).toBeUndefined();
  });
});
