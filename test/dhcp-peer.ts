/** The npm package `dhcp` as an independent reader of what we write. */
import { createRequire } from "node:module";
import { vi } from "vitest";

/** The part of the package that is used; it has no types. */
interface DhcpPackage {
  addOption(code: number, option: { name: string; type: string; config: string }): void;
}
interface DhcpProtocol {
  parse(bytes: Buffer): DhcpPeerMessage;
}

/** A message as the package shows it. */
export interface DhcpPeerMessage {
  readonly op: number;
  readonly yiaddr: string;
  readonly chaddr: string;
  readonly options: Readonly<Record<number, unknown>>;
}

/**
 * What the package's table lacks (80, 81, 82, 97, 175, 245) or has wrong: it takes the routes of RFC 3442 (121, 249) for
 * addresses and for text, and would read past their end. Its own way to say otherwise is addOption().
 */
const OPTIONS = [
  { code: 121, name: "Classless Static Routes", type: "UInt8s", config: "classlessRoute" },
  { code: 249, name: "Classless Static Routes (249)", type: "UInt8s", config: "classlessRoute249" },
  { code: 80, name: "Rapid Commit", type: "UInt8s", config: "rapidCommitOctets" },
  { code: 81, name: "Client FQDN", type: "UInt8s", config: "clientFqdnOctets" },
  { code: 82, name: "Relay Information", type: "UInt8s", config: "relayInformationOctets" },
  { code: 245, name: "Wire Server", type: "IP", config: "wireServer" },
  { code: 97, name: "Machine Identifier", type: "UInt8s", config: "machineIdentifier" },
  { code: 175, name: "iPXE", type: "UInt8s", config: "ipxe" },
];

/**
 * Reads a UDP payload.
 *
 * @throws what the package throws, and an Error with what it printed as a complaint
 */
export function readWithDhcpPackage(payload: Uint8Array): DhcpPeerMessage {
  const require = createRequire(import.meta.url);
  const dhcp: DhcpPackage = require("dhcp");
  const protocol: DhcpProtocol = require("dhcp/lib/protocol.js");
  for (const { code, ...option } of OPTIONS) dhcp.addOption(code, option);
  const complaints: unknown[] = [];
  const spy = vi.spyOn(console, "error").mockImplementation((...said) => complaints.push(...said));
  try {
    const message = protocol.parse(Buffer.from(payload));
    if (complaints.length > 0) throw new Error(`dhcp says: ${complaints.join("; ")}`);
    return message;
  } finally {
    spy.mockRestore();
  }
}
