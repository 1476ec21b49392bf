/** The configuration in a reply: what its network, its boot image, the plugins and the client's wishes put into it. */

import type { BootImage } from "./boot.ts";
import type { Assignment } from "./decision.ts";
import { writeClientFqdn } from "./fqdn.ts";
import { INFINITE_SECONDS } from "./header.ts";
import { LEASE_SECONDS_MIN, type OptionProfile } from "./option-profile.ts";
import {
  NUMBER_OPTION_BYTES,
  type OptionWriter,
  writeData,
  writeNumber,
  writeText,
  writeWhole,
} from "./option-writer.ts";
import { OPTION } from "./options.ts";
import { countOmitted, type EncodeCounters, type ReplyParts } from "./reply-parts.ts";
import type { DhcpRequest } from "./request.ts";
import { readMachineIdentifier } from "./request-options.ts";

/** What {@link writeConfiguration} writes. */
export interface ConfigurationParts extends ReplyParts {
  readonly assignment: Assignment;
  readonly image: BootImage | undefined;
}

/** T1 and T2 are the defaults of RFC 2131 section 4.4.5, which old clients want to see; they give way to the rest. */
export function writeLeaseTimes(
  writer: OptionWriter,
  request: DhcpRequest,
  profile: OptionProfile,
): void {
  const leaseSeconds = grantedSeconds(request.requestedLeaseSeconds, profile.leaseSeconds);
  writeNumber(writer, OPTION.leaseTime, leaseSeconds);
  const fixed = profile.fixedOctets.length;
  if (writer.limit - writer.cursor - 2 * NUMBER_OPTION_BYTES < fixed) return;
  const isInfinite = leaseSeconds === INFINITE_SECONDS;
  writeNumber(writer, OPTION.renewalTime, isInfinite ? leaseSeconds : Math.floor(leaseSeconds / 2));
  const t2 = isInfinite ? leaseSeconds : Math.floor((leaseSeconds * 7) / 8);
  writeNumber(writer, OPTION.rebindingTime, t2);
}

/** A client may ask for less than the network grants, never for more. */
function grantedSeconds(requestedSeconds: number, offeredSeconds: number): number {
  if (requestedSeconds === 0) return offeredSeconds;
  return Math.min(Math.max(requestedSeconds, LEASE_SECONDS_MIN), offeredSeconds);
}

/** Writes all that is not mandatory; what does not fit is left out whole, and counted. */
export function writeConfiguration(writer: OptionWriter, parts: ConfigurationParts): void {
  const { assignment, image, changes, counters, request } = parts;
  const { profile } = assignment;
  const isUnasked = request.parameterRequestList.length === 0;
  const octets = isUnasked ? profile.unaskedOctets : profile.fixedOctets;
  if (!changes.isEmpty) writeChanged(writer, parts);
  else if (!writeWhole(writer, octets)) writeFixedThatFit(writer, parts);
  if (image !== undefined) writeBoot(writer, parts, image);
  if (!changes.isEmpty) writeAdded(writer, parts);
  writeRequested(writer, parts);
  writeClientFqdn(writer, request, assignment, counters);
}

function writeCounted(writer: OptionWriter, option: Uint8Array, counters: EncodeCounters): void {
  if (!writeWhole(writer, option)) countOmitted(counters, option[0]!);
}

/** The wire server's option is short and a guest is lost without it, so the long routes must leave room. */
function writeFixedThatFit(
  writer: OptionWriter,
  { assignment: { profile }, counters, request }: ConfigurationParts,
): void {
  const last = profile.fixed.at(-1);
  const kept = last !== undefined && last[0] === OPTION.wireServer ? last.length : 0;
  for (const option of profile.fixed) {
    if (isLeftOut(request, option)) continue;
    writer.limit -= option === last ? 0 : kept;
    writeCounted(writer, option, counters);
    writer.limit += option === last ? 0 : kept;
  }
}

/** The network's options in their order, each as it is, replaced, or left out. */
function writeChanged(
  writer: OptionWriter,
  { assignment: { profile }, changes, counters, request }: ConfigurationParts,
): void {
  for (const option of profile.fixed) {
    const code = option[0]!;
    const change = changes.find(code);
    if (changes.isRemoved(code) || (change === undefined && isLeftOut(request, option))) continue;
    writeCounted(writer, change?.octets ?? option, counters);
  }
}

/** See {@link OptionProfile.unaskedOctets}. */
function isLeftOut({ parameterRequestList }: DhcpRequest, option: Uint8Array): boolean {
  return option[0] === OPTION.microsoftRoutes && parameterRequestList.length === 0;
}

/** What plugins add that the network does not have. */
function writeAdded(writer: OptionWriter, { assignment, changes, counters }: ConfigurationParts) {
  for (const { code, octets, always } of changes.values()) {
    if (always && !isFixed(assignment.profile, code)) writeCounted(writer, octets, counters);
  }
}

function isFixed({ fixed }: OptionProfile, code: number): boolean {
  return fixed.some((option) => option[0] === code);
}

/** What only the dialogue with a boot ROM is about. A client that renews has booted long ago. */
const BOOT_DIALOGUE: ReadonlySet<number> = new Set([OPTION.vendorClass, OPTION.vendorSpecific]);

function writeBoot(
  writer: OptionWriter,
  { request, reply, assignment, counters }: ConfigurationParts,
  image: BootImage,
): void {
  const isLease = reply.type === "DHCPACK" && reply.hasLease;
  const isRenewal = isLease && request.ciaddr === assignment.address;
  for (const option of image.options) {
    if (!isRenewal || !BOOT_DIALOGUE.has(option[0]!)) writeCounted(writer, option, counters);
  }
  const isEchoed = image.kind === "pxe" && !isRenewal;
  const identifier = isEchoed ? readMachineIdentifier(request) : undefined;
  if (identifier === undefined) return;
  if (!writeData(writer, OPTION.machineIdentifier, identifier)) {
    countOmitted(counters, OPTION.machineIdentifier);
  }
}

/** What the client asked for (option 55), in its order. */
function writeRequested(writer: OptionWriter, parts: ConfigurationParts): void {
  const { request, counters } = parts;
  const { offset, length } = request.parameterRequestList;
  for (let index = 0; index < length; index++) {
    const code = request.optionBytes[offset + index]!;
    const option = findRequested(code, parts);
    if (option === undefined || option.length === 0 || isRepeated(request, index)) continue;
    const fits =
      typeof option === "string" ? writeText(writer, code, option) : writeWhole(writer, option);
    if (!fits) countOmitted(counters, code);
  }
}

function findRequested(
  code: number,
  { assignment, changes }: ConfigurationParts,
): Uint8Array | string | undefined {
  const own =
    code === OPTION.hostname ? assignment.hostname : assignment.profile.onRequest.get(code);
  if (changes.isEmpty) return own;
  if (changes.isRemoved(code)) return undefined;
  const extra = changes.find(code);
  if (extra === undefined) return own;
  const isWritten = extra.always || isFixed(assignment.profile, code);
  return isWritten ? undefined : extra.octets;
}

/** True if the code at `index` of option 55 stands further ahead as well; the first one decides the order. */
function isRepeated(request: DhcpRequest, index: number): boolean {
  const { offset } = request.parameterRequestList;
  const code = request.optionBytes[offset + index];
  for (let earlier = 0; earlier < index; earlier++) {
    if (request.optionBytes[offset + earlier] === code) return true;
  }
  return false;
}

/** For a client that speaks BOOTP only: mask, routers, host name and DNS servers, as far as there is room. */
export function writeBootpOptions(
  writer: OptionWriter,
  { profile, hostname }: Assignment,
  counters: EncodeCounters,
): void {
  const find = (code: number) => profile.fixed.find((option) => option[0] === code);
  for (const code of [OPTION.subnetMask, OPTION.routers]) {
    const option = find(code);
    if (option !== undefined) writeCounted(writer, option, counters);
  }
  if (hostname !== undefined && !writeText(writer, OPTION.hostname, hostname)) {
    countOmitted(counters, OPTION.hostname);
  }
  const dns = find(OPTION.domainNameServers);
  if (dns !== undefined) writeCounted(writer, dns, counters);
}
