/** What boot ROMs are told (S65 to S68), and the answer to a client's domain name (S71). */
import { describe, expect, test } from "vitest";
import { type BootDescription, createBootProfile, messageTypeName } from "../../src/dhcp/index.ts";
import { IPV4_UNSPECIFIED, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { CLIENT_IP, octets, profileWith, type RequestSpec, SERVER_IP } from "./packets.ts";
import { startServer } from "./test-server.ts";

const BOOT_SERVER = parseIpv4("10.0.0.7");
const BOOT: BootDescription = {
  server: BOOT_SERVER,
  files: {
    bios: "undionly.kpxe",
    "uefi-x64": "ipxe.efi",
    "http-x64": "http://10.0.0.7/ipxe.efi",
  },
  ipxe: "http://10.0.0.7/boot.ipxe",
};
const GUID = [0, ...Array.from({ length: 16 }, (_, index) => index)];
const text = (value: string) => new TextEncoder().encode(value);
const pair = (value: number) => [value >>> 8, value & 255];

function startBootServer(description: BootDescription = BOOT, hostname?: string) {
  const boot = createBootProfile(description);
  const assignment = { address: CLIENT_IP, profile: profileWith(), boot };
  return startServer({
    decide: () => ({
      kind: "assigned",
      assignment: { ...assignment, ...(hostname !== undefined && { hostname }) },
    }),
  });
}

const rom = (vendorClass: string, architecture: number, more: RequestSpec["options"] = {}) => ({
  60: text(vendorClass),
  93: pair(architecture),
  97: GUID,
  ...more,
});
const discover = (options: RequestSpec["options"]): RequestSpec => ({
  type: "DHCPDISCOVER",
  ...(options !== undefined && { options }),
});

describe("a boot ROM", () => {
  test.each<[string, number, string]>([
    ["BIOS", 0, "undionly.kpxe"],
    ["UEFI, EFI byte code", 7, "ipxe.efi"],
    ["UEFI x64", 9, "ipxe.efi"],
  ])("S66: %s is told its file in every place that a ROM may read", (_name, architecture, file) => {
    const { ask } = startBootServer();
    const { message } = ask(discover(rom("PXEClient:Arch:00000:UNDI:002001", architecture)));
    expect(message.siaddr).toBe(BOOT_SERVER);
    expect(message.file).toEqual(text(file));
    expect(message.options.get(66)).toEqual(text("10.0.0.7\0"));
    expect(message.options.get(67)).toEqual(text(`${file}\0`));
    expect(message.options.get(60)).toEqual(text("PXEClient"));
    expect(message.options.get(43)).toEqual(Uint8Array.of(6, 1, 8, 255));
    expect(message.options.get(97)).toEqual(Uint8Array.from(GUID));
  });

  test("S66: UEFI HTTP boot is told a URI, without NUL, and no TFTP server", () => {
    const { ask } = startBootServer();
    const { message } = ask(discover(rom("HTTPClient:Arch:00016:UNDI:003001", 16)));
    expect(message.options.get(60)).toEqual(text("HTTPClient"));
    expect(message.options.get(67)).toEqual(text("http://10.0.0.7/ipxe.efi"));
    expect(message.siaddr).toBe(IPV4_UNSPECIFIED);
    for (const code of [43, 66, 97]) expect(message.options.has(code)).toBe(false);
  });

  test.each<[string, RequestSpec["options"]]>([
    ["a bare user class", { 77: text("iPXE") }],
    ["a counted user class (RFC 3004)", { 77: Uint8Array.of(4, ...text("iPXE")) }],
    ["its own options", { 175: [177, 1, 1] }],
  ])("S67: iPXE, known by %s, is told its script and not to wait", (_name, more) => {
    const { ask } = startBootServer();
    const { message } = ask(discover(rom("PXEClient:Arch:00000:UNDI:002001", 0, more)));
    expect(message.file).toEqual(text("http://10.0.0.7/boot.ipxe"));
    expect(message.options.get(67)).toEqual(text("http://10.0.0.7/boot.ipxe"));
    expect(message.options.get(175)).toEqual(Uint8Array.of(176, 1, 1));
    expect(message.options.has(60)).toBe(false);
    expect(message.options.has(43)).toBe(false);
  });

  test("S67: iPXE without a script of its own is told nothing: it would load itself for ever", () => {
    const { ask } = startBootServer({ server: BOOT_SERVER, files: { bios: "undionly.kpxe" } });
    const spec = discover(rom("PXEClient:Arch:00000:UNDI:002001", 0, { 77: text("iPXE") }));
    const { message } = ask(spec);
    expect(message.file).toEqual(new Uint8Array());
    for (const code of [43, 60, 66, 67, 175]) expect(message.options.has(code)).toBe(false);
  });

  test("S68: offer and acknowledgement carry the same boot data", () => {
    const { ask } = startBootServer();
    const options = rom("PXEClient:Arch:00007:UNDI:003016", 7, { 57: [0xff, 0] });
    const offer = ask({ type: "DHCPDISCOVER", broadcast: true, options }).message;
    const chosen = { ...options, 50: octets(CLIENT_IP), 54: octets(SERVER_IP) };
    const ack = ask({ type: "DHCPREQUEST", broadcast: true, options: chosen }).message;
    expect(messageTypeName(ack)).toBe("DHCPACK");
    for (const field of ["yiaddr", "siaddr", "file"] as const) {
      expect(ack[field]).toEqual(offer[field]);
    }
    for (const code of [43, 54, 60, 66, 67, 97]) {
      expect(ack.options.get(code)).toEqual(offer.options.get(code));
    }
  });

  test.each<[string, RequestSpec["options"]]>([
    ["no boot ROM", {}],
    ["an architecture that has no entry", rom("PXEClient:Arch:00011:UNDI:003000", 11)],
    ["an architecture that nobody knows", rom("PXEClient:Arch:00999:UNDI:003000", 999)],
    ["PXE with the number of HTTP boot", rom("PXEClient:Arch:00016:UNDI:003000", 16)],
    ["another vendor", { 60: text("MSFT 5.0"), 93: pair(0) }],
  ])("is told nothing: %s", (_name, options) => {
    const { ask } = startBootServer();
    const { message } = ask(discover(options));
    expect(message.siaddr).toBe(IPV4_UNSPECIFIED);
    expect(message.file).toEqual(new Uint8Array());
    for (const code of [43, 60, 66, 67, 97, 175]) expect(message.options.has(code)).toBe(false);
  });

  test("S65: without a boot profile, not even its class is echoed", () => {
    const { message } = startServer().ask(discover(rom("PXEClient:Arch:00000:UNDI:002001", 0)));
    for (const code of [43, 60, 66, 67, 97]) expect(message.options.has(code)).toBe(false);
  });

  test("a name too long for the file field stands in option 67 alone", () => {
    const name = "x".repeat(128);
    const { ask } = startBootServer({ server: BOOT_SERVER, files: { bios: name } });
    const { message } = ask(discover(rom("PXEClient:Arch:00000:UNDI:002001", 0)));
    expect(message.file).toEqual(new Uint8Array());
    expect(message.options.get(67)).toEqual(text(`${name}\0`));
  });

  test.each(["", "with blank", "x".repeat(255), "umläut"])("no reply could carry %j", (name) => {
    expect(() => createBootProfile({ files: { bios: name } })).toThrow(/^bios must be/);
  });
});

describe("option 81, the client's domain name", () => {
  const named = (data: readonly number[]) =>
    startBootServer(BOOT, "web-0").ask(discover({ 81: data }));
  const ascii = [...text("web-0.tenant.internal")];
  const wire = [5, ...text("web-0"), 6, ...text("tenant"), 8, ...text("internal"), 0];

  test.each<[string, readonly number[], number, readonly number[]]>([
    ["ASCII, server to update", [1, 0, 0, ...text("w")], 0x08 | 0x02, ascii],
    ["ASCII, client to update", [0, 0, 0, ...text("w")], 0x08, ascii],
    ["wire format, no updates", [0x0c, 0, 0, 1, 119, 0], 0x0c, wire],
  ])("S71: %s", (_name, sent, flags, name) => {
    const { message } = named(sent);
    expect(message.options.get(81)).toEqual(Uint8Array.of(flags, 255, 255, ...name));
  });

  test.each<[string, readonly number[]]>([
    ["N and S contradict each other", [0x09, 0, 0, 119]],
    ["too short for its flags", [1, 0]],
  ])("S71: ignored: %s", (_name, sent) => {
    expect(named(sent).message.options.has(81)).toBe(false);
  });

  test("is not sent to a client that did not", () => {
    expect(startServer().ask(discover({})).message.options.has(81)).toBe(false);
  });
});
