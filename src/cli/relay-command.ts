/** The arguments of `goalstate relay`. */
import { hostname } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Logger } from "pino";
import { RELAY_HOPS_DEFAULT, RELAY_HOPS_MAX, RELAY_ID_BYTES_MAX } from "../dhcp/index.ts";
import {
  type Ipv4Address,
  type Ipv4Subnet,
  parseIpv4,
  parseSubnet,
} from "../model/ipv4-address.ts";

/** Most servers that one request is copied to. */
const SERVERS_MAX = 8;
/** Longest name of an interface in Linux. */
const INTERFACE_NAME_MAX = 15;
const SECS_MAX = 65_535;

interface RelayArguments {
  readonly interface: readonly string[];
  readonly upstream: readonly Ipv4Address[];
  readonly giaddr?: Ipv4Address;
  readonly linkSelection?: Ipv4Address;
  readonly circuitId: string;
  readonly remoteId: string;
  readonly serverIdOverride: boolean;
  readonly hops: number;
  readonly secs: number;
  readonly clientInformation: "drop" | "replace";
  readonly trustRelay?: readonly Ipv4Subnet[];
  readonly trustPort?: readonly string[];
  readonly logLevel: string;
}

/** What the command line gives every command. */
export interface CommandEdge {
  readonly logLevel: () => Option;
  readonly createLog: (level: string) => Logger;
  readonly print: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Adds `relay` to the program. */
export function addRelayCommand(program: Command, edge: CommandEdge): void {
  program
    .command("relay")
    .description("pass DHCP on between clients on an existing interface or bridge and a server")
    .requiredOption(
      "--interface <name>",
      "interface or bridge of clients; may be repeated",
      addText,
    )
    .requiredOption(
      "--upstream <address>",
      "a server; may be repeated, each gets a copy",
      addServer,
    )
    .option(
      "--giaddr <address>",
      "own address to relay from (default: the interface's)",
      readAddress,
    )
    .option(
      "--link-selection <address>",
      "the clients' network, if giaddr is elsewhere",
      readAddress,
    )
    .option(
      "--circuit-id <id>",
      "the port: text with {interface}, {port}, or 0x...",
      readId,
      "{port}",
    )
    .option("--remote-id <id>", "this host: text, or 0x...", readId, hostname())
    .option("--no-server-id-override", "let clients renew with the server itself, by a route")
    .option("--hops <count>", "most relay agents on the way", readHops, RELAY_HOPS_DEFAULT)
    .option("--secs <seconds>", "relay only clients that have tried for so long", readSecs, 0)
    .addOption(
      new Option("--client-information <what>", "what to do if a client sends option 82 itself")
        .choices(["drop", "replace"])
        .default("drop"),
    )
    .option("--trust-relay <subnet>", "agents further down; may be repeated", addSubnet)
    .option(
      "--trust-port <name>",
      "port of a switch that sends option 82; may be repeated",
      addText,
    )
    .addOption(edge.logLevel().default("info"))
    .action((options: RelayArguments) => relay(options, edge));
}

async function relay(options: RelayArguments, edge: CommandEdge): Promise<void> {
  const { runRelay } = await import("./relay.ts");
  const { giaddr, linkSelection } = options;
  await runRelay({
    interfaceNames: [...new Set(options.interface)],
    servers: [...new Set(options.upstream)],
    ...(giaddr !== undefined && { giaddr }),
    ...(linkSelection !== undefined && { linkSelection }),
    circuitIdOf: (names) => encodeId(fillTemplate(options.circuitId, names)),
    trustedPorts: options.trustPort ?? [],
    policy: {
      hopsMax: options.hops,
      secsMin: options.secs,
      clientInformation: options.clientInformation,
      trustedRelays: options.trustRelay ?? [],
      remoteId: encodeId(options.remoteId),
      overridesServer: options.serverIdOverride,
    },
    print: edge.print,
    log: edge.createLog(options.logLevel),
    signal: edge.signal,
  });
}

function addText(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

function addServer(text: string, before: readonly Ipv4Address[] = []): Ipv4Address[] {
  if (before.length === SERVERS_MAX) {
    throw new InvalidArgumentError(`At most ${SERVERS_MAX} servers get a copy.`);
  }
  return [...before, readAddress(text)];
}

function addSubnet(text: string, before: readonly Ipv4Subnet[] = []): Ipv4Subnet[] {
  return [...before, checked(() => parseSubnet(text.includes("/") ? text : `${text}/32`))];
}

function readAddress(text: string): Ipv4Address {
  return checked(() => parseIpv4(text));
}

function checked<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function readHops(text: string): number {
  return readCount(text, 1, RELAY_HOPS_MAX);
}

function readSecs(text: string): number {
  return readCount(text, 0, SECS_MAX);
}

function readCount(text: string, least: number, most: number): number {
  const count = /^\d{1,5}$/.test(text) ? Number(text) : -1;
  if (count >= least && count <= most) return count;
  throw new InvalidArgumentError(`It must be a number from ${least} to ${most}.`);
}

/** Checks an id, with names of the longest kind in the place of those that are not known yet. */
function readId(text: string): string {
  const longest = "x".repeat(INTERFACE_NAME_MAX);
  const filled = fillTemplate(text, { interface: longest, port: longest });
  if (filled.startsWith("0x") && !/^0x(?:[0-9a-f]{2})+$/i.test(filled)) {
    throw new InvalidArgumentError("After 0x, it must be pairs of hexadecimal digits.");
  }
  if (!/^[\x20-\x7e]+$/.test(filled)) {
    throw new InvalidArgumentError("It must be printable ASCII; write other octets as 0x...");
  }
  if (encodeId(filled).length > RELAY_ID_BYTES_MAX) {
    throw new InvalidArgumentError(`It must be at most ${RELAY_ID_BYTES_MAX} octets long.`);
  }
  return text;
}

function fillTemplate(template: string, names: { interface: string; port: string }): string {
  return template.replaceAll(
    /\{(interface|port)\}/g,
    (_all, key: "interface" | "port") => names[key],
  );
}

/** Octets that a person wrote as text or, after 0x, in hexadecimal. */
function encodeId(text: string): Uint8Array {
  return text.startsWith("0x") ? Uint8Array.fromHex(text.slice(2)) : new TextEncoder().encode(text);
}
