/** DHCPv4 for a VM fabric: server, client and codec. */

export {
  type ClientClock,
  type DhcpClientOptions,
  runDhcpClient,
} from "./client.ts";
export {
  type ClientAction,
  type ClientEvent,
  type ClientIdentity,
  type ClientState,
  type ClientStep,
  initialClientState,
  REQUESTED_OPTIONS,
  stepClient,
} from "./client-machine.ts";
export { createDhcpCounters, type DhcpCounters, type ServerDropReason } from "./counters.ts";
export type { Assignment, ChainVerdict, DecideRequest, RequestContext } from "./decision.ts";
export {
  BOOTREPLY,
  BOOTREQUEST,
  CLIENT_PORT,
  FLAG_BROADCAST,
  findMessageTypeName,
  HEADER,
  HEADER_BYTES,
  HEADER_FIELDS,
  INFINITE_SECONDS,
  MAGIC_COOKIE,
  MESSAGE_BYTES_MIN,
  MESSAGE_TYPE,
  type MessageTypeName,
  SERVER_PORT,
} from "./header.ts";
export { type DhcpLease, readLease } from "./lease.ts";
export {
  addressListOption,
  addressOption,
  type DecodeResult,
  type DhcpMessage,
  decodeMessage,
  encodeMessage,
  type MalformedReason,
  messageTypeName,
} from "./message.ts";
export {
  createOptionProfile,
  LEASE_SECONDS_MIN,
  type OptionProfile,
  type OptionProfileSpec,
  platformRoutes,
} from "./option-profile.ts";
export {
  type ClasslessRoute,
  decodeRoutes,
  encodeRoutes,
  OPTION,
  OPTION_TABLE,
  type OptionRow,
  type WalkEnd,
  walkOptions,
} from "./options.ts";
export { readRequest } from "./read-request.ts";
export { type EncodeCounters, encodeReply, type Reply } from "./reply.ts";
export {
  type AddressedReply,
  nakCopyDestination,
  type ReplyDestination,
  replyDestination,
} from "./reply-destination.ts";
export {
  createDhcpRequest,
  type DhcpRequest,
  type DropReason,
  type OptionSpan,
  type RequestDropReason,
} from "./request.ts";
export {
  classify,
  decideReply,
  type NakReason,
  type ReplyDecision,
  type RequestClass,
  type SilenceReason,
} from "./rules.ts";
export {
  type DhcpServerOptions,
  type DropEvent,
  type ExchangeEvent,
  serveDhcp,
} from "./server.ts";
