import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NETWORK, SERVER_ADDRESS } from "../serve-network.ts";
import { bootMachine, HTTP, serveHttp, serveTftp, writeBootFiles } from "./boot-network.ts";
import {
  ADDRESS,
  type ClientNetwork,
  canRunClients,
  MAC,
  makeClientNetwork,
  UNPACKED,
} from "./client-network.ts";

/** Without hardware virtualization a boot takes 20 to 60 s, and longer on a machine that does other things as well. */
const BOOT_WAIT_MS = 170_000;
/** Leaves time to fail with what was seen, and to end the machine. */
const TEST_TIMEOUT_MS = 200_000;
/** What joins QEMU to the network has a MAC of its own. */
const BRIDGE_MAC = "02:00:00:00:00:01";
const OVMF = "/usr/share/OVMF";

/** One host that boots this. */
const inventory = (boot: string) =>
  `${NETWORK}\nhosts: [{ mac: "${MAC}", address: ${ADDRESS}, hostname: node-1, boot: ${boot} }]\n`;
const LEASE = ["DISCOVER", `OFFER ${ADDRESS}`, `REQUEST selecting ${ADDRESS}`, `ACK ${ADDRESS}`];
const ROMLESS_NIC = ["-device", `virtio-net-pci,netdev=n,mac=${MAC},bootindex=0,romfile=`];
const ROM_NIC = ["-device", `virtio-net-pci,netdev=n,mac=${MAC},bootindex=0`];

/** OVMF tries PXE for a minute before HTTP. */
const NO_PXE = [4, 6].flatMap((version) => [
  "-fw_cfg",
  `name=opt/org.tianocore/IPv${version}PXESupport,string=no`,
]);
const BOOTED = `booted: ip=${ADDRESS}`;
const SCRIPT = `${HTTP}/boot.ipxe`;

/** Vendor class, siaddr and file of each lease; an offer and its acknowledgement must say the same. */
function bootData(net: ClientNetwork): string[][] {
  const said = (start: string) =>
    net
      .exchanges()
      .filter(({ words }) => words.startsWith(start))
      .map(({ fields }) => [
        fields["dhcp.option.vendor_class_id"],
        fields["dhcp.ip.server"],
        fields["dhcp.file"],
      ]);
  const offered = said("OFFER");
  expect(said("ACK")).toEqual(offered);
  return offered;
}

describe.skipIf(!canRunClients)(
  "network boot (needs root, QEMU, tshark and tools/host-setup)",
  () => {
    let folder: string;
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "goalstate-boot-"));
      await writeBootFiles(folder);
      copyFileSync(`${UNPACKED}/ipxe/boot/ipxe.efi`, join(folder, "ipxe.efi"));
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    /** UEFI firmware with nothing stored. */
    const uefi = () => {
      const variables = join(folder, "variables.fd");
      copyFileSync(`${OVMF}/OVMF_VARS_4M.fd`, variables);
      const flash = "if=pflash,format=raw";
      return [
        ...["-drive", `${flash},unit=0,readonly=on,file=${OVMF}/OVMF_CODE_4M.fd`],
        ...["-drive", `${flash},unit=1,file=${variables}`],
      ];
    };

    /** Boots until `seen()` has the text. */
    const boot = async (
      net: ClientNetwork,
      machine: readonly string[],
      text: string,
      seen?: () => string,
    ) => {
      await using running = bootMachine(net, machine);
      await expect.poll(seen ?? running.stdout, { timeout: BOOT_WAIT_MS }).toContain(text);
      await net.check();
    };

    test(
      "the iPXE ROM loads its script by TFTP, and a system by HTTP that gets the same address",
      async () => {
        await using net = await makeClientNetwork(BRIDGE_MAC);
        await net.serve(inventory(`{ server: ${SERVER_ADDRESS}, ipxe: boot.ipxe }`));
        await using _http = await serveHttp(net, folder);
        await using tftp = await serveTftp(net, folder);
        await boot(net, ROM_NIC, BOOTED);
        expect(tftp.stderr()).toContain(`sent ${folder}/boot.ipxe to ${ADDRESS}`);
        expect(net.conversation()).toEqual([...LEASE, ...LEASE]);
        expect(bootData(net)).toEqual([
          ["", SERVER_ADDRESS, "boot.ipxe"],
          ["", "0.0.0.0", ""],
        ]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "OVMF loads iPXE by TFTP, which loads a system by HTTP",
      async () => {
        await using net = await makeClientNetwork(BRIDGE_MAC);
        const files = `uefi-x64: ipxe.efi, ipxe: "${SCRIPT}"`;
        await net.serve(inventory(`{ server: ${SERVER_ADDRESS}, ${files} }`));
        await using _http = await serveHttp(net, folder);
        await using tftp = await serveTftp(net, folder);
        await boot(net, [...uefi(), ...ROMLESS_NIC], BOOTED);
        expect(tftp.stderr()).toContain(`sent ${folder}/ipxe.efi to ${ADDRESS}`);
        expect(net.conversation()).toEqual([...LEASE, ...LEASE, ...LEASE]);
        expect(bootData(net)).toEqual([
          ["PXEClient", SERVER_ADDRESS, "ipxe.efi"],
          ["", SERVER_ADDRESS, SCRIPT],
          ["", "0.0.0.0", ""],
        ]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "OVMF loads iPXE by HTTP, which loads its script by HTTP",
      async () => {
        await using net = await makeClientNetwork(BRIDGE_MAC);
        await net.serve(inventory(`{ http-x64: "${HTTP}/ipxe.efi", ipxe: "${SCRIPT}" }`));
        await using http = await serveHttp(net, folder);
        await boot(net, [...uefi(), ...ROMLESS_NIC, ...NO_PXE], "GET /boot.ipxe", http.stdout);
        expect(http.stdout()).toContain("GET /ipxe.efi");
        expect(net.conversation()).toEqual([...LEASE, ...LEASE]);
        expect(bootData(net)).toEqual([
          ["HTTPClient", "0.0.0.0", `${HTTP}/ipxe.efi`],
          ["", "0.0.0.0", SCRIPT],
        ]);
      },
      TEST_TIMEOUT_MS,
    );
  },
);
