/**
 * The bindings file of an inventory: one NIC a line, `mac,address,container,hostname`, the last two optional. For fleets
 * whose NICs are named one by one; YAML of a million entries would take minutes and gigabytes.
 */
import { FabricError } from "../model/errors.ts";
import {
  formatIpv4,
  formatSubnet,
  type Ipv4Address,
  type Ipv4Subnet,
  isHostAddress,
  parseIpv4,
} from "../model/ipv4-address.ts";
import { formatMac, isGroupMac, type MacAddress, parseMac } from "../model/mac-address.ts";
import {
  BINDINGS_MAX,
  type BindingConflict,
  BindingTable,
  BindingTableBuilder,
  CONTAINER_OCTETS_MAX,
  HOSTNAME_OCTETS_MAX,
} from "./binding-table.ts";

/** A file to read. */
export interface BindingsSource {
  /** For the text of errors. */
  readonly name: string;
  /** Its size; no more is read. */
  readonly bytes: number;
  /** Fills `into` from its start with the next octets. @returns how many; 0 at the end */
  read(into: Uint8Array): number;
}

/** What the rest of the inventory asks of its bindings. */
export interface BindingRules {
  readonly subnet: Ipv4Subnet;
  readonly gateway: Ipv4Address | undefined;
  /** Where MACs, addresses and containers that are named elsewhere stand. */
  readonly macs: ReadonlyMap<MacAddress, string>;
  readonly addresses: ReadonlyMap<Ipv4Address, string>;
  readonly containers: ReadonlyMap<string, string>;
}

/** Longest line in octets. */
export const BINDING_LINE_BYTES_MAX = 1024;
const CHUNK_BYTES = 256 * 1024;
/** `00:00:00:00:00:00,1.1.1.1` and the line's end. */
const LINE_BYTES_MIN = 26;
const FIELDS_MAX = 4;
const LF = 10;
const CR = 13;
const HASH = 35;
const COMMA = 44;
const DOT = 46;
const ZERO = 48;
const HEADER = "mac,address,container,hostname";

/** Values of hexadecimal digits; -1 for everything else. */
const HEX = Int8Array.from({ length: 256 }, (_, octet) => {
  const digit = Number.parseInt(String.fromCharCode(octet), 16);
  return Number.isNaN(digit) ? -1 : digit;
});
const IS_CONTAINER = octetsThat(/[\w.-]/);
const IS_HOSTNAME = octetsThat(/[a-z0-9-]/i);
const HYPHEN = 45;

function octetsThat(match: RegExp): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, octet) =>
    octet < 128 && match.test(String.fromCharCode(octet)) ? 1 : 0,
  );
}

/**
 * Reads a bindings file. Empty lines and lines that start with `#` are skipped, as is a first line that names the fields.
 *
 * @throws FabricError ERR_USAGE_INVENTORY with one line: file, line, field, and what is wrong
 */
export function readBindings(source: BindingsSource, rules: BindingRules): BindingTable {
  return new BindingsReader(source, rules).read();
}

interface Span {
  start: number;
  end: number;
}

class BindingsReader {
  readonly #source: BindingsSource;
  readonly #rules: BindingRules;
  readonly #builder: BindingTableBuilder;
  /** Line of each binding, for the text of a conflict. */
  readonly #lines: Uint32Array;
  readonly #capacity: number;
  readonly #fields: readonly Span[] = Array.from({ length: FIELDS_MAX }, () => ({
    start: 0,
    end: 0,
  }));
  #bytes: Uint8Array;
  #line = 0;

  constructor(source: BindingsSource, rules: BindingRules) {
    this.#source = source;
    this.#rules = rules;
    this.#capacity = Math.min(Math.ceil(source.bytes / LINE_BYTES_MIN) + 1, BINDINGS_MAX);
    this.#builder = new BindingTableBuilder(this.#capacity, source.bytes);
    this.#lines = new Uint32Array(this.#capacity);
    this.#bytes = new Uint8Array(CHUNK_BYTES + BINDING_LINE_BYTES_MAX);
  }

  read(): BindingTable {
    let kept = 0;
    let left = this.#source.bytes;
    while (left > 0) {
      const room = Math.min(this.#bytes.length - kept, left);
      const count = this.#source.read(this.#bytes.subarray(kept, kept + room));
      if (count === 0) break;
      left -= count;
      kept = this.#readLines(kept + count);
    }
    if (kept > 0) this.#readLine(0, kept);
    this.#checkContainers();
    const built = this.#builder.build();
    if (built instanceof BindingTable) return built;
    throw this.#conflict(built);
  }

  /** Reads the whole lines of the first `end` octets, and moves the rest to the front. @returns how much is left */
  #readLines(end: number): number {
    const bytes = this.#bytes;
    let start = 0;
    for (let at = bytes.indexOf(LF); at >= 0 && at < end; at = bytes.indexOf(LF, start)) {
      this.#readLine(start, at);
      start = at + 1;
    }
    if (end - start > BINDING_LINE_BYTES_MAX) {
      this.#line += 1;
      throw this.#tooLong();
    }
    bytes.copyWithin(0, start, end);
    return end - start;
  }

  #readLine(start: number, lineEnd: number): void {
    this.#line += 1;
    if (lineEnd - start > BINDING_LINE_BYTES_MAX) throw this.#tooLong();
    const bytes = this.#bytes;
    const end = lineEnd > start && bytes[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd;
    if (end === start || bytes[start] === HASH) return;
    if (this.#line === 1 && this.#text({ start, end }) === HEADER) return;
    this.#split(start, end);
    const [macField, addressField, container, hostname] = this.#fields as [Span, Span, Span, Span];
    const mac = this.#readMac(macField);
    const address = this.#readAddress(addressField);
    this.#checkContainer(container);
    this.#checkHostname(hostname);
    if (this.#builder.size === this.#capacity) {
      throw this.#problem(`there may be at most ${BINDINGS_MAX} bindings`);
    }
    this.#lines[this.#builder.size] = this.#line;
    this.#builder.add(mac, address, bytes, container, hostname);
  }

  #split(start: number, end: number): void {
    let field = 0;
    let from = start;
    for (let at = start; at <= end; at++) {
      if (at < end && this.#bytes[at] !== COMMA) continue;
      if (field === FIELDS_MAX) throw this.#problem(`has more than four fields: ${HEADER}`);
      this.#fields[field]!.start = from;
      this.#fields[field]!.end = at;
      field += 1;
      from = at + 1;
    }
    if (field < 2) throw this.#problem(`has one field; write ${HEADER}`);
    for (; field < FIELDS_MAX; field++) {
      this.#fields[field]!.start = end;
      this.#fields[field]!.end = end;
    }
  }

  #readMac(field: Span): MacAddress {
    const mac = parseMacOctets(this.#bytes, field) ?? this.#parse("mac", field, parseMac);
    if (mac === 0) throw this.#problem(`mac: ${formatMac(mac)} is all zero, no NIC has it`);
    if (isGroupMac(mac)) {
      throw this.#problem(`mac: ${formatMac(mac)} is a group address, no NIC has it`);
    }
    this.#checkTaken("mac", this.#rules.macs.get(mac), formatMac, mac);
    return mac;
  }

  #readAddress(field: Span): Ipv4Address {
    const { subnet, gateway, addresses } = this.#rules;
    const address = parseIpv4Octets(this.#bytes, field) ?? this.#parse("address", field, parseIpv4);
    if (!isHostAddress(subnet, address)) {
      const where = `${formatSubnet(subnet)} (network.subnet)`;
      throw this.#problem(`address: ${formatIpv4(address)} is not a host address of ${where}`);
    }
    if (address === gateway) {
      throw this.#problem(`address: ${formatIpv4(address)} is the gateway's (network.gateway)`);
    }
    this.#checkTaken("address", addresses.get(address), formatIpv4, address);
    return address;
  }

  #checkTaken<T>(
    field: string,
    place: string | undefined,
    format: (value: T) => string,
    value: T,
  ): void {
    if (place === undefined) return;
    const text = `${field}: ${format(value)} is taken by ${place} already`;
    throw this.#problem(`${text}; each ${field} may be used once`);
  }

  #checkContainer(field: Span): void {
    if (field.end - field.start > CONTAINER_OCTETS_MAX) {
      throw this.#problem(`container: is longer than ${CONTAINER_OCTETS_MAX} characters`);
    }
    if (!consistsOf(this.#bytes, field, IS_CONTAINER)) {
      const text = JSON.stringify(this.#text(field));
      throw this.#problem(`container: ${text} may hold letters, digits, '.', '_' and '-' only`);
    }
  }

  #checkHostname(field: Span): void {
    const { start, end } = field;
    if (end === start) return;
    const bytes = this.#bytes;
    const isName =
      end - start <= HOSTNAME_OCTETS_MAX &&
      consistsOf(bytes, field, IS_HOSTNAME) &&
      bytes[start] !== HYPHEN &&
      bytes[end - 1] !== HYPHEN;
    if (isName) return;
    const text = JSON.stringify(this.#text(field));
    const rule = `letters, digits, inner hyphens, at most ${HOSTNAME_OCTETS_MAX}`;
    throw this.#problem(`hostname: ${text} is not a host name: ${rule}`);
  }

  #checkContainers(): void {
    const { containers } = this.#rules;
    if (containers.size === 0) return;
    for (let index = 0; index < this.#builder.size; index++) {
      const name = this.#builder.containerOf(index);
      const place = name === undefined ? undefined : containers.get(name);
      if (place === undefined) continue;
      this.#line = this.#lines[index]!;
      throw this.#problem(`container: ${name} is ${place}'s already; a container has one NIC`);
    }
  }

  #parse<T>(name: string, field: Span, parse: (text: string) => T): T {
    try {
      return parse(this.#text(field));
    } catch (error) {
      throw this.#problem(`${name}: ${(error as Error).message}`);
    }
  }

  #text({ start, end }: Span): string {
    return Buffer.from(this.#bytes.buffer, start, end - start).toString("latin1");
  }

  #conflict({ field, first, second }: BindingConflict): FabricError {
    this.#line = this.#lines[second]!;
    return this.#problem(
      `${field}: is that of line ${this.#lines[first]} already; each ${field} may be used once`,
    );
  }

  #tooLong(): FabricError {
    return this.#problem(`is longer than ${BINDING_LINE_BYTES_MAX} octets`);
  }

  #problem(text: string): FabricError {
    return new FabricError("ERR_USAGE_INVENTORY", `${this.#source.name}:${this.#line}: ${text}`);
  }
}

function consistsOf(bytes: Uint8Array, { start, end }: Span, table: Uint8Array): boolean {
  for (let at = start; at < end; at++) if (table[bytes[at]!] === 0) return false;
  return true;
}

/** As {@link parseMac}, from octets and without an exception: undefined if it is none. */
function parseMacOctets(bytes: Uint8Array, { start, end }: Span): MacAddress | undefined {
  const MAC_CHARACTERS = 17;
  if (end - start !== MAC_CHARACTERS) return undefined;
  const separator = bytes[start + 2]!;
  if (separator !== 0x3a && separator !== HYPHEN) return undefined;
  let mac = 0;
  for (let at = start; at < end; at += 3) {
    const upper = HEX[bytes[at]!]!;
    const lower = HEX[bytes[at + 1]!]!;
    const isSeparated = at + 2 === end || bytes[at + 2] === separator;
    if (upper < 0 || lower < 0 || !isSeparated) return undefined;
    mac = mac * 256 + upper * 16 + lower;
  }
  return mac as MacAddress;
}

/** Four decimal numbers without leading zeros; undefined if it is anything else. */
function parseIpv4Octets(bytes: Uint8Array, { start, end }: Span): Ipv4Address | undefined {
  let address = 0;
  let at = start;
  for (let part = 0; part < 4; part++) {
    if (part > 0 && bytes[at++] !== DOT) return undefined;
    let value = 0;
    const first = at;
    for (; at < end && at - first < 3; at++) {
      const digit = bytes[at]! - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    const hasLeadingZero = at - first > 1 && bytes[first] === ZERO;
    if (at === first || value > 255 || hasLeadingZero) return undefined;
    address = address * 256 + value;
  }
  return at === end ? (address as Ipv4Address) : undefined;
}
