/** Options of a reply as people read them. What servers sent is not trusted: text is escaped. */
import { decodeRoutes, escapeTenantText, OPTION, OPTION_TABLE } from "../dhcp/index.ts";
import { formatIpv4, formatSubnet, readIpv4 } from "../model/ipv4-address.ts";

/** Octets of other data that are shown; more is cut. */
const HEX_OCTETS_MAX = 64;

const NTP_SERVERS = 42;

const ADDRESSES: ReadonlySet<number> = new Set([
  OPTION.subnetMask,
  OPTION.routers,
  OPTION.domainNameServers,
  OPTION.broadcastAddress,
  NTP_SERVERS,
  OPTION.serverIdentifier,
  OPTION.wireServer,
]);
const NUMBERS: ReadonlySet<number> = new Set([
  OPTION.interfaceMtu,
  OPTION.leaseTime,
  OPTION.maxMessageSize,
  OPTION.renewalTime,
  OPTION.rebindingTime,
]);
const TEXTS: ReadonlySet<number> = new Set([
  OPTION.hostname,
  OPTION.domainName,
  OPTION.message,
  OPTION.vendorClass,
  OPTION.tftpServerName,
  OPTION.bootFile,
]);
const ROUTES: ReadonlySet<number> = new Set([OPTION.classlessRoutes, OPTION.microsoftRoutes]);

/** The option's name, for instance `51 leaseTime`; the code alone if it has none here. */
export function optionName(code: number): string {
  const row = OPTION_TABLE.find((candidate) => candidate.code === code);
  return row === undefined ? `${code}` : `${code} ${row.name}`;
}

/** The option's data as text; hexadecimal where its form is unknown or wrong. */
export function optionText(code: number, data: Uint8Array): string {
  if (ADDRESSES.has(code) && data.length > 0 && data.length % 4 === 0) return addressesText(data);
  if (NUMBERS.has(code) && (data.length === 2 || data.length === 4)) return `${numberOf(data)}`;
  if (TEXTS.has(code)) return `"${escapeTenantText(data)}"`;
  const routes = ROUTES.has(code) ? decodeRoutes(data) : undefined;
  if (routes !== undefined) {
    return routes
      .map(({ destination, gateway }) => `${formatSubnet(destination)} via ${formatIpv4(gateway)}`)
      .join(", ");
  }
  const rest = data.length > HEX_OCTETS_MAX ? "..." : "";
  return `hex:${Buffer.from(data.subarray(0, HEX_OCTETS_MAX)).toString("hex")}${rest}`;
}

function addressesText(data: Uint8Array): string {
  return Array.from({ length: data.length / 4 }, (_, index) =>
    formatIpv4(readIpv4(data, index * 4)),
  ).join(", ");
}

function numberOf(data: Uint8Array): number {
  return data.reduce((value, octet) => value * 256 + octet, 0);
}
