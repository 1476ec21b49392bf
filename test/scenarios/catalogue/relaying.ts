/** The server behind relay agents: S75 to S83. */
import { parseSubnet } from "../../../src/model/ipv4-address.ts";
import {
  ack,
  ignored,
  type Nic,
  nak,
  offer,
  type Scenario,
  type Setup,
  scenario,
  send,
} from "../scenario.ts";
import {
  addressOf,
  discover,
  type Message,
  reboot,
  renew,
  request,
  select,
} from "../vocabulary.ts";

const GIADDR = "10.0.0.254";
const relays: Setup = { relays: "10.0.0.0/24" };
const relayed = { giaddr: GIADDR, hops: 1 } as const;
const to = `R1 ${GIADDR}:67`;
/** Circuit, host "h-1", a VPN by its number (RFC 2685), and one that nobody knows. */
const INFORMATION = [
  ...[1, 4, 0, 3, 0, 42],
  ...[2, 3, 104, 45, 49],
  ...[151, 8, 1, 104, 45, 49, 1, 1, 1, 1],
  ...[200, 1, 255],
];
const with82 = (data: readonly number[], words: Partial<Message> = {}): Partial<Message> => ({
  ...relayed,
  ...words,
  options: [...(words.options ?? []), [82, data]],
});
const OVERRIDE = [11, 4, 10, 0, 0, 254];
const onRemoteLink: Setup = {
  relays: "10.0.0.0/24",
  nics: { M1: { address: "10.2.0.5" } satisfies Nic },
  network: { subnet: parseSubnet("10.2.0.0/24"), gateway: addressOf("10.2.0.1") },
};

export const RELAYING: readonly Scenario[] = [
  scenario(
    "S75",
    "relay-basic",
    relays,
    send(discover(relayed), offer(".5", to, { giaddr: GIADDR, options: { 82: false } })),
    send(select(".5", relayed), ack(".5", to, { giaddr: GIADDR })),
  ),
  scenario(
    "S76",
    "relay-82-echo",
    relays,
    send(
      discover(with82(INFORMATION, { options: [[61, [1, 2, 3]]] })),
      offer(".5", to, {
        giaddr: GIADDR,
        order: [53, 54, 51, 58, 59, 1, 3, 6, 121, 245, 61, 82],
        options: { 82: INFORMATION },
      }),
    ),
    send(
      select(".5", with82(INFORMATION)),
      ack(".5", to, { giaddr: GIADDR, options: { 82: INFORMATION } }),
    ),
  ),
  scenario(
    "S77",
    "relay-link-selection",
    onRemoteLink,
    send(
      discover(with82([5, 4, 10, 2, 0, 0])),
      offer("10.2.0.5", to, {
        giaddr: GIADDR,
        options: { 3: "10.2.0.1", 82: [5, 4, 10, 2, 0, 0] },
      }),
    ),
    ignored(discover(with82([5, 4, 10, 3, 0, 0])), "subnet.unknown"),
  ),
  scenario(
    "S78",
    "relay-override",
    relays,
    send(
      discover(with82(OVERRIDE)),
      offer(".5", to, { giaddr: GIADDR, options: { 54: GIADDR, 82: OVERRIDE } }),
    ),
    send(
      request(
        with82(OVERRIDE, {
          options: [
            [54, GIADDR],
            [50, ".5"],
          ],
        }),
      ),
      ack(".5", to, { giaddr: GIADDR, options: { 54: GIADDR, 82: OVERRIDE } }),
    ),
  ),
  scenario(
    "S79",
    "relay-nak",
    relays,
    send(
      reboot(".99", with82(INFORMATION)),
      nak(to, { giaddr: GIADDR, flags: 0x8000, options: { 82: INFORMATION } }),
    ),
  ),
  scenario(
    "S80",
    "relay-renew-direct",
    relays,
    send(
      discover(with82(INFORMATION)),
      offer(".5", to, { giaddr: GIADDR, options: { 82: INFORMATION } }),
    ),
    send(
      select(".5", with82(INFORMATION)),
      ack(".5", to, { giaddr: GIADDR, options: { 82: INFORMATION } }),
    ),
    send(renew(".5"), ack(".5", "M1 .5", { ciaddr: ".5", options: { 82: false } })),
  ),
  scenario(
    "S81",
    "relay-untrusted",
    ignored(discover({ ...relayed, from: "M1", to: "all", port: "tap1" }), "relay.untrusted"),
    ignored(
      discover({ giaddr: ".1", hops: 1, from: "M1", to: "all", port: "tap1" }),
      "relay.untrusted",
    ),
  ),
  scenario(
    "S82",
    "relay-port-8357",
    relays,
    send(
      discover(with82([19, 0], { sourcePort: 1067 })),
      offer(".5", `R1 ${GIADDR}:1067`, { giaddr: GIADDR, options: { 82: [19, 0] } }),
    ),
    send(
      discover(with82([1, 1, 7], { sourcePort: 1067 })),
      offer(".5", to, { giaddr: GIADDR, options: { 82: [1, 1, 7] } }),
    ),
  ),
  scenario(
    "S83",
    "relay-hops",
    relays,
    send(discover({ ...relayed, hops: 16 }), offer(".5", to, { giaddr: GIADDR })),
    ignored(discover({ ...relayed, hops: 17 }), "bootp.hops"),
  ),
];
