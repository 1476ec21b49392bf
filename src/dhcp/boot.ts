/**
 * Network boot: what a boot ROM is told to load, by what it says it is.
 *
 * A PXE ROM (option 60 "PXEClient") gets a file and the TFTP server that has it; a UEFI HTTP boot client ("HTTPClient") a
 * URI; iPXE (option 77 "iPXE", or its own option 175) a script. Nobody else is told anything: the kernel's `ip=dhcp`
 * takes siaddr for its NFS server.
 *
 * @see RFC 4578 (options 93, 94, 97), PXE 2.1 section 2.2 (options 43 and 60), UEFI 2.10 section 24.7 (HTTP boot)
 */

import { IPV4_UNSPECIFIED, type Ipv4Address, writeIpv4 } from "../model/ipv4-address.ts";
import { FILE_BYTES } from "./header.ts";
import { encodeOption, OPTION } from "./options.ts";

/** What runs on the client, after option 93 (IANA "Processor Architecture Types"). */
export const BOOT_ARCHITECTURES = [
  "bios",
  "uefi-ia32",
  "uefi-x64",
  "uefi-arm32",
  "uefi-arm64",
  "http-ia32",
  "http-x64",
  "http-arm32",
  "http-arm64",
] as const;

export type BootArchitecture = (typeof BOOT_ARCHITECTURES)[number];

/** Values of option 93; EFI byte code (7) is what x86-64 firmware sends for historical reasons. */
const ARCHITECTURES: ReadonlyMap<number, BootArchitecture> = new Map<number, BootArchitecture>([
  [0, "bios"],
  [6, "uefi-ia32"],
  [7, "uefi-x64"],
  [9, "uefi-x64"],
  [10, "uefi-arm32"],
  [11, "uefi-arm64"],
  [15, "http-ia32"],
  [16, "http-x64"],
  [18, "http-arm32"],
  [19, "http-arm64"],
]);

/** What a machine boots. */
export interface BootDescription {
  /** The TFTP server that has the files: siaddr and option 66. */
  readonly server?: Ipv4Address;
  /** File name (PXE) or URI (HTTP boot) by architecture. */
  readonly files: Partial<Readonly<Record<BootArchitecture, string>>>;
  /** URI or file name of the script that iPXE runs, whatever loaded iPXE. */
  readonly ipxe?: string;
}

/** A boot description, encoded. Make it with {@link createBootProfile}. */
export interface BootProfile {
  readonly images: ReadonlyMap<BootArchitecture | "ipxe", BootImage>;
}

/** What one kind of boot client is told. */
export interface BootImage {
  readonly kind: "pxe" | "http" | "ipxe";
  /** siaddr; 0 if there is none. */
  readonly server: Ipv4Address;
  /** For the `file` field, which old ROMs read alone; empty if the name is too long for it. */
  readonly file: Uint8Array;
  /** Whole options, in order. Option 97 is echoed beside them. */
  readonly options: readonly Uint8Array[];
}

/** The parts of a request that say what boots. */
export interface BootClient {
  /** Option 60, a trailing NUL cut off; empty if absent. */
  readonly vendorClass: string;
  /** True for iPXE: option 77 says "iPXE", or option 175 is there. */
  readonly isIpxe: boolean;
  /** The first value of option 93, or undefined. */
  readonly architecture: number | undefined;
}

const TEXT = new TextEncoder();
const PXE_CLASS = TEXT.encode("PXEClient");
const HTTP_CLASS = TEXT.encode("HTTPClient");
/** Discovery control 8: load the named file, look for no boot server (PXE 2.1 table 2-1, tag 6); then the end. */
const PXE_USE_FILE = Uint8Array.of(6, 1, 8, 255);
/** iPXE: do not wait two seconds for a ProxyDHCP server (option 175.176). */
const IPXE_NO_PROXY = Uint8Array.of(176, 1, 1);
const IPXE_ENCAPSULATED = 175;

/**
 * Encodes what a machine boots.
 *
 * @throws RangeError naming the entry that no reply could carry
 */
export function createBootProfile(description: BootDescription): BootProfile {
  const images = new Map<BootArchitecture | "ipxe", BootImage>();
  const server = description.server ?? IPV4_UNSPECIFIED;
  for (const architecture of BOOT_ARCHITECTURES) {
    const name = description.files[architecture];
    if (name === undefined) continue;
    assertName(architecture, name);
    const isHttp = architecture.startsWith("http-");
    images.set(architecture, isHttp ? httpImage(name) : pxeImage(name, server));
  }
  if (description.ipxe !== undefined) {
    assertName("ipxe", description.ipxe);
    images.set("ipxe", ipxeImage(description.ipxe, server));
  }
  return { images };
}

function assertName(place: string, name: string): void {
  if (!/^[!-~]{1,254}$/.test(name)) {
    throw new RangeError(`${place} must be 1 to 254 printable ASCII characters without blanks`);
  }
}

/** Old ROMs read one octet past option 67, so their name carries a NUL; the others dislike it. */
function pxeImage(name: string, server: Ipv4Address): BootImage {
  const options = [
    encodeOption(OPTION.vendorClass, PXE_CLASS),
    encodeOption(OPTION.vendorSpecific, PXE_USE_FILE),
    ...serverName(server, "\0"),
    encodeOption(OPTION.bootFile, TEXT.encode(`${name}\0`)),
  ];
  return { kind: "pxe", server, file: fileField(name), options };
}

/** Without the vendor class, firmware takes the offer for one without HTTP boot (UEFI 2.10 section 24.7.3.1). */
function httpImage(uri: string): BootImage {
  const options = [
    encodeOption(OPTION.vendorClass, HTTP_CLASS),
    encodeOption(OPTION.bootFile, TEXT.encode(uri)),
  ];
  return { kind: "http", server: IPV4_UNSPECIFIED, file: fileField(uri), options };
}

function ipxeImage(script: string, server: Ipv4Address): BootImage {
  const options = [
    encodeOption(IPXE_ENCAPSULATED, IPXE_NO_PROXY),
    ...serverName(server, ""),
    encodeOption(OPTION.bootFile, TEXT.encode(script)),
  ];
  return { kind: "ipxe", server, file: fileField(script), options };
}

function serverName(server: Ipv4Address, end: string): Uint8Array[] {
  if (server === IPV4_UNSPECIFIED) return [];
  const octets = new Uint8Array(4);
  writeIpv4(octets, 0, server);
  return [encodeOption(OPTION.tftpServerName, TEXT.encode(octets.join(".") + end))];
}

/** The name with its NUL, or nothing: a cut name would load another file. */
function fileField(name: string): Uint8Array {
  return name.length < FILE_BYTES ? TEXT.encode(name) : new Uint8Array();
}

/**
 * What this client boots, or undefined: it is no boot ROM, or nothing is meant for its kind. iPXE is never handed the
 * file that loaded it, for it would load itself for ever.
 */
export function selectBootImage(boot: BootProfile, client: BootClient): BootImage | undefined {
  if (client.isIpxe) return boot.images.get("ipxe");
  const architecture = ARCHITECTURES.get(client.architecture ?? 0);
  if (architecture === undefined) return undefined;
  const isHttp = architecture.startsWith("http-");
  const vendorClass = isHttp ? "HTTPClient" : "PXEClient";
  return client.vendorClass.startsWith(vendorClass) ? boot.images.get(architecture) : undefined;
}
