/** DHCPREQUEST in all its states, and refusals: S17 to S40. */
import {
  ack,
  ignored,
  inventory,
  nak,
  noting,
  offer,
  on,
  type Scenario,
  scenario,
  send,
  TWO_NICS,
  wait,
} from "../scenario.ts";
import { discover, rebind, reboot, renew, request, select } from "../vocabulary.ts";

const INFINITE = [255, 255, 255, 255];
/** The address of M1 was changed. */
const changed = inventory({ ...TWO_NICS, M1: { address: ".8" } });
const renewed = (address = ".5") => ack(address, `M1 ${address}`, { ciaddr: address });

export const REQUESTING: readonly Scenario[] = [
  scenario(
    "S17",
    "selecting-other-server",
    ignored(
      request({
        options: [
          [54, ".77"],
          [50, ".77"],
        ],
      }),
      "req.otherserver",
    ),
  ),
  scenario("S18", "selecting-wrong-address", send(select(".99"), nak())),
  scenario(
    "S19",
    "selecting-changed-between",
    send(discover(), offer()),
    changed,
    send(select(".5"), nak()),
    send(discover({ xid: 2 }), offer(".8")),
  ),
  scenario("S20", "selecting-no-50", ignored(request({ options: [[54, "S"]] }), "req.no50")),
  scenario(
    "S21",
    "selecting-after-restart",
    send(discover(), offer()),
    { kind: "restart" },
    send(select(".5"), ack()),
  ),
  scenario(
    "S22",
    "selecting-anycast-peer",
    on("A", send(discover(), offer())),
    on("B", send(select(".5"), ack())),
    on("A", send(select(".5"), ack())),
  ),
  scenario(
    "S23",
    "selecting-54-zero",
    noting(
      send(
        request({
          options: [
            [54, "0.0.0.0"],
            [50, ".5"],
          ],
        }),
        ack(),
      ),
      "req.54zero",
    ),
  ),
  scenario("S24", "initreboot-ok", send(reboot(".5"), ack())),
  scenario("S25", "initreboot-moved-subnet", send(reboot("192.168.7.4"), nak())),
  scenario("S26", "initreboot-cloned-disk", send(reboot(".6"), nak())),
  scenario("S27", "initreboot-unknown-nic", ignored(reboot(".5", { client: "M9" }), "nic.unknown")),
  scenario(
    "S28",
    "initreboot-authoritative-off",
    { network: { authoritative: false } },
    ignored(reboot(".6"), "net.notauthoritative"),
    send(reboot("192.168.7.4"), nak()),
  ),
  scenario("S29", "renew-unicast-ok", send(renew(".5"), renewed())),
  scenario(
    "S30",
    "renew-gateway-mac",
    { isGateway: true },
    send(renew(".5", { to: "GW" }), renewed()),
  ),
  scenario("S31", "renew-changed", changed, send(renew(".5"), nak("M1 .5"), nak())),
  scenario("S32", "renew-with-54", send(renew(".5", { options: [[54, "S"]] }), renewed())),
  scenario("S33", "rebind-ok", send(rebind(".5"), renewed())),
  scenario("S34", "rebind-foreign-ciaddr", send(rebind("10.9.9.9"), nak())),
  scenario(
    "S35",
    "renew-50-and-ciaddr-conflict",
    noting(send(renew(".5", { options: [[50, ".99"]] }), renewed()), "req.50ne"),
  ),
  scenario(
    "S36",
    "renew-infinite",
    { network: { leaseSeconds: 0xffff_ffff } },
    send(
      renew(".5"),
      ack(".5", "M1 .5", {
        ciaddr: ".5",
        options: { 51: INFINITE, 58: INFINITE, 59: INFINITE },
      }),
    ),
    // A client that asks for an endless lease, and one that asks for a day.
    send(
      renew(".5", { options: [[51, INFINITE]] }),
      ack(".5", "M1 .5", { ciaddr: ".5", options: { 51: INFINITE } }),
    ),
    send(
      renew(".5", { options: [[51, [0, 1, 81, 128]]] }),
      ack(".5", "M1 .5", { ciaddr: ".5", options: { 51: [0, 1, 81, 128] } }),
    ),
  ),
  scenario(
    "S37",
    "nak-fields",
    send(select(".99"), nak("all", { order: [53, 54, 56], datagram: [328, 576] })),
    send(
      reboot(".6", {
        flags: 0x8000,
        options: [
          [61, [1, 0, 13, 58, 1, 2, 3]],
          [55, [1, 3, 6, 15, 51, 245]],
        ],
      }),
      nak("all", { flags: 0x8000, order: [53, 54, 56, 61] }),
    ),
    send(
      renew(".99", { options: [[82, [1, 1, 1]]] }),
      nak("M1 .99", { order: [53, 54, 56] }),
      nak("all", { order: [53, 54, 56] }),
    ),
  ),
  scenario(
    "S38",
    "nak-damping",
    send(reboot(".99"), nak()),
    ...Array.from({ length: 29 }, () => [wait(33), ignored(reboot(".99"), "nak.damped")]).flat(),
    wait(42),
    ignored(reboot(".99"), "nak.damped"),
    wait(1),
    send(reboot(".99"), nak()),
    ignored(reboot(".99"), "nak.damped"),
    // Nobody else is damped, and a question with a good answer never is.
    send(reboot(".99", { client: "M2" }), nak()),
    send(reboot(".5"), ack()),
  ),
  scenario(
    "S39",
    "moved-vm-same-ip",
    on("A", send(select(".5"), ack())),
    inventory({ ...TWO_NICS, M1: { address: ".5", port: "tap3" } }),
    on("B", send(renew(".5", { port: "tap3" }), renewed())),
    on("A", ignored(renew(".5"), "port.mismatch")),
  ),
  scenario(
    "S40",
    "moved-vm-new-ip-nm",
    changed,
    send(renew(".5"), nak("M1 .5"), nak()),
    send(discover({ options: [[50, ".5"]] }), offer(".8")),
    send(select(".5"), nak()),
    send(discover({ xid: 2 }), offer(".8")),
    send(select(".8", { xid: 2 }), ack(".8")),
    // NetworkManager 1.42 leaves its old address in ciaddr.
    noting(
      send(
        select(".8", { xid: 3, ciaddr: ".5", sourceIp: ".5" }),
        ack(".8", "M1 .8", { ciaddr: ".5" }),
      ),
      "req.50ne",
    ),
  ),
];
