/**
 * What a node and its wire process say to each other. The node believes nothing of what comes up: whoever took over the
 * wire process by way of a guest could say anything.
 */
import { z } from "zod";
import type { Ipv4Address } from "../../model/ipv4-address.ts";
import type { Playbook, WireService } from "../../model/playbook.ts";
import type {
  AttestationQuestion,
  RefusalReason,
  WireContainer,
  WireInstance,
  WireRequestKind,
} from "../../wireserver/index.ts";

/** A container without what all of its VNET share. */
export interface SharedContainer {
  readonly container: Omit<WireContainer, "instances">;
  /** It as an instance: it may be quicker than the VNET's list. */
  readonly self: WireInstance;
}

/** From the node. VNETs have numbers, which are never used again. */
export type Order =
  /** With a listening socket, one for each service of a VNET; or with a connection of one. */
  | { readonly kind: "listen"; readonly vnet: number; readonly service: WireService }
  | { readonly kind: "connection"; readonly vnet: number; readonly service: WireService }
  | { readonly kind: "close"; readonly vnet: number }
  | {
      readonly kind: "instances";
      readonly vnet: number;
      readonly instances: readonly WireInstance[];
    }
  | ({ readonly kind: "container"; readonly vnet: number } & SharedContainer)
  /** The container's name, for the address may be another's by now. */
  | {
      readonly kind: "forget";
      readonly vnet: number;
      readonly address: Ipv4Address;
      readonly name: string;
    }
  /** Without a playbook: answers are right again. */
  | { readonly kind: "fault"; readonly container: string; readonly playbook?: Playbook }
  /** To a report or a question. `failure`: it was not kept, or there is no answer. */
  | {
      readonly kind: "answer";
      readonly id: number;
      readonly value?: unknown;
      readonly failure?: string;
    }
  /** A part of the trace is lost: what comes next begins a file. */
  | { readonly kind: "beginTrace" }
  | { readonly kind: "ping" };

/** Longest text of a guest that goes up; the services allow less. */
const TEXT_MAX = 8_192;
const EXTENSIONS_MAX = 256;
const PROPERTIES_MAX = 256;
const EVENTS_MAX = 1_024;
const BATCH_MAX = 65_536;
/** A batch, and all that waited while the node was behind. */
const TRACE_CHARACTERS_MAX = 4 * 1024 * 1024;
/** Most bytes of one reading of an artifact. */
export const ARTIFACT_BYTES_MAX = 256 * 1024;

const Text = z.string().max(TEXT_MAX);
const Name = z.string().min(1).max(256);
const Whole = z.int().nonnegative();
/** A word of a closed set that the services own. */
const word = <T extends string>() =>
  z.custom<T>((value) => typeof value === "string" && /^[A-Za-z-]{1,40}$/.test(value));

const HealthSchema = z.strictObject({
  type: z.literal("health"),
  report: z.strictObject({
    state: z.enum(["Ready", "NotReady"]),
    subStatus: Text.exactOptional(),
    description: Text.exactOptional(),
    incarnation: z.number(),
  }),
});

const AgentStatusSchema = z.strictObject({
  type: z.literal("agentStatus"),
  status: z.strictObject({
    version: Text,
    status: Text,
    message: Text.exactOptional(),
    extensions: z
      .array(
        z.strictObject({
          name: Text,
          version: Text,
          handler: Text,
          status: Text.exactOptional(),
          code: z.number().exactOptional(),
          message: Text.exactOptional(),
          seqNo: z.number().exactOptional(),
        }),
      )
      .max(EXTENSIONS_MAX),
  }),
});

const RoleSchema = z.strictObject({
  type: z.literal("roleProperties"),
  properties: z.map(Text, Text).refine((map) => map.size <= PROPERTIES_MAX),
});

const ReportSchema = z.discriminatedUnion("type", [HealthSchema, AgentStatusSchema, RoleSchema]);

const AttestationSchema = z.strictObject({
  version: z.custom<AttestationQuestion["version"]>(
    (value) => typeof value === "string" && /^\d{4}-\d\d-\d\d$/.test(value),
  ),
  nonce: z.string().max(256).exactOptional(),
});

const QuestionSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("identity"), vnet: Whole, container: Name }),
  z.strictObject({
    type: z.literal("artifact"),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    offset: Whole,
    length: z.int().min(1).max(ARTIFACT_BYTES_MAX),
  }),
  z.strictObject({ type: z.literal("events"), vnet: Whole, container: Name }),
  z.strictObject({
    type: z.literal("approval"),
    vnet: Whole,
    container: Name,
    ids: z.array(Name).max(EVENTS_MAX),
  }),
  z.strictObject({
    type: z.literal("attestation"),
    vnet: Whole,
    container: Name,
    question: AttestationSchema,
  }),
]);

const ContactSchema = z.strictObject({
  container: Name,
  kind: word<WireRequestKind>(),
  /** Of the document that was sent. */
  incarnation: z.number().exactOptional(),
});

/** From the wire process. */
export const NewsSchema = z.discriminatedUnion("kind", [
  /** It has given up what it could do, and takes orders. */
  z.strictObject({ kind: z.literal("ready") }),
  /** The socket of the last `listen` is served. */
  z.strictObject({ kind: z.literal("took") }),
  z.strictObject({ kind: z.literal("closed"), vnet: Whole }),
  z.strictObject({ kind: z.literal("pong") }),
  z.strictObject({
    kind: z.literal("contacts"),
    vnet: Whole,
    contacts: z.array(ContactSchema).max(BATCH_MAX),
  }),
  z.strictObject({
    kind: z.literal("report"),
    id: Whole,
    vnet: Whole,
    container: Name,
    report: ReportSchema,
  }),
  z.strictObject({ kind: z.literal("question"), id: Whole, question: QuestionSchema }),
  /** Lines of the trace; what they say is looked at when somebody reads them. */
  z.strictObject({
    kind: z.literal("trace"),
    text: z.string().max(TRACE_CHARACTERS_MAX),
    begins: z.boolean(),
  }),
  z.strictObject({
    kind: z.literal("refused"),
    vnet: Whole,
    address: z.string().max(64),
    reason: word<RefusalReason>(),
  }),
]);

export type News = z.infer<typeof NewsSchema>;
export type GuestReport = z.infer<typeof ReportSchema>;
export type Question = z.infer<typeof QuestionSchema>;
export type Contact = z.infer<typeof ContactSchema>;
