/** What is in a reply, and what is made of options in a request: S53 to S74. */
import { type ClasslessRoute, encodeRoutes } from "../../../src/dhcp/index.ts";
import { parseSubnet } from "../../../src/model/ipv4-address.ts";
import {
  ack,
  ignored,
  noting,
  offer,
  type Scenario,
  type Setup,
  scenario,
  send,
} from "../scenario.ts";
import { addressOf, discover, type OptionValue, request, select } from "../vocabulary.ts";

/** The options that every client gets, and those before them. */
const ALWAYS = [53, 54, 51, 58, 59, 1, 3, 6, 121, 249, 245];
/** As {@link ALWAYS}, for a client without option 55. */
const UNASKED = ALWAYS.filter((code) => code !== 249);

const route = (destination: string, gateway: string): ClasslessRoute => ({
  destination: parseSubnet(destination),
  gateway: addressOf(gateway),
});
const DEFAULT_ROUTE = route("0.0.0.0/0", ".1");
/** The default route, then so many of eight octets. */
const routes = (count: number): ClasslessRoute[] => [
  DEFAULT_ROUTE,
  ...Array.from({ length: count - 1 }, (_, index) => route(`10.1.${index}.0/24`, ".254")),
];
const THREE_ROUTES = [
  DEFAULT_ROUTE,
  route("10.2.0.0/16", ".254"),
  route("192.168.128.0/17", ".253"),
];
const withRoutes = (list: readonly ClasslessRoute[]): Setup => ({ network: { routes: list } });
/** The same DHCPDISCOVER with one option. */
const hello = (code: number, value: OptionValue) => discover({ options: [[code, value]] });
const to = "M1 .5";
/** Option 61 as most clients make it: type 1, then the MAC address. */
const HARDWARE_ID = [1, 0, 13, 58, 1, 2, 3];
const LONG = "d".repeat(240);
const bytes = (length: number) => Array.from({ length }, (_, index) => (index * 7 + 1) & 255);

const boot: Setup = {
  nics: {
    M1: {
      address: ".5",
      boot: {
        server: addressOf(".2"),
        files: {
          bios: "pxelinux.0",
          "uefi-x64": "grubx64.efi",
          "http-x64": "http://10.0.0.2/boot.efi",
        },
        ipxe: "http://10.0.0.2/script.ipxe",
      },
    },
  },
};
const pxe = (architecture: number) =>
  [
    [60, `PXEClient:Arch:${String(architecture).padStart(5, "0")}:UNDI:002001`],
    [93, [0, architecture]],
    [94, [1, 2, 1]],
    [97, [0, ...bytes(16)]],
  ] as const;
const http = [
  [60, "HTTPClient:Arch:00016:UNDI:003001"],
  [93, [0, 16]],
] as const;
const pxeReply = (file: string) => ({
  siaddr: ".2",
  file,
  options: {
    43: [6, 1, 8, 255],
    60: "PXEClient",
    66: "10.0.0.2\0",
    67: `${file}\0`,
    97: [0, ...bytes(16)],
  },
});
const httpReply = {
  file: "http://10.0.0.2/boot.efi",
  options: { 60: "HTTPClient", 67: "http://10.0.0.2/boot.efi", 43: false, 66: false },
};
const FQDN = "web-0.tenant.internal";
const fqdn = (flags: number, name: OptionValue) =>
  discover({ options: [[81, [flags, 0, 0, ...new TextEncoder().encode(String(name))]]] });
const fqdnReply = (flags: number) => [flags, 255, 255, ...new TextEncoder().encode(FQDN)];
const wireName = [5, ...new TextEncoder().encode("guest"), 0];
const wireFqdn = FQDN.split(".").flatMap((label) => [
  label.length,
  ...new TextEncoder().encode(label),
]);

export const OPTIONS: readonly Scenario[] = [
  scenario(
    "S53",
    "prl-order",
    send(hello(55, [6, 3, 1]), offer(".5", to, { order: ALWAYS })),
    send(
      hello(55, [28, 6, 200, 3, 15, 1, 12, 15]),
      offer(".5", to, { order: [...ALWAYS, 28, 15, 12], options: { 12: "web-0" } }),
    ),
  ),
  scenario(
    "S54",
    "prl-3396",
    send(
      discover({
        options: [
          [55, [15, 1]],
          [12, "guest"],
          [55, [28, 15]],
        ],
      }),
      offer(".5", to, { order: [...ALWAYS, 15, 28] }),
    ),
  ),
  scenario(
    "S55",
    "max-size-576",
    { network: { domain: LONG } },
    noting(
      send(
        hello(55, [15, 28, 12]),
        offer(".5", to, { order: [...ALWAYS, 28, 12], datagram: [328, 576] }),
      ),
      "omitted",
    ),
  ),
  scenario(
    "S56",
    "max-size-1472",
    withRoutes(routes(71)),
    send(
      discover({
        options: [
          [57, [5, 192]],
          [55, [1]],
        ],
      }),
      offer(".5", to, {
        order: [53, 54, 51, 58, 59, 1, 3, 6, 121, 121, 121, 249, 249, 249, 245],
        datagram: [1401, 1472],
      }),
    ),
  ),
  scenario(
    "S56",
    "max-size-65280",
    withRoutes(routes(73)),
    send(
      discover({
        options: [
          [57, [255, 0]],
          [55, [1]],
        ],
      }),
      offer(".5", to, { options: { 249: true }, datagram: [1473, 1500] }),
    ),
  ),
  scenario(
    "S57",
    "max-size-tiny",
    { network: { domain: "d".repeat(160) } },
    send(
      discover({
        options: [
          [57, [1, 44]],
          [55, [15]],
        ],
      }),
      offer(".5", to, { options: { 15: "d".repeat(160) }, datagram: [500, 576] }),
    ),
  ),
  scenario(
    "S58",
    "routes-121-249",
    withRoutes(THREE_ROUTES),
    send(
      hello(55, [1]),
      offer(".5", to, {
        options: {
          3: ".1",
          121: [0, 10, 0, 0, 1, 16, 10, 2, 10, 0, 0, 254, 17, 192, 168, 128, 10, 0, 0, 253],
          249: encodeRoutes(THREE_ROUTES),
        },
      }),
    ),
    send(select(".5"), ack(".5", to, { options: { 121: encodeRoutes(THREE_ROUTES) } })),
  ),
  scenario(
    "S59",
    "routes-split",
    withRoutes(routes(60)),
    send(
      discover({
        options: [
          [57, [5, 220]],
          [55, [1]],
        ],
      }),
      offer(".5", to, {
        order: [53, 54, 51, 58, 59, 1, 3, 6, 121, 121, 249, 249, 245],
        options: { 121: encodeRoutes(routes(60)), 249: encodeRoutes(routes(60)) },
      }),
    ),
  ),
  scenario(
    "S60",
    "slash32-gateway",
    { nics: { M1: { address: ".5" } }, network: { subnet: parseSubnet("10.0.0.5/32") } },
    send(
      hello(55, [1, 28]),
      offer(".5", to, {
        order: ALWAYS,
        options: {
          1: "255.255.255.255",
          121: [
            ...[32, 10, 0, 0, 1, 0, 0, 0, 0],
            ...[0, 10, 0, 0, 1],
            ...[32, 168, 63, 129, 16, 10, 0, 0, 1],
            ...[32, 169, 254, 169, 254, 10, 0, 0, 1],
          ],
        },
      }),
    ),
  ),
  scenario(
    "S61",
    "mtu-option-1400",
    { network: { mtu: 1400 } },
    send(discover(), offer(".5", to, { options: { 26: [5, 120] } })),
    send(hello(55, [26]), offer(".5", to, { options: { 26: [5, 120] } })),
  ),
  scenario(
    "S61",
    "mtu-option-1500",
    send(discover(), offer(".5", to, { options: { 26: false } })),
    send(hello(55, [26]), offer(".5", to, { order: [...ALWAYS, 26], options: { 26: [5, 220] } })),
  ),
  scenario(
    "S62",
    "opt245",
    send(
      discover(),
      offer(".5", to, { order: UNASKED, options: { 245: [0xa8, 0x3f, 0x81, 0x10] } }),
    ),
    send(
      select(".5", { options: [[55, [245, 249, 121]]] }),
      ack(".5", to, { order: ALWAYS, options: { 245: [0xa8, 0x3f, 0x81, 0x10] } }),
    ),
  ),
  scenario(
    "S63",
    "clientid-echo",
    send(hello(61, HARDWARE_ID), offer(".5", to, { options: { 61: HARDWARE_ID } })),
    send(hello(61, bytes(19)), offer(".5", to, { options: { 61: bytes(19) } })),
    send(hello(61, bytes(2)), offer(".5", to, { options: { 61: bytes(2) } })),
    send(
      discover({
        options: [
          [57, [5, 220]],
          [61, bytes(255)],
          [61, bytes(40)],
        ],
      }),
      offer(".5", to, {
        order: [...UNASKED, 61, 61],
        options: { 61: [...bytes(255), ...bytes(40)] },
      }),
    ),
    // In 576 octets there is no room for it beside what a guest cannot do without.
    noting(send(hello(61, bytes(240)), offer(".5", to, { order: UNASKED })), "omitted"),
    noting(
      send(
        discover({
          options: [
            [61, bytes(255)],
            [61, bytes(40)],
          ],
        }),
        offer(".5", to, { order: UNASKED }),
      ),
      "omitted",
    ),
  ),
  scenario(
    "S64",
    "clientid-two-clients",
    send(
      discover({ options: [...pxe(0), [77, "iPXE"]] }),
      offer(".5", to, { options: { 61: false } }),
    ),
    send(
      discover({ xid: 2, options: [[61, [255, ...bytes(18)]]] }),
      offer(".5", to, { xid: 2, options: { 61: [255, ...bytes(18)] } }),
    ),
  ),
  scenario(
    "S65",
    "opt60-no-echo",
    send(
      discover({ options: pxe(0) }),
      offer(".5", to, { options: { 60: false, 43: false, 67: false, 97: false } }),
    ),
  ),
  scenario(
    "S66",
    "pxe-bios",
    boot,
    send(discover({ options: pxe(0) }), offer(".5", to, pxeReply("pxelinux.0"))),
  ),
  scenario(
    "S66",
    "pxe-efi",
    boot,
    send(
      discover({ flags: 0x8000, options: pxe(7) }),
      offer(".5", "all", { ...pxeReply("grubx64.efi"), flags: 0x8000 }),
    ),
  ),
  scenario("S66", "http", boot, send(discover({ options: http }), offer(".5", to, httpReply))),
  scenario(
    "S67",
    "ipxe-loop",
    boot,
    send(
      discover({ options: [...pxe(0), [77, "iPXE"]] }),
      offer(".5", to, {
        siaddr: ".2",
        file: "http://10.0.0.2/script.ipxe",
        options: { 67: "http://10.0.0.2/script.ipxe", 175: [176, 1, 1], 60: false },
      }),
    ),
  ),
  scenario(
    "S68",
    "ovmf-consistency",
    boot,
    send(discover({ options: pxe(7) }), offer(".5", to, pxeReply("grubx64.efi"))),
    send(select(".5", { options: pxe(7) }), ack(".5", to, pxeReply("grubx64.efi"))),
    send(discover({ options: http }), offer(".5", to, httpReply)),
    send(select(".5", { options: http }), ack(".5", to, httpReply)),
  ),
  scenario(
    "S69",
    "hostname-hostile",
    ...[
      [27, 91, 50, 74, 7, 8, 10, 13, 0, 127, 0xe2, 0x80, 0xae],
      "\"'`$(reboot)`;|&\\",
      "<script>alert(1)</script>",
      "a".repeat(255),
    ].map((value) =>
      send(
        discover({
          options: [
            [12, value],
            [55, [12]],
          ],
        }),
        offer(".5", to, { options: { 12: "web-0" } }),
      ),
    ),
  ),
  scenario(
    "S70",
    "hostname-empty-after-scrub",
    send(hello(12, "___"), offer(".5", to, { options: { 12: false } })),
    send(fqdn(0, "___"), offer(".5", to, { options: { 81: fqdnReply(8) } })),
  ),
  scenario(
    "S71",
    "fqdn-flags",
    // S: the client wants the server to update DNS. Nobody does, and the answer says so (N, and O for overridden).
    send(fqdn(1, "guest"), offer(".5", to, { options: { 81: fqdnReply(8 | 2), 12: false } })),
    send(fqdn(8, "guest"), offer(".5", to, { options: { 81: fqdnReply(8) } })),
    send(
      hello(81, [4, 0, 0, ...wireName]),
      offer(".5", to, { options: { 81: [4 | 8, 255, 255, ...wireFqdn, 0] } }),
    ),
    send(fqdn(8 | 1, "guest"), offer(".5", to, { options: { 81: false } })),
  ),
  scenario(
    "S72",
    "overload-in",
    send(
      discover({
        options: [[52, [3]]],
        file: [55, 3, 15, 28, 12, 255],
        sname: [12, 5, ...new TextEncoder().encode("guest"), 61, 2, 0, 7, 255],
      }),
      offer(".5", to, { order: [...ALWAYS, 15, 28, 12, 61], options: { 61: [0, 7] } }),
    ),
  ),
  scenario(
    "S73",
    "overload-nested",
    send(
      discover({
        options: [[52, [2]]],
        file: [55, 1, 15, 255],
        sname: [52, 1, 3, 55, 1, 28, 255],
      }),
      offer(".5", to, { order: [...ALWAYS, 28] }),
    ),
  ),
  scenario(
    "S74",
    "trunc-after-53",
    // A host name that runs past the message by one octet, by many, and one without its length.
    send(discover({ length: 0, tail: [12, 4, 97, 98, 99] }), offer()),
    send(discover({ length: 0, tail: [12, 255, 97] }), offer()),
    send(discover({ length: 0, tail: [12] }), offer()),
    ignored(discover({ length: 0, tail: [50, 4, 10, 0, 0] }), "opt.trunc"),
    ignored(request({ length: 0, tail: [54, 4, 168] }), "opt.trunc"),
  ),
  scenario(
    "S74",
    "trunc-before-53",
    ignored({ type: "none", length: 0, tail: [12, 4, 53, 1, 1] }, "opt.trunc"),
    ignored({ type: "none", length: 0, tail: [12, 255, 53, 1, 1, 255] }, "opt.trunc"),
  ),
];
