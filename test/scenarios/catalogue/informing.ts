/** The other messages, and what a network's owner turns on: S42 to S52, S102. */
import {
  ack,
  ignored,
  informed,
  noting,
  offer,
  type Scenario,
  scenario,
  send,
  wait,
} from "../scenario.ts";
import { bootp, decline, discover, inform, release } from "../vocabulary.ts";

export const INFORMING: readonly Scenario[] = [
  scenario(
    "S42",
    "inform-ok",
    send(
      inform({ ciaddr: ".5", sourceIp: ".5" }),
      informed("M1 .5", { ciaddr: ".5", order: [53, 54, 1, 3, 6, 121, 245] }),
    ),
    send(
      inform({ ciaddr: ".5", sourceIp: ".5", destinationIp: "S", to: "S", flags: 0x8000 }),
      informed("M1 .5", { ciaddr: ".5", flags: 0x8000 }),
    ),
  ),
  scenario(
    "S43",
    "inform-ciaddr0-src",
    send(inform({ sourceIp: ".5" }), informed("M1 .5")),
    send(inform({ sourceIp: ".5", flags: 0x8000 }), informed("M1 .5", { flags: 0x8000 })),
  ),
  scenario("S44", "inform-all-zero", ignored(inform(), "inform.noaddress")),
  scenario(
    "S45",
    "inform-foreign",
    noting(
      send(inform({ ciaddr: ".77", sourceIp: ".77" }), informed("M1 .77", { ciaddr: ".77" })),
      "inform.foreign",
    ),
    ignored(inform({ client: "M9", ciaddr: ".77", sourceIp: ".77" }), "nic.unknown"),
  ),
  scenario(
    "S46",
    "inform-wpad",
    send(
      inform({ ciaddr: ".5", sourceIp: ".5", options: [[55, [1, 15, 3, 6, 44, 46, 47, 252]]] }),
      informed("M1 .5", { ciaddr: ".5", options: { 15: "tenant.internal", 252: false } }),
    ),
  ),
  scenario(
    "S47",
    "decline",
    ignored(
      decline({
        options: [
          [50, ".5"],
          [54, "S"],
          [56, "in use"],
        ],
      }),
      "client.decline",
    ),
    wait(4_900),
    send(discover(), offer()),
  ),
  scenario(
    "S48",
    "decline-foreign-54",
    ignored(
      decline({
        options: [
          [50, ".5"],
          [54, ".77"],
        ],
      }),
      "req.otherserver",
    ),
    send(discover(), offer()),
  ),
  scenario(
    "S49",
    "decline-spoofed",
    ignored(
      decline({
        options: [
          [50, ".6"],
          [54, "S"],
        ],
      }),
      "client.decline.foreign",
    ),
    ignored(
      decline({ client: "M2", from: "M1", port: "tap1", options: [[50, ".6"]] }),
      "port.spoof",
    ),
    send(discover({ client: "M2" }), offer(".6", "M2 .6")),
  ),
  scenario(
    "S50",
    "release",
    ignored(release(".5", { options: [[54, "S"]] }), "client.release"),
    send(discover(), offer()),
    ignored(release(".5"), "client.release"),
    ignored(release(".6"), "client.release.foreign"),
    send(discover(), offer()),
  ),
  scenario("S51", "bootp-off", ignored(bootp(), "bootp.disabled")),
  scenario(
    "S51",
    "bootp-on",
    { policy: { bootp: true } },
    send(bootp(), {
      type: "BOOTREPLY",
      yiaddr: ".5",
      to: "M1 .5",
      order: [1, 3, 12, 6],
      datagram: [328, 328],
    }),
    send(bootp({ flags: 0x8000 }), {
      type: "BOOTREPLY",
      yiaddr: ".5",
      to: "all",
      flags: 0x8000,
      options: { 51: false, 53: false, 54: false },
    }),
    ignored(bootp({ client: "M9" }), "nic.unknown"),
  ),
  scenario(
    "S52",
    "rapid-commit-on",
    { policy: { rapidCommit: true } },
    send(discover({ options: [[80, []]] }), ack(".5", "M1 .5", { options: { 80: [], 51: true } })),
    send(discover(), offer(".5", "M1 .5", { options: { 80: false } })),
  ),
  scenario(
    "S52",
    "rapid-commit-off",
    send(discover({ options: [[80, []]] }), offer(".5", "M1 .5", { options: { 80: false } })),
  ),
  scenario(
    "S102",
    "rogue-server",
    ignored({ type: "DHCPOFFER", op: 2, options: [[54, ".66"]] }, "rogue.server"),
    send(discover(), offer()),
  ),
];
