/** Wire server, host plugin and instance metadata: what a guest can ask its host. */

export {
  type CertifiedKey,
  makeAuthority,
  makeCertificate,
  makeIdentity,
} from "./crypto/certificate.ts";
export { type CertificateFile, readPfx } from "./crypto/pkcs12-read.ts";
export { signContent } from "./crypto/signed-data.ts";
export { changeBody } from "./faults/change-body.ts";
export { FaultBook } from "./faults/fault-book.ts";
export { createHostPlugin, HOST_PLUGIN_PORT } from "./host-plugin.ts";
export type { GuestServiceOptions } from "./http-service.ts";
export { WIRE_REQUESTS } from "./limits.ts";
export { signAttestation } from "./metadata/attested-document.ts";
export type { MetadataPlace } from "./metadata/instance-metadata.ts";
export { createMetadataService, type MetadataServiceOptions } from "./metadata/metadata-service.ts";
export { renderOvfEnvironment } from "./ovf-environment.ts";
export type { RefusalCode } from "./refusal.ts";
export { RequestBudget, type RequestRate } from "./request-budget.ts";
export { recordedBody } from "./trace/record-exchanges.ts";
export { type TraceLine, TraceLineSchema } from "./trace/trace-lines.ts";
export {
  TRACE_FILE_BYTES_MAX,
  type TraceBatch,
  TraceRecorder,
  type TraceRecorderOptions,
} from "./trace/trace-recorder.ts";
export type {
  AgentStatus,
  HealthReport,
  RefusalReason,
  WireCertificate,
  WireContainer,
  WireDirectory,
  WireEndpoint,
  WireExtension,
  WireInstance,
  WireObserver,
  WireProvisioning,
  WireRequestKind,
  WireUser,
} from "./wire-container.ts";
export type {
  AttestationQuestion,
  FaultableRequest,
  InjectedAnswer,
  WireArtifacts,
  WireAttester,
  WireBody,
  WireEvent,
  WireEventList,
  WireEvents,
  WireExchange,
  WireFaults,
  WireIdentity,
  WireRecorder,
  WireVault,
} from "./wire-host.ts";
export { createWireServer, type WireServerOptions } from "./wire-server.ts";
