/** `boot:` of an inventory, from the text that somebody writes to the image that a client is told. */
import { describe, expect, test } from "vitest";
import { type BootClient, selectBootImage } from "../../src/dhcp/index.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { createInventoryResolver, parseInventory } from "../../src/nm/index.ts";

const NETWORK = { subnet: "10.77.0.0/16", gateway: "10.77.0.1" };
const A = "00:0c:01:00:00:01";
const B = "00:0c:01:00:00:02";
const C = "00:0c:01:00:00:03";
const BOOT = {
  server: "10.77.0.7",
  bios: "undionly.kpxe",
  "uefi-ia32": "ipxe32.efi",
  "uefi-x64": "ipxe.efi",
  "uefi-arm64": "ipxe-arm64.efi",
  "http-x64": "http://10.77.0.7/ipxe.efi",
  "http-arm64": "http://10.77.0.7/ipxe-arm64.efi",
  ipxe: "http://10.77.0.7/boot.ipxe",
};

/** What host A boots. */
function bootOf(inventory: object, mac = A) {
  const parsed = parseInventory({ network: NETWORK, ...inventory }, "lab.yaml");
  const resolver = createInventoryResolver(parsed, { isGateway: true });
  return resolver.findHost(parseMac(mac))?.boot;
}

const hostWith = (boot: unknown) => ({ hosts: [{ mac: A, address: "10.77.0.9", boot }] });

const CLIENTS: readonly (readonly [name: keyof typeof BOOT, client: BootClient])[] = [
  ["bios", { vendorClass: "PXEClient:Arch:00000", isIpxe: false, architecture: 0 }],
  ["uefi-ia32", { vendorClass: "PXEClient:Arch:00006", isIpxe: false, architecture: 6 }],
  ["uefi-x64", { vendorClass: "PXEClient:Arch:00007", isIpxe: false, architecture: 7 }],
  ["uefi-arm64", { vendorClass: "PXEClient:Arch:00011", isIpxe: false, architecture: 11 }],
  ["http-x64", { vendorClass: "HTTPClient:Arch:00016", isIpxe: false, architecture: 16 }],
  ["http-arm64", { vendorClass: "HTTPClient:Arch:00019", isIpxe: false, architecture: 19 }],
  ["ipxe", { vendorClass: "PXEClient:Arch:00007", isIpxe: true, architecture: 7 }],
];

/** Descriptions that are refused, and the message behind `lab.yaml: hosts[0].boot`. */
const REFUSED: readonly (readonly [name: string, boot: unknown, message: string])[] = [
  ["an unknown architecture", { vax: "a" }, ".vax: is unknown; known here: bios"],
  ["a server that is no address", { server: "tftp" }, ".server: "],
  [
    "a blank in a file name",
    { ...BOOT, bios: "my file" },
    ".bios: must be 1 to 254 printable ASCII characters without blanks",
  ],
  [
    "a name of 255 characters",
    { ...BOOT, "uefi-x64": "a".repeat(255) },
    ".uefi-x64: must be 1 to 254 printable",
  ],
  [
    "HTTP boot from a file name",
    { "http-x64": "ipxe.efi" },
    ".http-x64: must be an http:// or https:// URI; HTTP boot loads nothing else",
  ],
  [
    "a PXE file on no server",
    { bios: "undionly.kpxe" },
    ".server: is missing; it is the TFTP server that has the file of bios",
  ],
  [
    "an iPXE script on no server",
    { ipxe: "boot.ipxe" },
    ".server: is missing; it is the TFTP server that has the file of ipxe",
  ],
];

describe("an inventory's boot", () => {
  for (const [name, client] of CLIENTS) {
    test(`tells ${name} its file`, () => {
      const image = selectBootImage(bootOf(hostWith(BOOT))!, client);
      const data = image?.options.find((option) => option[0] === 67)?.subarray(2);
      expect(new TextDecoder().decode(data).replace(/\0$/, "")).toBe(BOOT[name]);
      const isHttpBoot = name.startsWith("http-");
      expect(image?.server).toBe(isHttpBoot ? 0 : parseIpv4(BOOT.server));
    });
  }

  for (const [name, boot, message] of REFUSED) {
    test(`is refused for ${name}`, () => {
      expect(() => bootOf(hostWith(boot))).toThrow(`lab.yaml: hosts[0].boot${message}`);
      const common = { boot, hosts: [] };
      expect(() => bootOf(common)).toThrow(`lab.yaml: boot${message}`);
    });
  }

  test("at the top is every host's that has none, and no tenant's", () => {
    const parsed = parseInventory(
      {
        network: NETWORK,
        boot: BOOT,
        hosts: [
          { mac: A, address: "10.77.0.9" },
          { mac: B, address: "10.77.0.10", boot: { ipxe: "https://10.77.0.7/b.ipxe" } },
          { mac: C, address: "10.77.0.11", boot: {} },
        ],
        nics: [{ mac: "00:0c:02:00:00:01", address: "10.77.1.1" }],
      },
      "lab.yaml",
    );
    const resolver = createInventoryResolver(parsed, { isGateway: true });
    const images = (mac: string) => [...(resolver.findHost(parseMac(mac))?.boot?.images ?? [])];
    expect(images(A).map(([kind]) => kind)).toEqual(Object.keys(BOOT).slice(1));
    expect(images(B).map(([kind]) => kind)).toEqual(["ipxe"]);
    expect(images(C)).toEqual([]);
    expect(resolver.findByMac(parseMac("00:0c:02:00:00:01"))?.boot).toBeUndefined();
  });
});
