/**
 * What readRequest() does with each option that it knows: it takes the data, or the place of the data, or only looks
 * whether the form is right, so that whoever reads the option later need not. Nothing is allocated.
 */

import { readIpv4 } from "../model/ipv4-address.ts";
import { IGNORED } from "./ignored-options.ts";
import {
  areEnterpriseBlocks,
  isBlank,
  isClientFqdn,
  isMachineIdentifier,
} from "./option-shapes.ts";
import { OPTION } from "./options.ts";
import { clearRelayInformation } from "./relay-information.ts";
import { type DhcpRequest, NO_ADDRESS, type OptionSpan } from "./request.ts";

/** The options that readRequest() knows. */
const KEPT_OPTIONS: readonly number[] = [
  OPTION.hostname,
  OPTION.requestedAddress,
  OPTION.leaseTime,
  OPTION.overload,
  OPTION.messageType,
  OPTION.serverIdentifier,
  OPTION.parameterRequestList,
  OPTION.maxMessageSize,
  OPTION.vendorClass,
  OPTION.clientIdentifier,
  OPTION.userClass,
  OPTION.rapidCommit,
  OPTION.clientFqdn,
  OPTION.relayInformation,
  OPTION.authentication,
  OPTION.clientArchitecture,
  OPTION.clientInterface,
  OPTION.machineIdentifier,
  OPTION.ipv6OnlyPreferred,
  OPTION.autoConfigure,
  OPTION.subnetSelection,
  OPTION.vendorIdentifyingClass,
  OPTION.vendorIdentifyingInformation,
  OPTION.ipxeEncapsulated,
];

/** One bit per known option, 0 for all others; indexed by code. */
export const KEPT_BITS = Uint32Array.from({ length: 256 }, (_, code) => {
  const index = KEPT_OPTIONS.indexOf(code);
  return index < 0 ? 0 : 1 << index;
});

/** Smallest size that every client accepts (RFC 2131 section 2). */
const MESSAGE_SIZE_MIN = 576;
/** Type, major and minor revision (RFC 4578 section 2.2). */
const CLIENT_INTERFACE_BYTES = 3;

/** Forgets what an earlier message's options said. */
export function clearOptions(request: DhcpRequest): void {
  request.optionBytes = request.bytes;
  request.isIndexed = false;
  request.ignored = 0;
  request.seen = 0;
  request.messageType = 0;
  request.hasMessageType = false;
  request.hasRequestedAddress = false;
  request.requestedAddress = NO_ADDRESS;
  request.hasServerIdentifier = false;
  request.serverIdentifier = NO_ADDRESS;
  request.requestedLeaseSeconds = 0;
  request.rapidCommit = false;
  request.subnetSelection = NO_ADDRESS;
  request.maxMessageSize = 0;
  request.parameterRequestList.length = 0;
  request.clientIdentifier.length = 0;
  request.hostname.length = 0;
  request.vendorClass.length = 0;
  request.userClass.length = 0;
  request.relayInformation.length = 0;
  clearRelayInformation(request);
  request.faults.messageType = false;
  request.faults.requestedAddress = false;
  request.faults.serverIdentifier = false;
}

/** Takes an option whose data is at `offset` of `request.optionBytes`. */
export function keepOption(
  request: DhcpRequest,
  code: number,
  offset: number,
  length: number,
): void {
  request.seen |= KEPT_BITS[code]!;
  switch (code) {
    case OPTION.messageType:
      request.hasMessageType = true;
      request.faults.messageType = length !== 1;
      if (length === 1) request.messageType = request.optionBytes[offset]!;
      return;
    case OPTION.requestedAddress:
      request.faults.requestedAddress = length !== 4;
      request.hasRequestedAddress = length === 4;
      if (length === 4) request.requestedAddress = readIpv4(request.optionBytes, offset);
      else request.ignored |= IGNORED["opt.50"];
      return;
    case OPTION.serverIdentifier:
      request.faults.serverIdentifier = length !== 4;
      request.hasServerIdentifier = length === 4;
      if (length === 4) request.serverIdentifier = readIpv4(request.optionBytes, offset);
      else request.ignored |= IGNORED["opt.54"];
      return;
    case OPTION.parameterRequestList:
      keepSpan(request.parameterRequestList, offset, length);
      if (length === 0) request.ignored |= IGNORED["opt.55"];
      return;
    case OPTION.clientIdentifier:
      keepSpan(request.clientIdentifier, offset, length);
      if (length === 0) request.ignored |= IGNORED["opt.61"];
      return;
    case OPTION.maxMessageSize:
      if (length === 2) request.maxMessageSize = readMessageSize(request.optionBytes, offset);
      else request.ignored |= IGNORED["opt.57"];
      return;
    default:
      request.ignored |= keepRarer(request, code, offset, length);
  }
}

function readMessageSize(bytes: Uint8Array, offset: number): number {
  const size = (bytes[offset]! << 8) | bytes[offset + 1]!;
  return size < MESSAGE_SIZE_MIN ? 0 : size;
}

function keepSpan(span: OptionSpan, offset: number, length: number): void {
  span.offset = offset;
  span.length = length;
}

/** The bit of the reason for which the option is ignored, or 0. */
function keepRarer(request: DhcpRequest, code: number, offset: number, length: number): number {
  switch (code) {
    case OPTION.hostname:
      if (isBlank(request.optionBytes, offset, length)) return IGNORED["opt.12"];
      keepSpan(request.hostname, offset, length);
      return 0;
    case OPTION.vendorClass:
      if (isBlank(request.optionBytes, offset, length)) return IGNORED["opt.60"];
      keepSpan(request.vendorClass, offset, length);
      return 0;
    case OPTION.userClass:
      keepSpan(request.userClass, offset, length);
      return length === 0 ? IGNORED["opt.77"] : 0;
    case OPTION.relayInformation:
      // A client behind no relay has no business with it: neither believed nor echoed (RFC 3046 section 2.1).
      if (request.giaddr === 0) return IGNORED["rai.untrusted"];
      keepSpan(request.relayInformation, offset, length);
      return length === 0 ? IGNORED["opt.82"] : 0;
    case OPTION.leaseTime:
      if (length === 4) request.requestedLeaseSeconds = readIpv4(request.optionBytes, offset);
      return request.requestedLeaseSeconds === 0 ? IGNORED["opt.51"] : 0;
    case OPTION.rapidCommit:
      request.rapidCommit = length === 0;
      return length === 0 ? 0 : IGNORED["opt.80"];
    case OPTION.subnetSelection:
      if (length === 4) request.subnetSelection = readIpv4(request.optionBytes, offset);
      return length === 4 ? 0 : IGNORED["opt.118"];
    default:
      return shapeFault(request.optionBytes, code, offset, length);
  }
}

/** For options that are read only where they are needed (request-options.ts). */
function shapeFault(bytes: Uint8Array, code: number, offset: number, length: number): number {
  switch (code) {
    case OPTION.clientFqdn:
      return isClientFqdn(bytes, offset, length) ? 0 : IGNORED["opt.81"];
    case OPTION.authentication:
      return IGNORED["opt.90"];
    case OPTION.clientArchitecture:
      return length > 0 && length % 2 === 0 ? 0 : IGNORED["opt.93"];
    case OPTION.clientInterface:
      return length === CLIENT_INTERFACE_BYTES ? 0 : IGNORED["opt.94"];
    case OPTION.machineIdentifier:
      return isMachineIdentifier(bytes, offset, length) ? 0 : IGNORED["opt.97"];
    case OPTION.ipv6OnlyPreferred:
      return length === 0 ? 0 : IGNORED["opt.108"];
    case OPTION.autoConfigure:
      return length === 1 ? 0 : IGNORED["opt.116"];
    case OPTION.vendorIdentifyingClass:
      return areEnterpriseBlocks(bytes, offset, length) ? 0 : IGNORED["opt.124"];
    case OPTION.vendorIdentifyingInformation:
      return areEnterpriseBlocks(bytes, offset, length) ? 0 : IGNORED["opt.125"];
    default:
      return 0;
  }
}
