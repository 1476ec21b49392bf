/** What the services that face guests need of the host, beside the containers that they serve. */

import type { ContainerIdentity } from "../model/documents.ts";
import type { FaultStep, WireService } from "../model/playbook.ts";
import type { EventSource, EventType } from "../model/scheduled-event.ts";
import type { ApiVersion } from "./metadata/api-versions.ts";

/** A VM's certificate and its key. */
export type WireIdentity = ContainerIdentity;

/** Keeps the certificates of VMs. */
export interface WireVault {
  /** Makes it when it is first asked for; the same ever after, also on another node. Rejects while it cannot be kept. */
  identityOf(container: string): Promise<WireIdentity>;
}

/** Reads the files that documents point to, by their content. */
export interface WireArtifacts {
  /**
   * Bytes from `offset`, at least one and at most `length`; fewer only at the end.
   *
   * @param sha256 - 64 lower-case hexadecimal digits; the caller has checked that the container may read it
   * @throws if it is not there
   */
  read(sha256: string, offset: number, length: number): Promise<Uint8Array>;
}

/** Answers that are made wrong on purpose. One for all services, so that a sequence goes on from one to another. */
export interface WireFaults {
  /** True while anything is set for the container. Costs next to nothing: what answers fast asks it first. */
  isOn(container: string): boolean;
  /** What is to be done with this request; undefined: what is right. Counts the request. */
  next(container: string, request: FaultableRequest): InjectedAnswer | undefined;
  /** True: the connection is reset before anything is read. Counts it. */
  refuses(container: string, service: WireService): boolean;
}

/** A request as far as a fault may depend on it. */
export interface FaultableRequest {
  readonly service: WireService;
  readonly method: string;
  /** As it was sent: path and query. */
  readonly url: string;
}

/** What is done with one request. */
export interface InjectedAnswer {
  /** The playbook's name. */
  readonly fault: string;
  readonly step: FaultStep;
}

/** Keeps what guests asked and what they were answered. Never throws, never waits; what is too much is dropped and counted. */
export interface WireRecorder {
  /** Epoch milliseconds, with fractions where the clock has them. */
  now(): number;
  record(exchange: WireExchange): void;
}

/** A request and its answer. */
export interface WireExchange {
  /** Name of the container; absent for a caller that is none. */
  readonly container?: string;
  readonly service: WireService;
  /** The caller's address. */
  readonly address: string;
  /** When the request's head was read; by {@link WireRecorder.now}. */
  readonly startedMs: number;
  /** From then until the answer was begun, and until it was handed to the kernel. */
  readonly waitMs: number;
  readonly durationMs: number;
  readonly request: {
    readonly method: string;
    readonly url: string;
    readonly httpVersion: string;
    /** Names and values as they were sent, in order. */
    readonly headers: readonly string[];
    readonly body: WireBody;
  };
  /** Absent: the connection ended without one. */
  readonly response?: {
    readonly status: number;
    /** Names and values in order. */
    readonly headers: readonly string[];
    readonly body: WireBody;
  };
  /** The playbook that made the answer. */
  readonly fault?: string;
  /** Why the caller was refused. */
  readonly refusal?: string;
}

/** A body, whole or by its hash. */
export interface WireBody {
  readonly bytes: number;
  /** Hexadecimal, lower case; absent if it is empty, or was not seen whole. */
  readonly sha256?: string;
  /** Absent if it is secret, binary or too long. */
  readonly text?: string;
}

/** What the platform is about to do to a VM. */
export interface WireEvent {
  readonly id: string;
  readonly type: EventType;
  readonly status: "Scheduled" | "Started";
  /** Role instances: `web_0`. */
  readonly resources: readonly string[];
  /** Epoch milliseconds. */
  readonly notBeforeMs: number;
  readonly description: string;
  readonly source: EventSource;
  /** -1: unknown. */
  readonly durationSeconds: number;
}

/** The events of a deployment. */
export interface WireEventList {
  /** Grows with each change. */
  readonly incarnation: number;
  readonly events: readonly WireEvent[];
}

/** Tells of scheduled events. Rejections become a 503. */
export interface WireEvents {
  /** Those of the container's deployment: Azure shows them to all of its VMs. */
  list(container: string): Promise<WireEventList>;
  /**
   * Lets events of the container's deployment start at once; the guest is answered 200 after this resolved.
   *
   * @returns false if one of them is none of the deployment's; then none is approved
   */
  approve(container: string, ids: readonly string[]): Promise<boolean>;
}

/** What a guest wants to have attested. */
export interface AttestationQuestion {
  /** The version that it is answered in. */
  readonly version: ApiVersion;
  /** What the guest's own asker gave it, so that no old document will do; absent: the time. */
  readonly nonce?: string;
}

/** Signs what the fabric knows of a VM. Where that is done, guests cannot reach. Rejections become a 503. */
export interface WireAttester {
  /** DER of a CMS SignedData; see `signAttestation`. */
  attest(container: string, question: AttestationQuestion): Promise<Uint8Array>;
}
