/** DHCPv4 for a VM fabric: server, client and codec. */

export {
  BOOT_ARCHITECTURES,
  type BootArchitecture,
  type BootClient,
  type BootDescription,
  type BootImage,
  type BootProfile,
  createBootProfile,
  selectBootImage,
} from "./boot.ts";
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
export {
  createDhcpCounters,
  type DhcpCounters,
  type RequestNote,
  type ServerDropReason,
} from "./counters.ts";
export {
  type AdmitFrame,
  type Assignment,
  type ChainVerdict,
  createRequestContext,
  type DecideRequest,
  type DetachedExchange,
  type FrameSender,
  LazyAssignment,
  type RequestContext,
} from "./decision.ts";
export { type DecisionStep, DecisionTrail, TRAIL_STEPS_MAX } from "./decision-trail.ts";
export {
  DECLINE_AT_ONCE_MS,
  DECLINE_CLIENTS_MAX,
  DECLINE_HOLD_MAX_MS,
  DECLINE_HOLD_MS,
  Declines,
} from "./declines.ts";
export { detachRequest } from "./detach-request.ts";
export {
  type DropEvent,
  type ExchangeEvent,
  isExchangeEvent,
  type RequestEvent,
} from "./exchange.ts";
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
export {
  IGNORED_OPTION_REASONS,
  type IgnoredOptionCounts,
  type IgnoredOptionReason,
  ignoredOptionReasons,
} from "./ignored-options.ts";
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
  NAK_BURST_MAX,
  NAK_CLIENTS_MAX,
  NAK_INTERVAL_MAX_MS,
  NAK_INTERVAL_MS,
  NakDamping,
} from "./nak-damping.ts";
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
export { PENDING_MAX } from "./pending-exchanges.ts";
export { readRequest } from "./read-request.ts";
export {
  type ClientPort,
  checkRelayAddresses,
  RELAY_HOPS_DEFAULT,
  RELAY_HOPS_MAX,
  type RelayedClient,
  type RelayedNetwork,
  type RelayedRequest,
  type RelayPolicy,
  type RelayRequestReason,
  type RequestVerdict,
  relayRequest,
} from "./relay-agent.ts";
export { RELAY_CLIENTS_MAX, RELAY_REPLY_MS, RelayClients } from "./relay-agent-clients.ts";
export { encodeRelayInformation, isEchoOf, RELAY_ID_BYTES_MAX } from "./relay-agent-options.ts";
export {
  type DeliveryAddress,
  type RelayedReply,
  type RelayReplyReason,
  type ReplyVerdict,
  relayReply,
} from "./relay-agent-reply.ts";
export {
  createRelayCounters,
  type RelayAgentOptions,
  type RelayCounters,
  type RelayDropEvent,
  type RelayDropReason,
  relayDhcp,
} from "./relay-agent-service.ts";
export { encodeReply } from "./reply.ts";
export {
  type AddressedReply,
  nakCopyDestination,
  type ReplyDestination,
  replyDestination,
} from "./reply-destination.ts";
export type { FindReplyFault } from "./reply-fault.ts";
export {
  createExtraOption,
  EXTRA_OPTION_DATA_MAX,
  type ExtraOption,
  ReplyOptions,
} from "./reply-options.ts";
export type { EncodeCounters, Reply, ReplyParts } from "./reply-parts.ts";
export {
  createDhcpRequest,
  type DhcpRequest,
  type DropReason,
  type OptionSpan,
  type RequestDropReason,
} from "./request.ts";
export {
  type ClientFqdn,
  type ClientInterface,
  isIpxe,
  readClientArchitectures,
  readClientFqdn,
  readClientInterface,
  readHostname,
  readMachineIdentifier,
  readOption,
  readSubnetSelection,
  readSuboptions,
  readUserClasses,
  readVendorClass,
} from "./request-options.ts";
export {
  classify,
  DEFAULT_REPLY_POLICY,
  decideReply,
  type NakReason,
  type ReplyDecision,
  type ReplyPolicy,
  type RequestClass,
  type SilenceReason,
} from "./rules.ts";
export { type DhcpServerOptions, serveDhcp } from "./server.ts";
export { escapeTenantText, scrubHostname, TENANT_TEXT_OCTETS_MAX } from "./tenant-text.ts";
