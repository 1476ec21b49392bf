/** The lines of the `log` plugin, written by a real server. */
import { describe, expect, test } from "vitest";
import {
  createChain,
  createLogPlugin,
  createNmPlugin,
  LogSchema,
  type Plugin,
} from "../../../src/wds/index.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  octets,
  profileWith,
  type RequestSpec,
  SERVER_IP,
  UNKNOWN_MAC,
} from "../../dhcp/packets.ts";
import { PORT, startServer } from "../../dhcp/test-server.ts";

interface Line {
  readonly level: string;
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

const DISCOVER: RequestSpec = { type: "DHCPDISCOVER", xid: 9 };
const text = (value: string) => new TextEncoder().encode(value);

function startLogged(settings: object = {}, ...plugins: Plugin[]) {
  const lines: Line[] = [];
  const clock = { ms: 0 };
  const log = createLogPlugin(LogSchema.parse(settings), {
    now: () => clock.ms,
    write: (level, fields, message) => lines.push({ level, fields, message }),
  });
  const assignment = { address: CLIENT_IP, profile: profileWith(), container: "web-0" };
  const nm = createNmPlugin({ findByMac: (mac) => (mac === CLIENT_MAC ? assignment : undefined) });
  const { decide, observe } = createChain([log, ...plugins, nm]);
  const server = startServer({ decide, onExchange: observe, onDrop: observe });
  return { ...server, clock, lines };
}

describe("log", () => {
  test("writes who asked, what for, who decided and what came of it", () => {
    const { ask, lines } = startLogged();
    ask(DISCOVER);
    expect(lines).toEqual([
      {
        level: "info",
        message: "answered",
        fields: {
          ...{ reply: "DHCPOFFER", mac: "00:0d:3a:01:02:03", ifindex: PORT, xid: 9 },
          ...{ type: "DHCPDISCOVER", state: "INIT", address: "10.0.0.5", container: "web-0" },
          ...{ plugin: "nm", why: "a binding has this MAC on this network" },
        },
      },
    ]);
  });

  test("writes why there was no answer, and why an address was refused", () => {
    const { ask, send, lines } = startLogged();
    send({ ...DISCOVER, mac: UNKNOWN_MAC });
    expect(lines[0]).toMatchObject({ level: "info", message: "not answered" });
    expect(lines[0]?.fields).toMatchObject({ reason: "nic.unknown", mac: "00:0d:3a:ff:ff:ff" });
    ask({ type: "DHCPREQUEST", options: { 50: octets("10.0.0.77") } });
    expect(lines[1]?.fields).toMatchObject({
      ...{ reply: "DHCPNAK", reason: "wrong-address", wanted: "10.0.0.77", state: "INIT-REBOOT" },
    });
  });

  test.each([
    [
      "client.decline",
      {
        type: "DHCPDECLINE",
        options: { 54: octets(SERVER_IP), 50: octets(CLIENT_IP), 56: text("in use") },
      },
    ],
    ["relay.untrusted", { ...DISCOVER, giaddr: CLIENT_IP }],
    ["type.server", { type: "DHCPOFFER" }],
  ] as const)("%s is an alarm, whatever is switched off", (reason, spec) => {
    const { send, lines } = startLogged({ replies: false, drops: false });
    send(spec);
    expect(lines).toMatchObject([{ level: "warn", message: "alarm", fields: { reason } }]);
    if (reason === "client.decline") expect(lines[0]?.fields).toMatchObject({ message: "in use" });
  });

  test("port.mismatch of a plugin is an alarm", () => {
    const guard: Plugin = {
      name: "guard",
      resolve: () => ({ kind: "drop", reason: "port.mismatch", why: "another port's" }),
    };
    const { send, lines } = startLogged({}, guard);
    send(DISCOVER);
    expect(lines).toMatchObject([
      {
        level: "warn",
        fields: { reason: "port.mismatch", plugin: "guard", why: "another port's" },
      },
    ]);
  });

  test("S10: what a guest wrote is escaped", () => {
    const { ask, lines } = startLogged();
    ask({ ...DISCOVER, options: { 12: text('a"\n\u001b[31m\u202e'), 60: [0xff, 0xfe, 1] } });
    expect(lines[0]?.fields).toMatchObject({
      hostname: "a\\u0022\\u000a\\u001b[31m\\u202e",
      vendorClass: "hex:fffe01",
    });
  });

  test("each kind of line has a bound, and says what it held back", () => {
    const { ask, send, clock, lines } = startLogged({ rate: 1, burst: 3 });
    for (let index = 0; index < 10; index++) ask(DISCOVER);
    expect(lines).toHaveLength(3);
    send({ ...DISCOVER, mac: UNKNOWN_MAC });
    expect(lines).toHaveLength(4);
    clock.ms = 1000;
    ask(DISCOVER);
    ask(DISCOVER);
    expect(lines).toHaveLength(5);
    expect(lines[4]?.fields).toMatchObject({ reply: "DHCPOFFER", suppressed: 7 });
  });

  test("has a closed set of fields", () => {
    const { ask, send, lines } = startLogged();
    ask({ ...DISCOVER, options: { 12: text("a"), 60: text("b"), 50: octets(CLIENT_IP) } });
    ask({ type: "DHCPREQUEST", options: { 50: octets("10.0.0.77") } });
    send({
      type: "DHCPDECLINE",
      options: { 54: octets(SERVER_IP), 50: octets(CLIENT_IP), 56: [1] },
    });
    send({ ...DISCOVER, giaddr: CLIENT_IP }, { sourceMac: UNKNOWN_MAC, sourceIp: CLIENT_IP });
    const names = new Set(lines.flatMap(({ fields }) => Object.keys(fields)));
    expect([...names].sort()).toEqual([
      ...["address", "container", "hostname", "ifindex", "mac", "message", "plugin", "reason"],
      ...["relay", "reply", "sourceIp", "sourceMac", "state", "type", "vendorClass", "wanted"],
      ...["why", "xid"],
    ]);
  });
});
